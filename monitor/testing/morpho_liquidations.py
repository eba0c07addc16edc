"""Liquidates random borrowers of a local Morpho Blue market and compares, to the wei, with what was predicted.

Half of the cases are what the liquidator of policy wants, sent as its template has it, by repaid shares; the others ask
for collateral, one unit up to all of it, where the rest of the debt is written off. The Liquidate event, the purse's
own balances and the market's totals are compared. What is said to be impossible is tried, and must fail as was said.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

from monitor.chain.port import run
from monitor.core.types import LogQuery, Position
from monitor.policy.liquidator import KeeperTerms, bids
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.protocols.morpho_blue.effects import totals_at
from monitor.protocols.morpho_blue.math import Overflows, Seizure, State, Totals, liquidate
from monitor.protocols.morpho_blue.rescue import Purse
from monitor.testing.codec import encode_call
from monitor.testing.devchain import CallReverted
from monitor.testing.liquidations import MARGIN_S, Tally, logs
from monitor.testing.morpho import PARAMS
from monitor.testing.morpho_lab import MorphoLab, health_of
from monitor.testing.rescues import calldata

TERMS = KeeperTerms(max_fee_per_gas_wei=10**6, most={}, native_price=2_000 * 10**6, haircut_bps=30, margin_s=MARGIN_S)
LOWEST, HIGHEST = Fraction(4, 5), Fraction(51, 50)
CALL = f"liquidate({PARAMS},address,uint256,uint256,bytes)"


async def liquidate_all(lab: MorphoLab, cases: int) -> Tally:
    """So many cases, each from the same snapshot."""
    tally = Tally("1.0.0", protocol="morpho-blue")
    for _ in range(cases):
        snapshot = lab.local.snapshot()
        tally.cases += 1
        owner = await lab.endangered(LOWEST, HIGHEST)
        position, purse = await lab.read(owner)
        if lab.random.random() < 0.5:
            await _by_collateral(lab, tally, position)
        else:
            await _by_shares(lab, tally, position, purse)
        lab.local.revert(snapshot)
    return tally


async def _by_shares(lab: MorphoLab, tally: Tally, position: Position, purse: Purse) -> None:
    """What policy bids, within random limits."""
    most = {lab.facts.loan.address: int(10 ** lab.random.uniform(4, 14))}
    found = bids(PROTOCOL, lab.facts, position, purse, None, replace(TERMS, most=most))
    at_s = position.block.timestamp + lab.random.randrange(1, MARGIN_S + 1)
    if not found.bids:
        (passed,) = found.passed
        tally.refused[passed.reason.partition(":")[0] if passed.pair.refused else "no profit"] += 1
        if passed.pair.refused:
            _try(lab, tally, position, passed.pair.refused, calldata(passed.pair.intent), at_s)
        return
    (bid,) = found.bids
    pair = PROTOCOL.repeated(lab.facts, bid.last, bid.intent, None, at_s)
    if pair is None or pair.refused:
        raise AssertionError(f"a bid that cannot be made: {bid.why}")
    tally.bids += 1
    shares = int(bid.intent.args["repaidShares"])
    tally.partial += shares < position.state.borrow_shares
    expected = liquidate(
        position.state, totals_at(position.state, position.block, at_s), _price(lab, position), 0, shares
    )
    if (expected.repaid_assets, expected.seized) != (pair.paid, pair.received) or not pair.paid <= bid.last.amount:
        tally.wrong.append(f"{bid.why}: {pair.paid} and {pair.received} are not {expected}")
    await _send(lab, tally, position, calldata(bid.intent), at_s, expected)


async def _by_collateral(lab: MorphoLab, tally: Tally, position: Position) -> None:
    """Some of the collateral or all of it, whatever that costs."""
    state: State = position.state
    every = state.collateral if lab.random.random() < 0.5 else lab.random.randrange(1, state.collateral + 1)
    at_s = position.block.timestamp + lab.random.randrange(1, MARGIN_S + 1)
    data = encode_call(CALL, (lab.market.params, position.owner, every, 0, b""))
    if health_of(position, at_s) >= 1:
        tally.refused["position is healthy"] += 1
        _try(lab, tally, position, "position is healthy", data, at_s)
        return
    totals = totals_at(state, position.block, at_s)
    try:
        expected = liquidate(state, totals, _price(lab, position), every, 0)
    except Overflows:  # it would cost more than is owed
        tally.refused["panic 0x11"] += 1
        _try(lab, tally, position, "panic 0x11", data, at_s)
        return
    await _send(lab, tally, position, data, at_s, expected)


def _price(lab: MorphoLab, position: Position) -> int:
    return position.prices[lab.facts.collateral.address]


def _try(lab: MorphoLab, tally: Tally, position: Position, said: str, data: bytes, at_s: int) -> None:
    """What is said to be refused is, and so."""
    tally.tried += 1
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, lab.market.morpho, data)
        told = "nothing, for it works"
    except CallReverted as reverted:
        told = reverted.reason
    if told not in said:
        tally.wrong.append(f"{position.id}: {said} was said, and the contract says {told}")


async def _send(lab: MorphoLab, tally: Tally, position: Position, data: bytes, at_s: int, expected: Seizure) -> None:
    before = _balances(lab)
    lab.local.set_next_timestamp(at_s)
    try:
        lab.local.send_data(lab.guardian, lab.market.morpho, data)
    except CallReverted as reverted:
        tally.wrong.append(f"{position.id}: {expected} was foretold, and the contract says {reverted.reason}")
        return
    tally.sent += 1
    tally.bad_debt += expected.bad_debt_shares > 0
    after = _balances(lab)
    now, _ = await lab.read(position.owner)
    moved = before[0] - after[0], after[1] - before[1]
    foretold = (expected.repaid_assets, expected.seized)
    same = await _event(lab) == expected and moved == foretold and _left(position, at_s, expected) == _state(now)
    if same:
        tally.exact += 1
    else:
        tally.wrong.append(f"{position.id}: {await _event(lab)} and {moved} are not {expected}")


async def _event(lab: MorphoLab) -> Seizure:
    """What the newest block's Liquidate says."""
    block = await lab.chain.block("latest")
    asked = LogQuery(lab.market.morpho, "morpho_blue.Liquidate", 1)
    (event,) = [log for log in await run(lab.chain, logs(asked), block) if log.block_hash == block.hash]
    args: dict[str, Any] = dict(event.args)
    names = ("repaidAssets", "repaidShares", "seizedAssets", "badDebtAssets", "badDebtShares")
    return Seizure(*(args[name] for name in names))


def _left(position: Position, at_s: int, seizure: Seizure) -> tuple[Totals, int, int]:
    """Totals, shares and collateral after it, as Morpho.liquidate leaves them."""
    state: State = position.state
    totals = totals_at(state, position.block, at_s)
    gone = seizure.repaid_shares + seizure.bad_debt_shares
    left = replace(
        totals,
        total_borrow_assets=max(0, totals.total_borrow_assets - seizure.repaid_assets) - seizure.bad_debt_assets,
        total_borrow_shares=totals.total_borrow_shares - gone,
        total_supply_assets=totals.total_supply_assets - seizure.bad_debt_assets,
    )
    return left, state.borrow_shares - gone, state.collateral - seizure.seized


def _state(position: Position) -> tuple[Totals, int, int]:
    state: State = position.state
    return state.totals, state.borrow_shares, state.collateral


def _balances(lab: MorphoLab) -> tuple[int, int]:
    """What the purse has of the loan token and of the collateral."""
    tokens = (lab.facts.loan.address, lab.facts.collateral.address)
    loan, collateral = (lab.local.call(t, "balanceOf(address)", "(uint256)", lab.guardian)[0] for t in tokens)
    return loan, collateral
