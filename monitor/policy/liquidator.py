"""Whether liquidating a position is worth it, by which pair and for how much: profit first, every rounding against us.

Pure. The profit is what the collateral is worth at the protocol's own oracle, less what selling it costs (the haircut,
a setting: an oracle's price is nobody's offer), less the debt paid, less gas at the highest fee and the L1 data fee.
It is told in the debt asset, and holds whenever the call lands in its time. Without a price for the chain's
coin it is a profit before gas, and says so. No plan is made for a profit that is not above the least one asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from monitor.core.actions import Intent, Limits
from monitor.core.errors import ProtocolError
from monitor.core.liquidations import Liquidation, Token
from monitor.core.types import Address, Health, Known, Position, Unknown
from monitor.core.units import BPS, WAD, format_units, mul_div_down, mul_div_up
from monitor.policy.planner import shown
from monitor.protocols.base import Protocol

DUST = "MustNotLeaveDust"
"""The one refusal that a smaller amount can lift."""


@dataclass(frozen=True, slots=True)
class KeeperTerms:
    """What a liquidation must bring, and what it may use.

    `l1_gas` comes on top of the call's own gas, where a rollup charges its L1 fee so.
    `native_price` is that of 10**18 wei in the health's unit; None: not known. `min_profit` is in the health's unit.
    `most` holds what one plan may pay at most, by debt asset: one that is not there is not used. With `borrowed` a
    flash loan pays, so that neither purse nor allowance bound it. `debts` and `collaterals`, if any are named, are the
    only ones.
    """

    max_fee_per_gas_wei: int
    most: Mapping[Address, int]
    l1_data_fee_wei: int = 0
    l1_gas: int = 0
    native_price: int | None = None
    haircut_bps: int = 0
    min_profit: int = 0
    margin_s: int = 60
    borrowed: bool = False
    debts: tuple[Address, ...] = ()
    collaterals: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Profit:
    """In the debt asset's smallest unit. `gas` and `l1_data_fee` are None where nobody knows the coin's price."""

    worth: int
    """what the collateral brings after the haircut, rounded down"""
    paid: int
    gas: int | None
    l1_data_fee: int | None

    @property
    def net(self) -> int:
        return self.worth - self.paid - (self.gas or 0) - (self.l1_data_fee or 0)

    @property
    def before_gas(self) -> bool:
        """Whether gas is missing in it."""
        return self.gas is None


@dataclass(frozen=True, slots=True)
class Bid:
    """One liquidation that is worth it: its amounts at both ends of its time, and the profit that it brings at least.

    `gain_wei` is the profit before gas and data fee in the chain's coin, 0 where its price is not known.
    """

    key: str
    intent: Intent
    first: Liquidation
    last: Liquidation
    profit: Profit
    gain_wei: int
    why: str
    limits: Limits
    before: Health

    @property
    def position_id(self) -> str:
        return self.intent.position_id


@dataclass(frozen=True, slots=True)
class Passed:
    """A pair that is no bid, and why."""

    pair: Liquidation
    reason: str
    profit: Profit | None = None

    def __str__(self) -> str:
        return f"{self.pair.key}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Bids:
    """Bids, the most profitable first, and every other pair with its reason. `note` where no pair could be judged."""

    bids: tuple[Bid, ...] = ()
    passed: tuple[Passed, ...] = ()
    note: str = ""


def bids(
    protocol: Protocol[Any, Any], facts: Any, position: Position, purse: Any, context: Any, terms: KeeperTerms
) -> Bids:
    """What liquidating this position would bring, pair by pair. Nothing here raises: reasons are in the result."""
    health = protocol.evaluate(position, context)
    if isinstance(health.verdict, Unknown):
        return Bids(note=f"nothing is planned on an unknown health: {health.verdict.reason}")
    now_s = position.block.timestamp
    bench = _Bench(protocol, terms, (now_s + 1, now_s + max(1, terms.margin_s)), health, context)
    try:
        firsts, lasts = (protocol.liquidations(facts, position, purse, context, at_s) for at_s in bench.window_s)
        judged = [bench.judge(first, last) for first, last in zip(firsts, lasts, strict=True)]
    except ProtocolError as refused:
        return Bids(note=refused.message)
    found = [one for one in judged if isinstance(one, Bid)]
    found.sort(key=lambda bid: Fraction(bid.profit.net * bid.last.debt.price, 10**bid.last.debt.decimals), reverse=True)
    passed = tuple(one for one in judged if isinstance(one, Passed))
    note = ""
    if not judged:
        note = "there is no debt to pay" if isinstance(health.verdict, Known) else f"health {shown(health)}"
    elif not found and isinstance(health.verdict, Known) and not health.verdict.unhealthy:
        note = f"health {shown(health)} is not below 1"
    return Bids(tuple(found), passed, note)


def still_worth(
    protocol: Protocol[Any, Any], facts: Any, position: Position, purse: Any, context: Any, intent: Intent, terms: Any
) -> str:
    """Why this very intent should not be sent any more, by a newer position; empty if it should."""
    now_s = position.block.timestamp
    for at_s in (now_s + 1, now_s + max(1, terms.margin_s)):
        try:
            pairs = protocol.liquidations(facts, position, purse, context, at_s)
            again = (protocol.repeated(facts, pair, intent, context, at_s) for pair in pairs)
            one = next((found for found in again if found is not None), None)
        except ProtocolError as refused:
            return refused.message
        if one is None:
            return "the position has no such collateral or debt any more"
        if why := one.refused or one.unread or _unprofitable(one, profit_of(one, terms), terms):
            return why
    return ""


# -- reckoning ---------------------------------------------------------------------------------------------------------


def profit_of(pair: Liquidation, terms: KeeperTerms) -> Profit:
    """Of these amounts. The pair's debt must have a price."""
    collateral, debt = pair.collateral, pair.debt
    value = pair.received * collateral.price * (BPS - terms.haircut_bps) * 10**debt.decimals
    worth = value // (debt.price * BPS * 10**collateral.decimals)
    gas_wei = (pair.gas + terms.l1_gas) * terms.max_fee_per_gas_wei
    return Profit(worth, pair.paid, _in_debt(gas_wei, debt, terms), _in_debt(terms.l1_data_fee_wei, debt, terms))


