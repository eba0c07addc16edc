"""Reads a Maker ilk and its urns: which calls, and what their answers mean. Judges nothing.

All reads may fail: a failure makes the position unreadable, except that a pip which refuses its reader is told as a
missing price, because nobody can poke then. An OSM answers only readers that it knows. One that refuses even the
spotter (or a node that asks as nobody) is read from storage, but only where the word that packs its source, hop and
last poke says just what its getters say: then it is laid out as makerdao/osm e36c874 is.
"""

from __future__ import annotations

from collections.abc import Mapping

from monitor.core.errors import ProtocolError
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    MarketRef,
    Ok,
    Position,
    ReadPlan,
    Reverted,
    Rule,
    Unread,
    Unreadable,
    Word,
)
from monitor.protocols.maker.math import NEXT, SPOT, ZERO, Facts, Ilk, State
from monitor.protocols.maker.urns import Urn

KEYS = ("MCD_VAT", "MCD_JUG", "MCD_SPOT", "MCD_DOG", "MCD_DAI")
OPTIONAL_KEYS = ("CDP_MANAGER", "GET_CDPS", "PROXY_REGISTRY")
RULE = Rule("maker", "dss")


def address_calls(market: MarketRef) -> tuple[Call, ...]:
    return tuple(
        Call(market.address, "maker.getAddress", (key.encode().ljust(32, b"\0"),), allow_revert=True)
        for key in (*KEYS, *OPTIONAL_KEYS)
    )


def read_addresses(market: MarketRef) -> ReadPlan[list[Address]]:
    answers = yield address_calls(market)
    for key, answer in zip((*KEYS, *OPTIONAL_KEYS), answers, strict=True):
        if isinstance(answer, Unread) or (key in KEYS and not isinstance(answer, Ok)):
            raise ProtocolError(f"{market}: no {key} in the chainlog: {answer.reason}")
    return [answer.values[0] if isinstance(answer, Ok) else ZERO for answer in answers]


def ilk_calls(market: MarketRef, spotter: Address, dog: Address) -> tuple[Call, ...]:
    ilk = ((market.id or "").encode().ljust(32, b"\0"),)
    return Call(spotter, "maker_spotter.ilks", ilk), Call(dog, "maker_dog.ilks", ilk)


def shared_calls(facts: Facts) -> tuple[Call, ...]:
    ilk, osm = (facts.ilk,), facts.is_osm
    asked = [
        *((at, f"{file}.ilks", ilk) for at, file in zip(_engines(facts), _FILES, strict=True)),
        (facts.spotter, "maker_spotter.par", ()),
        (facts.jug, "maker_jug.base", ()),
        *((facts.dog, f"maker_dog.{name}", ()) for name in ("Hole", "Dirt", "live")),
        (facts.vat, "maker_vat.live", ()),
        *([(facts.clip, "maker.stopped", ())] if facts.clip != ZERO else []),
        *((facts.pip, f"maker.{name}", ()) for name in ("hop", "zzz", "stopped") if osm),
    ]
    # an OSM answers only those it knows, such as the spotter
    feeds = [
        Call(facts.pip, f"maker.{name}", allow_revert=True, sender=facts.spotter)
        for name in (("peek", "peep") if osm else ("peek",))
    ]
    return (*(Call(at, function, args, allow_revert=True) for at, function, args in asked), *feeds)


_FILES = ("maker_vat", "maker_jug", "maker_spotter", "maker_dog")


def _engines(facts: Facts) -> tuple[Address, ...]:
    return facts.vat, facts.jug, facts.spotter, facts.dog


SLOTS: Mapping[str, int] = {"maker.peek": 3, "maker.peep": 4}
"""Of an OSM: `cur` and `nxt`, each the price below and whether there is one above 128 bits."""
PACKED, HALF = 2, 128


