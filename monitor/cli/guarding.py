"""What the commands that act share: the guardian of the file, the plans of a position, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import click

from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from monitor.cli.session import Open, Session
    from monitor.cli.targets import Targets
    from monitor.core.actions import Intent, Plan
    from monitor.core.config import Config
    from monitor.execution.limits import AssetLimits
    from monitor.execution.port import Simulated
    from monitor.pipeline.guardians import Guardian, Protection
    from monitor.pipeline.plans import Outlook
    from monitor.policy.planner import Proposal, Refusal
    from monitor.report import Report

PLENTY = 10**15
REFUSED = 4


class Prepared(Protocol):
    """What sending needs to know of whatever was looked at: a rescue or a liquidation."""

    @property
    def chain(self) -> Open: ...

    @property
    def guardian(self) -> Guardian: ...

    @property
    def limits(self) -> Mapping[str, AssetLimits]:
        """By what it counts under."""
        ...


@dataclass(frozen=True, slots=True)
class Prospect:
    """One position and what could be done for it."""

    chain: Open
    seen: Outlook
    report: Report
    guardian: Guardian
    protection: Protection
    target: Fraction | None
    """None: to be closed."""
    proposal: Proposal
    lacks: str = ""
    """What a rescue from the purse would lack if the rule acted; "" also where no rule is there."""

    @property
    def limits(self) -> Mapping[str, AssetLimits]:
        """Those of every asset that a step may move."""
        from monitor.pipeline import plans

        return plans.options(self.seen, self.report, self.guardian, 1).limits


def config_of(config_file: Path | None) -> tuple[Config, Path]:
    """The file, which must be there. May raise: ConfigError."""
    from pathlib import Path

    from monitor.core import config as configuration

    path = config_file or Path(configuration.DEFAULT_FILE)
    return configuration.load(path), path


def guardian_of(config: Config | None, path: Path | None) -> Guardian:
    """The file's guardian. May raise: ConfigError."""
    from pathlib import Path

    from monitor.pipeline.beside import sources
    from monitor.pipeline.guardians import Guardian, guards, liquidators

    if config is None or config.guardian is None:
        raise ConfigError(
            "no guardian is configured", hint="add [guardian] with address and limits to levmon.toml; see the README"
        )
    base = (path or Path()).absolute().parent
    return Guardian(config.guardian, base, guards(config), liquidators(config), sources(config))


def kept_journal(config: Config, path: Path | None) -> str:
    """The journal's URL, also of who only watches and has alerts in it. May raise: ConfigError."""
    from pathlib import Path

    from monitor.cli.telling import journal_url
    from monitor.core.alerting import AlertsConfig

    if config.guardian is not None:
        return guardian_of(config, path).journal_url
    return journal_url(config.alerts or AlertsConfig(), (path or Path()).absolute().parent)


def stranger(address: str) -> Guardian:
    """A purse that is only looked at, without limits. May raise: ConfigError."""
    from monitor.core.address import parse_address
    from monitor.core.guardian import ANY_UNIT, GuardianConfig, LimitsConfig, LiquidateConfig
    from monitor.pipeline.guardians import Guardian

    much = Fraction(PLENTY)
    limits = LimitsConfig(per_action=much, per_position_day=much, per_key_day=much, unit=ANY_UNIT)
    liquidate = LiquidateConfig(per_action=much, per_position_day=much, per_key_day=much, unit=ANY_UNIT)
    return Guardian(GuardianConfig(address=parse_address(address), limits=limits, liquidate=liquidate))


def guardian_for(targets: Targets, address: str | None) -> Guardian:
    """The one named, else the file's. May raise: ConfigError."""
    return stranger(address) if address else guardian_of(targets.config, targets.path)


def liquidating_guardian(targets: Targets, address: str | None = None) -> Guardian:
    """The same, where the file lets it liquidate. May raise: ConfigError."""
    guardian = guardian_for(targets, address)
    if guardian.config.liquidate is None:
        raise ConfigError("liquidating is not allowed", hint="add [guardian.liquidate] with its limits to levmon.toml")
    return guardian


def require_armed(guardian: Guardian) -> None:
    """Before a daemon may send. May raise: ConfigError."""
    if not guardian.config.armed:
        raise ConfigError("the guardian is not armed", hint="write armed = true into [guardian], or drop --broadcast")


def finality_of(session: Session | Targets, chain: Open) -> str | int:
    """What the file says of the chain's finality."""
    config = session.config if hasattr(session, "config") else session.targets.config
    for entry in config.chains.values() if config else ():
        if entry.chain_id == chain.chain_id:
            return entry.finality
    return "finalized"


