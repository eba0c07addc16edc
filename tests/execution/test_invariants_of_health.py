"""I11: health is never told from data older than its stated age, and what is not known is told as unknown.

A node that falls behind, stops, forks and fails, accounts that change, time that passes: chosen by Hypothesis. The
invariant is looked at from outside, with the machine's own record of what was true at which block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from monitor.chain.heads import require_fresh
from monitor.core.errors import Reorged, RpcUnavailable
from monitor.core.types import BlockRef, Known, Level, MarketRef, Unreadable
from monitor.pipeline.market import MarketState
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.snapshot import Depth, Snapshot, judge, snapshot
from monitor.report import Subject
from monitor.testing.clock import FakeClock
from monitor.testing.model_port import run_now
from tests.unit.toy import ASSETS, TOY, WAD, Contract, ToyChain, address, borrowers

MARKET = "0x" + "01" * 20
REF = MarketRef(31337, "toy", MARKET)
OWNERS = [address(n) for n in range(1, 4)]
SUBJECTS = [Subject(REF, "core", owner) for owner in OWNERS]
LIMIT_S = 60
EVERYTHING = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Watching(RuleBasedStateMachine):
    """A node of a toy chain whose blocks come once a second, and a look at it after everything that happens."""

    taken: Snapshot | None = None

    @initialize()
    def begin(self) -> None:
        self.contract = Contract(borrowers())
        self.chain = ToyChain({MARKET: self.contract})
        self.clock = FakeClock(float(self.chain.head.timestamp))
        self.memory = ShortMemory()
        self.true = {self.chain.head.hash: dict(self.contract.accounts)}
        """by block: what is owed and owned there"""

    # -- what happens --------------------------------------------------------------------------------------------

    def _new_head(self, branch: str = "a") -> None:
        self.chain.head = self.chain.make_block(int(self.clock.now) - 1_700_000_000, branch)
        self.true[self.chain.head.hash] = dict(self.contract.accounts)

    @rule(seconds=st.integers(1, 40), owner=st.sampled_from(OWNERS), collateral=st.integers(0, 3000))
    def mine(self, seconds: int, owner: str, collateral: int) -> None:
        """The node keeps up, and an account changes."""
        self.clock.now += seconds
        _, _, debt = self.contract.accounts[owner]
        self.contract.accounts[owner] = (ASSETS[0], collateral, debt)
        self._new_head()

    @rule(seconds=st.integers(1, 90))
    def stand_still(self, seconds: int) -> None:
        """Time passes, and the node has no new block."""
        self.clock.now += seconds

    @rule(branch=st.sampled_from("bcd"))
    def fork(self, branch: str) -> None:
        """The newest block leaves the chain while it is read."""
        gone, reads = self.chain.head, 0

        def fail(block: BlockRef) -> None:
            nonlocal reads
            reads += 1
            if block == gone and reads == 1:
                self._new_head(branch)
                raise Reorged("the block left the chain")

        self.chain.fail = fail

    @rule(owner=st.sampled_from([*OWNERS, "account", "revision", "context"]), broken=st.booleans())
    def break_reads(self, owner: str, broken: bool) -> None:
        (self.contract.broken.add if broken else self.contract.broken.discard)(owner)

    @rule(down=st.booleans())
    def go_down(self, down: bool) -> None:
        self.chain.down = RpcUnavailable("nobody answers") if down else None

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def what_is_told_is_true_and_no_older_than_it_says(self) -> None:
        if not hasattr(self, "chain"):
            return
        fresh = partial(require_fresh, clock=self.clock)
        defended = self.defended(fresh)
        with patch("monitor.pipeline.snapshot.protocol_named", lambda _: TOY), defended:
            depth = Depth(liquidation_prices=False, max_age_s=LIMIT_S)
            taken = run_now(snapshot(self.chain, SUBJECTS, self.memory, depth=depth))
        self.chain.fail = lambda _: None
        assert [report.owner for report in taken.reports] == OWNERS, "a position went missing"
        for report in taken.reports:
            if report.level is Level.UNKNOWN:
                assert report.cause, "unknown, and nobody says why"
                continue
            assert report.health is not None
            assert report.block == taken.block == report.health.block
            assert report.block is not None
            assert self.clock.now - report.block.timestamp <= LIMIT_S, "older than it says"
            assert self.chain.down is None
            assert not self.contract.broken & {report.owner, "account", "revision"}, "told without having been read"
            _, collateral, debt = self.true[report.block.hash][report.owner]
            expected = Known((collateral * WAD + debt - 1) // debt, WAD)
            assert report.health.verdict == expected, "not what is so at that block"

    @contextmanager
    def defended(self, fresh: Any) -> Iterator[None]:
        with patch("monitor.pipeline.snapshot.require_fresh", fresh):
            yield


class AgeIsNotLookedAt(Watching):
    @contextmanager
    def defended(self, fresh: Any) -> Iterator[None]:  # what it does without
        with patch("monitor.pipeline.snapshot.require_fresh", lambda *_, **__: None):
            yield


class UnreadIsNothing(Watching):
    """What could not be read counts as an account without debt, as a careless adapter would have it."""

    @contextmanager
    def defended(self, fresh: Any) -> Iterator[None]:

        def careless(subjects: Any, states: Any, block: BlockRef, depth: Depth) -> Snapshot:
            chain = ToyChain({MARKET: Contract({})})
            for ref, state in states.items():
                if state.known is None or state.trouble:
                    continue
                empty = TOY.state(state.known.facts, [one.owner for one in state.found], block)
                asked = next(empty)
                with pytest.raises(StopIteration) as ended:
                    empty.send(run_now(chain.ask(asked, block)))
                found = [
                    blank if isinstance(one, Unreadable) else one
                    for one, blank in zip(state.found, ended.value.value, strict=True)
                ]
                states = {**states, ref: MarketState(state.known, tuple(found), state.context)}
            return judge(subjects, states, block, depth)

        with patch("monitor.pipeline.snapshot.judge", careless), super().defended(fresh):
            yield


def test_health_is_never_told_from_old_or_missing_data() -> None:
    run_state_machine_as_test(Watching, settings=EVERYTHING)


@pytest.mark.parametrize(
    ("careless", "told"), [(AgeIsNotLookedAt, "older than it says"), (UnreadIsNothing, "without having been read")]
)
def test_without_the_defence_it_is(careless: type[Watching], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        run_state_machine_as_test(careless, settings=EVERYTHING)
