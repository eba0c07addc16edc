"""What a position's owner has allowed a guard on chain, what is missing, and the transactions that would allow it.

The owner's key is not ours: transactions are told, never signed. Amounts are those of the file, for the owner to judge.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.chain.abi import function
from monitor.core.types import Address, Position
from monitor.core.units import WAD, format_ratio, format_units
from monitor.pipeline.guardians import Protection
from monitor.protocols.aave_v3.guard import NO_CODE, GuardState, Wishes
from monitor.signer.config import MAX_AMOUNT

ALWAYS = 2**256 - 1
SLIPPAGE_BPS = 100
ROOM = 50
"""Health may come out above the target by one part in so many."""


@dataclass(frozen=True, slots=True)
class Owed:
    """One transaction for the owner to send: to whom, with which bytes, and what that does."""

    to: Address
    data: bytes
    does: str


def said(guard: GuardState, position: Position, unit_decimals: int) -> list[str]:
    """What the guard says of the owner at this block, line by line."""
    wishes = guard.wishes_of(position.owner)
    if wishes is None:
        return ["what the owner allows could not be read: is there a guard at this address?"]
    close = "never" if not wishes.close_below else _health(wishes.close_below)
    band = f"{_health(wishes.low)} and {_health(wishes.high)}"
    left, cap = (format_units(amount, unit_decimals) for amount in (wishes.allowed_today, wishes.daily_cap))
    lines = [
        f"deleverage while health is below {_health(wishes.trigger)}, to between {band}",
        f"close: {close if close == 'never' else 'while health is below ' + close}",
        f"at most {format_ratio(wishes.max_slippage_bps, 100, 2)} % worse than the oracle",
        f"{left} of {cap} left for today",
        f"{guard.guardian} may{'' if wishes.caller_allowed else ' not'} call it",
        _router(guard, wishes),
    ]
    return ["paused by its owner", *lines] if wishes.paused else lines


def _router(guard: GuardState, wishes: Wishes) -> str:
    if wishes.router_code_hash == NO_CODE:
        return f"the router {guard.setup.router} is not allowed"
    same = "the code that was allowed" if wishes.router_code_hash == guard.router_code_hash else "ANOTHER CODE now"
    return f"the router {guard.setup.router} is allowed and has {same}"


def _health(wad: int) -> str:
    return "any number" if wad == ALWAYS else format_ratio(wad, WAD, 4)


def _wants(rule: Protection) -> tuple[int, int, int, int]:
    """Trigger, close_below, low and high as the rule would have them on the guard."""
    trigger, target = int(rule.rule.trigger * WAD), int(rule.rule.target * WAD)
    return trigger, ALWAYS if "close" in rule.actions else 0, trigger, target + target // ROOM


def unfit(wishes: Wishes, rule: Protection) -> str:
    """Why the guard would not let the rule do what it wants; empty if the owner's settings fit it."""
    (trigger, close_below, *_), target = _wants(rule), int(rule.rule.target * WAD)
    if wishes.trigger >= trigger and wishes.low <= target <= wishes.high and wishes.close_below >= close_below:
        return ""
    band = f"{_health(wishes.low)} and {_health(wishes.high)}"
    closes = "" if wishes.close_below >= close_below else ", and does not let it close at any health"
    return (
        f"the guard acts below {_health(wishes.trigger)} and leaves health between {band}{closes}; "
        f"the rule wants it below {_health(trigger)}, to {_health(target)}"
    )


def owed(
    guard: GuardState, position: Position, a_tokens: dict[str, tuple[Address, int]], rule: Protection, cap: int
) -> list[Owed]:
    """What the owner has to send before the guard can do what the rule wants, in order.

    `a_tokens`: symbol -> (aToken, allowance) of the deposits. `cap` for a day in the market's unit.
    """
    setup, wishes = guard.setup, guard.wishes_of(position.owner)
    if wishes is None:
        return []
    found = []
    wants = _wants(rule)
    if unfit(wishes, rule):
        data = function("guard.configure").encode((*wants, SLIPPAGE_BPS, cap))
        text = f"act below {_health(wants[0])}, leave health up to {_health(wants[3])}, {SLIPPAGE_BPS / 100} % slippage"
        found.append(Owed(setup.contract, data, text))
    if wishes.paused:
        found.append(Owed(setup.contract, function("guard.set_paused").encode((False,)), "lift the pause"))
    if not wishes.caller_allowed:
        data = function("guard.set_caller").encode((guard.guardian, True))
        found.append(Owed(setup.contract, data, f"let {guard.guardian} call the guard, within these settings"))
    if guard.router_code_hash and wishes.router_code_hash != guard.router_code_hash:
        data = function("guard.set_router").encode((setup.router, bytes.fromhex(guard.router_code_hash[2:])))
        found.append(Owed(setup.contract, data, "trade through the router while its code is what it is now"))
    for symbol, (token, allowed) in a_tokens.items():
        if allowed == 0:
            data = function("erc20.approve").encode((setup.contract, MAX_AMOUNT))
            found.append(Owed(token, data, f"let the guard take {symbol} out of the position"))
    return found
