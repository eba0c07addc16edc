"""What `levmon protect` prints: lines for people, objects of schema `levmon.event/1` for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from monitor.cli import screen

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.sinks import Sink
    from monitor.core.types import BlockRef
    from monitor.pipeline.events import Decided, Event
    from monitor.pipeline.guardians import Guardian
    from monitor.pipeline.watch import Tick


class Events:
    """Prints what happens to the chains of one run."""

    def __init__(self, as_json: bool, lines: Sink) -> None:
        self._json, self.lines = as_json, lines

    def begin(self, chains: list[tuple[Open, int]], guardian: Guardian, broadcast: bool) -> None:
        """What is protected, by whom, and whether anything will be sent."""
        mode = "armed: rescues are signed and sent" if broadcast else "dry: nothing is signed (--broadcast arms it)"
        for chain, count in chains:
            text = f"{count} position{'' if count == 1 else 's'} protected from {guardian.address}; {mode}"
            self._say(chain, None, "started", text, {"positions": count, "armed": broadcast})

    def note(self, chain: Open, kind: str, text: str) -> None:
        """Something about the run itself."""
        from monitor.core.text import clean

        self._say(chain, None, kind, clean(text, 1000), {})

    def show(self, chain: Open, tick: Tick) -> None:
        """Health, as `levmon watch` shows it."""
        self.lines.show(chain.name, tick)
        if self._json and tick.trouble is not None:
            self._say(chain, tick.snapshot.block, "trouble", tick.trouble.message, {})

    def alerts(self, text: str) -> None:
        """How the channels fare."""
        if self._json:
            text = json.dumps({"schema": "levmon.event/1", "kind": "alerts", "text": text}, separators=(",", ":"))
        screen.log(text)

    def tell(self, chain: Open, events: list[Event], block: BlockRef | None) -> None:
        """Decisions and what became of them."""
        for event in events:
            for kind, text, fields in described(event):
                self._say(chain, block, kind, text, fields)

    def _say(self, chain: Open, block: BlockRef | None, kind: str, text: str, fields: dict[str, Any]) -> None:
        if self._json:
            number = None if block is None else str(block.number)
            told = {"schema": "levmon.event/1", "chain": chain.name, "block": number, "kind": kind, **fields}
            screen.log(json.dumps({**told, "text": click.unstyle(text)}, separators=(",", ":")))
        else:
            screen.log(f"{chain.name} {block.number if block else '-'}  {text}")


def described(event: Event) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(kind, line, fields) of an event."""
    from monitor.cli.sending import standing_dict, standing_line
    from monitor.core.text import clean
    from monitor.pipeline.carry import Standing
    from monitor.pipeline.events import Concerned, Decided, Disputed, Forbidden, Held, Missing, Moved, Suspect, Unready
    from monitor.policy.rules import LevelChange

    match event:
        case Decided():
            yield from _decided(event)
        case Moved(action, why):
            standing = Standing(action, why)
            yield "action", f"action {action.id}  {standing_line(standing)}", standing_dict(standing)
        case Held(why):
            text = f"acting is held: {clean(why, 400)}" if why else "acting goes on"
            yield "held", click.style(text, fg="magenta", bold=True), {"why": clean(why, 400)}
        case Missing(subject, symbols):
            names = ", ".join(clean(symbol, 20) for symbol in symbols)
            text = f"{subject.market}/{subject.owner}: no allowance for {names}; see levmon approve"
            yield "allowance", text, {"position": subject.id, "symbols": [clean(one, 20) for one in symbols]}
        case Forbidden(subject, reasons):
            said = [clean(one, 200) for one in reasons]
            text = (
                f"its owner must act: {'; '.join(said)}; see levmon guard" if said else "its owner lets the guard act"
            )
            yield "forbidden", f"{subject.market}/{subject.owner}: {text}", {"position": subject.id, "reasons": said}
        case Unready(subject, why, helpless):
            told = f"a rescue would fall short: {clean(why, 400)}" if why else "a rescue would reach its target again"
            fields = {"position": subject.id, "why": clean(why, 400), "helpless": helpless}
            yield "unready", click.style(f"{subject.market}/{subject.owner}: {told}", fg="yellow"), fields
        case Concerned(text):
            yield "concern", click.style(clean(text, 400), fg="yellow"), {}
        case Suspect(subject, why):
            text = f"{subject.market}/{subject.owner}: {clean(why, 400) or 'its prices are believed again'}"
            yield "suspect", click.style(text, fg="red", bold=True), {"position": subject.id, "why": clean(why, 400)}
        case Disputed(subject, why):
            told = f"nothing is sold: {clean(why, 400)}" if why else "its prices are confirmed again"
            text = f"{subject.market}/{subject.owner}: {told}"
            yield "price", click.style(text, fg="yellow"), {"position": subject.id, "why": clean(why, 400)}
        case LevelChange():
            return  # the table's lines tell those


def _decided(event: Decided) -> Iterator[tuple[str, str, dict[str, Any]]]:
    from monitor.cli.guarding import plan_dict, refusal_dict, simulation_text
    from monitor.core.text import clean

    who, decision, plan = f"{event.subject.market}/{event.subject.owner}", event.decision, event.plan
    fields: dict[str, Any] = {
        "position": decision.position_id,
        "rule": decision.rule,
        "cause": decision.cause,
        "plan": None if plan is None else plan_dict(plan),
        "refused": [refusal_dict(refusal) for refusal in event.proposal.refused],
        "said": clean(event.said, 400),
        "action": None if event.action is None else event.action.id,
    }
    text = (
        f"{who}: {clean(decision.cause, 200)}; {clean(plan.why, 400) if plan else f'no plan: {clean(event.said, 400)}'}"
    )
    if plan is None:
        text += "".join(f"\n    {clean(str(refusal), 300)}" for refusal in event.proposal.refused)
    elif event.simulated is not None:
        passes, said = simulation_text(event.simulated, plan.intent)
        fields |= {"simulation": said, "passes": passes}
        text += f"\n    dry: simulated, {said}; nothing is signed"
        if "; " in event.said:
            text += f"\n    {clean(event.said.partition('; ')[2], 400)}"
    yield "decision", click.style(text, bold=True), fields
