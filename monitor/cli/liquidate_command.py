"""`levmon liquidate`: what liquidating a position would bring, pair by pair; with --broadcast the best is done."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import Threshold, json_option, source_options
from monitor.cli.sending import Wish, broadcast_options, simulate_and_send
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.session import Open, Session
    from monitor.core.liquidations import Liquidation
    from monitor.execution.limits import AssetLimits
    from monitor.pipeline.guardians import Guardian
    from monitor.pipeline.liquidations import Chances, Wishes
    from monitor.pipeline.plans import Outlook
    from monitor.policy.liquidator import Bid, Passed, Profit
    from monitor.report import Report


@dataclass(frozen=True, slots=True)
class Prey:
    """One position and what liquidating it would bring."""

    chain: Open
    seen: Outlook
    report: Report
    guardian: Guardian
    chances: Chances

    @property
    def limits(self) -> Mapping[str, AssetLimits]:
        """By what it counts under."""
        return self.chances.limits or {}

    @property
    def best(self) -> Bid | None:
        return next(iter(self.chances.found.bids), None)


@click.command("liquidate")
@click.argument("position", metavar="POSITION")
@click.option("--debt", "debts", multiple=True, metavar="SYMBOL", help="Pay only this debt. May be repeated.")
@click.option(
    "--collateral", "collaterals", multiple=True, metavar="SYMBOL", help="Take only this collateral. May be repeated."
)
@click.option(
    "--min-profit",
    type=Threshold(),
    help="What it must bring, in the market's unit (USD), after gas.  [default: that of [guardian.liquidate]]",
)
@click.option(
    "--flash", is_flag=True, help="Pay with a flash loan, through the liquidator of [guardian.liquidate.flash]."
)
@click.option("--guardian", metavar="ADDRESS", help="Look from this purse instead of the file's, without limits.")
@broadcast_options
@source_options
@json_option
def command(
    position: str,
    *,
    debts: tuple[str, ...],
    collaterals: tuple[str, ...],
    min_profit: Fraction | None,
    flash: bool,
    guardian: str | None,
    broadcast: bool,
    until: str,
    within: float,
    as_json: bool,
    **source: Any,
) -> int:
    """Liquidate an unhealthy position from the purse, for a profit; signs nothing without --broadcast.

    POSITION is as for explain, and need not be a protected one. Shows every pair of debt and collateral with exact
    amounts, the profit of each after what selling and gas cost, why the others are out of the question, and what a
    simulation says of the best.

    Needs [guardian.liquidate] in levmon.toml, and liquidate = true in the signer's own file.

    Exits with 0 when it is done (or would be), 3 when that is not known yet, 4 when it is refused or brings too little.
    """
    from monitor.cli.guarding import with_position
    from monitor.pipeline.liquidations import Wishes

    if guardian and broadcast:
        raise ConfigError("--guardian only looks", hint="name the purse in levmon.toml, and leave --guardian out")
    if min_profit is not None and min_profit < 0:
        raise ConfigError("--min-profit is not below 0", hint="0 takes any profit")
    least = None if min_profit is None else -(-min_profit.numerator * 10**18 // min_profit.denominator)
    wishes = Wishes(debts, collaterals, least, flash)
    wanted = with_position(position, source)
    return asyncio.run(_liquidate(wanted, wishes, guardian, Wish(broadcast, until, within, as_json)))


async def _liquidate(wanted: Any, wishes: Wishes, address: str | None, how: Wish) -> int:
    from monitor.cli.guarding import REFUSED, liquidating_guardian
    from monitor.cli.screen import echo, width
    from monitor.cli.session import opened
    from monitor.core.types import Level
    from monitor.pipeline.acting import health_wad
    from monitor.pipeline.basis import fetch_decided_on
    from monitor.pipeline.liquidations import liquidation_draft

    async with opened(wanted) as session:
        found = await look(session, liquidating_guardian(session.targets, address), wishes)
        if how.as_json:
            click.echo(json.dumps(prey_dict(found), separators=(",", ":")))
        else:
            echo(prey_lines(found, width()))
        best, terms = found.best, found.chances.terms
        if best is None or terms is None:
            return 3 if found.report.level is Level.UNKNOWN else REFUSED
        chain, block = found.chain.chain, best.last.position.block
        basis = await fetch_decided_on(chain, found.seen.snapshot, found.report, block)
        draft = liquidation_draft(best, terms, found.guardian, health_wad(found.report.health), basis.code)
        return await simulate_and_send(session, found, draft, best.key, how)


async def look(session: Session, guardian: Guardian, wishes: Wishes) -> Prey:
    """The one position of the session, and what liquidating it would bring. May raise: ConfigError, ChainError."""
    from monitor.journal.view import JournalView
    from monitor.pipeline import liquidations, plans
    from monitor.pipeline.acting import ExecutionView, left
    from monitor.pipeline.flash import limited_chances

    if len(session.subjects) != 1:
        raise ConfigError(f"that is {len(session.subjects)} positions", hint="name one, as MARKET/OWNER")
    chain = next(one for one in session.chains if one.subjects)
    seen = await plans.outlook(
        chain.chain, chain.subjects, guardian.address, session.memory, depth=chain.depth, first=chain.first
    )
    report = seen.snapshot.reports[0]
    if report.block is None:
        return Prey(chain, seen, report, guardian, liquidations.chances(seen, report, guardian, wishes, fee_cap=0))
    at_s = report.block.timestamp

    def left_of(limits: Mapping[str, AssetLimits]) -> dict[str, int]:
        if session.targets.path is None:
            return {}
        return left(JournalView(guardian.journal_url), guardian.address, report.id, limits, at_s)

    tip_wei = await ExecutionView(chain.chain).tip_wei()
    found = await limited_chances(chain.chain, seen, report, guardian, wishes, tip_wei=tip_wei, left_of=left_of)
    return Prey(chain, seen, report, guardian, found)


# -- telling -----------------------------------------------------------------------------------------------------------


def prey_dict(found: Prey) -> dict[str, Any]:
    """The object of schema `levmon.liquidation/1`."""
    from monitor.core.text import clean

    chances = found.chances
    terms = chances.terms
    native = None if terms is None or terms.native_price is None else str(terms.native_price)
    return {
        "schema": "levmon.liquidation/1",
        "position": found.report.to_dict(),
        "guardian": found.guardian.address,
        "native": {"symbol": clean(chances.native, 20), "price": native},
        "haircut_bps": None if terms is None else terms.haircut_bps,
        "bids": [_bid_dict(bid) for bid in chances.found.bids],
        "passed": [_passed_dict(passed) for passed in chances.found.passed],
        "note": chances.found.note,
    }


def _bid_dict(bid: Bid) -> dict[str, Any]:
    from monitor.core.text import clean

    return {
        "key": bid.key,
        **_pair_dict(bid.last),
        "debt_to_cover": str(bid.last.amount),
        "at_first": _amounts(bid.first),
        "at_last": _amounts(bid.last),
        "profit": _profit_dict(bid.profit),
        "gas": str(bid.limits.gas),
        "max_fee_per_gas_wei": str(bid.limits.max_fee_per_gas_wei),
        "max_cost_wei": str(bid.limits.max_cost_wei),
        "valid_until_s": str(bid.limits.valid_until_s),
        "why": clean(bid.why, 600),
    }


def _passed_dict(passed: Passed) -> dict[str, Any]:
    from monitor.core.text import clean

    profit = None if passed.profit is None else _profit_dict(passed.profit)
    return {**_pair_dict(passed.pair), "reason": clean(passed.reason, 400), "profit": profit}


def _pair_dict(pair: Liquidation) -> dict[str, Any]:
    from monitor.core.text import clean

    return {
        name: {"asset": token.asset, "symbol": clean(token.symbol), "decimals": token.decimals}
        for name, token in (("debt", pair.debt), ("collateral", pair.collateral))
    }


def _amounts(pair: Liquidation) -> dict[str, str]:
    from monitor.pipeline.liquidations import amounts

    return amounts(pair)


def _profit_dict(profit: Profit) -> dict[str, Any]:
    """In the debt asset's smallest unit."""
    return {
        "worth": str(profit.worth),
        "paid": str(profit.paid),
        "gas": None if profit.gas is None else str(profit.gas),
        "l1_data_fee": None if profit.l1_data_fee is None else str(profit.l1_data_fee),
        "net": str(profit.net),
        "before_gas": profit.before_gas,
    }


