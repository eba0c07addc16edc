"""Maker's integers: stability fees, spot prices and what `bark` takes, rounded as jug, spot and dog do.

Sources: makerdao/dss 1.0.8 (vat, jug, spot) and fa4f663 (dog, clip), makerdao/osm e36c874. Holds the raw state that
they work on. Units as Maker calls them: wad 10**18, ray 10**27, rad 10**45. Where a contract reverts, Refused says so.

Anyone may call jug.drip, osm.poke and spotter.poke in the transaction that barks. So what can befall a vault is not one
pair of rate and spot but every pair on a `Path` of such calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import RAY, UINT256_MAX, WAD

SPOT, NEXT = "spot", "next"
"""Keys of the prices beside the pip's own: the vat's stored spot (ray), and what the OSM takes over next (wad)."""
FEED_TO_RAY = 10**9
ZERO: Address = "0x0000000000000000000000000000000000000000"
INT256 = 2**255
Moves = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """Where one collateral type (ilk) is kept. `clip` is the zero address where it cannot be auctioned."""

    market: MarketRef
    vat: Address
    jug: Address
    spotter: Address
    dog: Address
    dai: Address
    manager: Address
    get_cdps: Address
    proxies: Address
    pip: Address
    clip: Address
    is_osm: bool
    """whether its prices wait for a hop before they count"""

    @property
    def ilk(self) -> bytes:
        return (self.market.id or "").encode().ljust(32, b"\0")

    @property
    def symbol(self) -> str:
        """The collateral's name as in the ilk's: WSTETH-A -> WSTETH."""
        name = self.market.id or ""
        return name.rpartition("-")[0] or name


@dataclass(frozen=True, slots=True)
class Ilk:
    """What all vaults of the ilk share: fees, limits, auctions, and the OSM's clock."""

    rate: int
    dust: int
    mat: int
    par: int
    duty: int
    rho_s: int
    base: int
    chop: int
    hole: int
    dirt: int
    all_hole: int
    all_dirt: int
    dog_live: bool
    vat_live: bool
    clip_stopped: int
    hop_s: int = 0
    zzz_s: int = 0
    osm_stopped: bool = False

    @property
    def next_from_s(self) -> int:
        """The first timestamp at which osm.poke takes the next price over."""
        return self.zzz_s + self.hop_s


@dataclass(frozen=True, slots=True)
class State:
    """One urn: locked collateral and normalised debt (wad), and why a price is missing, by key."""

    facts: Facts
    ilk: Ilk
    urn: Address
    ink: int
    art: int
    price_errors: Mapping[str, str]


class Refused(ProtocolError):
    """The contract would revert; the message is its own reason."""


@dataclass(frozen=True, slots=True)
class Path:
    """Rate and spot in the vat and the pip's answer (None: not valid) after `moves`, which anyone may make."""

    moves: Moves
    rate: int
    spot: int
    feed: int | None


def checked(value: int) -> int:
    """A value that must fit 256 bits. May raise: Refused."""
    if not 0 <= value <= UINT256_MAX:
        raise Refused("overflow")
    return value


