"""Liquidates random positions of a local Aave V3 market and compares, to the wei, with what was predicted.

For each case prices, time, pauses, grace and the amount are drawn from a seed; levmon says what each pair would move in
a block of a given second, a liquidator sends one of them into just that block, and the LiquidationCall event, the
treasury's transfer and the liquidator's own balances are compared. What is said to be impossible is tried on the
contract and must fail with the error that was named. Every case starts from the same snapshot.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Any

from monitor.chain import abi
from monitor.chain.port import Chain, run
from monitor.core.liquidations import Liquidation
from monitor.core.types import Address, Log, LogQuery, MarketRef, Ok, Position, ReadPlan, Unreadable
from monitor.policy.liquidator import Bid, Bids, KeeperTerms, bids, profit_of
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.purse import Purse
from monitor.protocols.aave_v3.records import Context, Facts
from monitor.testing.aave_v3 import (
    account_data,
    deploy_sentinel,
    set_frozen,
    set_paused,
    set_sequencer,
)
from monitor.testing.aave_v3_listing import FROZEN_SYMBOL
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.danger import move_collateral, on_own_market, shake
from monitor.testing.devchain import CallReverted, DevChain
from monitor.testing.rescues import BESIDE, calldata

MARGIN_S = 60
TRIES = 40
GWEI = 10**9
TERMS = KeeperTerms(
    max_fee_per_gas_wei=GWEI,
    most={},
    native_price=2_000 * 10**8,
    haircut_bps=30,
    min_profit=10**7,
    margin_s=MARGIN_S,
)


@dataclass(slots=True)
class Tally:
    """How the cases of one market ended. `wrong` must stay empty."""

    version: str
    cases: int = 0
    sent: int = 0
    exact: int = 0
    """Event, treasury and balances equal to the prediction."""
    bids: int = 0
    """Sent as the liquidator of policy wanted it, with at least the profit it promised."""
    partial: int = 0
    with_fee: int = 0
    bad_debt: int = 0
    tried: int = 0
    """Pairs said to be impossible, which the contract refused by the error that was named."""
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    protocol: str = "aave-v3"

    def line(self) -> str:
        """One row for people."""
        numbers = (self.cases, self.sent, self.exact, self.bids, self.partial, self.with_fee, self.bad_debt, self.tried)
        cells = (str(n).rjust(len(name)) for n, name in zip((*numbers, len(self.wrong)), COLUMNS, strict=True))
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.refused.most_common())
        return f"{f'{self.protocol} {self.version}':17}  {'  '.join(cells)}  {reasons}"


COLUMNS = ("cases", "sent", "exact", "bids", "partial", "with fee", "bad debt", "refusals tried", "wrong")
HEADER = f"{'market':17}  {'  '.join(COLUMNS)}  refused with"


@dataclass(frozen=True, slots=True)
class Seen:
    """A position with all that was read beside it at its block."""

    position: Position
    purse: Purse
    context: Context


def logs(query: LogQuery) -> ReadPlan[tuple[Log, ...]]:
    """A plan of one question."""
    (answer,) = yield (query,)
    if not isinstance(answer, Ok):
        raise AssertionError(f"{query} was not answered")  # noqa: TRY004  a failed answer, not a wrong type
    return answer.values


class Liquidations:
    """One local market and its liquidator, who has plenty of everything and lets the pool take it."""

    def __init__(self, chain: Chain, local: DevChain, market: AaveMarket, seed: int) -> None:
        self._chain = chain
        self._local = local
        self._market = market
        self._random = random.Random(seed)
        self._symbols = {reserve.asset: symbol for symbol, reserve in market.reserves.items()}
        self._facts: Facts | None = None

    async def run(self, cases: int) -> Tally:
        """So many cases. May raise: ChainError, CallFailed."""
        tally = Tally(self._market.version)
        self._set_fees()
        for _ in range(cases):
            snapshot = self._local.snapshot()
            tally.cases += 1
            await self._case(tally)
            self._local.revert(snapshot)
        return tally

    def _set_fees(self) -> None:
        """The treasury takes a part of each bonus, another of each asset; of the first it takes none."""
        for number, reserve in enumerate(self._market.reserves.values()):
            self._local.send(
                self._market.admin,
                self._market.configurator,
                "setLiquidationProtocolFee(address,uint256)",
                reserve.asset,
                number * 333,
            )

    # -- one case ------------------------------------------------------------------------------------------------------

    async def _case(self, tally: Tally) -> None:
        owner = await self._broken()
        self._obstruct()
        seen = await self._read(owner)
        at_s = seen.position.block.timestamp + self._random.randrange(1, MARGIN_S + 1)
        pairs = PROTOCOL.liquidations(self._known_facts, seen.position, seen.purse, seen.context, at_s)
        offer = self._bids(seen)
        wanted = self._choose(tally, seen, pairs, offer, at_s)
        self._try_refusals(tally, [*pairs, *wanted], at_s)
        open_ = [pair for pair in wanted if not pair.refused]
        if open_:
            await self._send(tally, self._random.choice(open_), offer, at_s)

    def _choose(
        self, tally: Tally, seen: Seen, pairs: Sequence[Liquidation], offer: Bids, at_s: int
    ) -> list[Liquidation]:
        """What to try: the bid where there is one, or random amounts of the pairs that are possible."""
        if offer.bids and self._random.random() < 0.5:
            best = offer.bids[0]
            tally.bids += 1
            return [PROTOCOL.liquidated(best.last, best.last.amount, seen.context, at_s)]
        found = []
        for pair in pairs:
            if pair.paid:
                amount = pair.amount
                if self._random.random() < 0.7:
                    amount = max(1, int(pair.amount * self._random.random() ** 2))
                    tally.partial += 1
                found.append(PROTOCOL.liquidated(pair, amount, seen.context, at_s))
        return found

    async def _broken(self) -> Address:
        """A borrower whose health random prices and time have brought below 1; now and then one who is well."""
        for _ in range(TRIES):
            snapshot = self._local.snapshot()
            owner = self._random.choice(self._market.borrowers)
            shake(self._local, self._market, self._random)
            wanted_bps = self._random.choice((9_990, 9_800, 9_510, 9_400, 9_000, 8_000, 6_000, 3_000, 10_100))
            position = (await self._read(owner)).position
            move_collateral(self._local, self._market, position, Fraction(wanted_bps, 10_000))
            health_wad = account_data(self._local, self._market, owner)[5]
            if health_wad < 10**18 or wanted_bps > 10_000:
                return owner
            self._local.revert(snapshot)
        raise AssertionError("no borrower could be brought below 1")

    def _obstruct(self) -> None:
        """Now and then something stands in the way of some pair or of all."""
        market, local = self._market, self._local
        symbol = self._random.choice(list(market.reserves))
        match self._random.randrange(12):
            case 0:
                set_paused(local, market, symbol, True)
            case 1:
                set_frozen(local, market, symbol, symbol != FROZEN_SYMBOL)
            case 2:
                down = self._random.random() < 0.5
                sentinel = deploy_sentinel(local, market)
                set_sequencer(local, market, sentinel, down=down, since=local.timestamp() - 30)
            case 3 if market.version != "3.0":
                asset = market.reserves[symbol].asset
                grace = "setReservePause(address,bool,uint40)"
                local.send(market.admin, market.configurator, grace, asset, True, 0)
                local.send(market.admin, market.configurator, grace, asset, False, self._random.choice((20, 3600)))
            case _:
                pass

    def _bids(self, seen: Seen) -> Bids:
        most = {reserve.asset: 10 ** (reserve.decimals + 9) for reserve in self._market.reserves.values()}
        terms = replace(TERMS, most=most)
        return bids(PROTOCOL, self._known_facts, seen.position, seen.purse, seen.context, terms)

    async def _read(self, owner: Address) -> Seen:
        block = await self._chain.block("latest")
        ref = MarketRef(self._market.chain_id, PROTOCOL.name, self._market.provider)
        facts = await run(self._chain, PROTOCOL.static(ref, block), block)
        self._facts = next(known for known in PROTOCOL.candidates(facts) if known.version == self._market.version)
        (position,) = await run(self._chain, PROTOCOL.state(self._facts, (owner,), block), block)
        if isinstance(position, Unreadable):
            raise AssertionError(position.reason)  # noqa: TRY004  a market that cannot be read, not a wrong type
        plan = PROTOCOL.rescue_context(self._facts, self._market.liquidator, (position,), block)
        purse = await run(self._chain, plan, block)
        return Seen(position, purse, await run(self._chain, PROTOCOL.context(self._facts, block), block))

    @property
    def _known_facts(self) -> Facts:
        if self._facts is None:
            raise AssertionError("the market has not been read yet")
        return self._facts

    # -- what the contract says to it ----------------------------------------------------------------------------------

    def _try_refusals(self, tally: Tally, pairs: Sequence[Liquidation], at_s: int) -> None:
        """Whatever is refused in the contract's name is refused by it, by that name, in a block of that second."""
        refused = [pair for pair in pairs if pair.refused]
        if not refused:
            return
        snapshot = self._local.snapshot()
        self._local.set_next_timestamp(at_s)
        self._local.mine()
        for pair in refused:
            said = "nothing, for it works"
            try:
                self._local.call_data(pair.intent.to, calldata(pair.intent), sender=self._market.liquidator)
            except CallReverted as reverted:
                said = PROTOCOL.error_name(abi.revert_reason(reverted.data, "aave_v3_pool.liquidationCall"))
            name = pair.refused.partition(":")[0]
            named = name.isidentifier() and name[0].isupper()
            tally.tried += 1
            tally.refused[name if named else "unnamed"] += 1
            if said != name if named else said.startswith("nothing"):
                tally.wrong.append(f"{pair.key} was refused, {pair.refused}, and the contract says {said}")
        self._local.revert(snapshot)

    async def _send(self, tally: Tally, pair: Liquidation, offer: Bids, at_s: int) -> None:
        """Into a block of just that second; then everything that moved is compared."""
        before = self._balances(pair)
        self._local.set_next_timestamp(at_s)
        try:
            self._local.send_data(self._market.liquidator, pair.intent.to, calldata(pair.intent))
        except CallReverted as reverted:
            said = PROTOCOL.error_name(abi.revert_reason(reverted.data, "aave_v3_pool.liquidationCall"))
            tally.wrong.append(f"{pair.position.id} {pair.key} {pair.amount}: the contract says {said}")
            return
        tally.sent += 1
        paid, received, fee = await self._told(pair)
        after = self._balances(pair)
        moved = tuple(now - then for now, then in zip(after, before, strict=True))
        same = pair.collateral.asset == pair.debt.asset
        expected = (received - paid,) * 2 if same else (-paid, received)
        if (paid, received, fee) != (pair.paid, pair.received, pair.protocol_fee) or moved != expected:
            predicted = (pair.paid, pair.received, pair.protocol_fee)
            tally.wrong.append(f"{pair.position.id} {pair.key}: {(paid, received, fee)} and {moved}, not {predicted}")
            return
        tally.exact += 1
        tally.with_fee += fee > 0
        tally.bad_debt += account_data(self._local, self._market, pair.position.owner)[0] == 0
        bid = next((bid for bid in offer.bids if bid.intent == pair.intent), None)
        if bid is not None:
            self._judge_profit(tally, bid, pair)

    def _judge_profit(self, tally: Tally, bid: Bid, pair: Liquidation) -> None:
        terms = replace(TERMS, most={pair.debt.asset: pair.amount})
        made = profit_of(pair, terms).net
        if made < bid.profit.net:
            tally.wrong.append(f"{bid.why}: it made {made} of {pair.debt.symbol}")

    async def _told(self, pair: Liquidation) -> tuple[int, int, int]:
        """What the contracts' own events say: paid, received, sent to the treasury."""
        block = await self._chain.block("latest")
        a_token = self._market.reserves[self._symbols[pair.collateral.asset]].a_token
        (treasury,) = self._local.call(a_token, "RESERVE_TREASURY_ADDRESS()", "(address)")
        called = await run(self._chain, logs(LogQuery(pair.intent.to, "aave_v3_pool.LiquidationCall", 1)), block)
        (event,) = (log for log in called if log.block_hash == block.hash)
        args: dict[str, Any] = dict(event.args)
        if (args["user"], args["liquidator"]) != (pair.position.owner, self._market.liquidator):
            raise AssertionError("another liquidation than the one that was sent")
        moved = await run(self._chain, logs(LogQuery(a_token, "erc20.Transfer", 1)), block)
        owner = pair.position.owner
        fee = sum(
            int(log.args["value"])
            for log in moved
            if log.block_hash == block.hash and (log.args["from"], log.args["to"]) == (owner, treasury)
        )
        return int(args["debtToCover"]), int(args["liquidatedCollateralAmount"]), fee

    def _balances(self, pair: Liquidation) -> tuple[int, int]:
        """What the liquidator has of the debt asset and of the collateral."""
        who = self._market.liquidator
        assets = (pair.debt.asset, pair.collateral.asset)
        debt, collateral = (self._local.call(a, "balanceOf(address)", "(uint256)", who)[0] for a in assets)
        return debt, collateral


