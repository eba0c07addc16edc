"""When to act on a position: one rule, what has been observed, and what is to be done about it. A pure state machine.

Time is chain time, from the blocks that observations carry. What is unknown neither starts an action nor forgets what
was seen before it; nothing is ever decided on it. One action of a rule runs at a time, and keeps the version of the
rule that it was started under.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from fractions import Fraction

from monitor.core.errors import ConfigError
from monitor.core.thresholds import DEFAULT, Thresholds
from monitor.core.types import BlockRef, Health, Known, Level, Unknown
from monitor.core.units import format_units
from monitor.policy.levels import URGENCY, below, decimal, level

JUMP = 4
"""A price that is so many times what it was a block ago, or that part of it, is rather a mistake than a market."""


OUTAGE_S = 600
"""After so long without a block, the next one is not waited for: liquidators do not wait either."""


class Aim(StrEnum):
    """What a decision asks for."""

    RAISE = "raise"
    """Bring health to the rule's target."""
    STOP_LOSS = "stop-loss"
    TAKE_PROFIT = "take-profit"
    """Close the position. Decided here; which plan does it, if any, is the planner's to say."""


@dataclass(frozen=True, slots=True)
class PriceLine:
    """A price that calls for an end: at or below it, or at or above it if `above`. Raw, as observations have it.

    `decimals` of it are told to people. After it was crossed it counts again once the price has been back on the good
    side by `rearm` of itself.
    """

    key: str
    price: int
    above: bool = False
    rearm: Fraction = Fraction(1, 50)
    decimals: int = 0

    def crossed(self, price: int) -> bool:
        return price >= self.price if self.above else price <= self.price

    def recovered(self, price: int) -> bool:
        """Back on the good side by the margin, exactly."""
        gap = Fraction(price - self.price, self.price)
        return (-gap if self.above else gap) >= self.rearm


@dataclass(frozen=True, slots=True)
class Rule:
    """What its owner wants for the positions of a selector. Thresholds are exact; times in seconds of the chain.

    An action starts when health < trigger was seen `confirm` times in a row, or health < hard_trigger once.
    `cooldown_s` is the rest after a success, which the hard trigger cuts short; `retry_s` the rest after a failure or
    a refusal, which nothing cuts short; after `failures` failures in a row the position is held until somebody releases
    it. An action that was declined comes again once health has been at `rearm`, or below the hard trigger.
    `band` is the part by which health must be above a threshold before its level is left for a better one. While a
    price is in doubt nothing starts, or with `trust_jumps` only what moves nothing but the debt.
    """

    name: str
    version: int
    selector: str
    trigger: Fraction
    target: Fraction
    hard_trigger: Fraction = Fraction(0)
    rearm: Fraction = Fraction(0)
    confirm: int = 2
    cooldown_s: int = 600
    retry_s: int = 60
    failures: int = 3
    levels: Thresholds = DEFAULT
    band: Fraction = Fraction(1, 100)
    stop_loss: PriceLine | None = None
    take_profit: PriceLine | None = None
    trust_jumps: bool = False

    def wrong(self) -> str:
        """What is wrong with it, or nothing."""
        if not Fraction(1) < self.trigger < self.target:
            return f"{self.name}: 1 < trigger < target must hold"
        if not 0 <= self.hard_trigger <= self.trigger:
            return f"{self.name}: the hard trigger lies between 0 and the trigger"
        if self.rearm and not self.trigger <= self.rearm <= self.target:
            return f"{self.name}: rearm lies between the trigger and the target"
        if self.confirm < 1 or self.failures < 1 or min(self.cooldown_s, self.retry_s) < 0:
            return f"{self.name}: confirm and failures are at least 1, and no time is negative"
        if not 0 <= self.band < 1:
            return f"{self.name}: the band lies between 0 and 1"
        lines = [line for line in (self.stop_loss, self.take_profit) if line]
        if any(line.price <= 0 or line.rearm < 0 for line in lines):
            return f"{self.name}: a price line is above 0, its rearm not negative"
        return self.levels.wrong()

    def checked(self) -> Rule:
        """Itself. May raise: ConfigError."""
        if wrong := self.wrong():
            raise ConfigError(wrong)
        return self

    @property
    def rearm_at(self) -> Fraction:
        """Where a declined action is forgotten; by default half way to the target."""
        return self.rearm or Fraction(self.trigger + self.target, 2)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of the position at one block. `marks`: prices as price lines have them, where those are others."""

    block: BlockRef
    health: Health
    prices: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, int] = field(default_factory=dict)

    def mark(self, line: PriceLine) -> int | None:
        """The price that a line is compared with."""
        return self.marks.get(line.key, self.prices.get(line.key))


@dataclass(frozen=True, slots=True)
class Decision:
    """To act now. `version` is the rule's; `cause` says why in words; `target` is the health wanted (RAISE)."""

    position_id: str
    block: BlockRef
    rule: str
    version: int
    aim: Aim
    cause: str
    target: Fraction | None = None


