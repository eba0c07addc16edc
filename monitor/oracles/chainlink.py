"""Chainlink-style price sources, and the capped adapters that some protocols put before them.

Knows the aggregator interface (latestRoundData, the proxy's aggregator with its minAnswer and maxAnswer) and the names
under which capped adapters tell their inner feed. Which part a source has is found by asking: all reads may revert,
and what is not told stays None. Must not decide health: the protocol's own price does.

The validity rule: an answer must be positive, of a finished round (updatedAt not 0) and not from the future; it is
stale when older than `VALID_FOR_S`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from monitor.core.types import Address, Answer, Call, Ok, Price, Query, ReadPlan
from monitor.core.units import format_ratio

ZERO: Address = "0x0000000000000000000000000000000000000000"
VALID_FOR_S = 86_400 + 3_600
"""The longest heartbeat of the feeds that lending markets use is a day; an hour more lets a late round land."""
NEAR_BOUND_PERCENT = 5
"""An answer this close to the aggregator's bound may already be the bound and not the market."""
CAP_GAP_BPS = 50
"""A cap that takes more than this off the price is worth a word of its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one price source says besides the price. None: it does not tell."""

    source: Address
    answer: int | None = None
    round_id: int | None = None
    answered_in_round: int | None = None
    updated_at: int | None = None
    min_answer: int | None = None
    max_answer: int | None = None
    capped: bool | None = None
    inner_answer: int | None = None
    """The answer of the dollar feed inside a capped adapter, before the cap."""

    @property
    def pulled(self) -> bool:
        """Whether rounds are numbered by the time of their price, as PythAggregatorV3 of Pyth's Solidity SDK does.

        No aggregator counts as far, and the round of a Chainlink proxy has its phase above bit 64.
        """
        return bool(self.updated_at) and self.round_id == self.updated_at


def read_source(source: Address) -> ReadPlan[Reading]:
    """Two rounds: the source, then its aggregator's bounds and its inner feed."""
    if source == ZERO:
        return Reading(source)
    names = ("latestRoundData", "aggregator", "isCapped", "ASSET_TO_USD_AGGREGATOR", "BASE_TO_USD_AGGREGATOR")
    answers = yield tuple(_ask(source, name) for name in names)
    rounds, aggregator, capped, asset_feed, base_feed = (_values(answer) for answer in answers)
    reading = Reading(source, capped=bool(capped[0]) if capped else None)
    if rounds:
        reading = _with_round(reading, rounds)
    inner = next((feed[0] for feed in (asset_feed, base_feed) if feed and feed[0] != ZERO), None)
    queries: list[Query] = []
    if aggregator and aggregator[0] != ZERO:
        queries += [_ask(aggregator[0], "minAnswer"), _ask(aggregator[0], "maxAnswer")]
    if inner is not None:
        queries.append(_ask(inner, "latestRoundData"))
    if not queries:
        return reading
    more = [_values(answer) for answer in (yield tuple(queries))]
    if inner is not None and (inner_round := more.pop()):
        if reading.updated_at is None:
            reading = replace(reading, updated_at=inner_round[3], round_id=inner_round[0])
        # only a stablecoin's adapter answers in the same terms as its inner feed; a staking token's has a ratio between
        reading = replace(reading, inner_answer=inner_round[1] if asset_feed else None)
    if more and more[0] and more[1]:
        reading = replace(reading, min_answer=more[0][0], max_answer=more[1][0])
    return reading


def _ask(source: Address, name: str) -> Call:
    return Call(source, f"price_source.{name}", allow_revert=True)


def _values(answer: Answer) -> tuple[Any, ...]:
    return answer.values if isinstance(answer, Ok) else ()


def _with_round(reading: Reading, rounds: tuple[Any, ...]) -> Reading:
    round_id, answer, _, updated_at, answered_in_round = rounds
    return replace(
        reading, answer=answer, round_id=round_id, updated_at=updated_at, answered_in_round=answered_in_round
    )


def as_price(asset: Address, answer: int, decimals: int, unit: str, reading: Reading | None) -> Price:
    """The protocol's answer with the source's age. `answer` is what the protocol's own oracle returned."""
    if reading is None:
        return Price(asset, answer, decimals, unit, None, None, "")
    if reading.updated_at == 0:  # the round was never finished: nothing that it says may be trusted
        answer = 0
    return Price(
        asset=asset,
        answer=answer,
        decimals=decimals,
        unit=unit,
        updated_at=reading.updated_at,
        valid_for=VALID_FOR_S if reading.updated_at is not None else None,
        source=reading.source,
        round_id=reading.round_id,
    )


def remarks(symbol: str, answer: int, now_s: int, reading: Reading) -> list[str]:
    """What people should hear about the price of `symbol`, in words; empty if nothing is amiss."""
    said = []
    if reading.updated_at == 0:
        said.append(f"{symbol}: the price source has no finished round")
    elif reading.updated_at is not None and reading.updated_at > now_s:
        said.append(f"{symbol}: the price is dated {reading.updated_at - now_s} s in the future")
    elif reading.updated_at is not None and now_s - reading.updated_at > VALID_FOR_S:
        said.append(f"{symbol}: the price is stale, {now_s - reading.updated_at} s old")
    if reading.pulled and reading.updated_at is not None:
        age_s = max(now_s - reading.updated_at, 0)
        said.append(f"{symbol}: a pull oracle, {age_s} s behind: whoever liquidates may bring a newer price along")
    if (
        reading.round_id is not None
        and reading.answered_in_round is not None
        and reading.answered_in_round < reading.round_id
    ):
        said.append(f"{symbol}: the answer was carried over from an earlier round")
    if reading.min_answer is not None and answer * 100 <= reading.min_answer * (100 + NEAR_BOUND_PERCENT):
        said.append(f"{symbol}: the price is near the source's lower bound {reading.min_answer}")
    if reading.max_answer is not None and answer * 100 >= reading.max_answer * (100 - NEAR_BOUND_PERCENT):
        said.append(f"{symbol}: the price is near the source's upper bound {reading.max_answer}")
    return said + _cap_remarks(symbol, answer, reading)


def _cap_remarks(symbol: str, answer: int, reading: Reading) -> list[str]:
    inner = reading.inner_answer
    if inner is not None and inner > 0 and (answer - inner) * 10_000 > CAP_GAP_BPS * inner:
        gap = format_ratio((answer - inner) * 100, inner, 2)
        return [f"{symbol}: the price {answer} is held {gap} % above the feed's {inner}: it may have lost its peg"]
    if inner is not None and inner > 0 and (inner - answer) * 10_000 > CAP_GAP_BPS * inner:
        gap = format_ratio((inner - answer) * 100, inner, 2)
        return [f"{symbol}: the price {answer} is capped {gap} % below the feed's {inner}"]
    return [f"{symbol}: the price is capped"] if reading.capped else []


def went_back(before: Price, after: Price) -> bool:
    """Whether a source's rounds or times run backwards between two of its prices."""
    if before.source != after.source:
        return False
    rounds = before.round_id is not None and after.round_id is not None and after.round_id < before.round_id
    times = before.updated_at is not None and after.updated_at is not None and after.updated_at < before.updated_at
    return rounds or times
