"""What a liquidation call would move, as whoever pays for it meets it: one (collateral, debt) pair at one moment.

Frozen integers. Whether it is worth doing is the liquidator's judgement in policy.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.actions import Intent
from monitor.core.types import Address, Position

BUDGET = "liquidate:"
"""Before an asset's address, what is paid of it in liquidations counts under: apart from what rescues move."""


@dataclass(frozen=True, slots=True)
class Token:
    """An asset with its oracle price: that of a whole token in the health's unit; 0 where it has none."""

    asset: Address
    symbol: str
    decimals: int
    price: int


@dataclass(frozen=True, slots=True)
class Liquidation:
    """Amounts at `at_s`, in the smallest unit of their token, if the intent is included then.

    The liquidator pays `paid` of `debt` and receives `received` of `collateral`; `protocol_fee` of the collateral goes
    to the treasury. With `refused` the call would revert, and says with which error; with `unread` it is not known
    whether it would. `purse` and `allowance` are what the liquidator has of the debt asset and lets the market take;
    None where that could not be read. `gas` bounds what the call takes. `amount` is the most that the intent lets the
    contract take of the debt asset, by the time that the pair was told for; against limits it counts `counted` times,
    where the intent itself bounds it no better.
    """

    position: Position
    intent: Intent
    collateral: Token
    debt: Token
    at_s: int
    paid: int
    received: int
    protocol_fee: int
    gas: int
    amount: int
    refused: str = ""
    unread: str = ""
    purse: int | None = None
    allowance: int | None = None
    counted: int = 1

    @property
    def key(self) -> str:
        """`DEBT for COLLATERAL`, e.g. `USDC for WETH`."""
        return f"{self.debt.symbol} for {self.collateral.symbol}"
