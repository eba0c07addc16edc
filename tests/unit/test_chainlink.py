"""What a price source says of itself: rounds asked, ages, bounds, caps, and what is not told."""

from __future__ import annotations

from typing import Any

import pytest

from monitor.core.plan import run
from monitor.core.types import Answer, Call, Ok, Price, PriceStatus, Query, Reverted, Unread
from monitor.oracles.chainlink import VALID_FOR_S, ZERO, Reading, as_price, read_source, remarks, went_back

SOURCE, AGGREGATOR, INNER = (f"0x{n:040x}" for n in (1, 2, 3))
NOW_S = 1_700_000_000


def read(answers: dict[tuple[str, str], Any]) -> tuple[Reading, int]:
    rounds: list[int] = []

    def answer(queries: Any) -> list[Answer]:
        rounds.append(len(queries))
        return [one(query) for query in queries]

    def one(query: Query) -> Answer:
        assert isinstance(query, Call)
        assert query.allow_revert
        found = answers.get((query.to, query.function.partition(".")[2]), Reverted(b"", "none"))
        return found if isinstance(found, (Ok, Reverted, Unread)) else Ok(found)

    return run(read_source(SOURCE), answer), len(rounds)


def test_a_plain_feed_takes_one_round() -> None:
    found, rounds = read({(SOURCE, "latestRoundData"): (9, 500, 1, NOW_S, 8)})
    assert found == Reading(SOURCE, 500, 9, 8, NOW_S)
    assert rounds == 1


def test_an_aggregator_tells_its_bounds_in_a_second_round() -> None:
    answers: dict[tuple[str, str], Any] = {
        (SOURCE, "latestRoundData"): (9, 500, 1, NOW_S, 9),
        (SOURCE, "aggregator"): (AGGREGATOR,),
        (AGGREGATOR, "minAnswer"): (10,),
        (AGGREGATOR, "maxAnswer"): (1000,),
    }
    found, rounds = read(answers)
    assert (found.min_answer, found.max_answer, rounds) == (10, 1000, 2)
    del answers[AGGREGATOR, "maxAnswer"]
    assert read(answers)[0].min_answer is None
    answers[SOURCE, "aggregator"] = (ZERO,)
    assert read(answers)[1] == 1


@pytest.mark.parametrize("name", ["ASSET_TO_USD_AGGREGATOR", "BASE_TO_USD_AGGREGATOR"])
def test_a_capped_adapter_tells_its_inner_feed(name: str) -> None:
    found, rounds = read(
        {(SOURCE, "isCapped"): (True,), (SOURCE, name): (INNER,), (INNER, "latestRoundData"): (4, 104, 1, NOW_S - 5, 4)}
    )
    inner = 104 if name.startswith("ASSET") else None
    assert found == Reading(SOURCE, round_id=4, updated_at=NOW_S - 5, capped=True, inner_answer=inner)
    assert rounds == 2


def test_an_inner_feed_does_not_hide_the_sources_own_round() -> None:
    found, _ = read(
        {
            (SOURCE, "latestRoundData"): (9, 500, 1, NOW_S, 9),
            (SOURCE, "ASSET_TO_USD_AGGREGATOR"): (INNER,),
            (INNER, "latestRoundData"): (4, 104, 1, NOW_S - 5, 4),
        }
    )
    assert (found.updated_at, found.round_id, found.inner_answer) == (NOW_S, 9, 104)


def test_an_adapter_with_aggregator_and_inner_feed() -> None:
    found, rounds = read(
        {
            (SOURCE, "aggregator"): (AGGREGATOR,),
            (AGGREGATOR, "minAnswer"): (10,),
            (AGGREGATOR, "maxAnswer"): (1000,),
            (SOURCE, "ASSET_TO_USD_AGGREGATOR"): (INNER,),
            (INNER, "latestRoundData"): Unread("gas"),
        }
    )
    assert (found.min_answer, found.max_answer, found.updated_at, rounds) == (10, 1000, None, 2)


def test_no_source_is_not_asked() -> None:
    assert run(read_source(ZERO), lambda _: []) == Reading(ZERO)
    assert read({(SOURCE, "latestRoundData"): Unread("short data")})[0] == Reading(SOURCE)


