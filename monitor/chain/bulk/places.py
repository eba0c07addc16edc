"""Where contracts keep what their getters tell, found and proven on the chain itself and never assumed.

With state override: every candidate slot of an account that nobody has is filled with a word of its own, and what the
getter then answers tells slot, shift and width at once; a second filling must be answered as foretold. Without: the
getter's answers about real accounts are looked for among the words that the candidates hold for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from eth_utils.crypto import keccak

from monitor.chain import abi
from monitor.chain.aggregate import CREATED_CODE_BYTES, Item, deployless_code, read_deployless
from monitor.chain.bulk.wire import Wire
from monitor.core.types import Address
from monitor.protocols.survey import Getter

NOBODY = sha256(b"an account of nobody").digest()[:20]
CANDIDATES = (range(48, 64), range(48), range(64, 128))
"""Searched in this order, each only for what was not found before: first behind an upgrade gap of fifty slots."""
WIDTHS = (8, 40, 64, 96, 104, 112, 120, 128, 256)


@dataclass(frozen=True, slots=True)
class Place:
    """`word >> shift & (1 << bits) - 1` of the word of `mapping(address => ...)` at `slot`."""

    slot: int
    shift: int
    bits: int

    def of(self, word: int) -> int:
        return word >> self.shift & (1 << self.bits) - 1


def key(owner: bytes, slot: int) -> bytes:
    """Where Solidity keeps `mapping(address => ...)` at `slot` for an account."""
    return keccak(owner.rjust(32, b"\0") + slot.to_bytes(32, "big"))


def filling(slot: int, salt: int) -> int:
    """A word like no other. Its low byte tells the slot, so that even a getter of one byte does; and the highest bit of
    every other width is set, so that no narrower getter could have answered what a wider one does.
    """
    word = int.from_bytes(sha256(f"{salt} {slot}".encode()).digest(), "big")
    return (word | sum(1 << bits - 1 for bits in WIDTHS[1:])) >> 8 << 8 | (slot ^ salt * 0x80)


async def locate(wire: Wire, getters: Sequence[Getter]) -> dict[Getter, Place]:
    """The places of those getters that read plain mappings. May raise: TooMuch, RungFailed, ChainError."""
    found: dict[Getter, Place] = {}
    for slots in CANDIDATES:
        missing = [getter for getter in getters if getter not in found]
        if not missing:
            break
        answers = await _filled(wire, missing, {getter.contract: slots for getter in missing}, salt=0)
        guesses = {place.of(filling(place.slot, 0)): place for place in _guesses(slots)}
        found |= {
            getter: guesses[answer]
            for getter, answer in zip(missing, answers, strict=True)
            if answer is not None and answer in guesses
        }
    slots_of: dict[Address, list[int]] = {}
    for getter, place in found.items():
        slots_of.setdefault(getter.contract, []).append(place.slot)
    if not found:
        return {}
    again = await _filled(wire, list(found), slots_of, salt=1)
    return {
        getter: place
        for (getter, place), answer in zip(found.items(), again, strict=True)
        if answer == place.of(filling(place.slot, 1))
    }


def _guesses(slots: Iterable[int]) -> list[Place]:
    forms = [(0, bits) for bits in WIDTHS] + [(128, 128)]
    return [Place(slot, shift, bits) for slot in slots for shift, bits in forms]


async def _filled(
    wire: Wire, getters: Sequence[Getter], slots: Mapping[Address, Iterable[int]], salt: int
) -> list[int | None]:
    """What the getters say of NOBODY when these slots are filled; None where one fails."""
    overrides: dict[str, Any] = {
        contract: {"stateDiff": {"0x" + key(NOBODY, slot).hex(): f"0x{filling(slot, salt):064x}" for slot in its}}
        for contract, its in slots.items()
    }
    items = [Item(bytes.fromhex(g.contract[2:]), g.selector + NOBODY.rjust(32, b"\0")) for g in getters]
    code = bytes.fromhex(abi.load("deployless").bytecode[2:])
    answers: list[int | None] = []
    while len(answers) < len(items):
        rest = items[len(answers) :]
        outcome = read_deployless(
            await wire.call(deployless_code(code, rest, CREATED_CODE_BYTES), overrides=overrides), len(rest)
        )
        if not outcome.parts:
            break
        answers += [int.from_bytes(data, "big") if ok and len(data) == 32 else None for ok, data in outcome.parts]
    return answers + [None] * (len(items) - len(answers))


def stub(place: Place) -> bytes:
    """Code that answers its caller's account from storage alone, whichever getter is called.

    What it does: keccak(account, slot), SLOAD, shift, mask. Only opcodes that every chain has.
    """
    slot = place.slot.to_bytes(max(1, (place.slot.bit_length() + 7) // 8), "big")
    code = b"\x60\x04\x35\x60\x00\x52"  # the account at 0
    code += bytes([0x5F + len(slot)]) + slot + b"\x60\x20\x52"  # the slot behind it
    code += b"\x60\x40\x60\x00\x20\x54"  # KECCAK256 SLOAD
    if place.shift:
        code += b"\x60" + bytes([place.shift]) + b"\x1c"
    if place.shift + place.bits < 256:
        mask = ((1 << place.bits) - 1).to_bytes(place.bits // 8, "big")
        code += bytes([0x5F + len(mask)]) + mask + b"\x16"
    return code + b"\x60\x00\x52\x60\x20\x60\x00\xf3"
