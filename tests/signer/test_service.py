"""The order in which a signature comes to be: rows S8, T23, P14 of the fault matrix, and requests side by side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
import rlp
from eth_keys.datatypes import Signature

from monitor.core.actions import SignRequest
from monitor.core.errors import SignerUnavailable, SigningError, WrongSignature
from monitor.core.types import Address
from monitor.signer import config as configuration
from monitor.signer.backend import LocalKeys
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.keys import SecretKey
from monitor.signer.policy import judge
from monitor.signer.protocol import Done, Kill, Refused, Register, Sign, SignedAnswer, Status, StatusAnswer
from monitor.signer.transaction import HALF_ORDER, Transaction, verify
from tests.signer.room import (
    CHAIN,
    CONFIG,
    GUARDIAN,
    GWEI,
    KEY,
    OTHER_KEY,
    STRANGER,
    TEMPLATES,
    Room,
    cancel,
    open_room,
    repay,
    request,
)

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
Seal = Callable[[Transaction], bytes]
RULES = configuration.parse(CONFIG)


def sealed(transaction: Transaction, key: SecretKey = KEY) -> bytes:
    return transaction.signed(key.sign_hash(transaction.signing_hash))


def high_s(transaction: Transaction) -> bytes:
    signature = KEY.sign_hash(transaction.signing_hash)
    return transaction.signed(Signature(vrs=(1 - signature.v, signature.r, ORDER - signature.s)))


def with_items(transaction: Transaction, change: Callable[[list[object]], None]) -> bytes:
    items: list[object] = list(rlp.decode(sealed(transaction)[1:]))
    change(items)
    return b"\x02" + bytes(rlp.encode(items))


def set_item(at: int, value: object) -> Callable[[list[object]], None]:
    def change(items: list[object]) -> None:
        items[at] = value

    return change


LIES: dict[str, Seal] = {
    "another chain": lambda t: sealed(replace(t, chain_id=1)),
    "another nonce": lambda t: sealed(replace(t, nonce=t.nonce + 1)),
    "another tip": lambda t: sealed(replace(t, max_priority_fee_per_gas_wei=1)),
    "another fee": lambda t: sealed(replace(t, max_fee_per_gas_wei=t.max_fee_per_gas_wei * 2)),
    "more gas": lambda t: sealed(replace(t, gas=t.gas + 1)),
    "another target": lambda t: sealed(replace(t, to=STRANGER)),
    "ether": lambda t: sealed(replace(t, value_wei=1)),
    "another amount": lambda t: sealed(replace(t, data=t.data[:-1] + bytes([t.data[-1] ^ 1]) if t.data else b"\1")),
    "another key": lambda t: sealed(t, OTHER_KEY),
    "the signature of another transaction": lambda t: t.signed(KEY.sign_hash(replace(t, nonce=9).signing_hash)),
    "a high s": high_s,
    "an access list": lambda t: with_items(t, set_item(8, [[bytes(20), []]])),
    "a leading zero": lambda t: with_items(t, set_item(4, b"\0" + t.gas.to_bytes(8, "big").lstrip(b"\0"))),
    "v of two": lambda t: with_items(t, set_item(9, b"\2")),
    "r of nothing": lambda t: with_items(t, set_item(10, b"")),
    "r past the order": lambda t: with_items(t, set_item(10, b"\xff" * 32)),
    "s that is a list": lambda t: with_items(t, set_item(11, [b"\1"])),
    "a field more": lambda t: with_items(t, lambda items: items.append(b"")),
    "bytes behind": lambda t: sealed(t) + b"\0",
    "a legacy transaction": lambda t: sealed(t)[1:],
    "another type": lambda t: b"\1" + sealed(t)[1:],
    "not signed at all": lambda t: b"\2" + bytes(rlp.encode(t.fields)),
    "nothing": lambda _: b"",
    "noise": lambda _: b"\2" + bytes(range(200)),
}


@dataclass
class Remote:
    """A remote signer of any character: `seal` makes the bytes, `before` runs first."""

    seal: Seal = sealed
    before: Callable[[], Awaitable[None]] | None = None
    asked: list[Transaction] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def addresses(self) -> frozenset[Address]:
        return frozenset({GUARDIAN})

    async def sign(self, transaction: Transaction, sender: Address) -> bytes:
        assert sender == GUARDIAN
        self.asked.append(transaction)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.before:
                await self.before()
            return self.seal(transaction)
        finally:
            self.at_once -= 1


class TestVerify:
    """T23: what comes back is exactly what was asked for, or nothing."""

    transaction = judge(request(3), RULES, TEMPLATES).transaction

    def test_the_truth_passes(self) -> None:
        for asked in (request(3), cancel(0)):
            transaction = judge(asked, RULES, TEMPLATES).transaction
            signed = verify(transaction, GUARDIAN, sealed(transaction))
            assert signed.raw == sealed(transaction)

    @pytest.mark.parametrize("lie", LIES)
    def test_a_lie_does_not(self, lie: str) -> None:
        raw = LIES[lie](self.transaction)
        assert raw != sealed(self.transaction)
        with pytest.raises(WrongSignature):
            verify(self.transaction, GUARDIAN, raw)

    def test_every_bit_counts(self) -> None:
        raw = bytearray(sealed(self.transaction))
        for bit in range(0, len(raw) * 8, 13):
            raw[bit // 8] ^= 1 << bit % 8
            with pytest.raises(WrongSignature):
                verify(self.transaction, GUARDIAN, bytes(raw))
            raw[bit // 8] ^= 1 << bit % 8

    def test_half_the_order_is_the_bound(self) -> None:
        assert HALF_ORDER == ORDER // 2

    def test_it_agrees_with_eth_account(self) -> None:
        from eth_account import Account

        signed = verify(self.transaction, GUARDIAN, sealed(self.transaction))
        assert Account.recover_transaction(signed.raw) == GUARDIAN
        fields = {
            "type": 2,
            "chainId": CHAIN,
            "nonce": 3,
            "maxPriorityFeePerGas": self.transaction.max_priority_fee_per_gas_wei,
            "maxFeePerGas": self.transaction.max_fee_per_gas_wei,
            "gas": self.transaction.gas,
            "to": self.transaction.to,
            "value": 0,
            "data": self.transaction.data,
        }
        theirs = Account.sign_transaction(fields, KEY._key.to_bytes())
        assert (theirs.raw_transaction, "0x" + theirs.hash.hex()) == (signed.raw, signed.hash)


class TestBackends:
    @pytest.mark.parametrize("lie", LIES)
    async def test_one_that_lies_gets_nothing_out(self, tmp_path: Path, lie: str) -> None:
        with open_room(tmp_path, backend=Remote(LIES[lie])) as room:
            assert await room.refusal(request()) is Refusal.BACKEND_LIED
            assert [row["raw"] for row in room.db.rows("attempts")] == [None]

    async def test_without_the_check_the_lie_gets_out(self, tmp_path: Path) -> None:
        with open_room(tmp_path, ALL.without("check_backend"), backend=Remote(LIES["another target"])) as room:
            assert await room.refusal(request()) is None

    async def test_one_that_never_answers_is_not_waited_for(self, tmp_path: Path) -> None:
        forever = asyncio.Event()
        slow = Remote(before=lambda: _wait(forever))
        with open_room(tmp_path, backend=slow, backend_deadline_s=0.05) as room:
            assert await room.refusal(request()) is Refusal.BACKEND
            forever.set()
            assert await room.refusal(request()) is None  # the same nonce, the same intent

    async def test_one_that_fails_is_quoted(self, tmp_path: Path) -> None:
        async def fail() -> None:
            raise SignerUnavailable("the KMS is away")

        with open_room(tmp_path, backend=Remote(before=fail)) as room, pytest.raises(SigningError, match="KMS is away"):
            await room.sign(request())

    async def test_one_that_never_signs_alike_is_asked_once(self, tmp_path: Path) -> None:
        for name, defences, alike in (("on", ALL, True), ("off", ALL.without("same_bytes"), False)):
            (tmp_path / name).mkdir()  # nothing else runs here
            backend = Remote(undecided())
            with open_room(tmp_path / name, defences, backend=backend) as room:
                first, second = await room.sign(request()), await room.sign(request())
                assert (first == second) is alike
            with open_room(tmp_path / name, defences, backend=backend, register=False) as room:
                assert (await room.sign(request()) == first) is alike

    async def test_a_key_that_is_not_here(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            assert await room.refusal(request(sender=OTHER_KEY.address)) is Refusal.UNKNOWN_KEY
            assert await room.refusal(Register(CHAIN, OTHER_KEY.address, 1, 0)) is Refusal.UNKNOWN_KEY
            assert await room.refusal(Register(1, GUARDIAN, 1, 0)) is Refusal.UNKNOWN_CHAIN

    def test_a_local_key_is_a_remote_signer_too(self) -> None:
        transaction = judge(request(), RULES, TEMPLATES).transaction
        assert asyncio.run(LocalKeys({GUARDIAN: KEY}).sign(transaction, GUARDIAN)) == sealed(transaction)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def undecided() -> Seal:
    """Signs with a new k each time, as some hardware does: valid, and never twice the same."""
    count = 0

    def seal(transaction: Transaction) -> bytes:
        nonlocal count
        count += 1
        return transaction.signed(sign_with(count + 7, transaction.signing_hash))

    return seal


def sign_with(k: int, digest: bytes) -> Signature:
    """Textbook ECDSA with a given k."""
    from eth_keys.backends.native.jacobian import fast_multiply
    from eth_keys.constants import SECPK1_G

    secret = int.from_bytes(KEY._key.to_bytes(), "big")
    x, y = fast_multiply(SECPK1_G, k)
    s = pow(k, -1, ORDER) * (int.from_bytes(digest, "big") + x * secret) % ORDER
    odd = y % 2
    if s > HALF_ORDER:
        s, odd = ORDER - s, 1 - odd
    return Signature(vrs=(odd, x, s))


class TestKillSwitch:
    async def test_nothing_is_signed_from_the_moment_it_is_on(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            signed = await room.sign(request(0))
            room.kill.turn_on()
            for asked in (request(0), request(1), cancel(0), request(0, max_fee_per_gas_wei=3 * GWEI)):
                assert await room.refusal(asked) is Refusal.KILLED
            assert room.db.watermark(CHAIN, GUARDIAN) == 0
            room.kill.file.unlink()
            assert await room.sign(request(0)) == signed
        (tmp_path / "sign.db").unlink()
        with open_room(tmp_path, ALL.without("kill_switch")) as room:
            room.kill.turn_on()
            assert await room.refusal(request(0)) is None

    async def test_what_is_being_signed_does_not_leave(self, tmp_path: Path) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()

        with open_room(tmp_path, backend=Remote(before=slow)) as room:
            answer = asyncio.create_task(room.refusal(request()))
            await begun.wait()
            assert await room.ask(Kill()) == Done()
            go_on.set()
            assert await answer is Refusal.KILLED

    async def test_it_survives_a_restart(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.ask(Kill())
        with open_room(tmp_path) as room:
            assert await room.ask(Status()) == StatusAnswer((GUARDIAN,), True)
            assert await room.refusal(request()) is Refusal.KILLED

    @pytest.mark.parametrize("kind", ["directory", "link to nowhere", "link in a circle"])
    async def test_anything_at_its_place_turns_it_on(self, tmp_path: Path, kind: str) -> None:
        with open_room(tmp_path) as room:
            if kind == "directory":
                room.kill.file.mkdir()
            else:
                room.kill.file.symlink_to("kill" if "circle" in kind else "nowhere")
            assert await room.refusal(request()) is Refusal.KILLED

    async def test_if_it_cannot_be_looked_for_it_is_on(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            for file in (tmp_path / "gone" / "kill", tmp_path / "sign.db" / "kill", tmp_path / ("x" * 300)):
                room.signer._kill = replace(room.kill, file=file)
                assert await room.refusal(request()) is Refusal.KILLED

    async def test_a_dead_man_stops_it_too(self, tmp_path: Path) -> None:
        import os

        with open_room(tmp_path) as room:
            armed = tmp_path / "armed"
            room.signer._kill = replace(room.kill, armed_file=armed, armed_for_s=300)
            assert await room.refusal(request()) is Refusal.KILLED
            armed.touch()
            for age_s, code in ((0, None), (300, None), (301, Refusal.KILLED), (-30, None), (-(10**6), Refusal.KILLED)):
                os.utime(armed, (room.clock.now - age_s,) * 2)
                assert await room.refusal(request()) is code


class TestEpochInFlight:
    async def test_a_lease_lost_while_signing_is_lost(self, tmp_path: Path) -> None:
        """P14: the old holder's request hangs in a slow backend while the new holder starts."""
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            begun.set()
            await go_on.wait()

        with open_room(tmp_path, backend=Remote(before=slow)) as room:
            answer = asyncio.create_task(room.refusal(request(epoch=1)))
            await begun.wait()
            assert await room.register(epoch=2) is None
            go_on.set()
            assert await answer is Refusal.EPOCH


