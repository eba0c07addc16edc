"""Reads Liquity V2 troves: which calls, and what their answers mean. Judges nothing.

Pending redistributions have no other getter than getLatestTroveData; of its numbers only these two are taken, the rest
is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
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
)
from monitor.core.units import UINT256_MAX
from monitor.protocols.liquity_v2.math import ACTIVE, CLOSED, ZOMBIE, Batch, Facts, State

ABI = "liquity_v2"
ZERO: Address = "0x0000000000000000000000000000000000000000"
STRANGER: Address = "0x000000000000000000000000000000000000dEaD"
MOST_TROVES = 10_000
"""More than a branch has had; a list that claims more is not walked."""
RULE = Rule("liquity-v2", "bold")

Found = Mapping[Address, tuple[int, ...] | str]
"""Trove ids by owner, or why they could not be read."""


def fetch_price(facts: Facts) -> Call:
    """It stores what it finds, so it is asked alone (`sender`) and cannot touch its neighbours in a batch."""
    return Call(facts.price_feed, f"{ABI}.fetchPrice", allow_revert=True, sender=STRANGER)


def trove_id(market: MarketRef) -> int | None:
    """The trove that the market's id names, in decimal or hex; None without an id. May raise: ProtocolError."""
    if market.id is None:
        return None
    try:
        found = int(market.id, 0)
    except ValueError:
        found = -1
    if not 0 <= found <= UINT256_MAX:
        raise ProtocolError(f"{market}: {market.id!r} is no trove's id", hint="write its number, decimal or 0x...")
    return found


def find_troves(facts: Facts, owners: Sequence[Address]) -> ReadPlan[Found]:
    """The trove that the market names; without one, the open troves of each owner.

    The list that is sorted by rates leaves zombies out, so the manager's own list is walked, in three rounds.
    """
    named = trove_id(facts.market)
    if named is not None:
        return dict.fromkeys(owners, (named,))
    [count] = yield [Call(facts.manager, f"{ABI}.getTroveIdsCount", allow_revert=True)]
    if not isinstance(count, Ok):
        return dict.fromkeys(owners, f"getTroveIdsCount(): {count.reason}")
    if count.values[0] > MOST_TROVES:
        return dict.fromkeys(owners, f"the branch has {count.values[0]} troves, too many to look through: name one")
    numbers = range(count.values[0])
    ids = yield [Call(facts.manager, f"{ABI}.getTroveFromTroveIdsArray", (n,), allow_revert=True) for n in numbers]
    known = [one.values[0] for one in ids if isinstance(one, Ok)]
    whose = yield [Call(facts.nft, f"{ABI}.ownerOf", (one,), allow_revert=True) for one in known]
    torn = next((one.reason for one in (*ids, *whose) if not isinstance(one, Ok)), "")
    if torn:
        return dict.fromkeys(owners, f"the branch's troves could not be listed: {torn}")
    pairs = [(one.values[0], trove) for one, trove in zip(whose, known, strict=True) if isinstance(one, Ok)]
    return {owner: tuple(trove for who, trove in pairs if who == owner) for owner in owners}


def read_positions(
    facts: Facts, found: Found, owners: Sequence[Address], block: BlockRef
) -> ReadPlan[list[Position | Unreadable]]:
    """Each owner's one trove. Of several each must be named: a position is one trove, and none may hide another."""
    ids = list(dict.fromkeys(one[0] for one in found.values() if not isinstance(one, str) and len(one) == 1))
    shared = (
        fetch_price(facts),
        Call(facts.manager, f"{ABI}.shutdownTime", allow_revert=True),
        Call(facts.manager, f"{ABI}.getTroveIdsCount", allow_revert=True),
    )
    asked = (
        call
        for one in ids
        for call in (
            Call(facts.manager, f"{ABI}.Troves", (one,), allow_revert=True),
            Call(facts.manager, f"{ABI}.getLatestTroveData", (one,), allow_revert=True),
            Call(facts.nft, f"{ABI}.ownerOf", (one,), allow_revert=True),
        )
    )
    answers = yield (*shared, *asked)
    own = answers[len(shared) :]
    rows = {one: own[3 * number : 3 * number + 3] for number, one in enumerate(ids)}
    managers = dict.fromkeys(row[0].values[8] for row in rows.values() if isinstance(row[0], Ok))
    managers.pop(ZERO, None)
    calls = [Call(facts.manager, f"{ABI}.getLatestBatchData", (one,), allow_revert=True) for one in managers]
    batches = dict(zip(managers, (yield calls) if calls else (), strict=True))
    return [_position(facts, owner, block, found[owner], answers[: len(shared)], rows, batches) for owner in owners]