async def liquidate_all(chain: Chain, local: DevChain, market: AaveMarket, *, cases: int, seed: int) -> Tally:
    """So many cases on one market."""
    return await Liquidations(chain, local, market, seed).run(cases)


def main() -> int:
    """`scripts/prove_liquidations`: 0 if nothing was wrong and, of 350 or more, 200 were liquidated, else 1."""
    import argparse
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from monitor.testing.aave_v3_market import VERSIONS

    parser = argparse.ArgumentParser(
        prog="scripts/prove_liquidations", description="Liquidate random positions on real contracts, to the wei."
    )
    parser.add_argument("--version", choices=[*VERSIONS, *BESIDE], action="append", help="default: all")
    parser.add_argument("--cases", type=int, default=350, help="positions for each version (default 350)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()

    print(HEADER)
    good = True
    versions = [version for version in VERSIONS if version in (asked.version or VERSIONS)]
    # each on its own chain, so they need not wait for one another
    with ProcessPoolExecutor(len(VERSIONS) + 1, get_context("spawn")) as pool:
        proved = [pool.submit(_prove, version, asked.cases, asked.seed) for version in versions]
        others = [name for name in BESIDE if name in (asked.version or BESIDE)]
        proved += [pool.submit(_prove_beside, name, asked.cases, asked.seed) for name in others]
        for tally in (one.result() for one in proved):
            print(tally.line(), flush=True)
            for wrong in tally.wrong[:20]:
                print(f"  {wrong}")
            good = good and not tally.wrong and (tally.exact >= 200 or asked.cases < 350)
    return 0 if good else 1


def _prove(version: Version, cases: int, seed: int) -> Tally:
    import asyncio

    return asyncio.run(on_own_market(version, partial(liquidate_all, cases=cases, seed=seed)))


def _prove_beside(name: str, cases: int, seed: int) -> Tally:
    import asyncio

    from monitor.testing import aave_v2_lab, morpho_lab, morpho_liquidations, purse_liquidations

    if name == "morpho":
        return asyncio.run(morpho_lab.in_own_lab(seed, lambda lab: morpho_liquidations.liquidate_all(lab, cases)))
    return asyncio.run(aave_v2_lab.in_own_lab(seed, lambda lab: purse_liquidations.liquidate_all(lab, cases)))


if __name__ == "__main__":
    raise SystemExit(main())
