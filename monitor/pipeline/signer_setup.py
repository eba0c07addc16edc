"""A signer.toml that allows exactly what levmon.toml protects: owners, contracts with their kinds, assets with limits.

A proposal for a person to read. What the signer then signs is bounded by its own file, whoever edits levmon.toml later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monitor.core.actions import Step
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import BUDGET
from monitor.core.registry import protocol
from monitor.core.types import Address
from monitor.execution.limits import AssetLimits
from monitor.pipeline.guardians import GWEI, Guardian
from monitor.pipeline.positions import market_of
from monitor.signer.config import MAX_AMOUNT

MAX_GAS = 2_000_000
MAX_TIP_WEI = 50 * GWEI


@dataclass(slots=True)
class ChainRules:
    """What one chain's table is to allow."""

    chain_id: int
    owners: dict[Address, None] = field(default_factory=dict)
    contracts: dict[Address, set[str]] = field(default_factory=dict)
    markets: dict[Address, dict[str, None]] = field(default_factory=dict)
    """The ids of the markets to use, of contracts that hold many."""
    takes: dict[Address, Address] = field(default_factory=dict)
    """The one token that a contract takes, of contracts whose calls do not name it."""
    assets: dict[Address, AssetLimits] = field(default_factory=dict)
    symbols: dict[Address, str] = field(default_factory=dict)
    liquidate: dict[Address, AssetLimits] = field(default_factory=dict)
    """What may be paid of which debts to liquidate anybody; none: nobody is liquidated."""
    routers: dict[Address, None] = field(default_factory=dict)

    def add_guard(self, setup: GuardSetup, steps: Iterable[Step], kinds: Iterable[str]) -> None:
        """Allow a guard to pay with any of these steps' assets; one without limits may be sold, and nothing else."""
        by_guard = {step.intent.kind for step in steps if step.intent.to == setup.contract} & set(kinds)
        if not by_guard:
            return
        self.contracts.setdefault(setup.contract, set()).update(by_guard)
        self.routers[setup.router] = None
        for step in steps:
            self.assets.setdefault(step.asset, AssetLimits(0, 0, 0))
            self.symbols[step.asset] = step.symbol

    def add(self, steps: Iterable[Step], limits: Mapping[Address, AssetLimits], kinds: Iterable[str]) -> None:
        """Allow these steps as far as they have limits and are of these kinds."""
        allowed = set(kinds)
        for step in steps:
            if step.asset not in limits or step.intent.kind not in allowed:
                continue
            self._allow(step, step.intent.kind)
            self.assets[step.asset] = limits[step.asset]
            self.symbols[step.asset] = step.symbol

    def add_liquidations(self, steps: Iterable[Step], limits: Mapping[str, AssetLimits], kind: str) -> None:
        """Allow liquidations by these steps' market: every one of its assets may come in, those with limits go out.

        The guardian counts as an owner then, so that it can approve the market for what it pays.
        """
        for step in steps:
            self._allow(step, kind)
            self.assets.setdefault(step.asset, AssetLimits(0, 0, 0))
            self.symbols[step.asset] = step.symbol
            if (one := limits.get(BUDGET + step.asset)) is not None:
                self.liquidate[step.asset] = one

    def _allow(self, step: Step, kind: str) -> None:
        self.owners[step.intent.owner] = None
        self.contracts.setdefault(step.intent.to, set()).add(kind)
        ref = market_of(step.intent.position_id)[0]
        if ref.id:
            self.markets.setdefault(step.intent.to, {})[ref.id.lower()] = None
        template = next((one for one in protocol(ref.protocol).templates if one.kind == kind), None)
        if template is not None and any(rule.role == "spent" for rule in template.args):
            self.takes[step.intent.to] = step.asset


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where the key is: `name` of signer.toml's key table and its value, e.g. ("account", "keeper")."""

    name: str
    value: str | bool
    password_file: str = ""


def signer_toml(guardian: Guardian, key: KeySource, chains: Iterable[ChainRules]) -> str:
    """The text of the file, to be read by a person before it is used."""
    config = guardian.config
    lines = [
        "# What the signer may sign. Written by `levmon keys init` from levmon.toml: read it before you use it.",
        "# Amounts are in the asset's smallest unit, fees in wei. Changes need a restart of `levmon signer`.",
        f"socket = {_text(config.signer)}",
        'database = "sign.db"',
        f"kill_file = {_text(config.kill_file)}",
        "",
        "[keys.guardian]",
        f"{key.name} = {'true' if key.value is True else _text(str(key.value))}",
        *([f"password_file = {_text(key.password_file)}"] if key.password_file else []),
        f"address = {_text(guardian.address)}",
    ]
    for chain in chains:
        lines += ["", *_chain(guardian, chain)]
    return "\n".join(lines) + "\n"


def _chain(guardian: Guardian, chain: ChainRules) -> Iterable[str]:
    table = f"chains.chain{chain.chain_id}"
    fee = guardian.max_fee_wei
    yield f"[{table}]"
    yield f"chain_id = {chain.chain_id}"
    yield f"owners = [{', '.join(map(_text, chain.owners))}]"
    yield f"max_gas = {MAX_GAS}"
    # a cancel must be able to outbid the dearest attempt by an eighth, where attempts may go up to the cap
    yield f"max_fee_per_gas_wei = {fee + fee // 8 + 1 if guardian.config.cancel_over_cap else fee}"
    yield f"max_priority_fee_per_gas_wei = {min(fee, MAX_TIP_WEI)}"
    yield f"max_cost_wei = {MAX_GAS * fee}"
    yield f"max_cost_per_day_wei = {guardian.gas_per_day_wei}"
    if chain.liquidate:
        yield "liquidate = true  # anybody's position, by the contracts and with the assets below"
    if chain.routers:
        yield f"routers = [{', '.join(map(_text, chain.routers))}]"
    for address, kinds in chain.contracts.items():
        yield ""
        yield f"[[{table}.contracts]]"
        yield f"address = {_text(address)}"
        yield f"kinds = [{', '.join(map(_text, sorted(kinds)))}]"
        if markets := chain.markets.get(address):
            yield f"markets = [{', '.join(map(_text, markets))}]"
        if (token := chain.takes.get(address)) is not None:
            yield f"asset = {_text(token)}  # {_comment(chain.symbols[token])}, which this contract takes"
    for address, limits in chain.assets.items():
        yield ""
        yield f"[[{table}.assets]]  # {_comment(chain.symbols[address])}"
        yield f"address = {_text(address)}"
        yield f"per_action = {limits.per_action}"
        yield f"per_day = {limits.per_key_day}"
        more = chain.liquidate.get(address, AssetLimits(0, 0, 0))
        yield f"max_allowance = {min(limits.per_key_day + more.per_key_day, MAX_AMOUNT)}"
        if more.per_action:
            yield f"liquidate_per_action = {more.per_action}"
            yield f"liquidate_per_day = {more.per_key_day}"


def _text(value: str) -> str:
    import json

    return json.dumps(value)  # TOML's basic strings are JSON's, for all that may stand here


def _comment(symbol: str) -> str:
    """A token chooses its symbol itself."""
    return "".join(char for char in symbol[:32] if char.isascii() and char.isprintable())
