"""The engine's figures: whole markets judged, followed and stressed, beside integers in Python and memory itself.

Every answer that is timed is compared with the integers' own; a difference ends the run. Each time is the median of
interleaved rounds. The markets are synthetic (`crowd`), so no chain is in any of the times.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import numpy as np

from monitor.health.band import Band
from monitor.health.book import ONE, Book
from monitor.health.inverse import Inverse
from monitor.health.stress import stress
from monitor.protocols.aave_v3.cells import Balance, Entry, cells, healths_directed, indexes
from monitor.protocols.aave_v3.globals import Globals
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.columns import F64, I64, Columns
from monitor.testing.crowd import Market, crowd, market
from monitor.testing.figures import Figure

ROUNDS = 5
VERSION = "3.6"
FAMILIES = ("3.0", "3.2", "3.4", "3.6", "3.7")
EDGE = (1 - 3e-4, 1 + 3e-4)
HEALTHS = (1.0, 4.0)
PEERS = 50_000
LOOPED = 20
MILLI, MICRO, MEGA = 1e3, 1e6, 1e6


class Differs(Exception):
    """An answer that is not the integers': no figure of such a run means anything."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of it is measured."""

    markets: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    edge: int = 20_000
    """adversarial accounts for each family"""
    stressed: int = 100_000
    scenarios: int = 10_000


QUICK = Sizes((10_000, 100_000), 2_000, 20_000, 2_000)


def measure(sizes: Sizes, tell: Callable[[str], None]) -> list[Figure]:
    """All figures of one run. May raise: Differs."""
    tell(f"so many processes want the {os.cpu_count()} cores: {os.getloadavg()[0]:.1f}")
    tell(f"stressing {sizes.stressed} accounts with {sizes.scenarios} scenarios")
    found = stressed(sizes)
    tell(f"judging {len(FAMILIES) * sizes.edge} accounts at the edge")
    found += at_the_edge(sizes.edge)
    for size in sizes.markets:
        tell(f"judging {size} accounts")
        found += judged(size)
    return sorted(found, key=lambda one: one.id)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def must(true: object, what: str) -> None:
    """May raise: Differs."""
    if not true:
        raise Differs(what)


def moved(of: Market, by: float, seed: int) -> Globals:
    """The market with every price moved by up to so much."""
    random = np.random.default_rng(seed)
    prices = of.bulk.prices(of.globals_)
    return of.bulk.at_prices(of.globals_, {k: int(p * (1 + random.uniform(-by, by))) for k, p in prices.items()})


# -- B1, B3, D1: one market --------------------------------------------------------------------------------------------


