"""What a daemon answers to those who look after it: never a stale number, and why it is not ready."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.alerts.outbox import Sender
from monitor.chain.pool import Pool
from monitor.core.errors import ConfigError
from monitor.core.guardian import GuardianConfig
from monitor.core.secret import RpcUrl
from monitor.core.types import Health, Known, Level, MarketRef, NoDebt, Unit
from monitor.journal.store import Journal
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.snapshot import Snapshot
from monitor.pipeline.telling import Teller
from monitor.report import Report, Subject, unknown
from monitor.status.board import Board, ChainRow, MarketRow
from monitor.status.checks import EVERY_S, Readiness, alerts_go_out, journal_commits, signer_answers
from monitor.status.metrics import LISTED, Numbers
from monitor.status.names import METRICS
from monitor.status.routes import routes
from monitor.status.server import listening, place
from monitor.testing.clock import FakeClock
from tests.alerts.ledger import NOW_S, block, opened
from tests.execution.test_process_rows import FailingDisk

SECRET = "key-in-the-path-0001"
REF = MarketRef(31337, "toy", "0x" + "01" * 20)


def subject(number: int) -> Subject:
    return Subject(REF, "core", f"0x{number:040x}", "treasury" if number == 1 else "")


def known(who: Subject, numerator: int, number: int = 1, level: Level = Level.OK) -> Report:
    health = Health(who.id, block(number), Known(numerator, 10**18), Unit("USD", 8))
    return Report(who, level, "as told", block(number), health)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool([RpcUrl(f"http://127.0.0.1:1/{SECRET}"), RpcUrl(f"http://user:{SECRET}@127.0.0.1:1/?k={SECRET}")])
    yield made
    await made.close()


@pytest.fixture
def board(pool: Pool) -> Board:
    chain = ChainRow("local", pool, 60.0, (subject(1), subject(2)))
    return Board("watch", chains=[chain], clock=FakeClock(NOW_S + 15))


def scraped(board: Board, **more: object) -> dict[str, dict[tuple[str, ...], float]]:
    """By metric, by the values of its labels, as a Prometheus would have it."""
    from prometheus_client import generate_latest

    numbers = Numbers(board, "1.0")
    for name, value in more.items():
        setattr(numbers, name, value)
    text = generate_latest(numbers.registry()).decode()
    assert SECRET not in text
    assert "http" not in text.replace("HTTP", "").lower()
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def value(found: dict[str, dict[tuple[str, ...], float]], name: str, *labels: str) -> float | None:
    """The one sample whose labels include these."""
    fits = [number for one, number in found.get(f"levmon_{name}", {}).items() if set(labels) <= set(one)]
    assert len(fits) < 2
    return fits[0] if fits else None


async def test_before_the_first_block_everything_is_unknown(board: Board) -> None:
    found = scraped(board)
    assert value(found, "head_unknown", "local") == 1
    assert value(found, "head_age_seconds", "local") is None
    assert value(found, "positions", "local", "unknown") == 2
    assert value(found, "position_unknown", subject(1).id) == 1
    assert value(found, "position_health", subject(1).id) is None


async def test_health_distance_and_age_are_those_of_the_last_block(board: Board) -> None:
    first, second = subject(1), subject(2)
    reports = (known(first, 125 * 10**16, level=Level.WARN), unknown(second, "the feed reverted", block(1)))
    board.chains[0].saw(Snapshot(block(1), reports, {}), skipped=3, reorganised=True)
    found = scraped(board)
    assert value(found, "position_health", first.id, "treasury", "core") == 1.25
    assert value(found, "position_distance_ratio", first.id) == 0.2
    assert value(found, "position_age_seconds", first.id) == 3
    assert value(found, "position_level", first.id) == 2
    assert (value(found, "position_unknown", first.id), value(found, "position_unknown", second.id)) == (0, 1)
    assert value(found, "position_health", second.id) is None
    assert value(found, "position_level", second.id) is None
    assert value(found, "positions", "unknown") == value(found, "positions", "warn") == 1
    assert (value(found, "blocks_skipped_total"), value(found, "reorganisations_total")) == (3, 1)
    assert value(found, "head_block", "local") == 1


async def test_a_number_that_is_too_old_is_not_shown(board: Board) -> None:
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**18 * 2),), {}))
    assert value(scraped(board), "position_health", subject(1).id) == 2
    clock = board.clock
    assert isinstance(clock, FakeClock)
    clock.now = block(1).timestamp + 60
    assert value(scraped(board), "position_health", subject(1).id) == 2
    clock.now += 1
    found = scraped(board)
    assert value(found, "position_health", subject(1).id) is None
    assert value(found, "position_unknown", subject(1).id) == 1
    assert value(found, "positions", "ok") == 0
    assert value(found, "head_unknown", "local") == 1
    assert value(found, "head_age_seconds", "local") == 61


async def test_trouble_hides_what_was_known_until_the_next_block(board: Board) -> None:
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**18 * 2),), {}))
    lost = (unknown(subject(1), "no endpoint answers"), unknown(subject(2), "no endpoint answers"))
    board.chains[0].saw(Snapshot(None, lost, {}), trouble="no endpoint answers")
    readiness = Readiness(board)
    assert await readiness.reasons() == {"head local": "no endpoint answers"}
    found = scraped(board)
    assert value(found, "position_health", subject(1).id) is None
    assert value(found, "head_block", "local") == 1
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**18 * 2),), {}))
    assert await readiness.reasons() == {"head local": ""}


async def test_without_debt_there_is_no_health_and_nothing_unknown(board: Board) -> None:
    report = known(subject(1), 1)
    assert report.health is not None
    report = replace(report, health=replace(report.health, verdict=NoDebt()))
    worthless = known(subject(2), 0, level=Level.CRITICAL)
    board.chains[0].saw(Snapshot(block(1), (report, worthless), {}))
    found = scraped(board)
    assert value(found, "position_health", subject(1).id) is None
    assert value(found, "position_unknown", subject(1).id) == 0
    assert value(found, "position_health", subject(2).id) == 0
    assert value(found, "position_distance_ratio", subject(2).id) is None


async def test_only_so_many_positions_have_series_of_their_own_the_worst_first(board: Board) -> None:
    reports = [known(subject(number), 10**18 * 3) for number in range(1, LISTED + 200)]
    reports[-1] = known(subject(LISTED + 199), 10**18 * 3, level=Level.CRITICAL)
    board.chains[0].saw(Snapshot(block(1), tuple(reports), {}))
    found = scraped(board)
    assert len(found["levmon_position_health"]) == LISTED
    assert value(found, "position_level", reports[-1].id) == 3
    assert value(found, "positions_listed") == LISTED
    assert value(found, "positions", "ok") == LISTED + 198


async def test_numbers_beyond_floats_do_not_end_a_scrape(board: Board) -> None:
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**400),), {}))
    assert value(scraped(board), "position_health", subject(1).id) == float("inf")


async def test_two_urls_of_one_host_are_two_endpoints(board: Board) -> None:
    board.chains[0].pool.endpoints[1].transport.traffic.requests = 7
    found = scraped(board)
    assert value(found, "endpoint_requests_total", "127.0.0.1:1") == 0
    assert value(found, "endpoint_requests_total", "127.0.0.1:1 (2)") == 7
    assert value(found, "endpoint_state", "127.0.0.1:1", "untried") == 1


async def test_every_metric_of_the_list_is_exported_and_no_other(board: Board, tmp_path: Path) -> None:
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**18 * 2),), {}))
    board.markets.append(MarketRow("core", board.chains[0], 5, 1, 2, 0, 0.01))
    outbox = opened(tmp_path)
    teller = Teller(outbox, Sender([], outbox))
    found = scraped(board, teller=teller, journal=outbox.journal, checks={"journal": "", "signer": "lost"})
    ours = {name.removeprefix("levmon_") for name in found if name.startswith("levmon_")}
    assert METRICS.keys() - ours == {"alert_channel_failing"}, "which takes a channel"
    assert ours <= METRICS.keys()
    assert (value(found, "ready"), value(found, "check_ok", "journal")) == (0, 1)
    assert "process_resident_memory_bytes" in found
    outbox.journal.close()


async def test_a_journal_that_does_not_commit_is_noticed(tmp_path: Path) -> None:
    journal = Journal(f"sqlite:///{tmp_path / 'journal.db'}", now_s=NOW_S, storage=FailingDisk)
    check = journal_commits(journal, lambda: NOW_S)
    assert await check() == ""
    FailingDisk.failing = True
    assert "disk I/O error" in await check()
    assert "failed before" in await check(), "as for any other commit that failed"
    journal.close()


async def test_a_journal_that_another_has_taken_over_is_noticed(tmp_path: Path) -> None:
    outbox = opened(tmp_path)
    teller = Teller(outbox, Sender([], outbox))
    check = alerts_go_out(teller, lambda: NOW_S)
    assert await check() == ""
    with outbox.journal.commit() as db:
        db.exec_driver_sql("UPDATE leases SET epoch = epoch + 1")
    assert "lease" in await check()
    outbox.journal.close()
    assert "memory" in await alerts_go_out(Teller(None, Sender([], None)), lambda: NOW_S)()


async def test_a_lost_signer_is_noticed(tmp_path: Path) -> None:
    guardian = Guardian(GuardianConfig(address="0x000000000000000000000000000000000000dEaD"), tmp_path)
    assert "no signer at" in await signer_answers(guardian)()


async def test_asking_often_does_not_become_load(board: Board) -> None:
    asked: list[int] = []

    async def check() -> str:
        asked.append(1)
        return "no"

    readiness = Readiness(board, {"journal": check})
    clock = board.clock
    assert isinstance(clock, FakeClock)
    for _ in range(10):
        assert (await readiness.reasons())["journal"] == "no"
    assert len(asked) == 1
    clock.now += EVERY_S
    await readiness.reasons()
    assert len(asked) == 2


async def test_what_is_asked_over_http(board: Board) -> None:
    board.chains[0].saw(Snapshot(block(1), (known(subject(1), 10**18 * 2),), {}))
    readiness, numbers = Readiness(board), Numbers(board, "1.0")
    async with listening(place("127.0.0.1:0"), routes(readiness, numbers)) as url, aiohttp.ClientSession() as session:

        async def ask(path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
            async with session.request(method, url + path, headers=headers) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers
                return answer.status, await answer.text()

        assert await ask("/healthz") == (200, "alive\n")
        status, text = await ask("/readyz")
        assert (status, json.loads(text)["ready"]) == (200, True)
        board.draining = True
        status, text = await ask("/readyz")
        assert (status, json.loads(text)["checks"]["daemon"]) == (503, "levmon is shutting down")
        assert (await ask("/healthz"))[0] == 200
        status, text = await ask("/metrics")
        assert status == 200
        assert "levmon_ready 0.0" in text
        for host in ("levmon.example", "levmon.example:9464", "127.0.0.1.example", ""):
            assert (await ask("/metrics", Host=host))[0] == 421
        for host in ("localhost", "LOCALHOST:9464", "[::1]:1"):
            assert (await ask("/healthz", Host=host))[0] == 200
        assert (await ask("/readyz", "POST"))[0] == 405
        assert (await ask("/"))[0] == 404
        with pytest.raises(ConfigError, match="cannot listen"):
            async with listening(place(url.removeprefix("http://")), []):
                pass


def test_where_to_listen() -> None:
    assert place("127.0.0.1:9464").local
    assert place("[::1]:9464").local
    assert place("localhost:1").host == "127.0.0.1"
    for text in ("0.0.0.0:9464", "[::]:9464", "192.0.2.1:80"):
        with pytest.raises(ConfigError, match="other machines"):
            place(text)
        assert not place(text, public=True).local
    for text in ("9464", ":9464", "127.0.0.1", "127.0.0.1:70000", "example.com:80", "1.2.3:4", "http://127.0.0.1:1"):
        with pytest.raises(ConfigError):
            place(text, public=True)