@dataclass(frozen=True, slots=True)
class LevelChange:
    """The position's level is not what it was."""

    position_id: str
    block: BlockRef
    level: Level
    was: Level
    cause: str


class Outcome(StrEnum):
    """How an action ended."""

    DONE = "done"
    FAILED = "failed"
    DECLINED = "declined"
    """Nothing was sent: dry, refused by somebody, or no longer needed."""


@dataclass(frozen=True, slots=True)
class Watch:
    """All that is remembered of one position under one rule. `pending` replaces `rule` when the running action ends."""

    position_id: str
    rule: Rule
    pending: Rule | None = None
    running: int | None = None
    """The version of the rule that the running action was started under."""
    running_aim: Aim | None = None
    level: Level = Level.OK
    seen: BlockRef | None = None
    streak: int = 0
    declined: bool = False
    ready_at_s: int = 0
    patient: bool = False
    """The rest until `ready_at_s` is not cut short by the hard trigger."""
    failed: int = 0
    fired: tuple[Aim, ...] = ()
    """Price lines that were crossed and have not been left behind since."""
    prices: Mapping[str, int] = field(default_factory=dict)
    """The last of each that was not in doubt."""
    doubted: tuple[str, ...] = ()
    """Keys of prices that jumped beyond belief, and have not come back."""

    @property
    def held(self) -> bool:
        """Failed too often: nothing starts before `release`."""
        return self.failed >= self.rule.failures


# -- what happens ------------------------------------------------------------------------------------------------------


def observe(watch: Watch, seen: Observation) -> tuple[Watch, LevelChange | None, Decision | None]:
    """Take in one observation. The same block twice changes nothing; one that is not newer starts the count anew."""
    last = watch.seen
    if last is not None and last.hash == seen.block.hash:
        return watch, None, None
    dark = last is not None and seen.block.timestamp - last.timestamp > OUTAGE_S
    streak = 0 if last is not None and seen.block.number <= last.number else watch.streak
    now, cause = steady(watch.level, seen.health, watch.rule.levels, watch.rule.band)
    change = None if now is watch.level else LevelChange(watch.position_id, seen.block, now, watch.level, cause)
    prices, doubted = _doubt(watch, seen)
    watch = replace(
        watch,
        seen=seen.block,
        level=now,
        streak=_recount(streak, watch.rule, seen),
        declined=watch.declined and not _recovered(watch.rule, seen),
        fired=tuple(aim for aim in watch.fired if not _back(watch.rule, aim, seen)),
        prices=prices,
        doubted=doubted,
    )
    decision = _decide(watch, seen, 1 if dark else watch.rule.confirm)
    if decision is not None:
        fired = watch.fired if decision.aim is Aim.RAISE else (*watch.fired, decision.aim)
        watch = replace(watch, running=decision.version, running_aim=decision.aim, fired=fired)
    return watch, change, decision


def settle(watch: Watch, outcome: Outcome, at_s: int) -> Watch:
    """The running action ended at `at_s`, chain time. A rule that was waiting for it applies from now on."""
    if watch.running is None:
        return watch
    rule = watch.pending or watch.rule
    failed = outcome is Outcome.FAILED
    rest_s = {Outcome.DONE: rule.cooldown_s, Outcome.FAILED: rule.retry_s, Outcome.DECLINED: rule.retry_s}[outcome]
    # an end that failed is tried again; a line that was acted upon waits until the price has recovered
    fired = tuple(aim for aim in watch.fired if not (failed and aim is watch.running_aim))
    return replace(
        watch,
        rule=rule,
        pending=None,
        running=None,
        running_aim=None,
        streak=0,
        declined=outcome is Outcome.DECLINED and watch.running_aim is Aim.RAISE,
        ready_at_s=max(watch.ready_at_s, at_s + rest_s),
        patient=outcome is not Outcome.DONE,
        failed={Outcome.DONE: 0, Outcome.FAILED: watch.failed + 1, Outcome.DECLINED: watch.failed}[outcome],
        fired=fired,
    )


def release(watch: Watch) -> Watch:
    """Somebody has looked into the failures."""
    return replace(watch, failed=0, patient=False)


def adopt(watch: Watch, new: Rule) -> Watch:
    """A new version of the rule. What it tightens applies at once, all of it once no action is running.

    May raise: ConfigError for a rule that is wrong.
    """
    new.checked()
    if watch.running is None:
        return replace(watch, rule=new, pending=None, declined=watch.declined and new.trigger <= watch.rule.trigger)
    return replace(watch, rule=tightened(watch.rule, new), pending=new)


