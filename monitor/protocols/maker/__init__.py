"""Sky, formerly Maker: vaults (urns) of one collateral type (ilk) each, debt in DAI or USDS, liquidation by `bark`.

A market is the chainlog with an ilk's name as its id; an owner is an urn, of the CDP manager, of Lockstake or anyone's
own address, or a wallet that holds one vault. `bark` looks at the rate and the spot that are stored, and `liquidatable`
says what it does now. But anyone may call jug.drip, osm.poke (once its hop is over) and spotter.poke in the same
transaction: the verdict, and everything asked for a later time, is the worst that these can bring about. What this file
must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Gate,
    GateState,
    Health,
    Known,
    Leg,
    Line,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    ReadPlan,
    Side,
    Unit,
    Unknown,
    Unread,
    Unreadable,
    Verdict,
)
from monitor.core.units import RAY, WAD, format_units, mul_div_up
from monitor.protocols.base import Deployment, Found, Helpers, Protocol, Truth, Version
from monitor.protocols.maker.math import (
    NEXT,
    SPOT,
    ZERO,
    Facts,
    Ilk,
    Path,
    Refused,
    State,
    bark,
    paths,
    room,
    unsafe,
)
from monitor.protocols.maker.reading import (
    address_calls,
    ilk_calls,
    position_of,
    read_addresses,
    read_ilk,
    read_refused,
    shared_calls,
)
from monitor.protocols.maker.urns import Urn, find_urns, find_vaults

STRANGER: Address = "0x000000000000000000000000000000000000dEaD"
DAI = Unit("DAI", 18)
CHAINLOG: Address = "0xdA0Ab1e0017DEbCd72Be8599041a2aa3bA7e740F"
NAMED_ILKS = ("ETH-A", "ETH-B", "ETH-C", "WBTC-A", "WSTETH-A", "WSTETH-B", "LSEV2-SKY-A")


@dataclass(frozen=True, slots=True)
class Context:
    """Whether the OSM's source has a valid price to take over; None: not an OSM, or not told."""

    source_valid: bool | None


