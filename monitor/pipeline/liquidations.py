"""Liquidating from the purse: what it would bring, the decision to do it, the last look, and what it did.

A liquidation goes the way of every action: journal, limits, simulation, signer. What differs is here: profit instead of
health decides, limits of its own count, and the record tells afterwards what the contract's event says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monitor.chain import abi
from monitor.chain.clock import SYSTEM, Clock
from monitor.chain.port import Chain
from monitor.core.errors import ChainError, DecodeError, LevmonError, ProtocolError
from monitor.core.liquidations import BUDGET, Liquidation
from monitor.core.registry import protocol as protocol_named
from monitor.core.types import Address, BlockRef, MarketRef, Position
from monitor.core.units import format_units
from monitor.execution.limits import AssetLimits
from monitor.execution.port import Receipt
from monitor.journal.rows import Draft
from monitor.pipeline import plans
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.memory import Memory
from monitor.pipeline.plans import Outlook
from monitor.pipeline.positions import draft_id
from monitor.pipeline.snapshot import Depth
from monitor.policy.liquidator import Bid, Bids, KeeperTerms, bids, still_worth
from monitor.protocols.base import Protocol
from monitor.report import Report, Subject

BRIEF = Depth(liquidation_prices=False)
BASE_FEE_ROOM = 2
"""The plan's fee cap over the base fee: six full blocks in a row double it, and what is capped is not paid."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asks for, besides the file: debts and collaterals by symbol or address, the least profit."""

    debts: tuple[str, ...] = ()
    collaterals: tuple[str, ...] = ()
    min_profit: int | None = None
    """in the market's unit times 10**18"""
    flash: bool = False


@dataclass(frozen=True, slots=True)
class Chances:
    """What liquidating one position would bring, and with what it was reckoned. `terms` None: it was not."""

    found: Bids
    terms: KeeperTerms | None = None
    limits: Mapping[str, AssetLimits] | None = None
    native: str = ""
    """whose price gas is reckoned at"""


def fee_cap_wei(guardian: Guardian, block: BlockRef, tip_wei: int) -> int:
    """What the plan may offer per gas: so much less than the guardian's cap that profits can be told apart."""
    if block.base_fee is None:
        return guardian.max_fee_wei
    return min(guardian.max_fee_wei, BASE_FEE_ROOM * block.base_fee + tip_wei)


