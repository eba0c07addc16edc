from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.core.errors import ConfigError
from monitor.core.thresholds import Thresholds
from monitor.core.types import BlockRef, Health, Known, Level, NoDebt, Unit, Unknown, Verdict
from monitor.policy.rules import (
    OUTAGE_S,
    Aim,
    Decision,
    Observation,
    Outcome,
    PriceLine,
    Rule,
    Watch,
    adopt,
    observe,
    release,
    settle,
    steady,
    tightened,
)
from monitor.policy.selectors import choose, matches

ID = "eip155:1/aave-v3/0xMarket/0xOwner"
RULE = Rule(
    name="mine",
    version=1,
    selector=ID,
    trigger=Fraction("1.2"),
    target=Fraction("1.6"),
    hard_trigger=Fraction("1.05"),
    confirm=2,
    cooldown_s=600,
    retry_s=60,
    failures=3,
)


def block(number: int, *, fork: str = "a", at_s: int | None = None) -> BlockRef:
    return BlockRef(1, number, f"0x{fork}{number}", f"0x{fork}{number - 1}", at_s if at_s is not None else number * 12)


def health(value: str | Verdict) -> Health:
    verdict = value if not isinstance(value, str) else Known(int(Fraction(value) * 10**18), 10**18)
    return Health(ID, block(1), verdict, Unit("USD", 8))


def seen(number: int, value: str | Verdict, at_s: int | None = None, fork: str = "a", **prices: int) -> Observation:
    return Observation(block(number, fork=fork, at_s=at_s), health(value), prices)


def feed(watch: Watch, *observations: Observation) -> tuple[Watch, list[Decision]]:
    decisions = []
    for one in observations:
        watch, _, decision = observe(watch, one)
        if decision:
            decisions.append(decision)
    return watch, decisions


def test_it_acts_after_enough_observations_in_a_row() -> None:
    watch, decisions = feed(Watch(ID, RULE), seen(1, "1.19"))
    assert decisions == []
    watch, decisions = feed(watch, seen(2, "1.21"), seen(3, "1.19"))
    assert decisions == []
    watch, (decision,) = feed(watch, seen(4, "1.199999"))
    assert (decision.aim, decision.target, decision.version) == (Aim.RAISE, RULE.target, 1)
    assert watch.running == 1


def test_the_trigger_itself_is_not_below_it() -> None:
    assert feed(Watch(ID, RULE), *(seen(n, "1.2") for n in range(1, 9)))[1] == []


def test_the_hard_trigger_needs_no_second_look() -> None:
    assert len(feed(Watch(ID, RULE), seen(1, "1.0499"))[1]) == 1


def test_one_action_at_a_time() -> None:
    assert len(feed(Watch(ID, RULE), *(seen(n, "0.99") for n in range(1, 30)))[1]) == 1


def test_the_same_block_counts_once() -> None:
    assert feed(Watch(ID, RULE), seen(1, "1.1"), seen(1, "1.1"), seen(1, "1.1"))[1] == []


def test_a_reorg_starts_the_count_anew() -> None:
    watch, decisions = feed(Watch(ID, RULE), seen(5, "1.1"), seen(5, "1.1", fork="b"))
    assert decisions == []
    assert watch.streak == 1
    assert len(feed(watch, seen(6, "1.1", fork="b"))[1]) == 1


def test_what_is_unknown_neither_acts_nor_forgets() -> None:
    watch, decisions = feed(
        Watch(ID, RULE), seen(1, "1.1"), seen(2, Unknown("no answer")), seen(3, Unknown("no answer"))
    )
    assert decisions == []
    assert watch.level is Level.UNKNOWN
    assert len(feed(watch, seen(4, "1.1"))[1]) == 1


def test_without_debt_there_is_nothing_to_do() -> None:
    watch, decisions = feed(Watch(ID, RULE), seen(1, "1.1"), seen(2, NoDebt()), seen(3, "1.1"))
    assert decisions == []
    assert watch.streak == 1


