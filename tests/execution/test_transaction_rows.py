"""Rows T1-T17 and T19-T21: what can happen to a transaction between its signature and its finality."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef
from monitor.execution.executor import NoLongerNeeded
from monitor.execution.fees import FeePolicy
from monitor.execution.port import NotSimulated, Passed, Receipt, SendReply
from monitor.execution.sender import PrivateRelay
from monitor.execution.transaction import tx_hash
from monitor.journal.rows import AttemptKind, Draft, Hold
from monitor.testing.model_port import Faults, build
from tests.execution.ports import OddPort, disputed, refuse
from tests.execution.world import GUARDIAN, GWEI, World
from tests.faults.rows import row


def odd(folder: Path, off: str | None, endpoints: int = 1, **more: object) -> tuple[World, OddPort]:
    world = World(folder, off=off, port=lambda chain: OddPort(chain, endpoints), **more)  # type: ignore[arg-type]
    return world, world.port


@row(
    "T1",
    "an accepted send whose answer is lost is followed by the same bytes; `already known` settles it",
    "already_known",
)
def test_lost_answer(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, faults=Faults(lost_after=1.0))
    world.plan()
    world.look()
    assert world.state() is ActionState.SIGNED
    assert len(world.chain.pool) == 1
    world.port.faults = Faults()
    world.look()
    assert world.state() is ActionState.BROADCAST
    assert len(set(world.port.sent)) == 1
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


@row("T2", "a send that never arrived is followed by the same bytes under the same nonce", "resend")
def test_refused_before_arrival(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.look()
    world.chain.drop_all()  # what was accepted was lost before any block
    raws = list(port.public)
    world.chain.mine()
    world.look()
    assert port.public[len(raws) :] == raws[-1:], "not the same bytes again"
    assert world.chain.pool
    world.finish()
    assert world.effects() == 1
    world.close()


@row("T3", "`already known` is success for these bytes, `unknown transaction` is not", "already_known")
def test_already_known(folder: Path, off: str | None) -> None:
    for n, text in enumerate(("already known", "AlreadyKnown", "Known transaction", "transaction already imported")):
        world, port = odd(folder, off)
        port.reply = refuse(text)
        world.plan(f"a{n}", effect=n + 1)
        world.look()
        assert world.state(f"a{n}") is ActionState.BROADCAST, text
        world.close()
        (folder / "journal.db").unlink()
    world, port = odd(folder, off)
    port.reply = refuse("unknown transaction")
    world.plan()
    world.look()
    assert world.state() is ActionState.SIGNED
    world.close()


@row(
    "T4",
    "a used nonce: ours settles whatever attempt it was; a foreigner's, once final, moves the intent on",
    "occupant",
)
def test_nonce_too_low(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.look()
    # the receipt of our own transaction is not served, although its nonce is finally used
    (hash_,) = {attempt.hash for attempt in world.journal.action("a").attempts}
    port.hidden.add(str(hash_))
    world.step(70)
    assert world.state() is ActionState.BROADCAST, "our own transaction was taken for a foreigner's"
    port.hidden.clear()
    world.look()
    world.look()
    assert world.state() is ActionState.FINAL_OK
    # a foreigner takes the nonce
    world.plan("b", effect=2)
    world.look()
    world.chain.drop_all()
    world.foreign()
    world.chain.mine()
    world.look()
    assert world.state("b") is ActionState.BROADCAST, "nothing is concluded before finality"
    world.finish()
    assert world.state("b") is ActionState.FOREIGN_NONCE
    world.finish(140)
    assert (world.state("b~1"), world.effects(2), world.effects(1)) == (ActionState.FINAL_OK, 1, 1)
    assert any("was used by" in text for text in world.alerts("critical"))
    world.close()


@row("T5", "a chain behind the journal, or a nonce too high: wait, never take a higher nonce", "nonce_check")
def test_nonce_too_high(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.finish()
    port.edit_account = lambda account: replace(account, nonce=0, nonce_final=0)  # an endpoint that lags
    world.plan("b", effect=2)
    world.look()
    assert world.state("b") is ActionState.PLANNED
    assert len(world.guardian.asked) == 1
    port.edit_account = None
    port.reply = refuse("nonce too high")
    world.look()
    world.step(2)
    assert {request.nonce for request in world.guardian.asked} == {0, 1}
    port.reply = None
    world.finish()
    assert world.effects(2) == 1
    world.close()


@row("T6", "a replacement offers at least 12.5 % more than any attempt and than what the pool holds", "full_bump")
def test_replacement_underpriced(folder: Path, off: str | None) -> None:
    policy = FeePolicy(base_fee_bps=(10_000, 10_000, 10_000), tip_bps=(10_000, 10_000, 10_000))
    world = World(folder, off=off, fees=policy)
    world.plan()
    world.look()
    first = world.journal.action("a").attempts[0]
    for _ in range(2):
        world.chain.mine(lambda _: False)
    world.look()
    world.look()
    second = world.journal.action("a").attempts[-1]
    assert second.max_fee_wei * 8 >= first.max_fee_wei * 9
    assert second.tip_wei * 8 >= first.tip_wei * 9
    assert [pooled.hash for pooled in world.chain.pool.values()] == [second.hash]
    world.finish()
    assert world.effects() == 1
    world.close()


@row("T8", "fees rise a hundredfold: bumps follow up to the cap and stop there, and it is told", "fee_cap")
def test_fee_ramp(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan(max_fee_per_gas_wei=40 * GWEI, loss_avoided_wei=10**16, health_wad=101 * 10**16)
    world.look()
    for _ in range(12):
        world.chain.base_fee_wei = min(world.chain.base_fee_wei * 5, 100 * GWEI)
        world.chain.mine()
        world.look()
    attempts = world.journal.action("a").attempts
    assert len(attempts) >= 3
    assert max(attempt.max_fee_wei for attempt in attempts) <= 40 * GWEI
    assert any("fee cap reached" in text for text in world.alerts("critical"))
    world.chain.base_fee_wei = GWEI
    world.finish()
    assert world.effects() == 1
    # the share of the loss avoided binds before the absolute cap
    world.plan("b", effect=2, loss_avoided_wei=10**14, max_fee_per_gas_wei=40 * GWEI)
    world.chain.base_fee_wei = 20 * GWEI
    world.chain.mine()
    world.look()
    assert world.state("b") is ActionState.PLANNED
    assert any("the share of the loss avoided" in text for text in world.alerts("critical"))
    world.close()


@row("T9", "one endpoint's refusal proves nothing: another may have taken it, and receipts decide", "maybe_sent")
def test_refused_and_yet_sent(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off, endpoints=2)

    def two_minds(raw: bytes) -> list[SendReply]:
        world.chain.send(raw)
        return [SendReply("node0", message="tx fee (1.20 ether) exceeds the configured cap (1.00 ether)")]

    port.reply = two_minds
    world.plan()
    world.look()
    assert world.state() is ActionState.SIGNED
    port.reply = None
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.MINED, "it was taken for not sent"
    world.finish()
    assert (world.effects(), len({request.nonce for request in world.guardian.asked})) == (1, 1)
    world.close()


@row("T10", "what the pool lost is sent again from the journal, every block, the same bytes", "resend")
def test_wiped_pool(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.look()
    for _ in range(3):
        world.chain.drop_all()
        world.look()
        assert len(world.chain.pool) == 1
    world.restart()
    world.chain.drop_all()
    world.look()
    assert len(world.chain.pool) == 1
    assert len(set(port.public)) == 1
    world.finish()
    assert world.effects() == 1
    world.close()


@row("T11", "never included: bumped by urgency, then, past its deadline, cancelled on the same nonce", "cancel")
def test_stuck(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan(valid_until_s=world.now_s + 100)
    for _ in range(12):
        world.look()
        world.chain.mine(lambda one: not one.tx.fields.call.data)
    world.look()
    kinds = [attempt.kind for attempt in world.journal.action("a").attempts]
    assert kinds.count(AttemptKind.INTENT) >= 2
    assert AttemptKind.CANCEL in kinds
    assert {attempt.nonce for attempt in world.journal.action("a").attempts} == {0}
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_CANCELLED, 0)
    assert world.audit() == []
    world.close()


@row("T12", "cancel and original race: the one on the finalized chain decides", "all_receipts")
def test_cancel_races(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan(valid_until_s=world.now_s + 30)
    world.look()
    original = next(iter(world.chain.pool.values()))
    for _ in range(4):
        world.chain.mine(lambda _: False)
    world.look()
    assert world.state() is ActionState.CANCELLING
    # another miner never saw the cancel
    world.chain.pool[original.slot] = original
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.MINED
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    assert world.audit() == []
    world.close()


@row("T13", "reorganised out and not included again: back on its way, the same bytes, the budget stays", "rollback")
def test_reorged_out(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.step(3)
    assert world.state() is ActionState.MINED
    world.chain.reorg(3, keep=lambda _: False)
    world.look()
    assert world.state() is ActionState.BROADCAST
    assert len(world.chain.pool) == 1
    assert len(set(port.public)) == 1
    assert world.journal.charges()["a"][0] == "reserved"
    assert any("left the chain" in text for text in world.alerts("warn"))
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


@row("T14", "mined, reorganised, mined with another outcome: the finalized block's outcome counts", "wait_final")
def test_other_outcome(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.step(2)
    assert world.state() is ActionState.MINED
    data = build(world.journal.action("a").draft.intent).data
    world.chain.reorg(2)
    world.chain.reverting.add(data)
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.MINED
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_REVERTED, 0)
    world.close()


@row(
    "T15",
    "a revert waits for finality, counts against limits; three in a row hold the position, with backoff",
    "revert_hold",
)
def test_reverted(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    data = build(world.draft().intent).data
    for n in range(3):
        world.plan(f"a{n}", position="p")
        world.look()
        world.chain.reverting.add(data)
        world.step(2)
        assert world.state(f"a{n}") is ActionState.MINED, "not final at first sight"
        world.until(ActionState.FINAL_REVERTED, f"a{n}")
        world.chain.reverting.clear()
        if n == 0:
            # straight after a revert it backs off
            world.plan("early", position="p", valid_until_s=world.now_s + 20)
            report = world.look()
            assert any("backs off" in why for _, _, why in report.actions)
            world.step(5)
            assert world.state("early") is ActionState.CLOSED_EXPIRED
        world.step(40)
    assert Hold("position:p", "3 rescues in a row reverted") in world.journal.holds()
    state, charge = world.journal.charges()["a0"]
    assert (state, charge.amount) == ("settled", 0)
    assert charge.gas_wei > 0
    world.plan("b", position="p")
    world.step(3)
    assert world.state("b") is ActionState.PLANNED
    world.journal.release("position:p", world.now_s)
    world.finish(100)
    assert (world.state("b"), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


@row("T17", "endpoints contradict each other on a receipt, or one has none: not settled until two agree", "witnesses")
def test_contradictory_receipts(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off, endpoints=2)
    world.plan()
    world.step(2)
    port.edit_receipt = disputed
    world.step(70)
    assert world.state() is ActionState.MINED, "settled on disputed words"
    port.edit_receipt = lambda receipt: replace(receipt, witnesses=1)
    world.look()
    assert world.state() is ActionState.MINED, "settled on one endpoint's word"
    port.edit_receipt = lambda _: None
    world.look()
    assert world.state() in {ActionState.MINED, ActionState.BROADCAST}
    port.edit_receipt = None
    world.look()
    world.look()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


@row("T17", "a receipt in a block that is not canonical counts for nothing", "canonical")
def test_receipt_of_a_dead_block(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.plan()
    world.look()

    def elsewhere(receipt: Receipt) -> Receipt:
        return replace(receipt, block_hash="0x" + "de" * 32)

    port.edit_receipt = elsewhere
    world.chain.mine()
    world.look()
    assert world.state() is ActionState.BROADCAST
    world.close()


@row(
    "T19",
    "a private relay that accepts and never includes: the same bytes go public after its time",
    "private_fallback",
)
def test_private_relay(folder: Path, off: str | None) -> None:
    # bumps restart the relay's time, so that this one offers no bump
    patient = FeePolicy(bump_after_blocks=(1000, 1000, 1000))
    relay = PrivateRelay(blocks=5, then_public=True)
    world, port = odd(folder, off, relay=relay, fees=patient)
    world.plan()
    world.step(4)
    assert (len(set(port.private)), port.public) == (1, [])
    world.step(3)
    assert set(port.public) == set(port.private)
    world.finish()
    assert world.effects() == 1
    world.close()


@row("T19", "without the owner's leave nothing private goes public; the nonce is cancelled in time", "private_only")
def test_private_only(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off, relay=PrivateRelay(blocks=5, then_public=False))
    world.plan(valid_until_s=world.now_s + 12 * 12)
    world.finish(90)
    assert (world.state(), world.effects()) == (ActionState.FINAL_CANCELLED, 0)
    hashes = {tx_hash(raw) for raw in port.public}
    assert hashes <= {a.hash for a in world.journal.action("a").attempts if a.kind is AttemptKind.CANCEL}
    world.close()


@row("T20", "an endpoint that answers another hash is not believed, and it is told", "check_hash")
def test_fake_hash(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    port.reply = lambda _: [SendReply("evil", hash="0x" + "ab" * 32)]
    world.plan()
    world.look()
    assert world.state() is ActionState.SIGNED
    assert any("evil" in text for text in world.alerts("critical"))
    port.reply = None
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


@row("T21", "somebody else was faster: seen at the newest block, right before the signature", "recheck")
def test_somebody_was_faster(folder: Path, off: str | None) -> None:
    async def recheck(_: Draft, head: BlockRef) -> NoLongerNeeded | None:
        return NoLongerNeeded("health is 1.8") if head.number >= 1 else None

    world = World(folder, off=off, recheck=recheck)
    world.plan()
    world.look()  # still needed in block 0
    assert world.state() is ActionState.BROADCAST
    world.chain.mine(lambda _: False)
    world.chain.mine(lambda _: False)
    world.look()  # a bump is due and nobody needs it any more: cancelled instead
    assert world.state() is ActionState.CANCELLING
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_CANCELLED, 0)
    world.plan("b", effect=2)
    world.look()
    assert world.state("b") is ActionState.CLOSED_NOOP
    assert world.journal.next_nonce(31337, GUARDIAN) == 1
    world.close()


@row(
    "T21", "a failed or timed-out simulation blocks the signature, the nonce and the budget are given back", "simulate"
)
def test_failed_simulation(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    port.edit_simulation = lambda _: NotSimulated("timed out")
    world.plan()
    world.look()
    assert world.guardian.asked == []
    assert (world.state(), world.journal.charges()) == (ActionState.PLANNED, {})
    port.edit_simulation = lambda rung: (
        NotSimulated("no such method", unsupported=True) if rung != "eth_call" else Passed(None)
    )
    world.look()
    assert world.state() is ActionState.BROADCAST, "the last rung was not reached"
    world.chain.reverting.add(build(world.draft(effect=2).intent).data)
    port.edit_simulation = None
    world.step(2)
    world.plan("b", effect=2)
    world.look()
    assert world.state("b") is ActionState.CLOSED_REJECTED
    world.close()