async def look(session: Session, guardian: Guardian, target: Fraction | None, *, close: bool = False) -> Prospect:
    """The one position of the session and its plans, to a target or to its end. May raise: ConfigError."""
    from monitor.journal.view import JournalView
    from monitor.pipeline import plans
    from monitor.pipeline.guardians import ANY, protection_of, protections
    from monitor.pipeline.readiness import lacking
    from monitor.pipeline.today import rest_of

    if len(session.subjects) != 1:
        raise ConfigError(f"that is {len(session.subjects)} positions", hint="name one, as MARKET/OWNER")
    [subject] = session.subjects
    config = session.targets.config
    found = protection_of(protections(config), subject.id) if config else None
    protection = found or ANY
    if close and target is not None:
        raise ConfigError("a position that is closed has no target", hint="leave --target or --close out")
    if target is None and found is None and not close:
        raise ConfigError("no target", hint="give --target, such as 1.6, or add a [[protect]] for this position")
    target = found.rule.target if target is None and found and not close else target
    if not close and (target is None or target <= 1):
        raise ConfigError("a target is above 1", hint="give --target, such as 1.6")
    chain = next(one for one in session.chains if one.subjects)
    seen = await plans.outlook(
        chain.chain,
        chain.subjects,
        guardian.address,
        session.memory,
        depth=chain.depth,
        first=chain.first,
        guards=guardian.guards,
    )
    report = seen.snapshot.reports[0]
    block = report.block
    rest = None
    if block is not None and guardian.config.limits is not None and session.targets.path is not None:
        choice = plans.options(seen, report, guardian, 1)
        view = JournalView(guardian.journal_url)
        rest = rest_of(view, guardian, subject.id, choice.limits, block.timestamp)
    proposal = plans.plan_for(seen, report, guardian, protection, target, left=rest.amounts if rest else None)
    lack = lacking(seen, report, guardian, found, rest) if found else None
    return Prospect(chain, seen, report, guardian, protection, target, proposal, lack.why if lack else "")


# -- telling -----------------------------------------------------------------------------------------------------------


def plan_dict(plan: Plan) -> dict[str, Any]:
    """A plan for programs."""
    from monitor.core.text import clean
    from monitor.core.units import format_units
    from monitor.pipeline.acting import ratio
    from monitor.policy.planner import shown

    return {
        "key": plan.key,
        "kind": plan.intent.kind,
        "to": plan.intent.to,
        "asset": plan.asset,
        "symbol": clean(plan.symbol),
        "amount_raw": str(plan.amount),
        "amount": format_units(plan.amount, plan.decimals),
        "why": clean(plan.why, 600),
        "health_before": {"ratio": ratio(plan.before), "shown": shown(plan.before)},
        "health_expected": {"ratio": ratio(plan.expected), "shown": shown(plan.expected)},
        "gas": str(plan.limits.gas),
        "max_fee_per_gas_wei": str(plan.limits.max_fee_per_gas_wei),
        "max_cost_wei": str(plan.limits.max_cost_wei),
        "l1_data_fee_wei": str(plan.limits.l1_data_fee_wei),
        "loss_avoided_wei": str(plan.loss_avoided_wei),
        "valid_until_s": str(plan.limits.valid_until_s),
    }


def refusal_dict(refusal: Refusal) -> dict[str, Any]:
    """What is impossible, for programs."""
    from monitor.core.text import clean

    remedy = refusal.remedy
    return {
        "step": clean(refusal.key, 100),
        "reason": clean(refusal.reason, 400),
        "remedy": None if remedy is None else {"kind": remedy.kind, "to": remedy.to, "args": _args(remedy)},
    }


def _args(intent: Intent) -> dict[str, str]:
    return {name: str(value) for name, value in intent.args.items()}


def prospect_dict(found: Prospect) -> dict[str, Any]:
    """The object of schema `levmon.plan/1`."""
    from monitor.core.registry import protocol as protocol_named
    from monitor.policy.levels import decimal

    proposal, helpers = found.proposal, protocol_named(found.report.subject.ref.protocol).helpers
    return {
        "schema": "levmon.plan/1",
        "position": found.report.to_dict(),
        "guardian": found.guardian.address,
        "target": None if found.target is None else decimal(found.target),
        "plans": [plan_dict(plan) for plan in proposal.plans],
        "ladder": [plan_dict(plan) for plan in proposal.ladder],
        "partial": [plan_dict(plan) for plan in proposal.partial],
        "refused": [refusal_dict(refusal) for refusal in proposal.refused],
        "note": proposal.note,
        "lacks": found.lacks,
        "helpers": {"purse": helpers.purse, "owner": helpers.owner},
    }