def _in_debt(wei: int, debt: Token, terms: KeeperTerms) -> int | None:
    """Wei in the debt asset, rounded up."""
    if terms.native_price is None:
        return None
    return mul_div_up(wei * terms.native_price, 10**debt.decimals, WAD * debt.price)


def on_credit(bid: Bid, sold_for: int, premium_bps: int, terms: KeeperTerms) -> tuple[Profit, str]:
    """The profit of a bid with a flash loan whose collateral sells for so much, and why it is none, if it is not."""
    paid = bid.last.amount + mul_div_up(bid.last.amount, premium_bps, BPS)
    gas_wei = bid.limits.gas * bid.limits.max_fee_per_gas_wei
    debt = bid.last.debt
    fees = _in_debt(gas_wei, debt, terms), _in_debt(terms.l1_data_fee_wei, debt, terms)
    profit = Profit(sold_for, paid, *fees)
    return profit, _unprofitable(bid.last, profit, terms)


def least_of(pair: Liquidation, profit: Profit, terms: KeeperTerms) -> int:
    """What the trade itself must bring of the debt asset, gas not counted, to be worth it."""
    wanted = mul_div_up(max(terms.min_profit, 0), 10**pair.debt.decimals, pair.debt.price)
    return wanted + (profit.gas or 0) + (profit.l1_data_fee or 0) + 1


