"""Liquidates random borrowers of a local market from a purse and compares, to the wei, with what was predicted.

Half of the cases are what the liquidator of policy wants, the others random amounts of a random pair; the protocol's
event and the purse's own balances are compared. What is said to be impossible is tried, and must fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from monitor.chain.port import run
from monitor.core.liquidations import Liquidation
from monitor.core.types import LogQuery
from monitor.policy.liquidator import KeeperTerms, bids, profit_of
from monitor.testing.devchain import CallReverted
from monitor.testing.liquidations import MARGIN_S, Tally, logs
from monitor.testing.purse_rescues import RescueLab
from monitor.testing.rescues import calldata

LOWEST, HIGHEST = Fraction(4, 5), Fraction(51, 50)


async def liquidate_all(lab: RescueLab, cases: int) -> Tally:
    """So many cases, each from the same snapshot."""
    tally = Tally(lab.version, protocol=lab.protocol.name)
    for _ in range(cases):
        snapshot = lab.local.snapshot()
        tally.cases += 1
        await _case(lab, tally)
        lab.local.revert(snapshot)
    return tally


async def _case(lab: RescueLab, tally: Tally) -> None:
    owner = await lab.endangered(LOWEST, HIGHEST)
    position, purse = await lab.read(owner)
    at_s = position.block.timestamp + lab.random.randrange(1, MARGIN_S + 1)
    pairs = lab.protocol.liquidations(lab.facts, position, purse, None, at_s)
    pair = lab.random.choice(pairs)
    if pair.refused:
        tally.refused[pair.refused] += 1
        _try(lab, tally, pair, at_s)
        return
    if lab.random.random() < 0.5:
        terms = KeeperTerms(
            max_fee_per_gas_wei=10**6,
            most={one.debt.asset: one.amount for one in pairs},
            native_price=lab.native_price,
            margin_s=MARGIN_S,
        )
        found = bids(lab.protocol, lab.facts, position, purse, None, terms)
        if not found.bids:
            tally.refused["no bid"] += 1
            return
        bid = found.bids[0]
        again = lab.protocol.repeated(lab.facts, bid.last, bid.intent, None, at_s)
        if again is None or profit_of(again, terms).net < bid.profit.net:
            tally.wrong.append(f"{bid.why}: less than was promised")
            return
        tally.bids += 1
        await _send(lab, tally, again, at_s)
        return
    amount = max(1, int(pair.amount * lab.random.random() ** 2))
    tally.partial += 1
    part = lab.protocol.liquidated(pair, amount, None, at_s)
    if part.refused:
        tally.refused[part.refused] += 1
        _try(lab, tally, part, at_s)
        return
    await _send(lab, tally, part, at_s)


def _try(lab: RescueLab, tally: Tally, pair: Liquidation, at_s: int) -> None:
    """What is said to be refused must be refused, by the code that was named."""
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, pair.intent.to, calldata(pair.intent))
    except CallReverted as reverted:
        tally.tried += 1
        if pair.refused.partition(":")[0] not in reverted.reason:
            tally.wrong.append(f"{pair.key}: {pair.refused}, and the contract says {reverted.reason}")
        return
    tally.wrong.append(f"{pair.key}: {pair.refused}, and the contract did it")


async def _send(lab: RescueLab, tally: Tally, pair: Liquidation, at_s: int) -> None:
    before = _balances(lab, pair)
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, pair.intent.to, calldata(pair.intent))
    except CallReverted as reverted:
        tally.wrong.append(f"{pair.key} {pair.amount}: the contract says {reverted.reason}")
        return
    tally.sent += 1
    told = await _told(lab, pair)
    moved = tuple(now - then for now, then in zip(_balances(lab, pair), before, strict=True))
    if told == (pair.paid, pair.received) and moved == (-pair.paid, pair.received):
        tally.exact += 1
    else:
        tally.wrong.append(f"{pair.key}: {told} and {moved} are not {(pair.paid, pair.received)}")


async def _told(lab: RescueLab, pair: Liquidation) -> tuple[int, int]:
    """What the newest block's event says: paid and received."""
    template = next(one for one in lab.protocol.templates if one.kind == pair.intent.kind)
    _, _, paid, received = template.told
    block = await lab.chain.block("latest")
    found = await run(lab.chain, logs(LogQuery(pair.intent.to, template.event, 1)), block)
    (event,) = [log for log in found if log.block_hash == block.hash]
    args: Mapping[str, Any] = event.args
    return int(args[paid]), int(args[received])


def _balances(lab: RescueLab, pair: Liquidation) -> tuple[int, int]:
    """What the purse has of the debt asset and of the collateral, which are not the same in these labs."""
    assets = (pair.debt.asset, pair.collateral.asset)
    debt, collateral = (lab.local.call(one, "balanceOf(address)", "(uint256)", lab.guardian)[0] for one in assets)
    return debt, collateral
