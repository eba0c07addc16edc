"""`levmon protect`: the daemon. Watches, decides, and with --broadcast and an armed guardian rescues.

One task per chain looks at its heads; a tick in between carries open actions on and looks at the kill switch. SIGTERM
drains: nothing new is armed, and what was signed is sent, before it ends. SIGHUP reads the rules anew: what they
tighten holds at once, and an action that runs keeps the version that it began under.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import care_options, json_option, source_options
from monitor.cli.protect_events import Events
from monitor.cli.signals import at_signal, until_sigterm
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.attending import Attended, Care
    from monitor.cli.recording import Recording
    from monitor.cli.session import Open, Session
    from monitor.cli.targets import Wanted
    from monitor.cli.telling import BlocksOf
    from monitor.core.types import BlockRef
    from monitor.pipeline.events import Event
    from monitor.pipeline.guardians import Guardian, Protection
    from monitor.pipeline.protect import Guard
    from monitor.pipeline.telling import Teller
    from monitor.pipeline.watch import Tick
    from monitor.report import Subject

TICK_S = 0.5
DRAIN_S = 20.0


@click.command("protect")
@click.option("--broadcast", is_flag=True, help="Sign and send, if [guardian] says armed = true.")
@click.option("--count", type=click.IntRange(1), help="Stop after so many blocks.  [default: go on until SIGTERM]")
@click.option(
    "--heartbeat", type=click.FloatRange(0), default=60, show_default=True, help="Say so often that all is well."
)
@click.option(
    "--poll", type=click.FloatRange(0.05), help="Seconds between questions for a new block. [default: by chain]"
)
@source_options
@care_options
@json_option
def command(
    *,
    broadcast: bool,
    count: int | None,
    heartbeat: float,
    poll: float | None,
    as_json: bool,
    listen: str | None,
    listen_public: bool,
    log_json: bool,
    **source: Any,
) -> int:
    """Watch, decide and rescue, block by block, until SIGTERM or Ctrl-C.

    Dry without --broadcast: every decision is planned, simulated and shown, and nothing is signed. With it, and with
    armed = true in [guardian], the plan is journaled, signed by `levmon signer`, sent, and followed to finality.

    Starting is recovering: whatever an earlier run left half done is carried on first. SIGHUP reads the rules of
    [[protect]] anew; all else needs a restart.
    """
    from monitor.cli.attending import Care
    from monitor.cli.targets import Wanted

    care = Care(listen, listen_public, log_json)
    way = Way(broadcast, count, heartbeat, poll, as_json, care)
    return asyncio.run(_protect(Wanted(**source, every_market=True), way))


@dataclass(frozen=True, slots=True)
class Way:
    """How to protect: whether anything is sent, until when, how often, as what, and who looks after it."""

    broadcast: bool
    count: int | None
    heartbeat_s: float
    poll_s: float | None
    as_json: bool
    care: Care

    def events(self) -> Events:
        from monitor.cli.log_lines import LogLines
        from monitor.cli.sinks import JsonLines, Lines

        if self.as_json:
            return Events(True, JsonLines())
        return (
            Events(True, LogLines(self.heartbeat_s)) if self.care.log_json else Events(False, Lines(self.heartbeat_s))
        )


async def _protect(wanted: Wanted, way: Way) -> int:
    from monitor.cli.attending import attended, board_of
    from monitor.cli.guarding import guardian_for, require_armed
    from monitor.cli.protecting import protected_subjects
    from monitor.cli.recording import recording
    from monitor.cli.resources import require_machine
    from monitor.cli.sending import open_acting
    from monitor.cli.session import opened
    from monitor.cli.telling import telling
    from monitor.pipeline.guardians import protections
    from monitor.pipeline.protect import Guard
    from monitor.policy.levels import exit_code

    async with opened(wanted) as session:
        guardian = guardian_for(session.targets, None)
        require_machine(sum(len(chain.chain.pool.endpoints) for chain in session.chains))
        config = session.targets.config
        rules = protections(config) if config is not None else ()
        if way.broadcast:
            require_armed(guardian)
        sink = way.events()
        with ExitStack() as stack:
            rounds: list[Round] = []
            journal = None
            for chain in session.chains:
                subjects = protected_subjects(chain, session.targets, rules)
                if not subjects:
                    continue
                acting = None
                if way.broadcast:
                    acting = stack.enter_context(open_acting(session, chain, guardian, journal))
                    journal = acting.journal
                by_id = {subject.id: protection for subject, protection in subjects.items()}
                rounds.append(
                    Round(chain, subjects, Guard(guardian, by_id, chain.chain, acting), way.count, way.poll_s)
                )
            if not rounds:
                raise ConfigError("no position is protected", hint="add [[protect]] to levmon.toml")
            sink.begin([(one.chain, len(one.subjects)) for one in rounds], guardian, way.broadcast)
            count = sum(len(one.subjects) for one in rounds)
            what = f"protect ({count} position{'' if count == 1 else 's'}, {'armed' if way.broadcast else 'dry'})"
            followed = {one.chain.name: (one.chain, tuple(one.subjects)) for one in rounds}
            board = board_of("protect", followed, armed=way.broadcast)
            does = _does(rounds, way.broadcast)
            kept = stack.enter_context(recording(session.targets, sink.alerts))
            async with (
                attended(way.care, board, sink.alerts) as care,
                telling(session, journal, sink.alerts, does, what) as teller,
            ):
                care.depends_on(teller, journal, guardian if way.broadcast else None)
                await _run(session, guardian, rounds, sink, teller, care, kept)
        return exit_code(sink.lines.levels())


def _does(rounds: list[Round], broadcast: bool) -> Callable[[str], str]:
    """What levmon does about a position, in words for an alert."""
    from monitor.policy.levels import decimal

    rules = {subject.id: protection.rule for one in rounds for subject, protection in one.subjects.items()}

    def does(position_id: str) -> str:
        rule = rules.get(position_id)
        if rule is None:
            return "only watches this position"
        how = "rescues" if broadcast else "is dry: it plans, but signs nothing,"
        return f"{how} below {decimal(rule.trigger)}, to {decimal(rule.target)}"

    return does


@dataclass(frozen=True, slots=True)
class Round:
    """One chain and its guard. `count`: after how many blocks to stop, if ever."""

    chain: Open
    subjects: Mapping[Subject, Protection]
    guard: Guard
    count: int | None
    poll_s: float | None


async def _run(
    session: Session,
    guardian: Guardian,
    rounds: list[Round],
    sink: Events,
    teller: Teller | None,
    care: Attended,
    kept: Recording,
) -> None:
    """Every chain until SIGTERM, or one of them has shown `count` blocks; then drain."""
    from monitor.pipeline.watchdog import Watchdog

    reread = at_signal(signal.SIGHUP, lambda: _reread(session, rounds, sink))
    async with until_sigterm() as stop, reread, Watchdog():
        tasks = [
            asyncio.create_task(_follow(session, guardian, one, Told(one.chain, sink, teller, care, kept), stop))
            for one in rounds
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            for task in done:
                task.result()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _reread(session: Session, rounds: list[Round], sink: Events) -> None:
    """The rules of the file as it is now; one that is wrong changes nothing."""
    from monitor.cli.protecting import reread
    from monitor.core.errors import LevmonError

    for one in rounds:
        try:
            said = one.guard.adopt(reread(one.chain, session.targets)) or ["the rules were read anew"]
        except LevmonError as error:
            said = [f"the rules stay as they were: {error.message}"]
        sink.note(one.chain, "rules", "; ".join(said))


async def _follow(session: Session, guardian: Guardian, one: Round, told: Told, stop: asyncio.Event) -> None:
    """One chain: heads as they come, and between them a tick for what is open."""
    from monitor.chain.heads import Trouble
    from monitor.cli.newest import newest_heads, next_head
    from monitor.cli.telling import BlocksOf
    from monitor.pipeline.plans import outlook
    from monitor.pipeline.snapshot import failed
    from monitor.pipeline.watch import Tick

    chain, guard, subjects = one.chain, one.guard, list(one.subjects)
    blocks = BlocksOf(session, chain)
    seen = 0
    last: BlockRef | None = None
    told.tell(await guard.step(), last)  # recovery comes before the first look
    async with newest_heads(chain, one.poll_s) as newest:
        while not stop.is_set():
            event = await next_head(newest, TICK_S)
            if event is None:
                events = guard.check_kill_switch()
                if guard.busy:
                    events += await guard.step()
                told.tell(events, last)
                continue
            if isinstance(event, Trouble):
                told.show(Tick(failed(subjects, event.error, last), trouble=event.error))
                continue
            look = await outlook(
                chain.chain,
                subjects,
                guardian.address,
                session.memory,
                "latest",
                chain.depth,
                first=event.block,
                guards=guardian.guards,
            )
            last = look.snapshot.block or event.block
            if event.reorg is not None:
                await told.settle(blocks, reorganised=True)
            told.show(Tick(look.snapshot, event.skipped, event.reorg))
            told.tell(await guard.look(look), last)
            await told.settle(blocks)
            seen += 1
            if one.count is not None and seen >= one.count:
                return
    await _drain(guard, told, last)


async def _drain(guard: Guard, told: Told, last: BlockRef | None) -> None:
    """Nothing new is armed; what may have been signed is sent, or left for the next start after a while."""
    guard.draining = told.care.board.draining = True
    end = asyncio.get_running_loop().time() + DRAIN_S
    while guard.in_flight and asyncio.get_running_loop().time() < end:
        told.tell(await guard.step(), last)
        await asyncio.sleep(TICK_S)


@dataclass(frozen=True, slots=True)
class Told:
    """Where one chain's news goes: to the output, into the history, and to the channels where there are any."""

    chain: Open
    sink: Events
    teller: Teller | None
    care: Attended
    kept: Recording

    def show(self, tick: Tick) -> None:
        """A snapshot: shown, and its changes of level told before anything is done about them."""
        self.sink.show(self.chain, tick)
        self.care.saw(self.chain.name, tick)
        if self.teller is not None:
            self.teller.look(tick.snapshot.reports, tick.snapshot.block, tick.snapshot.outage)
        self.kept.see(self.chain, tick)

    def tell(self, events: list[Event], block: BlockRef | None) -> None:
        self.sink.tell(self.chain, events, block)
        if self.teller is not None:
            self.teller.tell(events, block)

    async def settle(self, blocks: BlocksOf, *, reorganised: bool = False) -> None:
        """Correct what rested on blocks that are gone."""
        if self.teller is not None:
            await self.teller.settle(self.chain.chain_id, blocks, reorganised=reorganised)
