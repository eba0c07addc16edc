"""A whole market: what a protocol hands to those who read, follow and judge all of its accounts at once.

Each part is for one room: `survey` says what to read of every account, `replay` how logs change it, `bulk` what it is
worth. A protocol that has none of this is watched position by position, and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from monitor.core.types import Address, Unit
from monitor.protocols.columns import Bulk, Columns
from monitor.protocols.events import Replay
from monitor.protocols.survey import Survey


@dataclass(frozen=True, slots=True)
class Total:
    """What all accounts together have supplied of an asset as collateral, and owe of it.

    Amounts in the asset's smallest unit, values in the market's unit; each rounded once, for the sum.
    """

    asset: Address
    symbol: str
    decimals: int
    supplied: int
    owed: int
    supplied_value: int | None
    """None where its price is not known"""
    owed_value: int | None


@dataclass(frozen=True, slots=True)
class Whole:
    """One market's parts, for the facts that it was made of."""

    survey: Survey
    replay: Replay
    bulk: Bulk[Any, Any]
    unit: Unit
    """what the weights of `bulk` are counted in"""
    totals: Callable[[Any, Columns, int], list[Total]]
    """(globals, columns, at_s): assets in the market's own order"""
    borrowed: tuple[Address, str, int]
    """the log with which every debt begins: contract, `abi.Event`, and the number of the topic that is the borrower"""
    symbols: Mapping[str, str]
    """of price keys"""
    inside: bytes = b""
    """the first topic of the log with which debts begin, where one contract logs for many markets"""
