"""What a guardian could do for an account of Aave V3 through a guard: each debt with each deposit that may pay for it.

A close pays as much of a debt as one deposit can; several make an end of it one after another.

Every step is bounded by what the owner allows on chain, by what pools can pay out and exchanges were asked about, or
is refused with the reason; what only the owner can mend says so. Two prices must agree before anything is sold: the
protocol's oracle, which may be stale or mistaken, and the exchange's, which may have been moved.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from monitor.core.actions import ROUNDING, Intent, Step, Swap, Template
from monitor.core.curve import Curve, largest
from monitor.core.types import Address, Position
from monitor.core.units import BPS, WAD, format_ratio, format_units, mul_div_down
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import Holding, account_data, holdings, normalized_debt
from monitor.protocols.aave_v3.effects import closed, least_amount
from monitor.protocols.aave_v3.guard import NO_CODE, GuardState, Quote, Wishes
from monitor.protocols.aave_v3.guarded import premium
from monitor.protocols.aave_v3.math import ArithmeticReverts
from monitor.protocols.aave_v3.purse import Purse, supply_room
from monitor.protocols.aave_v3.records import Facts, Route, State
from monitor.protocols.aave_v3.templates import CLOSE, DELEVERAGE
from monitor.protocols.aave_v3.versions import TABLE, Rules

GAS = 1_500_000
"""A generous bound, set by hand: five calls of the pool and one trade. The simulation decides whether it is enough."""
FEE_UNIT = 10**6
STEPS_AT_LEAST = 6
"""How often a trade may round besides at the ticks that it crosses: at its start and at the edges of bitmap words."""
GRAIN = 8
"""In units of the collateral."""
CLEAR = 10**4
"""An amount so large that rounding says little about its price."""


@dataclass(frozen=True, slots=True)
class _Room:
    """What all steps of one position share."""

    facts: Facts
    rules: Rules
    position: Position
    purse: Purse
    guard: GuardState
    until_s: int
    held: tuple[Holding, ...]
    debts: dict[Address, int]
    """By asset: what one action repays at the most, at the end of the window."""


def guard_steps(facts: Facts, position: Position, purse: Purse, until_s: int) -> list[Step]:
    """A deleverage and a close for each debt and each way to pay it; one refused step where there is no way."""
    guard = purse.guard
    if guard is None:
        return []
    rules, state = TABLE[position.rule.version], position.state
    try:
        held = holdings(rules, state, position.block.timestamp)
        later = {h.reserve.asset: h.due for h in holdings(rules, state, until_s)}
    except ArithmeticReverts:
        return []  # health is unknown then, and nothing is planned on that
    room = _Room(facts, rules, position, purse, guard, until_s, held, later)
    found: list[Step] = []
    for template in (DELEVERAGE, CLOSE):
        for debt in held:
            if debt.borrowed and debt.due:
                found += _for_debt(room, template, debt)
    return found


def _for_debt(room: _Room, template: Template, debt: Holding) -> list[Step]:
    blank = _blank(room, template, debt)
    why, mend = _refused(room, template, debt)
    if why:
        return [replace(blank, refused=why, owner_must=mend)]
    steps = [_step(room, blank, debt, route) for route in _routes(room, debt)]
    return steps or [replace(blank, refused=f"no exchange buys {debt.reserve.symbol} with any of the deposits")]


def _blank(room: _Room, template: Template, debt: Holding) -> Step:
    position, setup = room.position, room.guard.setup
    intent = Intent(
        kind=template.kind,
        chain_id=position.block.chain_id,
        position_id=position.id,
        owner=position.owner,
        to=setup.contract,
        args={"debt": debt.reserve.asset, "amount": 0, "deadline": room.until_s, "router": setup.router},
    )
    return Step(
        position=position,
        intent=intent,
        asset=debt.reserve.asset,
        symbol=debt.reserve.symbol,
        decimals=words.decimals(debt.reserve.configuration),
        price=_own_price(position, debt),
        least=0,
        most=0,
        gas=GAS,
        closes=template is CLOSE,
    )


# -- why not -----------------------------------------------------------------------------------------------------------


def _refused(room: _Room, template: Template, debt: Holding) -> tuple[str, str]:
    """Why nothing can be done about the debt, and what its owner could do about that."""
    guard = room.guard
    wishes = guard.wishes_of(room.position.owner)
    if guard.serves != room.facts.pool:
        return "the guard could not be read, or serves another pool", ""
    if wishes is None or guard.premium_bps is None or guard.to_treasury_bps is None:
        return "what the owner allows, or what a flash loan costs, could not be read", ""
    why, mend = _unwanted(guard, wishes)
    if not why:
        why, mend = _nothing_to_take(room)
    return (why, mend) if why else (_not_yet(room, template, wishes) or _debt_refused(wishes, debt), "")


def _debt_refused(wishes: Wishes, debt: Holding) -> str:
    if why := closed(debt.reserve):
        return why
    if not words.flash_loans(debt.reserve.configuration):
        return f"FlashloanDisabled: {debt.reserve.symbol} is not lent within a transaction"
    return "" if wishes.allowed_today else "CAP: the owner's cap for the day is used up"


def _unwanted(guard: GuardState, wishes: Wishes) -> tuple[str, str]:
    """What the owner has not allowed, as lasting as that is."""
    if not wishes.trigger and not wishes.close_below:
        return "the owner has not configured the guard", "configure"
    if wishes.paused:
        return "PAUSED: the owner has paused the guard", "set_paused"
    if not wishes.caller_allowed:
        return f"CALLER: the owner does not let {guard.guardian} call the guard", "set_caller"
    if wishes.router_code_hash == NO_CODE:
        return "ROUTER: the owner has not allowed the router", "set_router"
    if guard.router_code_hash is None:
        return "the router's code could not be read", ""
    if wishes.router_code_hash != guard.router_code_hash:
        return "ROUTER_CODE: the router's code is not the one that the owner allowed", "set_router"
    return "", ""


def _nothing_to_take(room: _Room) -> tuple[str, str]:
    """No deposit is one that the guard may take: told while health is not yet where it may act."""
    deposits = [holding.reserve for holding in room.held if holding.supplied]
    if not deposits or any(room.guard.allowance(room.position.owner, one.asset) != 0 for one in deposits):
        return "", ""
    names = [one.symbol for one in deposits]
    return f"the owner has not let the guard take {', '.join(names)}", f"approve a{' or a'.join(names)}"


def _not_yet(room: _Room, template: Template, wishes: Wishes) -> str:
    """Health is not where the owner lets the guard act."""
    health_wad = account_data(room.rules, room.held, room.position.prices).health_factor
    name, line = ("CLOSE_BELOW", wishes.close_below) if template is CLOSE else ("TRIGGER", wishes.trigger)
    if health_wad < line:
        return ""
    return f"{name}: health is not below the {format_ratio(line, WAD, 4)} under which the owner lets the guard act"


# -- routes ------------------------------------------------------------------------------------------------------------


def _routes(room: _Room, debt: Holding) -> Iterator[Route]:
    """Each deposit that the debt can be paid with, at each pool that was asked."""
    own = next((h for h in room.held if h.reserve.asset == debt.reserve.asset and h.supplied), None)
    if own is not None:
        top = room.debts[debt.reserve.asset]
        sold = Curve(((0, 1), (top + 1, top + 2 + premium(room.rules, top + 1, room.guard.premium_bps or 0))))
        yield _route(room, own, debt, 0, sold)
    for quotes in room.guard.quotes:
        if (quotes.owner, quotes.debt) == (room.position.owner, debt.reserve.asset) and quotes.points:
            collateral = next(h for h in room.held if h.reserve.asset == quotes.collateral)
            yield _route(room, collateral, debt, quotes.fee, _curve(quotes.points))


def _curve(points: tuple[Quote, ...]) -> Curve:
    """The exchange's cost by what is repaid. Convex but for rounding, which each point is moved up by."""
    padded = [(0, 2 * STEPS_AT_LEAST)]
    for point in points:
        per_unit = -(-point.sold // point.repaid)  # the premium is rounded to a whole unit of the debt
        padded.append((point.repaid, point.sold + per_unit + 2 * (point.ticks + STEPS_AT_LEAST)))
    return Curve(tuple(padded))


def _route(room: _Room, collateral: Holding, debt: Holding, fee: int, sold: Curve) -> Route:
    guard, position = room.guard, room.position
    wishes = guard.wishes_of(position.owner)
    if wishes is None:
        raise AssertionError("no route is looked for where nobody knows what the owner allows")
    prices = [_own_price(position, holding) for holding in (collateral, debt)]
    limit = (BPS + wishes.max_slippage_bps) * prices[1] * collateral.unit
    held = min(collateral.supplied, guard.allowance(position.owner, collateral.reserve.asset) or 0)
    swap = Swap(
        collateral=collateral.reserve.asset,
        symbol=collateral.reserve.symbol,
        decimals=words.decimals(collateral.reserve.configuration),
        price=prices[0],
        sold=sold,
        tolerance_bps=guard.setup.tolerance_bps if fee else 0,
        worth=Fraction(limit, BPS * debt.unit * prices[0]) if prices[0] else Fraction(0),
        held=held,
        low=Fraction(wishes.low, WAD),
        high=Fraction(wishes.high, WAD),
    )
    return Route(
        collateral=collateral.reserve.asset,
        debt=debt.reserve.asset,
        router=guard.setup.router,
        fee=fee,
        swap=swap,
        premium_bps=guard.premium_bps or 0,
        to_treasury_bps=guard.to_treasury_bps or 0,
        supply=guard.supply(debt.reserve.asset),
        returned=_returned(room, collateral),
    )


def _own_price(position: Position, holding: Holding) -> int:
    """The asset's own price, which the guard asks for; health may count with an e-mode's (<= 3.1). 0: not known."""
    return position.prices.get(holding.reserve.asset, 0)


def _returned(room: _Room, collateral: Holding) -> bool:
    """Whether the pool takes back what is not sold."""
    if not words.supply_cap(collateral.reserve.configuration):
        return True
    supply = room.guard.supply(collateral.reserve.asset)
    return supply is not None and supply_room(room.rules, collateral.reserve, supply, room.until_s) > 0


# -- one step ----------------------------------------------------------------------------------------------------------


def _step(room: _Room, blank: Step, debt: Holding, route: Route) -> Step:
    swap = route.swap if not blank.closes else replace(route.swap, low=None, high=None)
    state: State = room.position.state
    what = f"{blank.intent.kind} {route.collateral} {route.debt} {route.fee}"
    digest = hashlib.sha256(f"{room.position.id} {room.position.block.hash} {what}".encode())
    args = {
        **blank.intent.args,
        "collateral": route.collateral,
        "fee": route.fee,
        "max_collateral": 0,
        "action_id": f"0x{digest.hexdigest()}",
    }
    step = replace(
        blank,
        position=replace(room.position, state=replace(state, routes=(replace(route, swap=swap),))),
        intent=replace(blank.intent, args=args),
        swap=swap,
    )
    why, mend = _collateral_refused(room, route)
    why = why or _disagreement(room, step, swap, route)
    if why:
        return replace(step, refused=why, owner_must=mend)
    return _bounded(room, step, swap, debt)


def _collateral_refused(room: _Room, route: Route) -> tuple[str, str]:
    held = next(h.reserve for h in room.held if h.reserve.asset == route.collateral)
    if not words.active(held.configuration):
        return f"ReserveInactive: {held.symbol} is not active", ""
    if words.paused(held.configuration):
        return f"ReservePaused: {held.symbol} is paused", ""
    if not route.swap.worth:
        return f"PRICE: {held.symbol} has no price", ""
    allowed = room.guard.allowance(room.position.owner, route.collateral)
    if allowed is None:
        return f"whether the owner lets the guard take {held.symbol} could not be read", ""
    if allowed == 0:
        return f"the owner has not let the guard take {held.symbol}", f"approve a{held.symbol}"
    return "", ""


def _disagreement(room: _Room, step: Step, swap: Swap, route: Route) -> str:
    """The exchange's price before fees, where a small amount tells it, against the oracle's."""
    if route.collateral == route.debt:
        return ""
    found = next(
        quotes
        for quotes in room.guard.quotes
        if (quotes.owner, quotes.collateral, quotes.debt, quotes.fee)
        == (room.position.owner, route.collateral, route.debt, route.fee)
    )
    point = next((p for p in found.points if min(p.repaid, p.sold) >= CLEAR), found.points[-1])
    bought = point.repaid + premium(room.rules, point.repaid, route.premium_bps)
    given = Fraction(point.sold * (FEE_UNIT - route.fee) * swap.price, FEE_UNIT * 10**swap.decimals)
    gap = Fraction(given, Fraction(bought * step.price, 10**step.decimals)) - 1 if step.price else Fraction(1)
    if abs(gap) * BPS <= room.guard.setup.gap_bps:
        return ""
    side = "dearer" if gap > 0 else "cheaper"
    percent = format_ratio(abs(gap.numerator) * 100, gap.denominator, 2)
    return (
        f"the exchange sells {step.symbol} for {swap.symbol} {percent} % {side} than the oracles say: "
        "one of them is wrong, and nothing is sold before they agree"
    )


def _bounded(room: _Room, step: Step, swap: Swap, debt: Holding) -> Step:
    guard, wishes = room.guard, room.guard.wishes_of(room.position.owner)
    paid, payable = guard.payable(step.asset), guard.payable(swap.collateral)
    if paid is None or payable is None or wishes is None:
        return replace(step, refused="what the pool can pay out could not be read")
    swap = replace(swap, held=min(swap.held, payable))
    wanted = room.debts[step.asset] if step.closes else debt.due  # a close takes less than it names, where less is due
    capped = mul_div_down(wishes.allowed_today, 10**step.decimals, step.price) if step.price else 0
    most, limited_by = min(
        (wanted, "the debt"),
        (paid, "what the pool can lend"),
        (capped, "the owner's cap for the day"),
        (swap.sold.most, "what an exchange was asked for"),
    )
    fitting = largest(most, swap.feasible)
    if fitting < most:
        most, limited_by = fitting, _short_of(swap, fitting + 1)
    least = least_amount(room.rules, normalized_debt(room.rules, debt.reserve, room.until_s))
    # so little that rounding alone is more than the owner allows is out of the question
    least = max(least, 1 + largest(most, lambda amount: not swap.feasible(amount)))
    routes = tuple(replace(route, swap=swap) for route in step.position.state.routes)
    state = replace(step.position.state, routes=routes)
    step = replace(
        step,
        position=replace(step.position, state=state),
        swap=swap,
        least=least,
        most=most,
        limited_by=limited_by,
        grain=max(int(Fraction(GRAIN, swap.worth)), 1),
    )
    if most >= least:
        return step
    amounts = [format_units(amount, step.decimals) for amount in (most, least)]
    return replace(step, refused=f"{limited_by} allows {amounts[0]} of {amounts[1]} {step.symbol}")


def _short_of(swap: Swap, amount: int) -> str:
    """What stands in the way of repaying one unit more than is feasible."""
    if amount > swap.sold.most or swap.sold.at(amount) + ROUNDING > swap.held:
        return f"the {swap.symbol} that may be taken"
    return "the slippage that the owner allows"
