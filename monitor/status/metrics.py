"""The board as Prometheus metrics, made anew at each scrape from an own registry: nothing is kept that could go stale.

A position that is unknown has no health and no distance, and its own gauge says so. Labels hold names of the file,
addresses and hosts, never a URL; so many positions at most have series of their own, the most urgent first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.chain.endpoint import EndpointState
from monitor.core.actions import ActionState
from monitor.core.errors import LevmonError
from monitor.core.text import clean
from monitor.core.types import Known, Level
from monitor.report import Report, Subject
from monitor.status.board import Board, ChainRow, level_of
from monitor.status.names import METRICS

if TYPE_CHECKING:
    from monitor.journal.store import Journal
    from monitor.pipeline.telling import Teller

LISTED = 1000
"""So many positions have series of their own."""
LABEL = 100


@dataclass(eq=False)  # a registry keeps it by identity
class Numbers(Collector):
    """Everything of one process that is counted. `teller` and `journal` where there are any."""

    board: Board
    version: str
    teller: Teller | None = None
    journal: Journal | None = None
    checks: dict[str, str] = field(default_factory=dict)
    """by name of the check: why it fails, as it was asked last"""

    def registry(self) -> CollectorRegistry:
        """One of its own: whatever else lives in the process is not told."""
        found = CollectorRegistry(auto_describe=False)
        found.register(self)
        ProcessCollector(registry=found)
        return found

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for name, labels, value in self._samples():
            families.setdefault(name, _family(name)).add_metric(list(labels), value)  # type: ignore[attr-defined]
        return list(families.values())

    def _samples(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        now_s = self.board.clock.time()
        yield "build_info", (self.version, self.board.command), 1
        yield "armed", (), float(self.board.armed)
        for name, why in self.checks.items():
            yield "check_ok", (name,), float(not why)
        if self.checks:
            yield "ready", (), float(not any(self.checks.values()))
        for chain in self.board.chains:
            yield from _head(chain, now_s)
            yield from _endpoints(chain)
        yield from self._positions(now_s)
        yield from self._markets(now_s)
        yield from self._alerts()
        yield from self._actions()

    def _positions(self, now_s: float) -> Iterator[tuple[str, tuple[str, ...], float]]:
        listed = 0
        for chain in self.board.chains:
            rows = chain.newest(now_s)
            counts = dict.fromkeys(Level, 0)
            for subject, report in rows:
                counts[level_of(report)] += 1
                if listed < LISTED:
                    listed += 1
                    yield from _position(chain, subject, report, now_s)
            if rows:
                for level, count in counts.items():
                    yield "positions", (chain.name, level.value), count
        if listed:
            yield "positions_listed", (), listed

    def _markets(self, now_s: float) -> Iterator[tuple[str, tuple[str, ...], float]]:
        for market in self.board.markets:
            labels = (market.chain.name, clean(market.name, LABEL))
            unknown = bool(market.chain.why_unknown(now_s))
            yield "market_unknown", labels, float(unknown)
            if not unknown:
                yield "market_accounts", labels, market.accounts
                yield "market_accounts_unhealthy", labels, market.unhealthy
                yield "market_accounts_near", labels, market.near
                yield "market_accounts_unknown", labels, market.unknown
                yield "market_look_seconds", labels, market.took_s

    def _alerts(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        if self.teller is None:
            return
        sender = self.teller.sender
        yield "alert_oldest_age_seconds", (), sender.oldest_age_s()
        failing = sender.failing()
        for name in sender.channels():
            yield "alert_channel_failing", (name,), float(name in failing)

    def _actions(self) -> Iterator[tuple[str, tuple[str, ...], float]]:
        if self.journal is None:
            return
        try:
            counts = self.journal.count_actions()
            holds = len(self.journal.holds())
        except LevmonError:
            return  # the journal's own check tells why
        for state in ActionState:
            yield "actions", (state.value,), counts.get(state, 0)
        yield "holds", (), holds


def _family(name: str) -> Metric:
    about = METRICS[name]
    kind = CounterMetricFamily if about.kind == "counter" else GaugeMetricFamily
    return kind(f"levmon_{name}", about.help, labels=about.labels)


def _head(chain: ChainRow, now_s: float) -> Iterator[tuple[str, tuple[str, ...], float]]:
    labels = (chain.name,)
    yield "head_unknown", labels, float(bool(chain.why_unknown(now_s)))
    age_s = chain.age_s(now_s)
    if chain.block is not None and age_s is not None:
        yield "head_block", labels, chain.block.number
        yield "head_age_seconds", labels, age_s
    if chain.limit_s is not None:
        yield "head_age_limit_seconds", labels, chain.limit_s
    yield "blocks_skipped_total", labels, chain.skipped
    yield "reorganisations_total", labels, chain.reorgs


def _endpoints(chain: ChainRow) -> Iterator[tuple[str, tuple[str, ...], float]]:
    met: dict[str, int] = {}
    for endpoint in chain.pool.endpoints:
        met[endpoint.alias] = met.get(endpoint.alias, 0) + 1
        # two URLs of one host differ only in what must not show
        host = endpoint.alias if met[endpoint.alias] == 1 else f"{endpoint.alias} ({met[endpoint.alias]})"
        labels, traffic = (chain.name, clean(host, LABEL)), endpoint.transport.traffic
        for state in EndpointState:
            yield "endpoint_state", (*labels, state.value), float(endpoint.state is state)
        yield "endpoint_requests_total", labels, traffic.requests
        yield "endpoint_failed_requests_total", labels, traffic.failed
        yield "endpoint_received_bytes_total", labels, traffic.bytes_in
        yield "endpoint_sent_bytes_total", labels, traffic.bytes_out


def _position(
    chain: ChainRow, subject: Subject, report: Report | None, now_s: float
) -> Iterator[tuple[str, tuple[str, ...], float]]:
    labels = (chain.name, clean(subject.market, LABEL), subject.owner, clean(subject.name, LABEL), subject.id)
    level = level_of(report)
    yield "position_unknown", labels, float(level is Level.UNKNOWN)
    if report is None or report.health is None or level is Level.UNKNOWN:
        return
    yield "position_age_seconds", labels, max(now_s - report.health.block.timestamp, 0.0)
    yield "position_level", labels, _RANK[level]
    verdict = report.health.verdict
    if isinstance(verdict, Known):
        yield "position_health", labels, _ratio(verdict.numerator, verdict.denominator)
        if verdict.numerator > 0:
            distance = _ratio(verdict.numerator - verdict.denominator, verdict.numerator)
            yield "position_distance_ratio", labels, distance


_RANK = {Level.OK: 0.0, Level.WATCH: 1.0, Level.WARN: 2.0, Level.CRITICAL: 3.0}


def _ratio(numerator: int, denominator: int) -> float:
    """For a chart; verdicts are made of the integers."""
    try:
        return numerator / denominator
    except OverflowError:
        return float("inf")