def judged(size: int) -> list[Figure]:
    """One market of that size: everybody judged, then followed."""
    of = market(VERSION, 1)
    columns = crowd(of, size, 2, HEALTHS)
    book = Book(of.bulk, columns)
    groups = np.zeros(sum(parts[1].size * parts[2] for parts in book.shadow.totals(_ones(of))) * 6 // 4, np.float32)
    accounts = _accounts(of, columns.take(np.arange(min(size, PEERS))))
    whole: list[float] = []
    passes: list[float] = []
    integers: list[float] = []
    memory: list[float] = []
    for number in range(ROUNDS):
        globals_ = moved(of, 0.02, number)
        weights = of.bulk.weights(globals_, of.at_s)
        globals_ = of.bulk.at_prices(globals_, {})  # nothing that was reckoned of the one is known of the other
        whole.append(seconds(partial(book.below, globals_, of.at_s)))
        passes.append(seconds(partial(book.shadow.may_be_below, weights, 1.0)))
        integers.append(seconds(lambda: list(healths_directed(accounts))) * size / len(accounts))
        memory.append(seconds(groups.sum))
    globals_ = moved(of, 0.02, ROUNDS)
    found = book.below(globals_, of.at_s)
    must(np.array_equal(found.rows, _by_integers(of, columns, globals_)), "B1: verdicts that are not the integers'")
    name, large = f"{size:,} accounts, all prices new", size >= 1_000_000
    floor = median(memory) * MILLI
    bytes_ = sum(a.nbytes for a in (columns.owners, columns.mode, columns.flags, columns.start))
    bytes_ += sum(a.nbytes for a in (columns.kind, columns.low, columns.high)) + book.shadow.nbytes()
    return [
        Figure(
            "B1",
            f"{name}: verdicts over Python integers",
            median(integers) / median(whole),
            "x",
            200 if large else None,
            50 if large else None,
            more_is_better=True,
            note=f"{median(whole) * MILLI:.2f} ms against {median(integers) * MILLI:.0f}, at best "
            f"{min(whole) * MILLI:.2f} against {min(integers) * MILLI:.0f}; {found.reckoned} by integers",
        ),
        Figure("B1", f"{name}: the pass", median(passes) * MILLI, "ms", 10 * floor, 40 * floor, floor=floor),
        *followed(of, columns, book),
        Figure("D1", f"{size:,} accounts: MB a million", bytes_ / size * 1e6 / MEGA, "MB", 150, 200 if large else None),
    ]


def followed(of: Market, columns: Columns, book: Book[Facts, Globals]) -> list[Figure]:
    """From one block to the next: all prices by at most 0.2 %, and one price alone."""
    book.follow(of.globals_, of.at_s)
    band = Band(of.bulk, columns, book.shadow, of.bulk.weights(of.globals_, of.at_s), 1.0)
    floats: list[float] = []
    whole: list[float] = []
    passes: list[float] = []
    reckoned = book.below(of.globals_, of.at_s)
    for number in range(3 * ROUNDS):
        globals_, at_s = moved(of, 0.002, number), of.at_s + 12 * number
        floats.append(seconds(partial(_in_floats, book, band, globals_, at_s)))
        globals_ = of.bulk.at_prices(globals_, {})
        whole.append(seconds(partial(book.follow, globals_, at_s)))
        passes.append(seconds(partial(book.shadow.may_be_below, of.bulk.weights(globals_, at_s), 1.0)))
        reckoned = book.follow(globals_, at_s)
        must(np.array_equal(reckoned.rows, book.below(globals_, at_s).rows), "B3: following a market missed somebody")
    key = _most_held(of, columns)
    inverse = Inverse(book, of.globals_, of.at_s, key)
    lookups = [seconds(lambda: inverse.candidates(0.99)) for _ in range(20 * ROUNDS)]
    price = of.globals_.prices[key]
    fallen = of.bulk.at_prices(of.globals_, {key: price * 99 // 100})
    before, holders = book.below(of.globals_, of.at_s).rows, inverse.below(fallen, of.at_s).rows
    must(np.isin(book.below(fallen, of.at_s).rows, np.union1d(before, holders)).all(), "B3: a holder was missed")
    size = f"{len(columns):,} accounts"
    return [
        Figure(
            "B3",
            f"{size}, all prices within 0.2 %: floats",
            median(floats) * MILLI,
            "ms",
            0.5,
            peer=median(passes) * MILLI,
            note=f"{median(whole) * MILLI:.2f} ms with {reckoned.reckoned} by integers, at best "
            f"{min(floats) * MILLI:.2f} of floats; beside it a whole pass",
        ),
        Figure(
            "B3",
            f"{size}, one price by -1 %: candidates",
            median(lookups) * MICRO,
            "us",
            20,
            note=f"{len(inverse.candidates(0.99))} of them",
        ),
    ]


def _in_floats(book: Book[Facts, Globals], band: Band, globals_: Globals, at_s: int) -> None:
    band.sift(book.bulk.weights(globals_, at_s))
    book.flagged(globals_, at_s)


def _ones(of: Market) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.ones(len(of.bulk.weights(of.globals_, of.at_s).lower), np.float32)


def _most_held(of: Market, columns: Columns) -> str:
    counts = np.bincount(of.bulk.codes(columns), minlength=len(_ones(of)))
    return max(of.globals_.prices, key=lambda key: int(counts[of.bulk.price_codes(of.globals_, key)].sum()))


def _accounts(of: Market, columns: Columns) -> list[tuple[Sequence[Entry | None], list[Balance]]]:
    """Accounts ready for the loop of integers: nothing of their making is in the peer's time."""
    known = indexes(of.globals_, of.at_s)
    tables = {mode: cells(of.globals_, mode, known).entries for mode in (0, *of.bulk.modes)}
    modes = columns.mode.tolist()
    return [(tables[mode], list(columns.balances(row).items())) for row, mode in enumerate(modes)]


def _by_integers(of: Market, columns: Columns, globals_: Globals) -> I64:
    verdicts = of.bulk.exact(globals_, columns, np.arange(len(columns)), of.at_s)
    return np.flatnonzero([verdict is not None and verdict[0] < verdict[1] for verdict in verdicts])


# -- B2: the edge ------------------------------------------------------------------------------------------------------


def at_the_edge(size: int) -> list[Figure]:
    """Accounts with a health of 1 +- 3e-4, of every family of rules: whom do the floats get wrong?"""
    wrong = whole = plain = floored = 0
    for family in FAMILIES:
        of = market(family, 3)
        columns = crowd(of, size, 4, EDGE)
        rows = _by_integers(of, columns, of.globals_)
        found = Book(of.bulk, columns).below(of.globals_, of.at_s)
        wrong += len(np.setxor1d(found.rows, rows)) + len(found.unknown)
        plain += len(np.setxor1d(_by_formula(of, columns, floors=False), rows))
        floored += len(np.setxor1d(_by_formula(of, columns, floors=not of.globals_.rules.directed_rounding), rows))
        whole += size
    must(wrong == 0, f"B2: {wrong} of {whole} misjudged")
    note = f"the plain float formula misjudges {plain}, with the contract's floor of the threshold {floored}"
    return [Figure("B2", f"{whole:,} accounts at 1 +- 3e-4: misjudged", wrong, "", 0, 0, peer=plain, note=note)]


def _by_formula(of: Market, columns: Columns, *, floors: bool) -> I64:
    """Who is below one by the formula that bots use: sum of value * threshold over debt, all in floats."""
    known = indexes(of.globals_, of.at_s)
    size = len(_ones(of))
    value, threshold = np.zeros(size), np.zeros(size)
    for place, mode in enumerate(of.bulk.modes):
        for kind, entry in enumerate(cells(of.globals_, mode, known).entries):
            if entry is not None:
                index, price, unit, bps = entry
                code = size - of.bulk.kinds * (len(of.bulk.modes) - place) + kind
                value[code], threshold[code] = index / 1e27 * price / unit, bps if kind & 1 else 0
    codes, amounts = of.bulk.codes(columns), columns.amounts()
    rows = np.repeat(np.arange(len(columns)), np.diff(columns.start))

    def total(terms: F64) -> F64:
        return np.bincount(rows, terms, len(columns)).astype(np.float64, copy=False)

    owed = columns.kind % 2 == 0
    worth = value[codes] * amounts
    credit, debit, weighted = total(worth * ~owed), total(worth * owed), total(worth * threshold[codes])
    with np.errstate(divide="ignore", invalid="ignore"):
        covered = credit * np.floor(weighted / credit) if floors else weighted
        return np.flatnonzero(covered / 1e4 / debit < 1)


# -- E1: stress --------------------------------------------------------------------------------------------------------


def stressed(sizes: Sizes) -> list[Figure]:
    """Correlated scenarios, beside a loop over scenarios in numpy."""
    of = market(VERSION, 1)
    columns = crowd(of, sizes.stressed, 2, HEALTHS)
    keys, factors = list(of.globals_.prices), _scenarios(len(of.globals_.prices), sizes.scenarios)
    times, loops = [], []
    for _ in range(ROUNDS):
        times.append(seconds(lambda: stress(of.bulk, columns, of.globals_, of.at_s, keys, factors)))
        loops.append(_looped(of, columns, keys, factors[:LOOPED]) * sizes.scenarios)
    found = stress(of.bulk, columns, of.globals_, of.at_s, keys, factors)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    book = Book(of.bulk, columns)
    prices = np.array([of.globals_.prices[key] for key in keys], float)
    for number in range(0, sizes.scenarios, sizes.scenarios // 10):
        globals_ = of.bulk.at_prices(
            of.globals_, {k: round(p) for k, p in zip(keys, factors[number] * prices, strict=True)}
        )
        exact = len(book.below(globals_, of.at_s, ONE).rows)
        must(found.least[number] <= exact <= found.most[number], "E1: a count that does not hold the exact one")
    name = f"{sizes.stressed:,} accounts x {sizes.scenarios:,} scenarios"
    best, loop = median(times), median(loops)
    note = f"at best {min(times):.2f} beside {min(loops):.2f}"
    note += f"; counts within {(found.most - found.least).mean():.1f} of {found.most.mean():.0f} on average"
    full = sizes.stressed * sizes.scenarios >= 10**9
    return [
        Figure("E1", f"{name}", best, "s", 0.6 if full else None, peer=loop, note=note),
        Figure("E1", f"{name}: over numpy loops", loop / best, "x", 40 if full else None, 5 if full else None, True),
        Figure("E1", f"{name}: memory of the process", peak, "MB", 500, 1000),
    ]


def _scenarios(keys: int, size: int) -> F64:
    random = np.random.default_rng(5)
    whole, own = random.normal(0, 0.15, (size, 1)), random.normal(0, 0.05, (size, keys))
    return np.exp(whole * random.uniform(0.3, 1.5, (1, keys)) + own)


def _looped(of: Market, columns: Columns, keys: list[str], factors: F64) -> float:
    """Seconds a scenario of what one writes at first: every balance times its weight, summed up by account."""
    weights = of.bulk.weights(of.globals_, of.at_s).lower
    places = np.zeros(len(weights), np.int64)
    for place, key in enumerate(keys):
        places[of.bulk.price_codes(of.globals_, key)] = place
    codes = of.bulk.codes(columns)
    worth, key_of, start = weights[codes] * columns.amounts(), places[codes], columns.start[:-1]
    found = []
    began = time.perf_counter()
    for factor in factors:
        margins = np.add.reduceat(worth * factor[key_of], start)
        below = margins < 0
        found.append((int(below.sum()), float(-margins[below].sum())))
    return (time.perf_counter() - began) / len(factors)