def rpow(x: int, n: int) -> int:
    """jug.rpow: x**n in ray by squaring, each product rounded half up. May raise: Refused."""
    if x == 0:
        return RAY if n == 0 else 0
    result = x if n % 2 else RAY
    n //= 2
    while n:
        x = checked(checked(x * x) + RAY // 2) // RAY
        if n % 2:
            result = checked(checked(result * x) + RAY // 2) // RAY
        n //= 2
    return result


def dripped(ilk: Ilk, now_s: int) -> int:
    """The rate that jug.drip leaves at `now_s`. May raise: Refused."""
    if now_s < ilk.rho_s:
        raise Refused("Jug/invalid-now")
    return checked(rpow(checked(ilk.base + ilk.duty), now_s - ilk.rho_s) * ilk.rate) // RAY


def rdiv(x: int, y: int) -> int:
    """floor(x / y) in ray. May raise: Refused."""
    if y == 0:
        raise Refused("division by zero")
    return checked(x * RAY) // y


def poked(ilk: Ilk, feed: int) -> int:
    """The spot that spotter.poke files for a valid answer of the pip: two floors. May raise: Refused."""
    return rdiv(rdiv(checked(feed * FEED_TO_RAY), ilk.par), ilk.mat)


def paths(state: State, prices: Mapping[str, int], now_s: int) -> list[Path]:
    """What anyone can have made of rate and spot in a block of timestamp `now_s`; the first is what is stored.

    The pip's source is taken to answer when the OSM is due: where it does not, nothing is taken over.
    """
    ilk, facts = state.ilk, state.facts
    rates: list[tuple[Moves, int]] = [((), ilk.rate)]
    if ilk.vat_live:
        with suppress(Refused):  # then nobody can drip
            rates.append((("jug.drip",), dripped(ilk, now_s)))
    feeds: list[tuple[Moves, int | None]] = [((), prices.get(facts.pip))]
    due = facts.is_osm and not ilk.osm_stopped and now_s >= ilk.next_from_s
    if due and NEXT in prices:
        feeds.append((("osm.poke",), prices[NEXT]))
    found = []
    for osm_moves, feed in feeds:
        spots: list[tuple[Moves, int]] = [((), prices.get(SPOT, 0))]
        if ilk.vat_live and feed is not None:
            with suppress(Refused):  # then nobody can poke
                spots.append((("spotter.poke",), poked(ilk, feed)))
        found += [Path((*drip, *osm_moves, *poke), rate, spot, feed) for poke, spot in spots for drip, rate in rates]
    return found


@dataclass(frozen=True, slots=True)
class Barked:
    """What `bark` sends to auction: collateral and normalised debt (wad), and what the auction is to raise (rad)."""

    dink: int
    dart: int
    due: int
    tab: int
    start: int
    """the feed in DAI (ray); the auction's first price is clip.buf times it"""


def unsafe(state: State, path: Path) -> bool:
    """Dog.bark's own comparison, strict; a spot of 0 is never unsafe. May raise: Refused."""
    return path.spot > 0 and checked(state.ink * path.spot) < checked(state.art * path.rate)


def room(ilk: Ilk) -> int:
    """What may still go to auction (rad), under both limits; 0 or less: nothing."""
    return min(ilk.all_hole - ilk.all_dirt, ilk.hole - ilk.dirt)


def bark(state: State, path: Path) -> Barked:
    """Dog.bark and the Clipper.kick in it. May raise: Refused, with the contracts' reasons."""
    ilk = state.ilk
    if not ilk.dog_live:
        raise Refused("Dog/not-live")
    if not unsafe(state, path):
        raise Refused("Dog/not-unsafe")
    if room(ilk) <= 0:
        raise Refused("Dog/liquidation-limit-hit")
    if path.rate == 0 or ilk.chop == 0:
        raise Refused("division by zero")
    dart = min(state.art, checked(room(ilk) * WAD) // path.rate // ilk.chop)
    if state.art > dart:
        if checked((state.art - dart) * path.rate) < ilk.dust:
            dart = state.art  # the rest would be dust: all of it goes
        elif checked(dart * path.rate) < ilk.dust:
            raise Refused("Dog/dusty-auction-from-partial-liquidation")
    dink = checked(state.ink * dart) // state.art
    if dink == 0:
        raise Refused("Dog/null-auction")
    if max(dart, dink) > INT256:
        raise Refused("Dog/overflow")
    due = checked(dart * path.rate)
    tab = checked(due * ilk.chop) // WAD
    checked(ilk.all_dirt + tab)
    return Barked(dink, dart, due, tab, _kick(state, path, tab))


def _kick(state: State, path: Path, tab: int) -> int:
    """What Clipper.kick starts from. May raise: Refused."""
    if state.facts.clip == ZERO:
        raise Refused("no clipper for this ilk")
    if state.ilk.clip_stopped:
        raise Refused("Clipper/stopped-incorrect")
    if tab == 0:
        raise Refused("Clipper/zero-tab")
    if path.feed is None:
        raise Refused("Clipper/invalid-price")
    start = rdiv(checked(path.feed * FEED_TO_RAY), state.ilk.par)
    if start == 0:
        raise Refused("Clipper/zero-top-price")
    return start
