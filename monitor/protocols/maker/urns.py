"""Which urn an owner means: the address itself, or the one vault that it holds through the CDP manager or its proxy.

People write their wallet down, and the vat knows only urns: to call a wallet free of debt would hide its vaults. Of
several urns with anything in them each must be named, since a position is one urn and none may hide another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, Answer, Call, Ok, ReadPlan
from monitor.protocols.maker.math import ZERO, Facts

LOCKSTAKE = "LSE"
"""How the ilks of Lockstake's engines begin; whose urns are whose is known to those engines only."""


@dataclass(frozen=True, slots=True)
class Urn:
    """Where an owner's collateral and debt are, as stored."""

    address: Address
    ink: int
    art: int


Answers = dict[Call, Answer]


def urn_call(facts: Facts, urn: Address) -> Call:
    return Call(facts.vat, "maker_vat.urns", (facts.ilk, urn), allow_revert=True)


def find_urns(
    facts: Facts, owners: Sequence[Address], beside: Sequence[Call] = ()
) -> ReadPlan[tuple[Answers, dict[Address, Urn | str]]]:
    """Each owner's urn, or why none can be told, and the answers to the calls `beside`. One round for urns themselves.

    Wallets need a second round if they have a proxy, and another for their vaults.
    """
    answers: Answers = {}
    lists = ZERO not in (facts.manager, facts.get_cdps, facts.proxies)
    first = [urn_call(facts, owner) for owner in owners]
    if lists:
        first += [call for owner in owners for call in (_proxy(facts, owner), _vaults(facts, owner))]
    calls = tuple(dict.fromkeys((*beside, *first)))
    answers.update(zip(calls, (yield calls), strict=True))
    for ask in (_proxies_vaults, _vaults_urns) if lists else ():
        calls = tuple(dict.fromkeys(ask(facts, owners, answers)))
        if calls:
            answers.update(zip(calls, (yield calls), strict=True))
    return answers, {owner: _urn(facts, owner, answers) for owner in owners}


def _proxy(facts: Facts, owner: Address) -> Call:
    return Call(facts.proxies, "maker.proxies", (owner,), allow_revert=True)


def _vaults(facts: Facts, guy: Address) -> Call:
    return Call(facts.get_cdps, "maker.getCdpsAsc", (facts.manager, guy), allow_revert=True)


def _lists_of(facts: Facts, owner: Address, answers: Mapping[Call, Answer]) -> list[Call]:
    """The calls that list the owner's vaults, as far as is known yet."""
    proxy = answers[_proxy(facts, owner)]
    has_one = isinstance(proxy, Ok) and proxy.values[0] != ZERO
    return [_vaults(facts, owner), *([_vaults(facts, proxy.values[0])] if has_one and isinstance(proxy, Ok) else [])]


def _proxies_vaults(facts: Facts, owners: Sequence[Address], answers: Mapping[Call, Answer]) -> list[Call]:
    return [call for owner in owners for call in _lists_of(facts, owner, answers) if call not in answers]


def _held(facts: Facts, owner: Address, answers: Mapping[Call, Answer]) -> list[tuple[int, Address]]:
    """The owner's vaults of this ilk by number."""
    lists = [answers[call] for call in _lists_of(facts, owner, answers)]
    told = [one.values for one in lists if isinstance(one, Ok)]
    if any(len(set(map(len, columns))) > 1 for columns in told):
        raise ProtocolError("getCdpsAsc() tells more of one thing than of another")
    rows = [row for columns in told for row in zip(*columns, strict=True)]
    return [(number, urn) for number, urn, ilk in dict.fromkeys(rows) if ilk == facts.ilk]


def _vaults_urns(facts: Facts, owners: Sequence[Address], answers: Mapping[Call, Answer]) -> list[Call]:
    held = [urn_call(facts, urn) for owner in owners for _, urn in _held(facts, owner, answers)]
    return [call for call in held if call not in answers]


def find_vaults(facts: Facts, owner: Address) -> ReadPlan[dict[Address, str] | str]:
    """What every urn of the owner with anything in it is called, or why they cannot be told."""
    answers, _ = yield from find_urns(facts, [owner])
    names = _names(facts, owner, answers)
    return (
        names if isinstance(names, str) else {one.address: names[one.address] for one in _filled(facts, names, answers)}
    )


def _names(facts: Facts, owner: Address, answers: Mapping[Call, Answer]) -> dict[Address, str] | str:
    """The owner's urns, empty ones too, or why they cannot be told."""
    lists = ZERO not in (facts.manager, facts.get_cdps, facts.proxies)
    held = _held(facts, owner, answers) if lists else []
    needed = [urn_call(facts, owner), *(urn_call(facts, urn) for _, urn in held)]
    if lists:
        needed += [_proxy(facts, owner), *_lists_of(facts, owner, answers)]
    for call in needed:
        answer = answers[call]
        if not isinstance(answer, Ok):
            return f"{call.function}(): {answer.reason}"
    return {owner: "itself"} | {urn: f"vault {number}" for number, urn in held}


def _filled(facts: Facts, names: Mapping[Address, str], answers: Mapping[Call, Answer]) -> list[Urn]:
    return [Urn(urn, *numbers) for urn in names if (numbers := _numbers(answers[urn_call(facts, urn)])) != (0, 0)]


def _urn(facts: Facts, owner: Address, answers: Mapping[Call, Answer]) -> Urn | str:
    names = _names(facts, owner, answers)
    if isinstance(names, str):
        return names
    urns = _filled(facts, names, answers)
    if len(urns) > 1:
        told = ", ".join(f"{one.address} ({names[one.address]})" for one in urns)
        return f"this address has {len(urns)} vaults: watch each by its own, {told}"
    if not urns and (facts.market.id or "").startswith(LOCKSTAKE):
        return "nothing at this address: of Lockstake's vaults name the urn, not the wallet"
    return urns[0] if urns else Urn(owner, 0, 0)


def _numbers(answer: Answer) -> tuple[int, int]:
    ink, art = answer.values if isinstance(answer, Ok) else (0, 0)
    return ink, art
