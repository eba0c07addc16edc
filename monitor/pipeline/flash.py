"""Liquidating without funds: a flash loan pays the debt, the collateral is sold at once, the rest is the profit.

The amounts are those of any liquidation; what the collateral brings is asked of the exchange for just the amount that
will be received, at the snapshot's own block. The contract reverts below the profit that the intent names, so that what
moves meanwhile costs gas and nothing else. Only amounts that are worth it by the market's own oracle are asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.port import Chain, run
from monitor.core.errors import LevmonError
from monitor.core.guarding import GuardSetup
from monitor.core.plan import gather
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Call, Ok, ReadPlan
from monitor.core.units import format_units
from monitor.execution.limits import AssetLimits
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.liquidations import Chances, Wishes, chances, fee_cap_wei
from monitor.pipeline.plans import Outlook
from monitor.policy.liquidator import Bid, Bids, KeeperTerms, Passed, least_of, on_credit
from monitor.protocols.base import Protocol
from monitor.report import Report

FLASH_GAS = 300_000
"""What loan and trade take beside the liquidation; the simulation decides whether it is enough."""


async def flash_chances(
    chain: Chain,
    seen: Outlook,
    report: Report,
    guardian: Guardian,
    wishes: Wishes,
    *,
    fee_cap: int,
    left: Mapping[str, int] | None = None,
    clock: Clock = SYSTEM,
) -> Chances:
    """What liquidating the position with a flash loan would bring. May raise: ChainError."""
    trade = guardian.liquidators.get(report.subject.ref)
    if trade is None:
        return Chances(Bids(note="no liquidator contract: add [guardian.liquidate.flash.MARKET] to levmon.toml"))
    plain = chances(seen, report, guardian, wishes, fee_cap=fee_cap, borrowed=True, left=left, clock=clock)
    state, terms = seen.snapshot.markets.get(report.subject.ref), plain.terms
    if terms is None or not plain.found.bids or report.block is None or state is None or state.known is None:
        return plain
    protocol: Protocol[Any, Any] = protocol_named(report.subject.ref.protocol)
    asked: list[ReadPlan[Any]] = [protocol.flash_premium_bps(state.known.facts, report.block)]
    asked += [_best_quote(trade, bid) for bid in plain.found.bids]
    premium_bps, *quotes = await run(chain, gather(asked), report.block)
    if not isinstance(premium_bps, int):
        return replace(plain, found=Bids(note="what a flash loan costs could not be read"))
    judged = [
        _with_loan(protocol, trade, terms, bid, quote, premium_bps)
        for bid, quote in zip(plain.found.bids, quotes, strict=True)
    ]
    bids = [one for one in judged if isinstance(one, Bid)]
    bids.sort(key=lambda bid: Fraction(bid.profit.net * bid.last.debt.price, 10**bid.last.debt.decimals), reverse=True)
    passed = (*(one for one in judged if isinstance(one, Passed)), *plain.found.passed)
    return replace(plain, found=Bids(tuple(bids), passed, plain.found.note))


def _best_quote(trade: GuardSetup, bid: Bid) -> ReadPlan[tuple[int, int] | None]:
    """(what the collateral sells for, in which fee tier); None where no pool answers. The least amount is asked for."""
    received = min(bid.first.received, bid.last.received)
    sold, bought = bid.last.collateral, bid.last.debt
    if sold.asset == bought.asset:
        return received, trade.fees[0]
    questions = [
        Call(
            trade.quoter,
            "uniswap_quoter.quoteExactInputSingle",
            ((sold.asset, bought.asset, received, fee, 0),),
            allow_revert=True,
        )
        for fee in trade.fees
    ]
    answers = yield tuple(questions)
    told = [(int(a.values[0]), fee) for a, fee in zip(answers, trade.fees, strict=True) if isinstance(a, Ok)]
    return max(told, default=None)


def _with_loan(
    protocol: Protocol[Any, Any],
    trade: GuardSetup,
    terms: KeeperTerms,
    bid: Bid,
    quote: tuple[int, int] | LevmonError | None,
    premium_bps: int,
) -> Bid | Passed:
    """The bid paid with a loan and the sale, or why it is none."""
    pair = bid.last
    if not isinstance(quote, tuple):
        return Passed(pair, f"no pool sells {pair.collateral.symbol} for {pair.debt.symbol}")
    limits = replace(
        bid.limits,
        gas=bid.limits.gas + FLASH_GAS,
        max_cost_wei=bid.limits.max_cost_wei + FLASH_GAS * bid.limits.max_fee_per_gas_wei,
    )
    bid = replace(bid, limits=limits)
    profit, why = on_credit(bid, quote[0], premium_bps, terms)
    if why:
        return Passed(pair, why, profit)
    least = least_of(pair, profit, terms)
    intent = protocol.flash_liquidation(pair, trade, quote[1], least, limits.valid_until_s)
    worth, net = (format_units(amount, pair.debt.decimals) for amount in (profit.worth, profit.net))
    why = f"{bid.why.partition(', worth ')[0]} with a flash loan, sold for {worth} {pair.debt.symbol}: profit {net}"
    return replace(bid, key=intent.hash[:16], intent=intent, profit=profit, why=why, limits=limits)


async def limited_chances(
    chain: Chain,
    seen: Outlook,
    report: Report,
    guardian: Guardian,
    wishes: Wishes,
    *,
    tip_wei: int,
    left_of: Callable[[Mapping[str, AssetLimits]], Mapping[str, int]],
) -> Chances:
    """What liquidating the position would bring within what the day leaves, with a flash loan if one is wished for.

    `left_of` tells what is left of the limits that count. May raise: ChainError.
    """
    if report.block is None:
        return chances(seen, report, guardian, wishes, fee_cap=0)
    cap = fee_cap_wei(guardian, report.block, tip_wei)
    limits = chances(seen, report, guardian, wishes, fee_cap=cap).limits
    left = left_of(limits) if limits else {}
    if wishes.flash:
        return await flash_chances(chain, seen, report, guardian, wishes, fee_cap=cap, left=left)
    return chances(seen, report, guardian, wishes, fee_cap=cap, left=left)