def test_after_a_success_it_rests_unless_the_hard_trigger_is_reached() -> None:
    watch, _ = feed(Watch(ID, RULE), seen(1, "1.0"))
    watch = settle(watch, Outcome.DONE, 100)
    watch, decisions = feed(watch, *(seen(n, "1.1", at_s=n * 12) for n in range(10, 58)))
    assert decisions == []
    assert len(feed(watch, seen(60, "1.1", at_s=700))[1]) == 1
    assert len(feed(watch, seen(60, "1.04", at_s=699))[1]) == 1


def test_after_a_failure_it_waits_whatever_the_health_and_is_held_in_the_end() -> None:
    watch, now_s = Watch(ID, RULE), 0
    for failure in range(3):
        watch, decisions = feed(watch, seen(10 * failure + 1, "1.0", at_s=now_s))
        assert len(decisions) == 1
        watch = settle(watch, Outcome.FAILED, now_s)
        assert feed(watch, seen(10 * failure + 2, "1.0", at_s=now_s + 59))[1] == []
        now_s += 60
    assert watch.held
    assert feed(watch, seen(100, "0.9", at_s=10**6))[1] == []
    assert len(feed(release(watch), seen(100, "0.9", at_s=10**6))[1]) == 1


def test_a_success_forgets_failures() -> None:
    watch, _ = feed(Watch(ID, RULE), seen(1, "1.0"))
    watch = settle(watch, Outcome.FAILED, 12)
    watch, _ = feed(watch, seen(2, "1.0", at_s=72))
    assert settle(watch, Outcome.DONE, 90).failed == 0


def test_what_was_declined_comes_again_only_after_recovery_or_when_it_gets_grave() -> None:
    watch, _ = feed(Watch(ID, RULE), seen(1, "1.1"), seen(2, "1.1"))
    watch = settle(watch, Outcome.DECLINED, 24)
    watch, decisions = feed(watch, *(seen(n, "1.1") for n in range(10, 50)))
    assert decisions == []
    assert len(feed(watch, seen(50, "1.04"))[1]) == 1
    watch, decisions = feed(watch, seen(50, "1.4"), seen(51, "1.1"), seen(52, "1.1"))
    assert len(decisions) == 1


def test_a_tightened_rule_applies_at_once_and_the_running_action_keeps_its_version() -> None:
    watch, _ = feed(Watch(ID, RULE), seen(1, "1.0"))
    new = replace(RULE, version=2, trigger=Fraction("1.3"), target=Fraction("1.5"), cooldown_s=60, retry_s=600)
    watch = adopt(watch, new)
    assert watch.running == 1
    assert (watch.rule.trigger, watch.rule.cooldown_s) == (Fraction("1.3"), 60)
    assert (watch.rule.target, watch.rule.retry_s) == (RULE.target, RULE.retry_s)
    assert watch.pending == new
    watch = settle(watch, Outcome.DONE, 20)
    assert watch.rule == new
    watch, (decision,) = feed(watch, seen(10, "1.25"), seen(11, "1.25"))
    assert (decision.version, decision.target) == (2, new.target)


def test_a_rule_that_is_wrong_is_not_adopted() -> None:
    with pytest.raises(ConfigError):
        adopt(Watch(ID, RULE), replace(RULE, trigger=Fraction("1.7")))


@pytest.mark.parametrize(
    "change",
    [
        {"trigger": Fraction(1)},
        {"target": Fraction("1.2")},
        {"hard_trigger": Fraction("1.3")},
        {"rearm": Fraction("1.1")},
        {"confirm": 0},
        {"failures": 0},
        {"retry_s": -1},
        {"band": Fraction(1)},
        {"stop_loss": PriceLine("weth", 0)},
        {"levels": Thresholds(Fraction(1), Fraction(2), Fraction(3))},
    ],
)
def test_a_rule_knows_what_is_wrong_with_it(change: dict[str, Any]) -> None:
    assert RULE.wrong() == ""
    assert replace(RULE, **change).wrong() != ""