def prey_lines(found: Prey, columns: int | None) -> Iterator[str]:
    """The position, the pairs that are worth it with their profit, and why the others are not."""
    from monitor.cli.explain_command import heading
    from monitor.cli.guarding import wrapped
    from monitor.core.text import clean

    yield from heading(found.report)
    yield f"liquidated from the purse {found.guardian.address}"
    yield ""
    if found.chances.found.note:
        yield from wrapped(found.chances.found.note, columns)
    for number, bid in enumerate(found.chances.found.bids, 1):
        yield from _bid_lines(bid, number, found)
    if found.chances.found.passed:
        yield ""
        yield "not possible, or not worth it:"
        for passed in found.chances.found.passed:
            yield from wrapped(f"  {clean(str(passed), 400)}", columns)


def _bid_lines(bid: Bid, number: int, found: Prey) -> Iterator[str]:
    """What is paid and received, and the profit as a sum."""
    from monitor.cli import table
    from monitor.core.text import clean

    pair, profit = bid.last, bid.profit
    debt, collateral = clean(pair.debt.symbol, 20), clean(pair.collateral.symbol, 20)
    paid, received = table.exact(pair.paid, pair.debt.decimals), table.exact(pair.received, pair.collateral.decimals)
    yield click.style(f"{number}. pay {paid} {debt} for {received} {collateral}", bold=True)
    terms = found.chances.terms
    if terms and terms.borrowed:
        yield "   with a flash loan, whose premium is in what is paid; sold on the exchange for what it quotes"
    off = f", {terms.haircut_bps} bps off for selling it" if terms and terms.haircut_bps else ""
    costs = (
        (f"{debt} paid", profit.paid),
        (f"gas at most, with {clean(found.chances.native, 20)} at the market's price", profit.gas),
        ("L1 data fee", profit.l1_data_fee or None),
    )
    yield f"   {table.exact(profit.worth, pair.debt.decimals):>24}  worth of the {collateral}{off}"
    for name, amount in costs:
        if amount is not None:
            yield f"  -{table.exact(amount, pair.debt.decimals):>24}  {name}"
    gas = " before gas: the coin's price is not known here" if profit.before_gas else ""
    yield f"   {table.exact(profit.net, pair.debt.decimals):>24}  profit in {debt}{gas}"