HIGHER = ("trigger", "target", "hard_trigger")
LOWER = ("confirm", "cooldown_s", "retry_s", "failures")


def tightened(old: Rule, new: Rule) -> Rule:
    """The old rule with what the new one tightens: acts sooner, more often, to a higher health; gives up sooner.

    Price lines and levels are neither tighter nor looser: they are the new ones at once.
    """
    changes = {name: max(getattr(old, name), getattr(new, name)) for name in HIGHER}
    changes |= {name: min(getattr(old, name), getattr(new, name)) for name in LOWER}
    rest = {
        name: getattr(new, name) for name in (f.name for f in fields(Rule)) if name not in {*HIGHER, *LOWER, "rearm"}
    }
    mixed = replace(old, **rest, **changes)
    rearm = min(max(new.rearm or old.rearm, mixed.trigger), mixed.target) if new.rearm or old.rearm else Fraction(0)
    return replace(mixed, rearm=rearm)


# -- the parts of an observation ---------------------------------------------------------------------------------------


def _recount(streak: int, rule: Rule, seen: Observation) -> int:
    verdict = seen.health.verdict
    if isinstance(verdict, Known):
        return streak + 1 if below(verdict, rule.trigger) else 0
    # without debt nothing is wrong; what is unknown says nothing about the count
    return streak if isinstance(verdict, Unknown) else 0


def steady(was: Level, health: Health, thresholds: Thresholds, band: Fraction) -> tuple[Level, str]:
    """The level with hysteresis, and its cause: worse at once, better only when `band` above the threshold."""
    now, cause = level(health, thresholds)
    if Level.UNKNOWN in (was, now) or URGENCY.index(now) <= URGENCY.index(was):
        return now, cause
    raised = Thresholds(*(getattr(thresholds, f.name) * (1 + band) for f in fields(Thresholds)))
    strict, _ = level(health, raised)
    if URGENCY.index(strict) > URGENCY.index(was):
        return strict, cause
    return was, f"{cause}, by less than the band"


def _recovered(rule: Rule, seen: Observation) -> bool:
    verdict = seen.health.verdict
    return isinstance(verdict, Known) and not below(verdict, rule.rearm_at)


def _back(rule: Rule, aim: Aim, seen: Observation) -> bool:
    """The price is back behind the line that was acted upon, or there is no such line any more."""
    line = {Aim.STOP_LOSS: rule.stop_loss, Aim.TAKE_PROFIT: rule.take_profit}[aim]
    if line is None:
        return True
    price = seen.mark(line)
    return price is not None and line.recovered(price)


def _doubt(watch: Watch, seen: Observation) -> tuple[Mapping[str, int], tuple[str, ...]]:
    """The prices that are believed, by key, and the keys of those that jumped."""
    doubted = tuple(
        key
        for key, price in seen.prices.items()
        if (before := watch.prices.get(key)) and not before <= price * JUMP <= before * JUMP * JUMP
    )
    believed = {key: price for key, price in seen.prices.items() if key not in doubted}
    return {**watch.prices, **believed}, doubted


def _decide(watch: Watch, seen: Observation, confirm: int) -> Decision | None:
    if watch.running is not None or watch.held or isinstance(seen.health.verdict, Unknown):
        return None
    if watch.doubted and not watch.rule.trust_jumps:
        return None
    verdict, rule, now_s = seen.health.verdict, watch.rule, seen.block.timestamp
    hard = isinstance(verdict, Known) and below(verdict, rule.hard_trigger)
    resting = now_s < watch.ready_at_s and (watch.patient or not hard)
    if resting or not isinstance(verdict, Known):
        return None
    lines = () if watch.doubted else ((Aim.STOP_LOSS, rule.stop_loss), (Aim.TAKE_PROFIT, rule.take_profit))
    for aim, line in lines:
        price = seen.mark(line) if line else None
        if line and price is not None and price > 0 and line.crossed(price) and aim not in watch.fired:
            side = "at or above" if line.above else "at or below"
            now, mark = (format_units(one, line.decimals) for one in (price, line.price))
            return _decision(watch, seen, aim, f"the price of {line.key} is {now}, {side} {mark}")
    if hard:
        return _decision(watch, seen, Aim.RAISE, f"health is below the hard trigger {decimal(rule.hard_trigger)}")
    if watch.streak >= confirm and not watch.declined:
        cause = f"health was below {decimal(rule.trigger)} in {watch.streak} observations in a row"
        return _decision(watch, seen, Aim.RAISE, cause)
    return None


def _decision(watch: Watch, seen: Observation, aim: Aim, cause: str) -> Decision:
    rule = watch.rule
    target = rule.target if aim is Aim.RAISE else None
    return Decision(watch.position_id, seen.block, rule.name, rule.version, aim, cause, target)