def test_a_stop_loss_fires_once_until_the_price_has_recovered() -> None:
    rule_ = replace(RULE, stop_loss=PriceLine("weth", 1000), take_profit=PriceLine("weth", 3000, above=True))
    watch, (decision,) = feed(Watch(ID, rule_), seen(1, "2.0", weth=1001), seen(2, "2.0", weth=1000))
    assert (decision.aim, decision.target) == (Aim.STOP_LOSS, None)
    watch = settle(watch, Outcome.DECLINED, 24)
    watch, decisions = feed(watch, *(seen(n, "2.0", weth=price) for n, price in ((20, 990), (21, 1019), (22, 999))))
    assert decisions == []
    watch, decisions = feed(watch, seen(30, "2.0", weth=1020), seen(31, "2.0", weth=1000))
    assert [d.aim for d in decisions] == [Aim.STOP_LOSS]
    watch = settle(watch, Outcome.DONE, 31 * 12)
    assert [d.aim for d in feed(watch, seen(200, "2.0", weth=3000))[1]] == [Aim.TAKE_PROFIT]


def test_an_end_that_failed_is_tried_again() -> None:
    watch, _ = feed(Watch(ID, replace(RULE, stop_loss=PriceLine("weth", 1000))), seen(1, "2.0", weth=1))
    watch = settle(watch, Outcome.FAILED, 12)
    assert [d.aim for d in feed(watch, seen(20, "2.0", weth=1))[1]] == [Aim.STOP_LOSS]


def test_no_price_and_no_nonsense_price_ends_anything() -> None:
    watch = Watch(ID, replace(RULE, stop_loss=PriceLine("weth", 1000)))
    assert feed(watch, seen(1, "2.0"), seen(2, "2.0", weth=0), seen(3, Unknown("?"), weth=1))[1] == []


def test_levels_get_worse_at_once_and_better_with_a_band() -> None:
    levels, band = Thresholds(), Fraction(1, 100)
    assert steady(Level.OK, health("1.09"), levels, band)[0] is Level.CRITICAL
    assert steady(Level.CRITICAL, health("1.1"), levels, band)[0] is Level.CRITICAL
    assert steady(Level.CRITICAL, health("1.1109"), levels, band)[0] is Level.CRITICAL
    assert steady(Level.CRITICAL, health("1.111"), levels, band)[0] is Level.WARN
    assert steady(Level.CRITICAL, health("2.01"), levels, band)[0] is Level.WATCH
    assert steady(Level.CRITICAL, health("2.02"), levels, band)[0] is Level.OK
    assert steady(Level.UNKNOWN, health("2.0"), levels, band)[0] is Level.OK
    assert steady(Level.OK, health(Unknown("?")), levels, band)[0] is Level.UNKNOWN
    assert steady(Level.WARN, health(NoDebt()), levels, band)[0] is Level.OK


def test_the_most_exact_selector_wins() -> None:
    broad, market, exact = (replace(RULE, name=n, selector=s) for n, s in (("b", "*"), ("m", "*/aave-v3/*"), ("e", ID)))
    assert choose([broad, market, exact], ID) == exact
    assert choose([broad, market], ID) == market
    assert choose([broad, market], "eip155:1/liquity-v1/0xA/0xB") == broad
    assert choose([exact], "eip155:1/aave-v3/0xMarket/0xOther") is None
    assert matches("*/0XOWNER", ID)


# -- the whole machine -------------------------------------------------------------------------------------------------

HEALTHS = st.sampled_from(
    ["0.9", "1.04", "1.05", "1.1", "1.19", "1.2", "1.3", "1.39", "1.4", "1.6", "2.5", "?", "none"]
)