class Maker(Protocol[Facts, Context]):
    """Sky (Maker)."""

    name = "maker"
    title = "Sky (Maker)"
    helpers = Helpers(
        "pay debt, or lock collateral; what is still owed must be nothing or at least the dust of its ilk",
        "the same through the vault's manager, or free collateral to pay with",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("dss", "recorded contracts: bark, drip and pokes, refusals and auctioned amounts equal", 101),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {
        f"ethereum/maker-{ilk.lower()}": Deployment(
            1, CHAINLOG, "makerdao/spells-mainnet src/test/addresses_mainnet.sol, CHANGELOG", ilk
        )
        for ilk in NAMED_ILKS
    }

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        if not market.id or len(market.id.encode()) > 32 or not market.id.isascii():
            raise ProtocolError(f"{market} names no collateral type", hint="write maker:CHAINLOG/ILK, e.g. ETH-A")
        addresses: Sequence[Any] = yield from read_addresses(market)
        _, _, spotter, dog, *_ = addresses
        pip, clip = [values(answer)[0] for answer in (yield ilk_calls(market, spotter, dog))]
        if pip == ZERO:
            raise ProtocolError(f"{market}: the spotter knows no such collateral type", hint="check the ilk's name")
        [hop] = yield (Call(pip, "maker.hop", allow_revert=True),)
        if isinstance(hop, Unread):
            raise ProtocolError(f"{market}: cannot tell whether its pip delays prices: {hop.reason}")
        found = (*addresses, pip, clip, isinstance(hop, Ok))
        return Facts(market, *found)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        market = facts.market
        ilks = [replace(call, allow_revert=True) for call in ilk_calls(market, facts.spotter, facts.dog)]
        answers = yield (*address_calls(market), *ilks)
        if any(isinstance(answer, Unread) for answer in answers):
            return False
        found = [answer.values[0] if isinstance(answer, Ok) else ZERO for answer in answers]
        known = [facts.vat, facts.jug, facts.spotter, facts.dog, facts.dai, facts.manager, facts.get_cdps]
        return found == [*known, facts.proxies, facts.pip, facts.clip]

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        shared = shared_calls(facts)
        answers, urns = yield from find_urns(facts, owners, shared)
        told = yield from read_refused(facts, {call: answers[call] for call in shared})
        read = read_ilk(facts, told)
        return [position_of(facts, owner, block, read, urns[owner]) for owner in owners]

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        if not facts.is_osm:
            return Context(None)
        [source] = yield (Call(facts.pip, "maker.src", allow_revert=True),)
        if not isinstance(source, Ok) or source.values[0] == ZERO:
            return Context(None)
        # the source lets only those read it that it knows, such as this OSM
        [answer] = yield (Call(source.values[0], "maker.peek", allow_revert=True, sender=facts.pip),)
        return Context(bool(answer.values[1]) if isinstance(answer, Ok) else None)

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        """Without `at_s`, `liquidatable` is bark alone at the position's block; with it, after any permitted calls."""
        state: State = position.state
        ilk, now_s = state.ilk, position.block.timestamp if at_s is None else at_s
        ways = paths(state, position.prices, now_s)
        reported = {"ink": state.ink, "art": state.art, "bark": int(_barks(state, ways[0]))}
        if state.art == 0:
            return Health(
                position.id, position.block, NoDebt(), DAI, reported, liquidatable=False, legs=_legs(position)
            )
        worst = _worst(state, ways)
        late = NEXT in state.price_errors and not ilk.osm_stopped and now_s >= ilk.next_from_s
        verdict: Verdict
        if late:
            verdict = Unknown(f"the next price cannot be read: {state.price_errors[NEXT]}")
        elif worst is None or state.facts.pip in state.price_errors:
            verdict = Unknown(f"no valid price: {state.price_errors.get(state.facts.pip, 'the pip has none')}")
        else:
            verdict = Known(state.ink * worst.spot, state.art * worst.rate)
        legs = _legs(position)
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=DAI,
            reported=reported,
            gates=tuple(_gates(state, ways[0] if at_s is None or worst is None else worst)),
            liquidatable=bool(reported["bark"]) if at_s is None else any(_barks(state, way) for way in ways),
            legs=legs,
            collateral=sum(leg.value for leg in legs if leg.side is Side.COLLATERAL),
            debt=mul_div_up(state.art, worst.rate if worst else ilk.rate, RAY),
            input_age_s=now_s - ilk.zzz_s if state.facts.is_osm else None,
            notes=tuple(_notes(position, context, ways[0], worst, now_s)),
        )

    def find_positions(self, facts: Facts, owner: Address, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
        """Of several urns each by its own address; a single one is the owner's own position."""
        vaults = yield from find_vaults(facts, owner)
        if isinstance(vaults, str):
            return [Unreadable(facts.market.position_id(owner), owner, block, vaults)]
        if len(vaults) < 2:
            return [Found(facts.market, owner)]
        return [Found(facts.market, urn, name) for urn, name in vaults.items()]

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        """Maker has no getter of health: a stranger's `bark` is called and not sent."""
        _, urns = yield from find_urns(facts, owners)
        told = {owner: urn for owner, urn in urns.items() if isinstance(urn, Urn)}
        answers = yield tuple(
            Call(facts.dog, "maker_dog.bark", (facts.ilk, urn.address, STRANGER), allow_revert=True, sender=STRANGER)
            for urn in told.values()
        )
        barked = dict(zip(told, answers, strict=True))
        return [_truth(owner, urns[owner], barked.get(owner)) for owner in owners]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        ilk, facts = state.ilk, state.facts
        lines = [
            Line("urn", state.urn),
            Line("ink", f"{format_units(state.ink, 18)} {facts.symbol}", source="vat.urns(ilk, urn).ink"),
            Line("art", format_units(state.art, 18), source="vat.urns(ilk, urn).art"),
            Line("rate, stored", str(ilk.rate), source="vat.ilks(ilk).rate"),
            Line("spot, stored", str(position.prices.get(SPOT, 0)), source="vat.ilks(ilk).spot"),
        ]
        if facts.pip in position.prices:
            price = format_units(position.prices[facts.pip], 18)
            lines.append(Line("price", price, source=f"peek() at {facts.pip}, asked as the spotter"))
        if NEXT in position.prices:
            taken = f"osm.poke takes it over from {ilk.next_from_s}"
            lines.append(Line("next price", format_units(position.prices[NEXT], 18), taken, f"peep() at {facts.pip}"))
        verdict = self.evaluate(position, context).verdict
        worst = _worst(state, paths(state, position.prices, position.block.timestamp))
        if not isinstance(verdict, Known) or worst is None:
            return lines
        fee = f"floor(rpow({ilk.base + ilk.duty}, {position.block.timestamp - ilk.rho_s}) × {ilk.rate} / 10^27)"
        spot = f"floor(floor(price × 10^36 / {ilk.par}) × 10^27 / {ilk.mat})"
        lines += [
            Line("worst that anyone can do first", ", ".join(worst.moves) or "nothing"),
            Line("rate", str(worst.rate), fee if "jug.drip" in worst.moves else "as stored", "jug.ilks(ilk), base()"),
            Line("spot", str(worst.spot), spot if "spotter.poke" in worst.moves else "as stored", "spotter.ilks(ilk)"),
            Line("health", f"{verdict.numerator} / {verdict.denominator}", "ink × spot / (art × rate)"),
        ]
        return lines

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        """An OSM's price is as old as the poke that took it over, and should be followed by another after two hops."""
        if not positions:
            return []
        used, ilk = positions[0].prices, positions[0].state.ilk
        since_s, valid_s = (ilk.zzz_s, 2 * ilk.hop_s) if facts.is_osm else (None, None)
        return [
            Price(key, used[key], 18, "USD", since_s, valid_s, facts.pip) for key in (facts.pip, NEXT) if key in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        facts: Facts = position.state.facts
        return {facts.pip: facts.symbol} if facts.pip in position.prices else {}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        """One symbol for all three, so that a shock moves what is stored and what is queued along."""
        return dict.fromkeys((facts.pip, NEXT, SPOT), facts.symbol)

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return facts.vat, facts.jug, facts.spotter, facts.dog, facts.pip

    def parameters(self, position: Position) -> Any:
        ilk: Ilk = position.state.ilk
        return ilk.mat, ilk.par, ilk.duty, ilk.base, ilk.chop, ilk.dust, position.state.facts.pip


def _truth(owner: Address, urn: Urn | str, barked: Answer | None) -> Truth:
    if isinstance(urn, str):
        return Truth(owner, {}, urn)
    if isinstance(barked, Unread):
        return Truth(owner, {}, barked.reason)
    return Truth(owner, {"ink": urn.ink, "art": urn.art, "bark": int(isinstance(barked, Ok))})


def _barks(state: State, path: Path) -> bool:
    try:
        bark(state, path)
    except Refused:
        return False
    return True


def _worst(state: State, ways: Sequence[Path]) -> Path | None:
    """The way with the lowest ratio among those with a valid price and a spot, at which bark could say yes at all."""
    able = [way for way in ways if way.feed is not None and way.spot > 0 and way.rate > 0 and _decides(state, way)]
    return min(able, key=lambda way: Fraction(way.spot, way.rate), default=None)


def _decides(state: State, way: Path) -> bool:
    try:
        unsafe(state, way)
    except Refused:
        return False
    return True


def _gates(state: State, path: Path) -> list[Gate]:
    """What stands in bark's way on this path besides health; the last one is what it would say beyond the named."""
    ilk = state.ilk
    clip = "no clipper" if state.facts.clip == ZERO else f"stopped {ilk.clip_stopped}"
    price = state.price_errors.get(state.facts.pip, "the pip has none")
    named = [
        ("dog", ilk.dog_live, "caged"),
        ("room", room(ilk) > 0, "auctions are at their limit: Hole, hole"),
        ("clipper", clip == "stopped 0", clip),
        ("price", path.feed is not None, price),
    ]
    gates = [Gate(name, GateState.OPEN if ok else GateState.SHUT, "" if ok else why) for name, ok, why in named]
    if all(gate.state is GateState.OPEN for gate in gates) and _decides(state, path) and unsafe(state, path):
        try:
            bark(state, path)
        except Refused as refused:
            gates.append(Gate("bark", GateState.SHUT, refused.message))
    return gates


def _notes(position: Position, context: Context | None, stored: Path, worst: Path | None, now_s: int) -> list[str]:
    state: State = position.state
    ilk, said = state.ilk, list[str]()
    if worst is not None and unsafe(state, worst) and not (_decides(state, stored) and unsafe(state, stored)):
        said.append(f"bark alone says no, but anyone may call {', '.join(worst.moves)} first")
    if worst is not None and not unsafe(state, worst) and now_s < ilk.next_from_s and not ilk.osm_stopped:
        later = _worst(state, paths(state, position.prices, ilk.next_from_s))
        if later is not None and unsafe(state, later):
            said.append(
                f"the next price, {format_units(position.prices[NEXT], 18)}, ends that "
                f"in {ilk.next_from_s - now_s} s: from {ilk.next_from_s} on"
            )
    if ilk.osm_stopped:
        said.append("the OSM is stopped: its price stays")
    if context is not None and context.source_valid is False:
        said.append("the OSM's source has no valid price: the next one is not taken over now")
    if not ilk.vat_live:
        said.append("the system is shut down")
    if state.art * ilk.rate < ilk.dust:
        said.append("the debt is below dust: the vat refuses collateral, and takes nothing but full repayment")
    return said


def _legs(position: Position) -> tuple[Leg, ...]:
    state: State = position.state
    facts, ilk = state.facts, state.ilk
    price = position.prices.get(facts.pip, 0)
    factor = RAY * RAY // ilk.mat if ilk.mat else 0
    debt = mul_div_up(state.art, ilk.rate, RAY)
    collateral = Leg(
        Side.COLLATERAL, facts.pip, facts.symbol, 18, state.ink, price, 18, state.ink * price // WAD, factor, 27
    )
    owed = Leg(Side.DEBT, facts.dai, "DAI", 18, debt, WAD, 18, debt, WAD, 18)
    return (*([collateral] if state.ink else ()), *([owed] if state.art else ()))


PROTOCOL = Maker()