def _unprofitable(pair: Liquidation, profit: Profit, terms: KeeperTerms) -> str:
    least = mul_div_up(max(terms.min_profit, 0), 10**pair.debt.decimals, pair.debt.price)
    if profit.net > least:
        return ""
    net, wanted = (format_units(amount, pair.debt.decimals) for amount in (profit.net, least))
    before = " before gas" if profit.before_gas else ""
    return f"a profit of {net} {pair.debt.symbol}{before} is not above {wanted}"


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every pair of one position is measured with."""

    protocol: Protocol[Any, Any]
    terms: KeeperTerms
    window_s: tuple[int, int]
    before: Health
    context: Any

    def judge(self, first: Liquidation, last: Liquidation) -> Bid | Passed:
        """A bid for as much as can be paid, or why there is none."""
        if why := self._out_of_question(last):
            return Passed(last, why)
        tried = [self._within(last, amount, limited_by) for amount, limited_by in self._amounts(first, last).items()]
        made = [one for one in tried if isinstance(one, Bid)]
        return max(made, key=lambda bid: bid.profit.net) if made else tried[0]

    def _within(self, pair: Liquidation, most: int, limited_by: str) -> Bid | Passed:
        """The bid for as much as the contract takes of `most` at both ends of the time, or why there is none."""
        amount, why = self._largest(pair, most, limited_by)
        if why:
            return Passed(pair, why)
        first, last = self._at_both(pair, amount)
        # neither amount falls with time, so that no moment in between can bring less
        received, paid = min(first.received, last.received), max(first.paid, last.paid)
        profit = profit_of(replace(last, received=received, paid=paid, gas=max(first.gas, last.gas)), self.terms)
        if why := _unprofitable(last, profit, self.terms):
            return Passed(last, why, profit)
        return self._bid(first, last, profit)

    def _out_of_question(self, pair: Liquidation) -> str:
        terms = self.terms
        if pair.refused and not pair.refused.startswith(DUST):
            return pair.refused
        if pair.unread:
            return f"not known to be possible: {pair.unread}"
        if terms.debts and pair.debt.asset not in terms.debts:
            return f"{pair.debt.symbol} is not to be paid"
        if terms.collaterals and pair.collateral.asset not in terms.collaterals:
            return f"{pair.collateral.symbol} is not wanted"
        if pair.debt.price <= 0 or pair.collateral.price <= 0:
            return "it has no price of its own"
        if not terms.borrowed and (pair.purse is None or pair.allowance is None):
            return f"the purse's {pair.debt.symbol} could not be read"
        return "" if pair.debt.asset in terms.most else f"no limits are set for {pair.debt.symbol}"

    def _amounts(self, first: Liquidation, last: Liquidation) -> dict[int, str]:
        """What may be asked for, and what sets it: all that can be covered at one end of the time or the other.

        The debt grows meanwhile, and the share that may be covered can jump; what suits one end may not suit both.
        """
        bounds = [(self.terms.most[last.debt.asset] // last.counted, "the limits")]
        if not self.terms.borrowed:
            bounds += [(last.purse or 0, "the purse"), (last.allowance or 0, "the purse's allowance")]
        return dict(min((pair.amount, "the debt"), *bounds) for pair in (last, first))

    def _largest(self, pair: Liquidation, most: int, limited_by: str) -> tuple[int, str]:
        """The largest amount up to `most` that the contract takes at both ends of the time."""
        if most <= 0:
            return 0, f"{limited_by} allows no {pair.debt.symbol}"
        if not (why := self._refused(pair, most)):
            return most, ""
        if not why.startswith(DUST):
            return 0, why
        low = _last_true(lambda amount: not self._refused(pair, amount).startswith(DUST), most)
        if low == 0 or self._refused(pair, low):
            return 0, f"{why}, and {limited_by} allows no amount that would not"
        return low, ""

    def _refused(self, pair: Liquidation, amount: int) -> str:
        return next((one.refused or one.unread for one in self._at_both(pair, amount) if one.refused or one.unread), "")

    def _at_both(self, pair: Liquidation, amount: int) -> tuple[Liquidation, Liquidation]:
        first, last = (self.protocol.liquidated(pair, amount, self.context, at_s) for at_s in self.window_s)
        return first, last

    def _bid(self, first: Liquidation, last: Liquidation, profit: Profit) -> Bid:
        terms = self.terms
        gas = max(first.gas, last.gas) + terms.l1_gas
        cost_wei = gas * terms.max_fee_per_gas_wei + terms.l1_data_fee_wei
        gain_wei = 0
        if terms.native_price:
            gain = max(profit.worth - profit.paid, 0)
            gain_wei = mul_div_down(gain * last.debt.price, WAD, terms.native_price * 10**last.debt.decimals)
        return Bid(
            key=last.intent.hash[:16],
            intent=last.intent,
            first=first,
            last=last,
            profit=profit,
            gain_wei=gain_wei,
            why=self._why(last, profit, cost_wei),
            limits=Limits(gas, terms.max_fee_per_gas_wei, cost_wei, self.window_s[-1], terms.l1_data_fee_wei),
            before=self.before,
        )

    def _why(self, pair: Liquidation, profit: Profit, cost_wei: int) -> str:
        debt, collateral = pair.debt, pair.collateral
        paid, received = format_units(pair.paid, debt.decimals), format_units(pair.received, collateral.decimals)
        worth, net = (format_units(amount, debt.decimals) for amount in (profit.worth, profit.net))
        haircut = f" after {self.terms.haircut_bps} bps for selling" if self.terms.haircut_bps else ""
        gas = f"costs at most {format_units(cost_wei, 18)} of the chain's coin"
        if profit.before_gas:
            gas += ", whose price is not known: the profit is before gas"
        return (
            f"pay {paid} {debt.symbol} for {received} {collateral.symbol}, worth {worth} {debt.symbol}{haircut}: "
            f"profit {net} {debt.symbol}; {gas}; health {shown(self.before)}"
        )


def _last_true(holds: Callable[[int], bool], most: int) -> int:
    """The largest amount below `most` for which it holds, where it holds up to some amount and not from there on."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
