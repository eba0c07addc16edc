"""Which accounts the floats decide for sure: the promise of `columns.Weights` in float64, account by account.

Proof: that of the weights, which has room for the few operations more that are done here (2**-50 of each sum). What is
neither safe nor below, and whatever a NaN is in, is left to the integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from monitor.protocols.columns import F64, I64, LEAST_THRESHOLD, Bulk, Columns, Mask, Weights


@dataclass(frozen=True, slots=True)
class Entries:
    """The balances of `size` accounts as floats; `of` tells each one's account, ascending."""

    codes: I64
    amounts: F64
    of: I64
    size: int

    def first(self, size: int) -> Entries:
        """Those of the first accounts."""
        end = int(np.searchsorted(self.of, size))
        return Entries(self.codes[:end], self.amounts[:end], self.of[:end], size)


@dataclass(frozen=True, slots=True)
class Sums:
    """Per account: what weighs for it, what against it, and the slack, for both ends of the range."""

    credit_least: F64
    debit_most: F64
    credit_most: F64
    debit_least: F64
    slack: F64

    def safe(self, threshold: float) -> Mask:
        """Whose health is known and at least the threshold, for sure."""
        free: Mask = self.debit_most == 0  # a NaN is not 0
        enough: Mask = self.credit_least - self.slack >= threshold * (self.debit_most + self.slack)
        return free | enough

    def below(self, threshold: float) -> Mask:
        """Whose health is known and below the threshold, for sure."""
        return self.credit_most + self.slack < threshold * (self.debit_least - self.slack)

    def least(self) -> F64:
        """A health that each account has for sure: -inf where nothing is known, inf without debts."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (self.credit_least - self.slack) / (self.debit_most + self.slack)
        found[self.debit_most == 0] = np.inf
        found *= 1 - 2.0**-48
        found[~(found >= LEAST_THRESHOLD)] = -np.inf
        return found

    def most(self) -> F64:
        """A health that each account is below for sure; inf where there is none."""
        debit = self.debit_least - self.slack
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (self.credit_most + self.slack) / debit * (1 + 2.0**-48)
        found[~(debit > 0) | np.isnan(found)] = np.inf
        return np.maximum(found, LEAST_THRESHOLD)


def entries(bulk: Bulk[Any, Any], columns: Columns) -> Entries:
    """All balances of the columns that weigh anything."""
    codes = bulk.codes(columns)
    of = np.repeat(np.arange(len(columns)), np.diff(columns.start))
    weighs = codes != 0
    return Entries(codes[weighs].astype(np.int64), columns.amounts()[weighs], of[weighs], len(columns))


def sums(of: Entries, weights: Weights) -> Sums:
    """What the accounts' balances come to."""

    def total(terms: F64) -> F64:
        return np.bincount(of.of, terms, of.size).astype(np.float64, copy=False)

    lower, upper = weights.lower[of.codes] * of.amounts, weights.upper[of.codes] * of.amounts
    # maximum and minimum hand a NaN on
    return Sums(
        credit_least=total(np.maximum(lower, 0)),
        debit_most=-total(np.minimum(lower, 0)),
        credit_most=total(np.maximum(upper, 0)),
        debit_least=-total(np.minimum(upper, 0)),
        slack=total(weights.slack[of.codes]),
    )