def chances(
    seen: Outlook,
    report: Report,
    guardian: Guardian,
    wishes: Wishes,
    *,
    fee_cap: int,
    borrowed: bool = False,
    left: Mapping[str, int] | None = None,
    clock: Clock = SYSTEM,
) -> Chances:
    """What liquidating the position would bring. `left`: what the day's limits still allow, by what it counts under."""
    state, purse = seen.snapshot.markets.get(report.subject.ref), seen.purses.get(report.subject.ref)
    if report.position is None or report.health is None or state is None or state.known is None:
        return Chances(Bids(note=f"its health is unknown: {report.cause}"))
    if isinstance(purse, LevmonError):
        return Chances(Bids(note=f"the purse could not be read: {purse.message}"))
    if seen.l1_fee is None:
        return Chances(Bids(note="what this rollup charges for its L1 could not be read, and with it no profit"))
    protocol: Protocol[Any, Any] = protocol_named(report.subject.ref.protocol)
    facts, position = state.known.facts, report.position
    block, unit = position.block, report.health.unit
    margin_s = plans.window_s(block, guardian.config.deadline_s, clock)
    try:
        pairs = protocol.liquidations(facts, position, purse, state.context, block.timestamp + 1)
    except ProtocolError as refused:
        return Chances(Bids(note=refused.message))
    if not pairs:
        return Chances(Bids(note=f"levmon knows no liquidation of this position of {protocol.title}"))
    limits = guardian.liquidation_limits([pair.debt for pair in pairs], unit)
    steps = protocol.rescue_steps(facts, position, purse, block.timestamp + 1)
    symbol, price = plans.native_price(steps, block.chain_id, guardian.config.native)
    config = guardian.config.liquidate
    least = wishes.min_profit
    if least is None:
        least = -(-config.min_profit.numerator * 10**18 // config.min_profit.denominator) if config else 0
    terms = KeeperTerms(
        max_fee_per_gas_wei=fee_cap,
        most=_most(limits, left or {}),
        l1_data_fee_wei=seen.l1_fee.wei,
        l1_gas=seen.l1_fee.gas,
        native_price=price,
        haircut_bps=config.haircut_bps if config and not borrowed else 0,
        borrowed=borrowed,
        min_profit=-(-least * 10**unit.decimals // 10**18),
        margin_s=margin_s,
        debts=_named(pairs, wishes.debts, debt=True),
        collaterals=_named(pairs, wishes.collaterals, debt=False),
    )
    return Chances(bids(protocol, facts, position, purse, state.context, terms), terms, limits, symbol)


def _most(limits: Mapping[str, AssetLimits], left: Mapping[str, int]) -> dict[Address, int]:
    return {
        counted.removeprefix(BUDGET): min(one.per_action, left.get(counted, one.per_action))
        for counted, one in limits.items()
    }


FLASH = "-flash"
"""How the kinds end that pay with a flash loan."""
NOTHING = ("",)
"""Where nothing fits what was named, nothing is to be used; an empty tuple would be no wish at all."""


def _named(pairs: Sequence[Liquidation], wanted: Sequence[str], *, debt: bool) -> tuple[Address, ...]:
    if not wanted:
        return ()
    names = {name.lower() for name in wanted}
    tokens = [pair.debt if debt else pair.collateral for pair in pairs]
    return tuple(dict.fromkeys(t.asset for t in tokens if names & {t.asset.lower(), t.symbol.lower()})) or NOTHING


# -- deciding ----------------------------------------------------------------------------------------------------------


def amounts(pair: Liquidation) -> dict[str, str]:
    """What the pair moves at its second, for programs."""
    return {
        "at_s": str(pair.at_s),
        "paid": str(pair.paid),
        "received": str(pair.received),
        "protocol_fee": str(pair.protocol_fee),
    }


def liquidation_draft(
    bid: Bid, terms: KeeperTerms, guardian: Guardian, health_wad: int, code: str, *, cause: str = "asked for by hand"
) -> Draft:
    """The decision to make this bid, with all that it rests on. `code`: the market's, see pipeline.basis."""
    pair = bid.last
    block = pair.position.block
    decision = {
        "cause": cause,
        "why": bid.why,
        "symbol": pair.debt.symbol,
        "decimals": pair.debt.decimals,
        "collateral": {"symbol": pair.collateral.symbol, "decimals": pair.collateral.decimals},
        "block": {"number": block.number, "hash": block.hash, "timestamp": block.timestamp},
        "prices": {token.asset: str(token.price) for token in (pair.debt, pair.collateral)},
        "basis": {"code": code},
        "predicted": {"first": amounts(bid.first), "last": amounts(bid.last)},
        "profit": {"net": str(bid.profit.net), "before_gas": bid.profit.before_gas},
        "terms": {
            "haircut_bps": terms.haircut_bps,
            "min_profit": str(terms.min_profit),
            "native_price": None if terms.native_price is None else str(terms.native_price),
            "l1_data_fee_wei": str(terms.l1_data_fee_wei),
            "l1_gas": terms.l1_gas,
        },
    }
    return Draft(
        id=draft_id(bid.intent, block),
        intent=bid.intent,
        signer=guardian.address,
        block=block,
        asset=BUDGET + pair.debt.asset,
        amount=pair.amount * pair.counted,
        gas=bid.limits.gas,
        max_fee_per_gas_wei=bid.limits.max_fee_per_gas_wei,
        max_cost_wei=bid.limits.max_cost_wei,
        valid_until_s=bid.limits.valid_until_s,
        health_wad=health_wad,
        l1_data_fee_wei=bid.limits.l1_data_fee_wei,
        decision=json.dumps(decision, sort_keys=True),
    )


def is_liquidation(draft: Draft) -> bool:
    return draft.asset.startswith(BUDGET)


# -- the last look, and afterwards -------------------------------------------------------------------------------------


async def no_longer_worth(chain: Chain, memory: Memory, draft: Draft, ref: MarketRef, head: BlockRef) -> str:
    """Why the draft should not be signed by what is so at `head`; empty if it should.

    One with a flash loan names its least profit on chain: the simulation that follows is its last look.

    May raise: ChainError, also where nothing can be said: then nothing is signed.
    """
    if draft.intent.kind.endswith(FLASH):
        return ""
    subject = Subject(ref, ref.address, draft.intent.owner)
    seen = await plans.outlook(chain, [subject], draft.signer, memory, head, BRIEF)
    report, state, purse = seen.snapshot.reports[0], seen.snapshot.markets.get(ref), seen.purses.get(ref)
    if not isinstance(report.position, Position) or state is None or state.known is None:
        raise ChainError(f"the position cannot be read: {report.cause}")
    if isinstance(purse, LevmonError):
        raise ChainError(f"the purse cannot be read: {purse.message}")
    told = json.loads(draft.decision)["terms"]
    terms = KeeperTerms(
        max_fee_per_gas_wei=draft.max_fee_per_gas_wei,
        most={},
        l1_data_fee_wei=int(told["l1_data_fee_wei"]),
        l1_gas=told["l1_gas"],
        native_price=None if told["native_price"] is None else int(told["native_price"]),
        haircut_bps=told["haircut_bps"],
        min_profit=int(told["min_profit"]),
        margin_s=draft.valid_until_s - head.timestamp,
    )
    protocol: Protocol[Any, Any] = protocol_named(ref.protocol)
    return still_worth(protocol, state.known.facts, report.position, purse, state.context, draft.intent, terms)


def outcome(draft: Draft, receipt: Receipt) -> str:
    """What the contract's own event says beside what was predicted; empty for what is no liquidation or did none."""
    if not is_liquidation(draft):
        return ""
    protocol: Protocol[Any, Any] = protocol_named(draft.intent.kind.partition("/")[0])
    template = next(one for one in protocol.templates if one.kind == draft.intent.kind)
    event = abi.event(template.event)
    for log in receipt.logs:
        if log.address != draft.intent.to or log.topics[:1] != (event.topic,):
            continue
        try:
            args = event.decode(list(log.topics), log.data)
        except DecodeError:
            return f"{event.name} cannot be read"
        whom, by_whom, paid, received = template.told
        if draft.intent.kind.endswith(FLASH) and args[whom] == draft.intent.owner:
            return _profit_told(draft, args["profit"])
        if (args[whom], args.get(by_whom)) == (draft.intent.owner, draft.signer):
            return _compared(draft, args[paid], args[received])
    return ""


def _profit_told(draft: Draft, profit: int) -> str:
    decision = json.loads(draft.decision)
    least = format_units(int(draft.intent.args["min_profit"]), decision["decimals"])
    return f"profit {format_units(profit, decision['decimals'])} {decision['symbol']} before gas (at least {least})"


def _compared(draft: Draft, paid: int, received: int) -> str:
    decision = json.loads(draft.decision)
    ends = decision["predicted"]["first"], decision["predicted"]["last"]
    parts = []
    for verb, raw, unit in (("paid", paid, decision), ("received", received, decision["collateral"])):
        least, most = (format_units(int(end[verb]), unit["decimals"]) for end in ends)
        predicted = least if least == most else f"{least} to {most}"
        parts.append(f"{verb} {format_units(raw, unit['decimals'])} {unit['symbol']} (predicted {predicted})")
    return ", ".join(parts)