def prospect_lines(found: Prospect, columns: int | None) -> Iterator[str]:
    """The position, the plans in order, and what is impossible with the reason."""
    from monitor.cli.explain_command import heading
    from monitor.core.registry import protocol as protocol_named
    from monitor.policy.levels import decimal

    proposal = found.proposal
    yield from heading(found.report)
    wish = "to be closed" if found.target is None else f"target {decimal(found.target)}"
    yield f"{wish}, from the purse {found.guardian.address}"
    if found.lacks:
        yield from wrapped(f"its rescue would fall short: {found.lacks}", columns)
    yield ""
    if proposal.note:
        yield from wrapped(proposal.note, columns)
    titles = (
        ("", proposal.plans),
        ("no single step reaches it; one after another, of which only the first is sure:", proposal.ladder),
        ("nothing reaches it; what would help:", proposal.partial),
    )
    for title, plans in titles:
        if plans and title:
            yield title
        for number, plan in enumerate(plans, 1):
            yield from plan_lines(plan, number, columns)
    if proposal.refused:
        yield ""
        yield "not possible:"
        for refusal in proposal.refused:
            yield from wrapped(f"  {_short(refusal.key)}: {refusal.reason}{_remedy(refusal)}", columns)
    if (proposal.partial or proposal.refused) and not (proposal.plans or proposal.ladder):
        yield from wrapped(f"by the contracts {protocol_named(found.report.subject.ref.protocol).helpers}", columns)


def plan_lines(plan: Plan, number: int, columns: int | None) -> Iterator[str]:
    """One plan: what, how much, to which health, for what, and why."""
    from monitor.cli import table
    from monitor.core.text import clean
    from monitor.policy.planner import shown

    amount = f"{table.exact(plan.amount, plan.decimals)} {clean(plan.symbol, 20)}"
    yield click.style(f"{number}. {_verb(plan.intent.kind)} {amount}", bold=True)
    yield f"   health {shown(plan.before)} -> {shown(plan.expected)}"
    yield from wrapped(f"   {clean(plan.why, 600)}", columns)


def simulation_text(simulated: Simulated, intent: Intent) -> tuple[bool, str]:
    """Whether it would succeed, and what the node says, errors by the names of the contract's sources."""
    from monitor.execution.port import NotSimulated, Passed

    if isinstance(simulated, Passed):
        gas = f", {simulated.gas} gas" if simulated.gas is not None else ""
        return True, f"it would succeed{gas}"
    if isinstance(simulated, NotSimulated):
        return False, f"not simulated: {simulated.reason}"
    return False, f"it would revert: {decoded(simulated.reason, intent)}"


def decoded(reason: str, intent: Intent) -> str:
    """A node's words for a revert, with the contract's own name for it where that can be told."""
    import re

    from monitor.chain import abi
    from monitor.core.registry import protocol as protocol_named
    from monitor.core.text import clean
    from monitor.pipeline.acting import APPROVE
    from monitor.pipeline.positions import market_of

    if intent.kind == APPROVE:
        return clean(reason, 200)  # a token's own words: every token has others
    ref, _ = market_of(intent.position_id)
    protocol = protocol_named(ref.protocol)
    template = next((one for one in protocol.templates if one.kind == intent.kind), None)
    told = reason
    data = re.search(r"0x([0-9a-fA-F]{8,})\s*$", reason)
    if data and template:
        said = abi.revert_reason(bytes.fromhex(data[1][: len(data[1]) // 2 * 2]), template.function)
        if not said.startswith("0x"):
            told = said
    told = told.removeprefix("execution reverted").lstrip(": ") or told
    name = protocol.error_name(told.split(" ")[0] if told[:1].isdigit() else told)
    return clean(name, 200)


def _verb(kind: str) -> str:
    return kind.rpartition("/")[2]


def _short(key: str) -> str:
    from monitor.core.text import clean

    return clean(key.rpartition("/")[2], 60)


def _remedy(refusal: Refusal) -> str:
    return "  (levmon approve would allow it)" if refusal.remedy is not None else ""


def wrapped(text: str, columns: int | None) -> list[str]:
    """The text in lines that fit, indented as it begins."""
    import textwrap

    indent = " " * (len(text) - len(text.lstrip()))
    if columns is None:
        return [text]
    return textwrap.wrap(text.strip(), max(columns, 40), initial_indent=indent, subsequent_indent=indent + "  ")


def with_position(text: str, source: dict[str, Any]) -> Any:
    """What to ask for: POSITION as typed with the options of where to read. May raise: ConfigError."""
    from monitor.cli.targets import Wanted, one_position

    return one_position(text, Wanted(**source))