async def all_at_once(room: Room, asked: list[SignRequest]) -> tuple[int, Counter[Refusal]]:
    """How many were signed, and why the others were not."""
    answers = await asyncio.gather(*(room.ask(Sign(one)) for one in asked))
    signed = [answer for answer in answers if isinstance(answer, SignedAnswer)]
    return len(signed), Counter(answer.code for answer in answers if isinstance(answer, Refused))


async def breathe() -> None:
    """Let every other request go as far as it can."""
    for _ in range(50):
        await asyncio.sleep(0)


class TestSideBySide:
    async def test_of_different_intents_for_one_nonce_one_wins(self, tmp_path: Path) -> None:
        asked = [request(0, repay(amount), action_id=f"a{amount}") for amount in range(1, 21)]
        with open_room(tmp_path, backend=Remote(before=breathe)) as room:
            assert await all_at_once(room, asked) == (1, Counter({Refusal.NONCE_TAKEN: 19}))
            assert len(room.db.rows("attempts")) == 1

    @pytest.mark.parametrize("lock", [True, False])
    async def test_even_without_the_lock_the_record_decides(self, tmp_path: Path, *, lock: bool) -> None:
        asked = [request(0, repay(amount), action_id=f"a{amount}") for amount in range(1, 21)]
        defences = ALL if lock else ALL.without("one_at_a_time")
        with open_room(tmp_path, defences, backend=Remote(before=breathe)) as room:
            assert (await all_at_once(room, asked))[0] == 1
        (tmp_path / "sign.db").unlink()
        loose = defences.without("one_intent")
        with open_room(tmp_path, loose, backend=Remote(before=breathe)) as room:
            assert (await all_at_once(room, asked))[0] == 20

    async def test_one_request_at_a_time_for_a_key(self, tmp_path: Path) -> None:
        for name, defences, most in (("on", ALL, 1), ("off", ALL.without("one_at_a_time"), 8)):
            (tmp_path / name).mkdir()  # nothing else runs here
            backend = Remote(before=breathe)
            with open_room(tmp_path / name, defences, backend=backend) as room:
                await all_at_once(room, [request(nonce, repay(1)) for nonce in range(8)])
            assert backend.most_at_once == most

    async def test_a_limit_is_shared_by_all(self, tmp_path: Path) -> None:
        """S10."""
        asked = [request(nonce, repay(1_000)) for nonce in range(16)]
        with open_room(tmp_path, ALL.without("one_at_a_time"), backend=Remote(before=breathe)) as room:
            assert await all_at_once(room, asked) == (5, Counter({Refusal.LIMIT_DAY: 11}))

    async def test_the_same_request_often_is_one(self, tmp_path: Path) -> None:
        for defences in (ALL, ALL.without("one_at_a_time")):
            with open_room(tmp_path, defences, backend=Remote(undecided(), breathe)) as room:
                answers = await asyncio.gather(*(room.ask(Sign(request())) for _ in range(10)))
                assert len({answer.raw for answer in answers if isinstance(answer, SignedAnswer)}) == 1
                assert not any(isinstance(answer, Denied) for answer in answers)


class TestDefences:
    def test_a_slip_switches_nothing_off(self) -> None:
        with pytest.raises(ValueError, match="no defence"):
            ALL.without("kill_swich")
        assert Defences() == ALL

    def test_each_is_switched_off_by_some_test(self) -> None:
        tests = "".join(path.read_text() for path in sorted(Path(__file__).parent.glob("test_*.py")))
        assert [one.name for one in fields(Defences) if f'"{one.name}"' not in tests] == []