def read_refused(facts: Facts, answers: Mapping[Call, Answer]) -> ReadPlan[dict[Call, Answer]]:
    """The answers to `shared_calls`, those that the OSM refuses exchanged for what its storage says."""
    refused = [call for call, answer in answers.items() if call.function in SLOTS and isinstance(answer, Reverted)]
    if not (facts.is_osm and refused):
        return dict(answers)
    pip = facts.pip
    src, packed, *words = yield (
        Call(pip, "maker.src", allow_revert=True),
        Word(pip, PACKED, allow_revert=True),
        *(Word(pip, SLOTS[call.function], allow_revert=True) for call in refused),
    )
    told = [src, *(answers[Call(pip, f"maker.{name}", allow_revert=True)] for name in ("hop", "zzz"))]
    getters = [answer.values[0] for answer in told if isinstance(answer, Ok)]
    if len(getters) < len(told) or not isinstance(packed, Ok):
        return dict(answers)
    source, hop_s, zzz_s = getters
    if source == ZERO or packed.values[0] != int(source, 16) | hop_s << 160 | zzz_s << 176:
        return dict(answers)
    found: dict[Call, Answer] = dict(answers)
    for call, word in zip(refused, words, strict=True):
        if isinstance(word, Ok):
            valid, price = divmod(word.values[0], 1 << HALF)
            found[call] = Ok((price.to_bytes(32, "big"), valid == 1))
    return found


_Read = tuple[Ilk, dict[str, int], dict[str, str]]
"""The ilk, its prices by key, and why one is missing."""


def read_ilk(facts: Facts, answers: Mapping[Call, Answer]) -> _Read | str:
    """Everything that the ilk's vaults share, or why it could not be read."""
    prices, errors, told = {}, {}, {}
    for call, answer in answers.items():
        name = call.function.partition(".")[2]
        if isinstance(answer, Unread) or (isinstance(answer, Reverted) and name not in ("peek", "peep")):
            return f"{call.function}(): {answer.reason}"
        if name in ("peek", "peep"):
            key = facts.pip if name == "peek" else NEXT
            if isinstance(answer, Reverted):
                errors[key] = f"{name}() reverts: {answer.reason}"
            elif answer.values[1]:
                prices[key] = int.from_bytes(answer.values[0], "big")
        else:
            told[call.to, call.function] = answer.values if isinstance(answer, Ok) else ()
    _, rate, prices[SPOT], _, dust = told[facts.vat, "maker_vat.ilks"]
    duty, rho_s = told[facts.jug, "maker_jug.ilks"]
    _, chop, hole, dirt = told[facts.dog, "maker_dog.ilks"]
    osm = [told[facts.pip, f"maker.{name}"][0] for name in ("hop", "zzz", "stopped")] if facts.is_osm else [0, 0, 0]
    ilk = Ilk(
        rate=rate,
        dust=dust,
        mat=told[facts.spotter, "maker_spotter.ilks"][1],
        par=told[facts.spotter, "maker_spotter.par"][0],
        duty=duty,
        rho_s=rho_s,
        base=told[facts.jug, "maker_jug.base"][0],
        chop=chop,
        hole=hole,
        dirt=dirt,
        all_hole=told[facts.dog, "maker_dog.Hole"][0],
        all_dirt=told[facts.dog, "maker_dog.Dirt"][0],
        dog_live=told[facts.dog, "maker_dog.live"][0] == 1,
        vat_live=told[facts.vat, "maker_vat.live"][0] == 1,
        clip_stopped=told.get((facts.clip, "maker.stopped"), (0,))[0],
        hop_s=osm[0],
        zzz_s=osm[1],
        osm_stopped=osm[2] != 0,
    )
    return ilk, prices, errors


def position_of(
    facts: Facts, owner: Address, block: BlockRef, read: _Read | str, urn: Urn | str
) -> Position | Unreadable:
    name = facts.market.position_id(owner)
    if isinstance(read, str):
        return Unreadable(name, owner, block, read)
    if isinstance(urn, str):
        return Unreadable(name, owner, block, urn)
    ilk, prices, errors = read
    return Position(name, owner, block, RULE, prices, State(facts, ilk, urn.address, urn.ink, urn.art, errors))
