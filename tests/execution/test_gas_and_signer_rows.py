"""Rows T7, T16, T18 and T23: money for gas, enough gas, the kind of account, and what a signer may do to us."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eth_keys.backends.native.jacobian import fast_multiply
from eth_keys.constants import SECPK1_G, SECPK1_N
from eth_keys.datatypes import PrivateKey

from monitor.core.actions import ActionState, Signed, SignRequest
from monitor.core.errors import SignerRefused, SignerUnavailable
from monitor.execution.port import Passed
from monitor.execution.transaction import DynamicFee, cancel_call, signing_hash, tx_hash, with_signature
from monitor.testing.devchain import account_key
from monitor.testing.model_port import Faults, LocalSigner, build
from tests.execution.ports import OddPort, refuse
from tests.execution.world import GUARDIAN, GWEI, World, run
from tests.faults.rows import row


def odd(folder: Path, off: str | None, endpoints: int = 1, **more: object) -> tuple[World, OddPort]:
    world = World(folder, off=off, port=lambda chain: OddPort(chain, endpoints), **more)  # type: ignore[arg-type]
    return world, world.port


@row("T7", "no money for gas: told once with the exact shortfall, tried once a block, resumed when funded", "no_storm")
def test_insufficient_funds(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan()
    world.port.faults = Faults(lost_before=1.0)
    world.look()
    attempt = world.journal.action("a").attempts[0]
    world.chain.balances[GUARDIAN] = attempt.worst_cost_wei - 7
    world.port.faults = Faults()
    before = len(world.port.sent)
    world.look()
    world.look()
    world.look()
    assert len(world.port.sent) == before + 3
    told = [text for text in world.alerts("critical") if "lacks 7 wei" in text]
    assert len(told) == 1, "it is told once"
    assert world.state() is ActionState.SIGNED
    world.chain.balances[GUARDIAN] = 10**20
    world.finish()
    assert (world.state(), world.effects(), len(world.guardian.asked)) == (ActionState.FINAL_OK, 1, 1)
    world.close()


@row(
    "T7",
    "little money for gas is told while it is enough for some rescues, once, and when it is over",
    "concerns",
)
def test_gas_runs_low(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.look()
    assert world.alerts() == []
    enough = 3 * 600_000 * 3 * GWEI
    world.chain.balances[GUARDIAN] = enough
    for _ in range(3):
        world.chain.base_fee_wei += 10**7  # what it takes wavers with the fees
        world.chain.mine()
        world.look()
    assert [text for text in world.alerts("warn") if f"has {enough} wei left" in text] == world.alerts("warn")
    assert len(world.alerts("warn")) == 1
    world.plan()
    world.finish()
    assert world.effects() == 1, "it was enough for one"
    world.chain.balances[GUARDIAN] = 10**20
    world.look()
    assert [text for text in world.alerts("info") if "over: the key has" in text]
    assert len(world.alerts("warn")) == 2  # with that of the decision
    world.close()


@row("T16", "the simulated gas with its margin must fit the gas limit; else more of it, once", "gas_margin")
def test_gas(folder: Path, off: str | None) -> None:
    world = World(folder, off=off)
    world.plan(gas=65_000)  # 60 000 are used and 72 000 are wanted
    world.look()
    assert world.state() is ActionState.CLOSED_REJECTED
    assert world.guardian.asked == []
    assert world.journal.next_nonce(31337, GUARDIAN) == 0
    world.finish()
    assert (world.state("a~1"), world.effects()) == (ActionState.FINAL_OK, 1)
    assert {request.gas for request in world.guardian.asked} == {72_000}
    world.plan("b", effect=2, gas=30_000)  # more than twice as much is another plan
    world.look()
    assert world.state("b") is ActionState.CLOSED_REJECTED
    assert world.journal.actions(only_open=True) == []
    world.close()


@row("T16", "out of gas on the chain: once final, tried once more with twice as much, at no higher cost", "more_gas")
def test_out_of_gas(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    port.edit_simulation = lambda _: Passed(None)  # a node that does not tell what it takes
    cost = 50_000 * 40 * GWEI
    world.plan(gas=50_000, max_cost_wei=cost)
    world.until(ActionState.FINAL_REVERTED)
    assert "out of gas" in world.journal.action("a").note
    world.finish()
    assert [one.id for one in world.journal.actions()] == ["a", "a~1"]
    assert (world.state("a~1"), world.effects()) == (ActionState.FINAL_OK, 1)
    assert max(one.worst_cost_wei for one in world.journal.action("a~1").attempts) <= cost
    world.plan("b", effect=2, gas=25_000)
    world.finish(160)
    assert (world.state("b"), world.state("b~1")) == (ActionState.FINAL_REVERTED, ActionState.FINAL_REVERTED)
    assert world.journal.actions(only_open=True) == []
    assert world.audit() == []
    world.close()


@row("T18", "a delegated or contract account has one transaction in flight", "one_in_flight")
def test_one_in_flight(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.chain.delegated.add(GUARDIAN)
    if off is not None:
        # without the rule the nonce check would still stop it: both guard the same door
        port.edit_account = lambda account: replace(account, nonce=world.journal.next_nonce(31337, GUARDIAN) or 0)
    world.plan("a")
    world.plan("b", effect=2)
    world.look()
    assert (world.state("a"), world.state("b")) == (ActionState.BROADCAST, ActionState.PLANNED)
    world.finish(140)
    assert (world.effects(1), world.effects(2)) == (1, 1)
    world.close()


@row(
    "T18",
    "code at the key's account is told at the start; what such an account may not send waits its turn",
    "concerns",
)
def test_delegated_account(folder: Path, off: str | None) -> None:
    world, port = odd(folder, off)
    world.chain.delegated.add(GUARDIAN)
    world.look()
    world.look()
    assert [text for text in world.alerts("warn") if "account has code" in text] == world.alerts("warn")
    assert len(world.alerts("warn")) == 1
    port.reply = refuse("in-flight transaction limit reached for delegated accounts")
    world.plan()
    world.step(2)
    assert world.state() is ActionState.SIGNED
    assert len(set(port.public)) == 1, "something else was sent"
    port.reply = None
    world.finish()
    assert (world.state(), world.effects()) == (ActionState.FINAL_OK, 1)
    world.close()


class OtherFields:
    """A signer that signs something else than it was asked."""

    def __init__(self) -> None:
        self.honest = LocalSigner()

    async def sign(self, request: SignRequest) -> Signed:
        return await self.honest.sign(replace(request, max_fee_per_gas_wei=request.max_fee_per_gas_wei + 1))


class OtherKey(OtherFields):
    """A signer with another key than the one that was asked for."""

    async def sign(self, request: SignRequest) -> Signed:
        return await LocalSigner("stranger").sign(request)


class OtherCall(OtherFields):
    """A signer that sends the money somewhere else."""

    async def sign(self, request: SignRequest) -> Signed:
        fees = request.max_priority_fee_per_gas_wei, request.max_fee_per_gas_wei
        assert request.intent is not None
        call = replace(build(request.intent), to="0x" + "66" * 20)
        raw = self.honest.bytes_for(DynamicFee(request.chain_id, request.nonce, *fees, request.gas, call))
        return Signed(raw, tx_hash(raw))


@row(
    "T23",
    "bytes that are not exactly what was asked, from exactly that key, are not saved and not sent",
    "verify_signature",
)
def test_signer_signs_something_else(folder: Path, off: str | None) -> None:
    for signer in (OtherFields(), OtherKey(), OtherCall()):
        world, port = odd(folder, off, signer=signer)
        world.plan()
        world.look()
        assert world.state() is ActionState.ARMED
        assert port.public == []
        assert all(attempt.raw is None for attempt in world.journal.action("a").attempts)
        assert any("not signed" in text for text in world.alerts("critical"))
        world.close()
        (folder / "journal.db").unlink()
    assert run(LocalSigner().sign(SignRequest("a", 1, 1, GUARDIAN, 0, None, 21_000, 2, 1))).hash


class FakeRemote:
    """A remote signer, as a KMS may be: slow, moody, and never twice the same bytes for the same request."""

    def __init__(self) -> None:
        self.moods: list[str] = []
        self.asked: list[SignRequest] = []
        self.signed: list[bytes] = []

    async def sign(self, request: SignRequest) -> Signed:
        self.asked.append(request)
        match self.moods.pop(0) if self.moods else "":
            case "silent":
                raise SignerUnavailable("no answer within 5 s")
            case "refusing":
                raise SignerRefused("not now")
            case _:
                pass
        call = cancel_call(GUARDIAN) if request.intent is None else build(request.intent)
        fees = request.max_priority_fee_per_gas_wei, request.max_fee_per_gas_wei
        fields = DynamicFee(request.chain_id, request.nonce, *fees, request.gas, call)
        raw = with_signature(fields, *self._signature(signing_hash(fields)))
        self.signed.append(raw)
        return Signed(raw, tx_hash(raw))

    def _signature(self, digest: bytes) -> tuple[int, int, int]:
        """Textbook ECDSA, each time with another k."""
        k = 7 + len(self.asked)
        secret = int.from_bytes(PrivateKey(account_key("guardian")).to_bytes(), "big")
        x, y = fast_multiply(SECPK1_G, k)
        s = pow(k, -1, SECPK1_N) * (int.from_bytes(digest, "big") + x * secret) % SECPK1_N
        return (y % 2, x, s) if s <= SECPK1_N // 2 else (1 - y % 2, x, SECPK1_N - s)


@row(
    "T23",
    "a signer that is silent, or says no, is asked for the same again; what it may have signed is not lost",
    "resume",
)
def test_moody_signer(folder: Path, off: str | None) -> None:
    remote = FakeRemote()
    remote.moods = ["silent", "refusing", "silent"]
    world = World(folder, off=off, signer=remote)
    world.plan()
    for told in ("does not answer", "not signed: not now", "does not answer"):
        [(_, state, why)] = world.look().actions
        assert (state, told in why) == (ActionState.ARMED, True)
        assert world.chain.pool == {}
    world.restart()
    world.finish()
    assert (world.state(), world.effects(), world.audit()) == (ActionState.FINAL_OK, 1, [])
    assert {(one.nonce, one.intent and one.intent.hash) for one in remote.asked} == {
        (0, world.journal.action("a").draft.intent.hash)
    }
    world.close()


@row("T23", "a signer that never signs alike: only bytes that are saved are ever sent", "save_before_send")
def test_never_twice_the_same(folder: Path, off: str | None) -> None:
    remote = FakeRemote()
    world = World(folder, off=off, signer=remote)
    world.plan()

    class Died(Exception):
        pass

    def die(point: str) -> None:
        if point == "before save commit":
            raise Died

    world.journal._probe = die
    try:
        world.look()
    except Died:
        assert world.chain.pool == {}, "bytes were sent that the journal does not have"
        world.restart()
    world.finish()
    assert len(remote.signed) == 2
    assert remote.signed[0] != remote.signed[1]
    assert (world.state(), world.effects(), world.audit()) == (ActionState.FINAL_OK, 1, [])
    world.close()
