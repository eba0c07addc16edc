"""`levmon keys`: what the signer holds and may still spend; `init` sets it up, `adopt` accounts for a history."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import config_option, json_option
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.session import Open, Session
    from monitor.pipeline.guardians import Guardian, Protection
    from monitor.pipeline.signer_setup import ChainRules, KeySource


@click.group("keys", invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def command(ctx: click.Context, config_file: Path | None, as_json: bool) -> int | None:
    """What the signer holds: each key with its nonce, balance and limits on each chain of the file.

    Exits with 4 if the signer does not answer, lacks the guardian's key, or is stopped.
    """
    if ctx.invoked_subcommand is not None:
        return None
    return asyncio.run(_show(config_file, as_json))


async def _session(config_file: Path | None) -> Any:
    from monitor.cli.session import opened
    from monitor.cli.targets import Wanted

    return opened(Wanted(config_file=config_file, every_market=True))


async def _show(config_file: Path | None, as_json: bool) -> int:
    from monitor.cli.guarding import REFUSED, guardian_of
    from monitor.core.errors import SigningError
    from monitor.execution.killswitch import KillSwitch
    from monitor.signer.client import SignerClient

    async with await _session(config_file) as session:
        guardian = guardian_of(session.targets.config, session.targets.path)
        trouble, killed = "", False
        keys: tuple[str, ...] = (guardian.address,)
        try:
            status = await SignerClient(guardian.socket, {}, deadline_s=5).status()
            keys, killed = status.keys, status.killed
        except SigningError as silent:
            trouble = silent.message
        rows = [await _row(chain, guardian, key) for chain in session.chains for key in keys]
    stopped = KillSwitch(guardian.kill_file).thrown
    if not trouble and guardian.address not in keys:
        trouble = f"the signer has no key of the guardian {guardian.address}"
    if as_json:
        for row in rows:
            told = {"schema": "levmon.key/1", **row, "signer": trouble or "ready", "killed": killed or bool(stopped)}
            click.echo(json.dumps(told, separators=(",", ":")))
    else:
        _tell(rows, guardian, trouble, killed or bool(stopped))
    return REFUSED if trouble or killed or stopped else 0


async def _row(chain: Open, guardian: Guardian, key: str) -> dict[str, Any]:
    from monitor.core.units import format_units
    from monitor.journal.view import JournalView
    from monitor.pipeline.acting import ExecutionView

    view = ExecutionView(chain.chain)
    head = await view.head()
    account = await view.account(key, head, head)
    journal = JournalView(guardian.journal_url)
    spent = journal.totals(chain.chain_id, key, "", "", head.timestamp).key_gas_wei
    nonce = journal.next_nonce(chain.chain_id, key)
    holds = [hold.reason for hold in journal.holds() if hold.scope == f"signer:{chain.chain_id}:{key}"]
    return {
        "chain": chain.name,
        "chain_id": chain.chain_id,
        "address": key,
        "guardian": key == guardian.address,
        "nonce": str(account.nonce),
        "journal_nonce": None if nonce is None else str(nonce),
        "balance_wei": str(account.balance_wei),
        "balance": format_units(account.balance_wei, 18),
        "gas_today_wei": str(spent),
        "gas_per_day_wei": str(guardian.gas_per_day_wei),
        "min_reserve_wei": str(guardian.min_reserve_wei),
        "code": account.code,
        "holds": holds,
    }


def _tell(rows: Sequence[dict[str, Any]], guardian: Guardian, trouble: str, killed: bool) -> None:
    from monitor.core.units import format_units
    from monitor.policy.levels import decimal

    for row in rows:
        mark = "  (the guardian)" if row["guardian"] else ""
        click.echo(click.style(f"{row['address']} on {row['chain']}{mark}", bold=True))
        known = row["journal_nonce"]
        click.echo(f"   nonce {row['nonce']}, in the journal {known if known is not None else 'not yet known'}")
        reserve = format_units(int(row["min_reserve_wei"]), 18)
        click.echo(f"   balance {row['balance']}, of which {reserve} stay")
        spent, most = (format_units(int(row[name]), 18) for name in ("gas_today_wei", "gas_per_day_wei"))
        click.echo(f"   gas of the last 24 hours {spent}, at most {most}")
        for hold in row["holds"]:
            click.echo(f"   on hold: {hold}")
    config = guardian.config
    named = [(f"each asset, in {config.limits.unit}", config.limits)] if config.limits else []
    for name, limits in (*named, *config.assets.items()):
        told = " / ".join(decimal(x) for x in (limits.per_action, limits.per_position_day, limits.per_key_day))
        click.echo(f"limits of {name}: {told}  (action / position and day / key and day)")
    click.echo(f"signer: {trouble}" if trouble else "signer: ready")
    if killed:
        click.echo("the kill switch is on: levmon resume")


# -- init --------------------------------------------------------------------------------------------------------------


@command.command("init")
@click.option("--account", help="A keystore of Foundry or ape, by name.")
@click.option("--keystore", type=click.Path(path_type=Path), help="A keystore file.")
@click.option("--key-file", type=click.Path(path_type=Path), help="A file of mode 600 with the raw key.")
@click.option("--environment", is_flag=True, help="Foundry's ETH_KEYSTORE or ETH_KEYSTORE_ACCOUNT, ETH_PASSWORD.")
@click.option("--password-file", type=click.Path(path_type=Path), help="A file of mode 600.  [default: ask at start]")
@click.option("--force", is_flag=True, help="Overwrite signer.toml.")
@config_option
def init(
    account: str | None,
    keystore: Path | None,
    key_file: Path | None,
    environment: bool,
    password_file: Path | None,
    force: bool,
    config_file: Path | None,
) -> None:
    """Write signer.toml from levmon.toml, and begin the signer's record and the journal at the key's present nonce.

    A key itself is never an argument: name where it lies.
    """
    source = _source(account, keystore, key_file, environment, password_file)
    asyncio.run(_init(config_file, source, force))


def _source(
    account: str | None, keystore: Path | None, key_file: Path | None, environment: bool, password_file: Path | None
) -> KeySource:
    from monitor.pipeline.signer_setup import KeySource
    from monitor.signer.keys import looks_like_key

    given: list[tuple[str, str | bool | None]] = [
        ("account", account),
        ("keystore", str(keystore.expanduser().absolute()) if keystore else None),
        ("key_file", str(key_file.expanduser().absolute()) if key_file else None),
        ("environment", environment or None),
    ]
    chosen = [(name, value) for name, value in given if value is not None]
    if len(chosen) != 1:
        raise ConfigError("where is the key?", hint="give one of --account, --keystore, --key-file, --environment")
    [(name, value)] = chosen
    texts = [text for text in (account, keystore and keystore.name, key_file and key_file.name) if text]
    if any(looks_like_key(text) for text in texts):
        raise ConfigError("that is a key, and a key is never an argument", hint="put it into a keystore, and name that")
    password = str(password_file.expanduser().absolute()) if password_file else ""
    return KeySource(name, value, password)


async def _init(config_file: Path | None, source: KeySource, force: bool) -> None:
    from monitor.cli.guarding import guardian_of
    from monitor.pipeline.acting import ExecutionView
    from monitor.pipeline.guardians import protections
    from monitor.pipeline.signer_setup import signer_toml

    async with await _session(config_file) as session:
        config = session.targets.config
        guardian = guardian_of(config, session.targets.path)
        if guardian.signer_file.exists() and not force:
            raise ConfigError(f"{guardian.signer_file} is there already", hint="edit it, or overwrite it with --force")
        chains = [(chain, await _rules(chain, session, guardian, protections(config))) for chain in session.chains]
        chains = [(chain, rules) for chain, rules in chains if rules.owners]
        if not chains:
            raise ConfigError(
                "there is nothing to protect: no [[protect]] fits a position whose assets have limits",
                hint="add [[protect]] and [guardian.limits] to levmon.toml",
            )
        text = signer_toml(guardian, source, [rules for _, rules in chains])
        nonces = {}
        for chain, _ in chains:
            view = ExecutionView(chain.chain)
            head = await view.head()
            nonces[chain.chain_id] = (await view.account(guardian.address, head, head)).nonce
    write_setup(guardian, text, nonces)
    click.echo(f"wrote {guardian.signer_file}: read it, then start the signer with `levmon signer`")


async def _rules(chain: Open, session: Session, guardian: Guardian, protections: Sequence[Protection]) -> ChainRules:
    from monitor.cli.protecting import protected_subjects
    from monitor.pipeline import plans
    from monitor.pipeline.signer_setup import ChainRules

    rules = ChainRules(chain.chain_id)
    if guardian.config.liquidate is not None:
        await _allow_liquidations(rules, chain, session, guardian)
    subjects = protected_subjects(chain, session.targets, protections)
    if not subjects:
        return rules
    seen = await plans.outlook(
        chain.chain, list(subjects), guardian.address, session.memory, depth=chain.depth, guards=guardian.guards
    )
    for report in seen.snapshot.reports:
        choice = plans.options(seen, report, guardian, 1)
        if choice.why_none:
            raise ConfigError(f"{report.subject.market}/{report.owner}: {choice.why_none}")
        kinds = subjects[report.subject].kinds(report.subject.ref.protocol)
        rules.add(choice.steps, choice.limits, kinds)
        setup = guardian.guards.get(report.subject.ref)
        if setup is not None:
            rules.add_guard(setup, choice.steps, kinds)
    return rules


async def _allow_liquidations(rules: ChainRules, chain: Open, session: Session, guardian: Guardian) -> None:
    """Every market of the file that knows liquidations, told by what the guardian itself could do in it."""
    from monitor.core.liquidations import Token
    from monitor.core.registry import protocol as protocol_named
    from monitor.pipeline import plans
    from monitor.report import Subject

    subjects = [Subject(ref, name, guardian.address) for ref, name in chain.markets().items()]
    seen = await plans.outlook(chain.chain, subjects, guardian.address, session.memory, depth=chain.depth)
    for report in seen.snapshot.reports:
        templates = protocol_named(report.subject.ref.protocol).templates
        kinds = {one.function.partition(".")[0]: one.kind for one in templates if one.opt_in == "liquidate"}
        liquidator = guardian.liquidators.get(report.subject.ref)
        if not kinds:
            continue
        choice = plans.options(seen, report, guardian, 1)
        if choice.why_none or report.health is None:
            raise ConfigError(f"{report.subject.market}: {choice.why_none}")
        tokens = [Token(step.asset, step.symbol, step.decimals, step.price) for step in choice.steps]
        limits = guardian.liquidation_limits(tokens, report.health.unit)
        flash = kinds.pop("liquidator", "")
        rules.add_liquidations(choice.steps, limits, next(iter(kinds.values())))
        if liquidator is not None and flash:
            rules.contracts.setdefault(liquidator.contract, set()).add(flash)
            rules.routers[liquidator.router] = None


def write_setup(guardian: Guardian, text: str, nonces: dict[int, int]) -> None:
    """The file, a record that begins at these nonces if there is none, and the journal likewise."""
    import os

    from monitor.journal.store import Journal
    from monitor.signer import config as configuration
    from monitor.signer.signdb import SignDb

    parsed = configuration.parse(text, guardian.signer_file.name)
    now_s = int(time.time())
    with os.fdopen(os.open(guardian.signer_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    record = guardian.signer_file.parent / parsed.database
    db = SignDb(record)
    try:
        for chain_id, nonce in nonces.items():
            if db.watermark(chain_id, guardian.address) is None:
                db.initialise(chain_id, guardian.address, nonce, "initialised by hand", now_s)
    finally:
        db.close()
    journal = Journal(guardian.journal_url, now_s=now_s, holder="keys init")
    try:
        for chain_id, nonce in nonces.items():
            if journal.next_nonce(chain_id, guardian.address) is None:
                journal.adopt_signer(chain_id, guardian.address, nonce, now_s)
    finally:
        journal.close()


@command.command("adopt")
@config_option
@click.option("--yes", is_flag=True, help="You have looked at the key's transactions and can account for them.")
def adopt(config_file: Path | None, yes: bool) -> None:
    """Say that every transaction of the guardian's key up to now is accounted for, and lift the hold on the key.

    For a key with a history that the journal does not have, or that was used elsewhere meanwhile. The signer's own
    record may need `python -m monitor.signer --config signer.toml init` as well; it says so when it refuses.
    """
    if not yes:
        raise ConfigError("look at the key's transactions first", hint="then say so with --yes")
    asyncio.run(_adopt(config_file))


async def _adopt(config_file: Path | None) -> None:
    from monitor.cli.guarding import guardian_of
    from monitor.journal.store import Journal
    from monitor.pipeline.acting import ExecutionView

    async with await _session(config_file) as session:
        guardian = guardian_of(session.targets.config, session.targets.path)
        now_s = int(time.time())
        journal = Journal(guardian.journal_url, now_s=now_s, holder="keys adopt")
        try:
            for chain in session.chains:
                view = ExecutionView(chain.chain)
                head = await view.head()
                nonce = (await view.account(guardian.address, head, head)).nonce
                journal.adopt_signer(chain.chain_id, guardian.address, nonce, now_s)
                scope = f"signer:{chain.chain_id}:{guardian.address}"
                if any(hold.scope == scope for hold in journal.holds()):
                    journal.release(scope, now_s)
                click.echo(f"{guardian.address} on {chain.name}: everything below nonce {nonce} is accounted for")
        finally:
            journal.close()