def status(updated_at: int | None, answer: int = 100) -> PriceStatus:
    return as_price("0xA", answer, 8, "USD", Reading(SOURCE, updated_at=updated_at)).status(NOW_S)


def test_the_validity_rule() -> None:
    assert status(NOW_S) is PriceStatus.FRESH
    assert status(NOW_S - VALID_FOR_S) is PriceStatus.FRESH
    assert status(NOW_S - VALID_FOR_S - 1) is PriceStatus.STALE
    assert status(NOW_S + 1) is PriceStatus.INVALID
    assert status(NOW_S, 0) is PriceStatus.INVALID
    assert status(0) is PriceStatus.INVALID
    assert status(None) is PriceStatus.FRESH
    assert as_price("0xA", 100, 8, "USD", None).status(NOW_S) is PriceStatus.FRESH
    whole = as_price("0xA", 100, 8, "USD", Reading(SOURCE, updated_at=5))
    assert (whole.asset, whole.answer, whole.decimals, whole.unit, whole.source) == ("0xA", 100, 8, "USD", SOURCE)
    assert (whole.updated_at, whole.valid_for) == (5, 90_000)
    assert as_price("0xA", 100, 8, "USD", Reading(SOURCE)).valid_for is None


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (Reading(SOURCE), []),
        (Reading(SOURCE, updated_at=NOW_S), []),
        (Reading(SOURCE, updated_at=NOW_S - VALID_FOR_S), []),
        (Reading(SOURCE, updated_at=NOW_S - VALID_FOR_S - 1), ["X: the price is stale, 90001 s old"]),
        (Reading(SOURCE, updated_at=NOW_S + 3), ["X: the price is dated 3 s in the future"]),
        (Reading(SOURCE, updated_at=0), ["X: the price source has no finished round"]),
        (Reading(SOURCE, round_id=5, answered_in_round=5), []),
        (Reading(SOURCE, round_id=5, answered_in_round=4), ["X: the answer was carried over from an earlier round"]),
        (Reading(SOURCE, min_answer=954), ["X: the price is near the source's lower bound 954"]),
        (Reading(SOURCE, min_answer=953), ["X: the price is near the source's lower bound 953"]),
        (Reading(SOURCE, min_answer=951), []),
        (Reading(SOURCE, max_answer=1053), []),
        (Reading(SOURCE, max_answer=1052), ["X: the price is near the source's upper bound 1052"]),
        (Reading(SOURCE, capped=True), ["X: the price is capped"]),
        (Reading(SOURCE, capped=False), []),
        (Reading(SOURCE, capped=True, inner_answer=1030), ["X: the price 1000 is capped 2.91 % below the feed's 1030"]),
        (Reading(SOURCE, inner_answer=1006), ["X: the price 1000 is capped 0.59 % below the feed's 1006"]),
        (Reading(SOURCE, inner_answer=1005), []),
        (Reading(SOURCE, inner_answer=0), []),
    ],
)
def test_remarks(reading: Reading, said: list[str]) -> None:
    assert remarks("X", 1000, NOW_S, reading) == said


def test_a_round_numbered_by_its_time_is_a_pull_oracles() -> None:
    pulled = Reading(SOURCE, 500, NOW_S - 90, NOW_S - 90, NOW_S - 90)
    assert remarks("X", 500, NOW_S, pulled) == [
        "X: a pull oracle, 90 s behind: whoever liquidates may bring a newer price along"
    ]
    proxied = Reading(SOURCE, 500, 1 << 64 | NOW_S - 90, 1 << 64 | NOW_S - 90, NOW_S - 90)
    for other in (proxied, Reading(SOURCE, 500, 0, 0, 0), Reading(SOURCE)):
        assert not other.pulled


def test_rounds_that_run_backwards() -> None:
    def price(source: str = SOURCE, round_id: int | None = None, updated_at: int | None = None) -> Price:
        return as_price(SOURCE, 1, 8, "USD", Reading(source, round_id=round_id, updated_at=updated_at))

    before = price(round_id=5, updated_at=50)
    assert not went_back(before, before)
    assert not went_back(before, price(round_id=6, updated_at=51))
    assert went_back(before, price(round_id=4, updated_at=51))
    assert went_back(before, price(round_id=6, updated_at=49))
    assert not went_back(before, price(INNER, round_id=4, updated_at=49))
    assert not went_back(before, price())
