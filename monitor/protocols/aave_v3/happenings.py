"""What others did to a position of late, from the pool's events: liquidations, and what its owner did by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monitor.core.types import Address, LogQuery, Ok, ReadPlan
from monitor.core.units import format_units
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.base import Happening

EVENTS = ("LiquidationCall", "Repay", "Supply", "Withdraw", "Borrow")
"""Withdrawals and borrowings make a position worse, and may be why a rescue came too late."""


def read_happenings(facts: Facts, owner: Address, guardian: Address, blocks: int) -> ReadPlan[list[Happening]]:
    """See Protocol.happenings. What could not be read is left out."""
    answers = yield tuple(LogQuery(facts.pool, f"aave_v3_pool.{name}", blocks, allow_revert=True) for name in EVENTS)
    found = [
        Happening(kind, log.block_number, log.log_index, text)
        for name, answer in zip(EVENTS, answers, strict=True)
        if isinstance(answer, Ok)
        for log in answer.values
        if (kind_text := _TOLD[name](facts, log.args, owner, guardian)) is not None
        for kind, text in (kind_text,)
    ]
    return sorted(found, key=lambda one: (one.block_number, one.log_index))


def _amount(facts: Facts, asset: Address, amount: int) -> str:
    for reserve in facts.reserves:
        if reserve.asset == asset:
            return f"{format_units(amount, reserve.decimals)} {reserve.symbol}"
    return f"{amount} of {asset}"


def _liquidation(facts: Facts, args: Any, owner: Address, guardian: Address) -> tuple[str, str] | None:
    if args["user"] != owner or args["liquidator"] == guardian:
        return None
    paid = _amount(facts, args["debtAsset"], args["debtToCover"])
    taken = _amount(facts, args["collateralAsset"], args["liquidatedCollateralAmount"])
    return "liquidated", f"{args['liquidator']} liquidated it: {paid} of its debt for {taken}"


def _repayment(facts: Facts, args: Any, owner: Address, guardian: Address) -> tuple[str, str] | None:
    if args["user"] != owner or args["repayer"] == guardian:
        return None
    return "repaid", f"{_who(args['repayer'], owner)} repaid {_amount(facts, args['reserve'], args['amount'])}"


def _supply(facts: Facts, args: Any, owner: Address, guardian: Address) -> tuple[str, str] | None:
    if args["onBehalfOf"] != owner or args["user"] == guardian:
        return None
    return "supplied", f"{_who(args['user'], owner)} supplied {_amount(facts, args['reserve'], args['amount'])}"


def _withdrawal(facts: Facts, args: Any, owner: Address, _: Address) -> tuple[str, str] | None:
    if args["user"] != owner:
        return None
    return "withdrawn", f"{_amount(facts, args['reserve'], args['amount'])} was withdrawn"


def _borrowing(facts: Facts, args: Any, owner: Address, _: Address) -> tuple[str, str] | None:
    if args["onBehalfOf"] != owner:
        return None
    return "borrowed", f"{_amount(facts, args['reserve'], args['amount'])} was borrowed"


def _who(account: Address, owner: Address) -> str:
    return "its owner" if account == owner else account


_TOLD: dict[str, Callable[[Facts, Any, Address, Address], tuple[str, str] | None]] = {
    "LiquidationCall": _liquidation,
    "Repay": _repayment,
    "Supply": _supply,
    "Withdraw": _withdrawal,
    "Borrow": _borrowing,
}
