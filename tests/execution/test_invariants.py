"""I1-I10 of the action state machine, for sequences of faults that nobody chose by hand.

The executor, a real SQLite journal and the model chain, driven by Hypothesis: decisions, blocks with and without
our transactions, wiped pools, fee spikes, reorganisations, restarts, lost sends and answers, silent and hiding nodes.
I11 is test_invariants_of_health's, I12 the guard's own (tests/guard).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from monitor.core.actions import ActionState
from monitor.execution.limits import AssetLimits
from monitor.journal.rows import IN_FLIGHT
from monitor.testing.model_port import Faults
from tests.execution.world import ASSET, GUARDIAN, GWEI, World, rich_limits

KEY_DAY = 60
GAS_DAY = 5 * 10**17
POSITIONS = st.integers(1, 8)


class Acting(RuleBasedStateMachine):
    """One world; every rule is something that happens to it."""

    off: str | None = None

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="levmon-acting-")
        limits = rich_limits(assets={ASSET: AssetLimits(8, 16, KEY_DAY)}, gas_wei_per_day=GAS_DAY)
        self.world = World(Path(self.folder.name), off=self.off, limits=limits, endpoints=2, seed=seed)
        self.world.chain.finality = 8
        self.wanted: dict[int, int] = {}
        self.finals: dict[str, tuple[Any, ...]] = {}
        self.first_seen: dict[str, int] = {}
        self.foreign_final: set[int] = set()
        self.foreign: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "world"):  # not so where `begin` itself failed
            try:
                self.converge()
            finally:
                self.world.close()
                self.folder.cleanup()

    # -- what happens --------------------------------------------------------------------------------------------

    @rule(
        position=POSITIONS,
        amount=st.integers(1, 10),
        minutes=st.sampled_from([1, 2, 5, 60]),
        gas=st.sampled_from([100_000, 100_000, 65_000, 50_000]),
    )
    def decide(self, position: int, amount: int, minutes: int, gas: int) -> None:
        """A decision for a position that is not rescued yet, sometimes with too little gas, and a look at it."""
        if self.world.effects(position):
            return
        count = self.wanted.get(position, 0)
        until_s = self.world.now_s + 60 * minutes
        made = self.world.plan(f"p{position}-{count}", effect=position, amount=amount, valid_until_s=until_s, gas=gas)
        if made is not None:
            self.wanted[position] = count + 1
        self.world.look()

    @rule(blocks=st.integers(1, 6))
    def wait_in_the_pool(self, blocks: int) -> None:
        """Blocks come and ours are not in them."""
        for _ in range(blocks):
            self.world.chain.mine(lambda _: False)
            self.world.look()

    @rule(depth=st.integers(1, 8), back=st.booleans(), other=st.booleans())
    def mine_and_take_back(self, depth: int, back: bool, other: bool) -> None:
        """Seen in a block, then the block is gone; what was in it may be in another, where it may end otherwise."""
        self.world.chain.mine()
        self.world.look()
        fallen = self.world.chain.reorg(depth, keep=lambda _: back)
        if other and fallen:
            self.world.chain.reverting ^= {one.tx.fields.call.data for one in fallen}
        if back:
            self.world.chain.mine()
        self.world.look()

    @rule(times=st.integers(1, 3))
    def step(self, times: int) -> None:
        for _ in range(times):
            self.world.look()

    @rule(blocks=st.integers(1, 4), ours=st.booleans())
    def mine(self, blocks: int, ours: bool) -> None:
        for _ in range(blocks):
            self.world.chain.mine(lambda _: ours)

    @rule(blocks=st.integers(1, 12))
    def live(self, blocks: int) -> None:
        self.world.step(blocks)

    @rule(depth=st.integers(1, 8), back=st.booleans())
    def reorganise(self, depth: int, back: bool) -> None:
        self.world.chain.reorg(depth, keep=lambda _: back)

    @rule()
    def wipe_the_pool(self) -> None:
        self.world.chain.drop_all()

    @rule(gwei=st.sampled_from([1, 3, 8, 40, 250, 1000]))
    def change_base_fee(self, gwei: int) -> None:
        self.world.chain.base_fee_wei = gwei * GWEI

    @rule()
    def restart(self) -> None:
        self.world.restart()

    @rule(lost=st.booleans(), unanswered=st.booleans(), hiding=st.booleans(), silent=st.booleans())
    def let_nodes_fail(self, lost: bool, unanswered: bool, hiding: bool, silent: bool) -> None:
        self.world.port.faults = Faults(0.5 * lost, 0.5 * unanswered, 0.5 * hiding, 0.1 * silent, 0.3 * silent)

    @rule(position=POSITIONS, fails=st.booleans())
    def let_it_revert(self, position: int, fails: bool) -> None:
        for amount in range(1, 11):
            data = b"\xef\xfe\xc7\x01" + position.to_bytes(32, "big") + amount.to_bytes(32, "big")
            (self.world.chain.reverting.add if fails else self.world.chain.reverting.discard)(data)

    @precondition(lambda self: not self.foreign)
    @rule()
    def let_somebody_use_the_nonce(self) -> None:
        """Once: with the same key, at the nonce that is in flight, and mined at once."""
        flying = [action for action in self.world.journal.actions(only_open=True) if action.state in IN_FLIGHT]
        nonce = self.world.chain.nonce(GUARDIAN)
        if not flying or flying[0].nonce != nonce or self.world.chain.pool:
            return
        self.foreign.add(self.world.foreign(nonce=nonce, max_fee=2000 * GWEI, tip=2 * GWEI))

    @rule()
    def throw_the_kill_switch(self) -> None:
        self.world.kill.throw("test")
        before = len(self.world.guardian.asked), len(self.world.port.sent)
        self.world.look()
        self.world.restart()
        self.world.look()
        after = len(self.world.guardian.asked), len(self.world.port.sent)
        assert before == after, "I7: something was signed or sent under the kill switch"
        self.world.kill.reset()

    # -- what must hold ------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_sent_before_it_is_saved(self) -> None:
        """I1."""
        known = self.world.journal.attempt_hashes(31337, GUARDIAN)
        assert set(self.world.port.sent) <= set(known)

    @invariant()
    def one_open_action_and_one_nonce_in_flight(self) -> None:
        """I2. A reorganisation may put several back on their way; then nothing new is armed."""
        opened = self.world.journal.actions(only_open=True)
        positions = [action.position_id for action in opened]
        assert len(positions) == len(set(positions))
        nonces = [action.nonce for action in self.world.journal.actions() if action.nonce is not None]
        assert len(nonces) == len(set(nonces))
        assert sum(1 for action in opened if action.state is ActionState.ARMED) <= 1

    @invariant()
    def attempts_of_a_nonce_share_the_intent(self) -> None:
        """I3, and what the signer was asked agrees."""
        asked: dict[int, set[str]] = {}
        for request in self.world.guardian.asked:
            if request.intent is not None:
                asked.setdefault(request.nonce, set()).add(request.intent.hash)
        assert all(len(hashes) == 1 for hashes in asked.values()), asked

    @invariant()
    def an_intent_moves_on_only_after_foreigners(self) -> None:
        """I4: over all nonces for which an intent was ever signed, all but the last are finally a foreigner's.

        What lacked gas before anything was signed goes on as another action, for its first nonce.
        """
        for action in self.world.journal.actions():
            if action.draft.retry_of is not None and action.attempts:
                before = self.world.journal.action(action.draft.retry_of)
                if before.state is ActionState.CLOSED_REJECTED:
                    assert before.attempts == ()
                    continue
                assert before.state is ActionState.FOREIGN_NONCE
                used = [
                    one.hash for one, _ in self.world.chain.included(GUARDIAN) if one.tx.fields.nonce == before.nonce
                ]
                assert used
                assert used[0] in self.foreign

    @invariant()
    def limits_hold(self) -> None:
        """I5, on the journal: reserved and spent together never pass a limit (the run is shorter than a day)."""
        charges = self.world.journal.charges().values()
        assert sum(charge.amount for _, charge in charges) <= KEY_DAY
        assert sum(charge.gas_wei for _, charge in charges) <= GAS_DAY

    @invariant()
    def every_signature_has_its_decision(self) -> None:
        """I6."""
        decisions = {record.subject for record in self.world.journal.records() if record.kind == "decision"}
        for request in self.world.guardian.asked:
            assert request.action_id in decisions
            assert self.world.journal.action(request.action_id).draft.block.hash.startswith("0x")

    @invariant()
    def final_states_never_change(self) -> None:
        """I8."""
        for action in self.world.journal.actions():
            now = (action.state, action.mined, action.nonce)
            if not action.open:
                assert self.finals.setdefault(action.id, now) == now

    @invariant()
    def every_state_change_has_its_alert(self) -> None:
        """I9: in the outbox, by the version of the change."""
        keys = {alert.dedupe_key for alert in self.world.journal.pending_alerts(100_000)}
        for record in self.world.journal.records():
            body = json.loads(record.body)
            if record.kind == "decision" or ("from" in body and body["from"] != body["to"]):
                assert f"{record.subject}/{body['version']}" in keys

    @invariant()
    def history_gives_the_tables(self) -> None:
        """I10, and the audit from the chain: no effect twice, nothing of ours on chain without an attempt."""
        found = [line for line in self.world.audit() if not any(tx in line for tx in self.foreign)]
        assert found == []

    def converge(self) -> None:
        """Faults end: every open action comes to an end, and settled costs are the chain's, to the wei."""
        world = self.world
        world.kill.reset()
        world.port.faults = Faults()
        world.chain.base_fee_wei = GWEI
        world.chain.reverting.clear()
        for _ in range(40):
            world.step(10)
            if not world.journal.actions(only_open=True):
                break
        held = world.journal.holds()
        left = [
            action
            for action in world.journal.actions(only_open=True)
            if action.state is not ActionState.QUARANTINED and not held
        ]
        assert left == [], [(action.id, action.state, action.note) for action in left]
        on_chain = {one.hash: receipt for one, receipt in world.chain.included(GUARDIAN)}
        spent = sum(receipt.gas_used * receipt.price_wei for tx, receipt in on_chain.items() if tx not in self.foreign)
        charges = world.journal.charges()
        settled = sum(charge.gas_wei for state, charge in charges.values() if state == "settled")
        if not world.journal.actions(only_open=True):
            assert settled == spent, "budgets are not exact"
            done = [action for action in world.journal.actions() if action.state is ActionState.FINAL_OK]
            assert sum(action.draft.amount for action in done) == sum(
                count * int.from_bytes(data[36:68], "big") for (_, data), count in world.chain.effects.items()
            )
        for action in world.journal.actions():
            if action.state is ActionState.FINAL_OK:
                assert world.effects(int(action.draft.intent.args["effect"])) == 1
                assert action.mined is not None
                assert action.mined.hash in on_chain


TestActing = pytest.mark.slow(pytest.mark.timeout(900)(Acting.TestCase))
TestActing.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
