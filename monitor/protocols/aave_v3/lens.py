"""What to read of Aave V3 accounts in bulk: which getters, and the layout of AaveV3Lens.yul's questions and answers.

Kinds are the bits of a user configuration: 2 * id is the scaled variable debt in reserve id, 2 * id + 1 the scaled
aToken balance. Where reserves have stable debt (<= 3.1), 256 + id is its principal, 384 + id its rate, 512 + id the
second of its last update. A balance is read only where its bit is set; others do not count for the contract either.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from monitor.core.errors import DecodeError, ProtocolError
from monitor.core.types import Address, Call, Ok, ReadPlan
from monitor.protocols.aave_v3.reading import A_TOKEN, STABLE_TOKEN, VARIABLE_TOKEN
from monitor.protocols.aave_v3.records import ZERO, Facts
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.columns import U8, U16, U64
from monitor.protocols.survey import Getter, Part, Reading, Survey

PRINCIPAL, RATE, UPDATE = 256, 384, 512
GET_CONFIGURATION = bytes.fromhex("4417a583")
"""Pool.getUserConfiguration(address)"""
GET_E_MODE = bytes.fromhex("eddf1b79")
"""Pool.getUserEMode(address)"""
GET_SCALED = bytes.fromhex("1da24f3e")
"""aToken and VariableDebtToken: scaledBalanceOf(address)"""
GET_STABLE = {
    PRINCIPAL: (bytes.fromhex("c634dfaa"), 128),
    RATE: (bytes.fromhex("e78c9b3b"), 128),
    UPDATE: (bytes.fromhex("79ce6b8c"), 40),
}
"""StableDebtToken: principalBalanceOf, getUserStableRate, getUserLastUpdated (address); bits of their answers"""
BORROWERS = ("aave_v3_pool.Borrow", 2)
"""Event and topic in which everybody who owes was named once: debt begins by borrowing and cannot be handed on."""
HEAD_BYTES, GAP_BYTES, ENTRY_BYTES, NOTE_BYTES = 32, 32, 16, 43
FAILURES = {
    0xFFFF: "the balance of bit {} could not be read",
    0xFFFE: "its configuration has bits of no reserve that is known",
    0xFFFD: "its e-mode could not be read",
    0xFFFC: "its configuration could not be read",
}
_NOTE = np.dtype([("row", ">u4"), ("what", ">u2"), ("high", ">u8"), ("low", ">u8"), ("rest", "V21")])


@dataclass(frozen=True, slots=True)
class AaveSurvey(Survey):
    """`tokens` and `stables` are what the lens walks through: addresses by bit and by reserve id."""

    flags: Getter
    mode: Getter
    tokens: tuple[bytes, ...] = field(default=(), hash=False)
    stables: tuple[bytes, ...] = field(default=(), hash=False)

    def question(self, owners: U8, room: int, least: int, slots: tuple[int, int] = (0, 0)) -> bytes:
        numbers = ((room, 4), (least, 4), (len(owners), 4), (8 * self.width, 1), (len(self.tokens), 2))
        head = b"".join(number.to_bytes(size, "big") for number, size in numbers)
        stable = bytes([bool(self.stables)])
        pool = bytes.fromhex(self.flags.contract[2:])
        return b"".join((head, stable, pool, bytes(slots), *self.tokens, *self.stables, owners.tobytes()))

    def reading(self, answer: bytes, count: int) -> Reading:
        stride = 8 * self.width + 1
        if len(answer) < HEAD_BYTES + count * stride + GAP_BYTES:
            raise DecodeError(f"the lens answered {len(answer)} bytes about {count} accounts")
        zero, done, entries, notes = np.frombuffer(answer, ">u4", 4).tolist()
        began, left = np.frombuffer(answer, ">u8", 2, 16).tolist()
        first = HEAD_BYTES + count * stride + GAP_BYTES
        rest = first + entries * ENTRY_BYTES
        if zero or done > count or len(answer) != rest + notes * NOTE_BYTES:
            raise DecodeError(f"the lens's {len(answer)} bytes about {count} accounts are laid out otherwise")
        records = np.frombuffer(answer, np.uint8, done * stride, HEAD_BYTES).reshape(done, stride)
        flags: U64 = np.ascontiguousarray(records[:, :-1]).view(">u8")[:, ::-1].astype(np.uint64)
        row, kind = self.called_for(flags)
        if len(row) != entries:
            raise DecodeError(f"the lens answered {entries} balances where the flags call for {len(row)}")
        words = np.frombuffer(answer, ">u8", 2 * entries, first).reshape(entries, 2).astype(np.uint64)
        part = Part(flags, records[:, -1].copy(), row, kind, words[:, 1], words[:, 0], self.strangers(flags))
        if notes:
            self._note(part, np.frombuffer(answer, _NOTE, notes, rest))
        return Reading(part, (began, left))

    def _note(self, part: Part, notes: NDArray[np.void]) -> None:
        """Adds the stable debts, and the failures."""
        rows, whats, tails = notes["row"].astype(np.int64), notes["what"], notes["rest"].tolist()
        if len(rows) and rows.max() >= len(part):
            raise DecodeError("the lens tells of accounts that it did not get to")
        failing = whats >= min(FAILURES)
        for at in np.flatnonzero(failing).tolist():
            part.failed[int(rows[at])] = FAILURES[int(whats[at])].format(int(notes["low"][at]))
        debts = np.flatnonzero(~failing)
        if not len(debts):
            return
        kinds = whats[debts].astype(np.uint16)
        rates = np.frombuffer(b"".join(tails[at][:16] for at in debts.tolist()), ">u8").reshape(-1, 2)
        times = np.array([int.from_bytes(tails[at][16:], "big") for at in debts.tolist()], np.uint64)
        low = (notes["low"][debts], rates[:, 1], times)
        high = (notes["high"][debts], rates[:, 0], np.zeros_like(times))
        part.row = np.concatenate([part.row, np.tile(rows[debts], 3)])
        step: U16 = np.repeat(np.array([0, RATE - PRINCIPAL, UPDATE - PRINCIPAL], np.uint16), len(debts))
        part.kind = np.concatenate([part.kind, np.tile(kinds, 3) + step])
        part.low = np.concatenate([part.low, *low]).astype(np.uint64)
        part.high = np.concatenate([part.high, *high]).astype(np.uint64)


def read_survey(facts: Facts) -> ReadPlan[AaveSurvey]:
    """The tokens of every reserve, in one round. May raise: ProtocolError, when the facts no longer hold."""
    calls = [Call(facts.pool, "aave_v3_pool.getReservesList")]
    calls += [Call(facts.pool, "aave_v3_pool.getReserveData", (r.asset,), allow_revert=True) for r in facts.reserves]
    listed, *answers = yield tuple(calls)
    if not isinstance(listed, Ok) or listed.values[0] != tuple(reserve.asset for reserve in facts.reserves):
        raise ProtocolError(f"{facts.market}: its list of reserves has changed since its facts were read")
    data = {
        reserve.id: answer.values[0]
        for reserve, answer in zip(facts.reserves, answers, strict=True)
        if isinstance(answer, Ok) and answer.values[0][7] == reserve.id
    }
    return survey(
        facts, {number: (row[A_TOKEN], row[VARIABLE_TOKEN], row[STABLE_TOKEN]) for number, row in data.items()}
    )


def survey(facts: Facts, tokens: dict[int, tuple[Address, Address, Address]]) -> AaveSurvey:
    """`tokens`: by reserve id the aToken, variable and stable debt token."""
    size = max(tokens, default=-1) + 1
    rows = [tokens.get(number, (ZERO, ZERO, ZERO)) for number in range(size)]
    stables = [row[2] for row in rows] if TABLE[facts.version].stable_debt else []
    if not any(int(token, 16) for token in stables):
        stables = []
    by_bit = [token for row in rows for token in (row[1], row[0])]
    balances = {kind: Getter(token, GET_SCALED) for kind, token in enumerate(by_bit) if int(token, 16)}
    beside, within = {}, {}
    for number, token in enumerate(stables):
        if int(token, 16):
            balances |= {what + number: Getter(token, *form) for what, form in GET_STABLE.items()}
            beside[2 * number] = PRINCIPAL + number
            within[PRINCIPAL + number] = (RATE + number, UPDATE + number)
    return AaveSurvey(
        flags=Getter(facts.pool, GET_CONFIGURATION, 256),
        mode=Getter(facts.pool, GET_E_MODE, 8),
        width=max(1, -(-2 * size // 64)),
        balances=balances,
        beside=beside,
        within=within,
        lens="aave_v3_lens",
        tokens=tuple(bytes.fromhex(token[2:]) for token in by_bit),
        stables=tuple(bytes.fromhex(token[2:]) for token in stables),
    )


def as_addresses(owners: U8) -> list[Address]:
    """Lower-case text of each row."""
    return [f"0x{row.tobytes().hex()}" for row in owners]