class Machine(RuleBasedStateMachine):
    """Anything may happen in any order; what must never happen is asserted where it would."""

    def __init__(self) -> None:
        super().__init__()
        self.watch = Watch(ID, RULE)
        self.number, self.now_s, self.fork = 1, 1_000, 0
        self.below = 0  # observations below the trigger in a row, counted apart
        self.version_started: int | None = None
        self.ready_s, self.outcome = 0, Outcome.DONE
        self.failures = 0

    def _verdict(self, text: str) -> str | Verdict:
        named: dict[str, Verdict] = {"?": Unknown("no answer"), "none": NoDebt()}
        return named.get(text, text)

    @rule(text=HEALTHS, wait_s=st.sampled_from([0, 1, 12, 59, 60, 599, 600, 5000]))
    def block_passes(self, text: str, wait_s: int) -> None:
        self.number, self.now_s = self.number + 1, self.now_s + wait_s
        self._look(text)

    @rule(text=HEALTHS, depth=st.integers(0, 3))
    def reorg(self, text: str, depth: int) -> None:
        self.number, self.fork = max(1, self.number - depth), self.fork + 1
        self.below = 0
        self._look(text)

    @rule()
    def same_block_again(self) -> None:
        if self.watch.seen is not None:
            again = Observation(self.watch.seen, health("0.5"))
            assert observe(self.watch, again) == (self.watch, None, None)

    def _look(self, text: str) -> None:
        verdict = self._verdict(text)
        before, rule_ = self.watch, self.watch.rule
        value = Fraction(text) if isinstance(verdict, str) else None
        if value is not None:
            self.below = self.below + 1 if value < rule_.trigger else 0
        elif text == "none":
            self.below = 0
        observation = seen(self.number, verdict, self.now_s, f"{self.fork}_")
        self.watch, change, decision = observe(self.watch, observation)
        assert (change is None) == (self.watch.level is before.level)
        if decision is None:
            self._might_wait(value, before)
            return
        assert before.running is None
        assert value is not None
        assert value < rule_.trigger
        dark = before.seen is not None and self.now_s - before.seen.timestamp > OUTAGE_S
        assert value < rule_.hard_trigger or self.below >= (1 if dark else rule_.confirm)
        assert self.failures < rule_.failures
        assert self.now_s >= self.ready_s or (self.outcome is Outcome.DONE and value < rule_.hard_trigger)
        assert decision.version == rule_.version
        self.version_started = decision.version

    def _might_wait(self, value: Fraction | None, before: Watch) -> None:
        """Whoever is below the hard trigger and not acted upon is so for a reason that can be named."""
        if value is not None and value < before.rule.hard_trigger:
            resting = self.outcome is not Outcome.DONE and self.now_s < self.ready_s
            assert before.running is not None or self.failures >= before.rule.failures or resting

    @precondition(lambda self: self.watch.running is not None)
    @rule(outcome=st.sampled_from(Outcome))
    def action_ends(self, outcome: Outcome) -> None:
        rule_ = self.watch.pending or self.watch.rule
        self.watch = settle(self.watch, outcome, self.now_s)
        self.ready_s = max(self.ready_s, self.now_s + (rule_.cooldown_s if outcome is Outcome.DONE else rule_.retry_s))
        self.version_started, self.outcome, self.below = None, outcome, 0
        self.failures = {Outcome.DONE: 0, Outcome.FAILED: self.failures + 1}.get(outcome, self.failures)

    @rule(
        trigger=st.sampled_from(["1.1", "1.2", "1.3"]),
        goal=st.sampled_from(["1.4", "1.6", "2"]),
        confirm=st.integers(1, 3),
        cooldown_s=st.sampled_from([0, 600, 3600]),
    )
    def config_changes(self, trigger: str, goal: str, confirm: int, cooldown_s: int) -> None:
        old = self.watch.rule
        version = max(old.version, self.watch.pending.version if self.watch.pending else 0) + 1
        new = replace(
            RULE,
            version=version,
            trigger=Fraction(trigger),
            target=Fraction(goal),
            confirm=confirm,
            cooldown_s=cooldown_s,
        )
        self.watch = adopt(self.watch, new)
        assert self.watch.rule.trigger >= new.trigger
        assert self.watch.rule.confirm <= new.confirm
        if self.watch.running is None:
            assert self.watch.rule == new
        else:
            assert self.watch.rule == tightened(old, new)

    @rule()
    def somebody_looks(self) -> None:
        self.watch, self.failures = release(self.watch), 0
        self.outcome = Outcome.DONE

    @invariant()
    def a_running_action_keeps_its_version(self) -> None:
        assert self.watch.running == self.version_started

    @invariant()
    def the_rule_in_force_is_sound(self) -> None:
        assert self.watch.rule.wrong() == ""

    @invariant()
    def the_book_agrees(self) -> None:
        assert self.watch.failed == self.failures
        assert self.watch.streak == self.below


TestMachine = Machine.TestCase
