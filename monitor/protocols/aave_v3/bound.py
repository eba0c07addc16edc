"""What a unit of each balance is worth to health in floats, with room for everything that the contract rounds.

Proof of what `columns.Weights` promises. Let x be a scaled balance, i its index / 1e27, p the price, u the unit, so
that X = x * i * p / u is the value without any rounding. Every version rounds the balance to a whole number (half up,
down or up: less than 1 away) and then the value (down or up: less than 1 away), so that

  |value - X| <= p / u + 1 =: r.                                                                                 (1)

Let C, D be the sums of the values of collateral and debt, S that of value * LT (LT in basis points), t the threshold.

Covered collateral: what the contract divides by D.
- From 3.5 it is S / 1e4.
- Up to 3.4 it is percentMul(C, floor(S / C)) = floor((C * floor(S / C) + 5000) / 1e4). As S / C - 1 < floor(S / C) <=
  S / C it is more than (S - C) / 1e4 - 1/2, the sum of value * (LT - 1) / 1e4, less 1/2, and at most S / 1e4 + 1/2.
So with (1), and s = the sum over collateral of r * LT / 1e4, plus 1/2 for every debt (without one nothing is compared):

  sum of X * (LT - 1 or 0) / 1e4 - s <= covered <= sum of X * LT / 1e4 + s.                                      (2)

Debt: D is within d = the sum over debts of r of the sum of X.                                                    (3)

Health: HF = floor((covered * 1e18 + floor(D / 2)) / D), from 3.5 taken of S and divided by 1e4 with one more floor.
- HF >= t * 1e18 if covered >= (t + 1e-18) * D: then covered * 1e18 / D is at least the whole number ceil(t * 1e18).
- HF < t * 1e18 if covered < (t - 1e-18) * D, as HF <= covered * 1e18 / D + 1/2.
For t >= 2**-10, 1e-18 is less than t * 2**-49.

So with slack = s + d, without floats: credits - slack >= t * (1 + 2**-49) * (debits + slack) proves health >= t, and
credits + slack < t * (1 - 2**-49) * (debits - slack) proves health < t. Floats: each weight is the product of a dozen
float64 operations (2**-49 of its size), a balance is 2**-52 away (`Columns.amounts`), a product 2**-53, and a sum of up
to 385 terms in any order at most 2**-44 of the sum of their sizes, which credits, debits and slack are each. GUARD =
2**-40 of each weight, taken from credits and given to debits and slack in `lower`, the other way round in `upper`, is
more than all of it together with 2**-49. What underflows is below 2**-1000, and any debit's slack is at least 1.

A debit weighs nothing only where its reserve's index is 0, and then the contract's value is 0, too.

Whatever else the contract may answer is no float's business, and its code is NaN: a category or price that is not
known, a debt at price 0, a debt with a discount (3.3), numbers so large that the contract may revert (`cells.tame`;
larger balances have a code of their own), a threshold that would make the weight negative (0 in a category, <= 3.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.account import reserve_threshold
from monitor.protocols.aave_v3.cells import BALANCE_BITS, discounted, gated, is_member, unread
from monitor.protocols.aave_v3.globals import Globals, own_source, price_in
from monitor.protocols.columns import F64, Mask, Weights

GUARD = 2.0**-40
RAY = 1e27
LARGEST_INDEX, LARGEST_AMOUNT, LARGEST_VALUE = 2.0**142, 2.0**254, 2.0**159
"""As cells.tame with a bit to spare, for the floats."""


class Bound:
    """Weights for codes `first + place of the mode * kinds + kind`. Thresholds are kept until governance moves them."""

    def __init__(self, modes: Sequence[int], kinds: int, first: int) -> None:
        self._modes, self._kinds, self._first = modes, kinds, first
        self._terms: tuple[object, F64, Mask] | None = None

    def weights(self, globals_: Globals, indexes: dict[int, tuple[int, int]]) -> Weights:
        """At the moment of these indexes; see the module."""
        thresholds, owed = self._parameters(globals_)
        size = self._kinds // 2
        unit, income, debt = np.ones(size), np.full(size, np.nan), np.full(size, np.nan)
        for number, reserve in globals_.reserves.items():
            unit[number] = 10.0 ** words.decimals(reserve.configuration)
            income[number], debt[number] = indexes.get(number, (np.nan, np.nan))
        price = self._prices(globals_)
        worth = price / unit
        largest = np.fmax(income, debt)
        most = 2.0**BALANCE_BITS * (largest / RAY) * price
        tame = (largest < LARGEST_INDEX) & (most < LARGEST_AMOUNT) & (most / unit < LARGEST_VALUE)
        worth = np.where(tame, worth, np.nan)
        credit, debit = worth * (income / RAY) / 1e4, np.where(owed & (price > 0), worth * (debt / RAY), np.nan)
        floored = 0.0 if globals_.rules.directed_rounding else 1.0
        counted = np.where(thresholds >= floored, thresholds, np.nan)
        lower, upper, slack = (np.zeros((len(self._modes), size, 2)) for _ in range(3))
        lower[:, :, 1], upper[:, :, 1] = credit * (counted - floored), credit * counted
        lower[:, :, 0], upper[:, :, 0] = -debit, -debit
        slack[:, :, 1], slack[:, :, 0] = (worth + 1) * counted / 1e4, worth + 1.5
        self._leave_out_gated(globals_, lower, upper, slack)
        return Weights(
            self._flat(np.where(lower > 0, lower * (1 - GUARD), lower * (1 + GUARD))),
            self._flat(np.where(upper > 0, upper * (1 + GUARD), upper * (1 - GUARD))),
            self._flat(slack * (1 + GUARD)),
        )

    def price_codes(self, globals_: Globals, key: str) -> Mask:
        """The codes that this price is in."""
        found = np.zeros((len(self._modes), self._kinds // 2, 2), np.bool_)
        for place, mode in enumerate(self._modes):
            category = globals_.categories.get(mode)
            source = own_source(category) if globals_.rules.reserve_e_mode else None
            for number, reserve in globals_.reserves.items():
                own = source is not None and is_member(globals_, reserve, mode) and globals_.prices.get(source) != 0
                found[place, number] = key == (source if own else reserve.asset)
        return np.concatenate([np.zeros(self._first, np.bool_), found.ravel()])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _flat(self, of_kinds: F64) -> F64:
        """By code: 0 weighs nothing, the others before the first are for the integers."""
        head = np.full(self._first, np.nan)
        head[0] = 0.0
        return np.concatenate([head, of_kinds.ravel()])

    def _parameters(self, globals_: Globals) -> tuple[F64, Mask]:
        """(modes, reserves): thresholds in basis points, NaN where nothing is known; (reserves,): debts that can count.

        They move only with governance, and are reckoned anew only then.
        """
        rests_on = tuple((n, r.configuration) for n, r in globals_.reserves.items()), globals_.categories
        if self._terms is None or self._terms[0] != rests_on:
            found = np.full((len(self._modes), self._kinds // 2), np.nan)
            owed = np.zeros(self._kinds // 2, np.bool_)
            for number, reserve in globals_.reserves.items():
                owed[number] = not discounted(globals_, reserve)
                for place, mode in enumerate(self._modes):
                    if mode == 0 or mode in globals_.categories:
                        found[place, number] = reserve_threshold(globals_.rules, reserve, globals_.categories.get(mode))
            self._terms = rests_on, found, owed
        return self._terms[1], self._terms[2]

    def _prices(self, globals_: Globals) -> F64:
        """(modes, reserves): what counts, NaN where it is not known."""
        prices = np.full(self._kinds // 2, np.nan)
        for number, reserve in globals_.reserves.items():
            prices[number] = globals_.prices.get(reserve.asset, np.nan)
        found = np.repeat(prices[None, :], len(self._modes), axis=0)
        for place, mode in enumerate(self._modes):
            category = globals_.categories.get(mode)
            if unread(globals_, mode):
                found[place] = np.nan
            elif globals_.rules.reserve_e_mode and own_source(category):
                for number, reserve in globals_.reserves.items():
                    price = price_in(globals_, reserve, category)
                    found[place, number] = np.nan if price is None else price
        return found

    def _leave_out_gated(self, globals_: Globals, *of_kinds: F64) -> None:
        for number, reserve in globals_.reserves.items():
            if gated(globals_, reserve):
                for weights in of_kinds:
                    weights[:, number, 1] *= 0  # what is not known stays so