def _position(
    facts: Facts,
    owner: Address,
    block: BlockRef,
    found: tuple[int, ...] | str,
    shared: Sequence[Answer],
    rows: Mapping[int, Sequence[Answer]],
    batches: Mapping[Address, Answer],
) -> Position | Unreadable:
    name, (price, shutdown, count) = facts.market.position_id(owner), shared
    if isinstance(found, str):
        return Unreadable(name, owner, block, found)
    if len(found) > 1:
        troves = ", ".join(hex(one) for one in found)
        return Unreadable(name, owner, block, f"this address owns {len(found)} troves: watch each by its id, {troves}")
    if isinstance(price, Unread):
        return Unreadable(name, owner, block, f"fetchPrice(): {price.reason}")
    for answer in (shutdown, count):
        if not isinstance(answer, Ok):
            return Unreadable(name, owner, block, f"shutdownTime(), getTroveIdsCount(): {answer.reason}")
    prices = {facts.coll: price.values[0]} if isinstance(price, Ok) else {}
    trove = _trove(owner, rows[found[0]], batches) if found else _Trove()
    if isinstance(trove, str):
        return Unreadable(name, owner, block, trove)
    state = State(
        facts=facts,
        trove_id=found[0] if found else 0,
        status=trove.status,
        debt=trove.debt,
        coll=trove.coll,
        rate=trove.rate,
        updated_s=trove.updated_s,
        shares=trove.shares,
        batch=trove.batch,
        redist_debt=trove.redist_debt,
        redist_coll=trove.redist_coll,
        shutdown_s=values(shutdown)[0],
        troves=values(count)[0],
        price_error=price.reason if isinstance(price, Reverted) else "",
        oracle_failed=isinstance(price, Ok) and price.values[1],
    )
    return Position(name, owner, block, RULE, prices, state)


@dataclass(frozen=True, slots=True)
class _Trove:
    """What is a trove's own; as it is here, the absence of one."""

    status: int = CLOSED
    debt: int = 0
    coll: int = 0
    rate: int = 0
    updated_s: int = 0
    shares: int = 0
    batch: Batch | None = None
    redist_debt: int = 0
    redist_coll: int = 0


def _trove(owner: Address, row: Sequence[Answer], batches: Mapping[Address, Answer]) -> _Trove | str:
    stored, latest, whose = row
    if not isinstance(stored, Ok):
        return f"Troves(): {stored.reason}"
    if not isinstance(latest, Ok):
        return f"getLatestTroveData(): {latest.reason}"
    debt, coll, _, status, _, updated_s, _, rate, manager, shares = stored.values
    if isinstance(whose, Unread) or (isinstance(whose, Reverted) and status in (ACTIVE, ZOMBIE)):
        return f"ownerOf(): {whose.reason}"
    if isinstance(whose, Ok) and whose.values[0] != owner:
        return f"the trove belongs to {whose.values[0]}"
    batch = None
    if manager != ZERO:
        answer = batches[manager]
        if not isinstance(answer, Ok):
            return f"getLatestBatchData(): {answer.reason}"
        numbers = answer.values[0]
        batch = Batch(manager, numbers[4], numbers[5], numbers[7], numbers[10], numbers[0])
    redist_debt, redist_coll = latest.values[0][2:4]
    return _Trove(status, debt, coll, rate, updated_s, shares, batch, redist_debt, redist_coll)
