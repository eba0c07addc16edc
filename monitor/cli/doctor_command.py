"""`levmon doctor`: what could be wrong before anything is watched, each with how to mend it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.findings import Finding
from monitor.cli.options import json_option, source_options

if TYPE_CHECKING:
    from monitor.chain.rpc_chain import RpcChain
    from monitor.cli.targets import ChainTarget, Targets, Wanted
    from monitor.core.config import Config
    from monitor.core.types import BlockRef, MarketRef
    from monitor.pipeline.market import MarketState

SKEW_S = 30
STYLES: dict[str, dict[str, Any]] = {
    "ok": {"fg": "green"},
    "warn": {"fg": "yellow"},
    "bad": {"fg": "red", "bold": True},
}


@click.command("doctor")
@source_options
@json_option
def command(as_json: bool, **source: Any) -> int:
    """Check everything that could fail at night, and say how to mend what is wrong.

    The machine, configuration, endpoints, markets and their prices; with a guardian also the journal, the signer, the
    purse and whether each rescue would reach its target; and whether alert channels could be reached. Nothing is
    written or sent, and nobody is asked but what the file names.

    Exits with 2 if the configuration is wrong, with 3 if something that is needed cannot be used, else with 0.
    """
    from monitor.cli.targets import Wanted

    return asyncio.run(_doctor(Wanted(**source, every_market=True), as_json))


async def _doctor(wanted: Wanted, as_json: bool) -> int:
    codes = {0}
    async for finding in findings(wanted):
        codes.add(finding.exit_code)
        if as_json:
            told = asdict(finding)
            del told["exit_code"]
            click.echo(json.dumps({"schema": "levmon.finding/1", **told}))
        else:
            _show(finding)
    return 2 if 2 in codes else max(codes)


def _show(finding: Finding) -> None:
    from monitor.cli.screen import colour
    from monitor.core.text import clean

    word = click.style(f"{finding.state:<5}", **STYLES[finding.state])
    first, *more = (clean(line, 300) for line in finding.detail.split("\n"))
    click.echo(f"{word}{finding.check}: {first}", color=colour())
    for line in more:
        click.echo(f"     {line}")
    if finding.mend:
        click.echo(f"     -> {clean(finding.mend, 400)}")


async def findings(wanted: Wanted) -> AsyncIterator[Finding]:
    from monitor.cli.doctor_machine import machine
    from monitor.cli.targets import resolve
    from monitor.core.errors import ConfigError

    yield _cache()
    try:
        targets = resolve(wanted)
    except ConfigError as wrong:
        yield Finding("configuration", "bad", wrong.message, wrong.hint, wrong.exit_code)
        return
    yield _configuration(targets)
    for finding in machine(sum(len(target.urls) for target in targets.chains)):
        yield finding
    acts = targets.config is not None and targets.config.guardian is not None
    for target in targets.chains:
        async for finding in _chain(target, targets, acts=acts):
            yield finding
    async for finding in _besides(targets):
        yield finding


async def _chain(target: ChainTarget, targets: Targets, *, acts: bool) -> AsyncIterator[Finding]:
    from monitor.cli.doctor_endpoint import abilities, quorum, websocket

    best: tuple[RpcChain, BlockRef] | None = None
    answering = 0
    for url in target.urls:
        chain, found, block = await _endpoint(target, url.reveal(), str(url))
        for finding in found:
            yield finding
        if block is not None:
            answering += 1
            async for finding in abilities(f"endpoint {url}", chain, block, acts=acts):
                yield finding
        if block is not None and (best is None or block.number > best[1].number):
            if best is not None:
                await best[0].close()
            best = (chain, block)
        else:
            await chain.close()
    yield quorum(target.name, target.quorum, answering)
    for ws in target.ws:
        yield await websocket(ws)
    if best is not None:
        async for finding in _markets(target, *best, targets.config):
            yield finding
        if acts:
            async for finding in _acting(target, targets, *best):
                yield finding
        await best[0].close()


async def _acting(target: ChainTarget, targets: Targets, chain: RpcChain, block: BlockRef) -> AsyncIterator[Finding]:
    """The purse and the rescues on one chain."""
    from monitor.cli import doctor_acting
    from monitor.cli.guarding import guardian_of
    from monitor.cli.session import Open, subjects_of
    from monitor.core.errors import LevmonError
    from monitor.pipeline.beside import sources_of
    from monitor.pipeline.memory import DiskMemory, ShortMemory

    name = f"rescues on {target.name}"
    try:
        guardian = guardian_of(targets.config, targets.path)
        # an ENS name is never protected, and so needs not be looked up
        markets = [replace(one, owners=tuple(o for o in one.owners if not o.unresolved)) for one in target.markets]
        target = replace(target, markets=tuple(markets))
        opened = Open(target, chain, chain.chain_id, tuple(subjects_of(target, chain.chain_id, {})), block)
        opened = replace(opened, beside=sources_of(opened.markets(), targets.config))
        yield await doctor_acting.purse(opened, guardian)
        async for finding in doctor_acting.rescues(opened, targets, guardian, ShortMemory(DiskMemory())):
            yield finding
    except LevmonError as failed:
        yield Finding(name, "bad", failed.message, failed.hint or "see the endpoints above", 3)


async def _besides(targets: Targets) -> AsyncIterator[Finding]:
    """What is not of a chain: journals, the kill switch, the signer, channels."""
    from monitor.cli import doctor_acting
    from monitor.cli.doctor_alerts import channels
    from monitor.cli.guarding import guardian_of
    from monitor.cli.telling import journal_url

    config = targets.config
    if config is None:
        return
    base = (targets.path or Path()).absolute().parent
    if config.guardian is not None:
        guardian = guardian_of(config, targets.path)
        for finding in (*doctor_acting.journal(guardian.journal_url), *doctor_acting.stops(guardian)):
            yield finding
        async for finding in doctor_acting.signer(guardian):
            yield finding
    if config.alerts is not None and config.alerts.channels:
        for finding in doctor_acting.journal(journal_url(config.alerts, base), "alerts journal"):
            yield finding
    async for finding in channels(config.alerts):
        yield finding


def _cache() -> Finding:
    import tempfile

    from monitor.chain.cache import cache_home

    home = cache_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return Finding("cache", "ok", f"{home} can be written")
    except OSError as failed:
        mend = "every check is a cold one until it can be written; or name another directory with LEVMON_CACHE"
        return Finding("cache", "warn", f"{home}: {failed.strerror}", mend)


def _configuration(targets: Targets) -> Finding:
    markets = sum(len(chain.markets) for chain in targets.chains)
    positions = sum(len(market.owners) for chain in targets.chains for market in chain.markets)
    source = str(targets.path) if targets.path else "no file"
    return Finding("configuration", "ok", f"{source}; {markets} markets, {positions} positions")


async def _endpoint(target: ChainTarget, url: str, host: str) -> tuple[RpcChain, list[Finding], BlockRef | None]:
    from monitor.chain.rpc_chain import RpcChain
    from monitor.core.errors import ChainError

    name = f"endpoint {host}"
    chain = RpcChain(url, chain_id=target.chain_id)
    started = time.monotonic()
    try:
        block = await chain.block("latest")
    except ChainError as failed:
        mend = failed.hint or "check the URL, the key in it, and that this machine reaches it"
        return chain, [Finding(name, "bad", failed.message, mend, 3)], None
    took_ms = int((time.monotonic() - started) * 1000)
    found = [Finding(name, "ok", f"chain {block.chain_id}, block {block.number}, answered in {took_ms} ms")]
    found += _head(name, block)
    found.append(_multicall(name, chain))
    return chain, found, block


def _head(name: str, block: BlockRef) -> Iterator[Finding]:
    from monitor.chain.heads import max_age_s
    from monitor.cli.table import ago

    age_s = int(time.time()) - block.timestamp
    limit_s = max_age_s(block.chain_id)
    if age_s < -SKEW_S:
        mend = "set this machine's clock (NTP); on a local chain whose time was moved this is expected"
        yield Finding(f"{name}, clock", "warn", f"the newest block is {ago(age_s)}", mend)
    elif limit_s is not None and age_s > limit_s:
        mend = "the endpoint is out of sync or the chain stands still: use another; or this machine's clock is wrong"
        yield Finding(
            f"{name}, head", "bad", f"the newest block is {ago(age_s)}, the limit is {limit_s:.0f} s", mend, 3
        )
    else:
        yield Finding(f"{name}, head", "ok", f"the newest block is {ago(age_s)}")


def _multicall(name: str, chain: RpcChain) -> Finding:
    if chain.multicall:
        return Finding(f"{name}, Multicall3", "ok", "is there: many calls travel as one")
    return Finding(f"{name}, Multicall3", "ok", "is not on this chain; calls are bundled without it")


async def _markets(
    target: ChainTarget, chain: RpcChain, block: BlockRef, config: Config | None
) -> AsyncIterator[Finding]:
    from monitor.core.errors import ChainError
    from monitor.pipeline.beside import sources_of
    from monitor.pipeline.memory import DiskMemory, ShortMemory
    from monitor.pipeline.snapshot import read_markets

    names = {market.ref(chain.chain_id): market for market in target.markets}
    owners = {ref: [o.who for o in market.owners if not o.unresolved] for ref, market in names.items()}
    try:
        beside = sources_of(names, config)
        states = await read_markets(chain, owners, ShortMemory(DiskMemory()), block, beside)
    except ChainError as failed:
        yield Finding(f"markets on {target.name}", "bad", failed.message, failed.hint or "see the endpoints above", 3)
        return
    for ref, state in states.items():
        for finding in _market(f"market {names[ref].name}", state):
            yield finding
        for finding in _oracles(f"market {names[ref].name}, prices", ref, state, block):
            yield finding
        for finding in _sequencer(f"market {names[ref].name}, sequencer", state, block):
            yield finding
        for finding in _second(f"market {names[ref].name}, second prices", ref, state, block):
            yield finding


def _market(name: str, state: MarketState) -> Iterator[Finding]:
    if state.trouble or state.known is None:
        mend = (
            "check the address and chain (levmon protocols NAME lists known markets); levmon verify shows differences"
        )
        yield Finding(name, "bad", state.trouble or "nothing could be read", mend, 3)
        return
    confirmed = state.known.confirmation
    if confirmed is None:
        yield Finding(name, "ok", "its protocol has one rule version")
    else:
        shown = f"rules {confirmed.version} confirmed on {confirmed.borrowers} borrowers at block {confirmed.block}"
        yield Finding(name, "ok", shown)
    for note in state.notes:
        yield Finding(name, "warn", note, "gates of liquidation may be unknown; health is not affected")


def _oracles(name: str, ref: MarketRef, state: MarketState, block: BlockRef) -> Iterator[Finding]:
    from monitor.core.types import PriceStatus
    from monitor.pipeline.snapshot import prices_of

    prices = prices_of(ref, state, block)
    old = [price for price in prices if price.status(block.timestamp) is not PriceStatus.FRESH]
    for price in old:
        age = "not told" if price.updated_at is None else f"{block.timestamp - price.updated_at} s"
        mend = "the protocol itself goes on using it: judge whether you trust it"
        yield Finding(name, "warn", f"{price.asset} is {price.status(block.timestamp).value}, age {age}", mend)
    if prices and not old:
        known = [block.timestamp - price.updated_at for price in prices if price.updated_at is not None]
        oldest = f", the oldest {max(known)} s old" if known else ""
        yield Finding(name, "ok", f"{len(prices)} in use, all fresh{oldest}")


def _sequencer(name: str, state: MarketState, block: BlockRef) -> Iterator[Finding]:
    """Of a rollup, where its uptime feed is known."""
    from monitor.cli.table import ago
    from monitor.oracles.sequencer import remark

    uptime = state.beside.sequencer
    if uptime is None:
        return
    if told := remark(uptime, block.timestamp, state.beside.grace_s):
        mend = "a sequencer that stands still lets prices jump when it is back: see that nothing is near its threshold"
        yield Finding(name, "warn", told, mend)
    else:
        grace = state.beside.grace_s
        held = f"; most liquidations wait {grace} s after an outage" if grace else "; nothing waits after an outage"
        yield Finding(name, "ok", f"came up {ago(block.timestamp - uptime.since_s)}{'' if grace is None else held}")


def _second(name: str, ref: MarketRef, state: MarketState, block: BlockRef) -> Iterator[Finding]:
    """Second sources beside the prices in use."""
    from monitor.core.registry import protocol as protocol_named
    from monitor.pipeline.beside import doubts, strangers_told
    from monitor.pipeline.snapshot import prices_of

    if state.known is None or not state.beside.second:
        return
    symbols = protocol_named(ref.protocol).symbols(state.known.facts)
    unknown = strangers_told(state.beside, symbols)
    for why in unknown:
        yield Finding(name, "bad", why, "mend the name in second_prices: a symbol or an address", 2)
    prices = prices_of(ref, state, block)
    answers, places = {p.asset: p.answer for p in prices}, {p.asset: p.decimals for p in prices}
    found = doubts(state.beside, answers, symbols, places.__getitem__, block.timestamp)
    for why in found.values():
        yield Finding(name, "warn", why, "nothing is sold at such a price: judge which of the two is wrong")
    if not unknown and not found:
        yield Finding(name, "ok", f"{', '.join(state.beside.second)}: as the market's, where they are in use")
