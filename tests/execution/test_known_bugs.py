"""Every bug that a seed or a random test found once, with the test that keeps it from coming back."""

from __future__ import annotations

import json
import re
from pathlib import Path

from monitor.core.actions import ActionState
from monitor.execution.machine import reverted_at
from monitor.execution.port import SendReply
from monitor.execution.transaction import tx_hash
from monitor.testing.model_chain import read
from tests.execution.ports import OddPort
from tests.execution.world import GWEI, World

HERE = Path(__file__).parent
KNOWN = HERE.parent / "seeds" / "known.json"


def test_each_known_bug_has_its_test() -> None:
    known = json.loads(KNOWN.read_text())
    tests = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in HERE.glob("test_*.py"))))
    assert {bug["test"] for bug in known} <= tests
    assert all(bug.keys() == {"found_by", "bug", "mended", "test"} for bug in known)


def test_an_attempt_at_the_cap_is_cancelled(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.chain.base_fee_wei = 35 * GWEI
    world.chain.mine()
    world.plan(max_fee_per_gas_wei=40 * GWEI, valid_until_s=world.now_s + 20)
    world.look()
    assert world.journal.action("a").attempts[0].max_fee_wei == 40 * GWEI
    for _ in range(3):
        world.chain.mine(lambda _: False)
        world.chain.drop_all()
        world.look()
    assert world.state() is ActionState.CANCELLING
    world.chain.base_fee_wei = GWEI
    world.finish()
    assert (world.state(), world.effects(), world.audit()) == (ActionState.FINAL_CANCELLED, 0, [])
    world.plan("b", effect=2)
    world.finish()
    assert world.effects(2) == 1
    world.close()


def test_a_node_that_refuses_for_price_gets_a_dearer_attempt(tmp_path: Path) -> None:
    world = World(tmp_path, port=OddPort)
    world.plan()
    world.look()

    def strict(raw: bytes) -> list[SendReply]:
        if read(raw).fields.max_fee_wei < world.chain.base_fee_wei:
            return [SendReply("node0", message="max fee per gas less than block base fee")]
        return [SendReply("node0", hash=world.chain.send(raw))]

    world.port.reply = strict
    world.chain.base_fee_wei = 50 * GWEI
    world.chain.drop_all()
    world.chain.mine()
    world.look()
    attempts = world.journal.action("a").attempts
    assert len(attempts) == 2
    assert [pooled.hash for pooled in world.chain.pool.values()] == [attempts[-1].hash]
    assert tx_hash(attempts[-1].raw or b"") == attempts[-1].hash
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


def test_an_expired_decision_does_not_hide_reverts() -> None:
    expired, reverted, done = ActionState.CLOSED_EXPIRED, ActionState.FINAL_REVERTED, ActionState.FINAL_OK
    assert reverted_at([(expired, 9), (reverted, 8), (expired, 7), (reverted, 6), (done, 5), (reverted, 4)]) == [8, 6]
    assert reverted_at([(done, 5), (reverted, 4)]) == []
