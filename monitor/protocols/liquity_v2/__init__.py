"""Liquity V2: branches of one collateral each against BOLD; troves are NFTs with a rate of their own or of their batch.

A market is a branch's AddressesRegistry; its id, if given, one trove's id. Without an id an owner's only trove is found
by walking all of them, zombies too; of an owner of several each must be named. A trove is liquidated below the branch's
MCR and never for the branch's sake: there is no recovery mode. Redemptions take the lowest interest rates first,
whatever the health. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Gate,
    GateState,
    Health,
    Known,
    Leg,
    Line,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    ReadPlan,
    Side,
    Unit,
    Unknown,
    Unreadable,
    Verdict,
)
from monitor.core.units import UINT256_MAX, WAD, format_units, mul_div_down
from monitor.protocols.base import Deployment, Found, Helpers, Protocol, Truth, Version
from monitor.protocols.liquity_v2.math import (
    ACTIVE,
    NONEXISTENT,
    ZOMBIE,
    Facts,
    Latest,
    State,
    compute_cr,
    latest,
    period,
)
from monitor.protocols.liquity_v2.reading import ABI, fetch_price, find_troves, read_positions, trove_id

BOLD = Unit("BOLD", 18)
ADDRESSES = ("troveManager", "priceFeed", "troveNFT", "stabilityPool", "collToken", "boldToken", "MCR", "CCR", "SCR")
_SOURCE = "liquity/bold contracts/addresses/1.json, addressesRegistry; add a trove's id"


@dataclass(frozen=True, slots=True)
class Context:
    """The whole branch, for its own ratio; None where it could not be read."""

    coll: int | None
    debt: int | None
    stability_pool: int | None


class LiquityV2(Protocol[Facts, Context]):
    """Liquity V2."""

    name = "liquity-v2"
    title = "Liquity V2"
    helpers = Helpers(
        "repay, down to a debt of 2000 BOLD, or add collateral, unless the owner has named who may; refused where the "
        "trove is not at once back at its branch's minimum ratio, which is higher in a batch",
        "the same, close the trove, or name who may add to it and repay (setAddManager)",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("bold", "recorded contracts: debts, ratios, liquidations and their amounts equal", 101),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "ethereum/liquity-v2-weth": Deployment(1, "0x20F7C9ad66983F6523a0881d0f82406541417526", _SOURCE),
        "ethereum/liquity-v2-wsteth": Deployment(1, "0x8d733F7ea7c23Cbea7C613B6eBd845d46d3aAc54", _SOURCE),
        "ethereum/liquity-v2-reth": Deployment(1, "0x6106046F031a22713697e04C08B330dDaf3e8789", _SOURCE),
    }

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        trove_id(market)
        answers = yield [Call(market.address, f"{ABI}.{name}") for name in ADDRESSES]
        found: tuple[Any, ...] = tuple(values(answer)[0] for answer in answers)
        [symbol] = yield [Call(found[ADDRESSES.index("collToken")], "erc20.symbol", allow_revert=True)]
        found = (*found, str(symbol.values[0])[:32] if isinstance(symbol, Ok) else "collateral")
        if 0 in found:
            raise ProtocolError(f"{market}: one of its ratios is 0")
        return Facts(market, *found)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        answers = yield [Call(facts.market.address, f"{ABI}.{name}", allow_revert=True) for name in ADDRESSES]
        known = [facts.manager, facts.price_feed, facts.nft, facts.stability_pool, facts.coll, facts.bold]
        found = [answer.values[0] if isinstance(answer, Ok) else None for answer in answers]
        return found == [*known, facts.mcr, facts.ccr, facts.scr]

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        found = yield from find_troves(facts, owners)
        return (yield from read_positions(facts, found, owners, block))

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[Context]:
        answers = yield [
            Call(facts.manager, f"{ABI}.getEntireBranchColl", allow_revert=True),
            Call(facts.manager, f"{ABI}.getEntireBranchDebt", allow_revert=True),
            Call(facts.stability_pool, f"{ABI}.getTotalBoldDeposits", allow_revert=True),
        ]
        return Context(*(answer.values[0] if isinstance(answer, Ok) else None for answer in answers))

    def evaluate(self, position: Position, context: Context | None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        facts, trove = state.facts, latest(state, position.block.timestamp if at_s is None else at_s)
        price = position.prices.get(facts.coll)
        reported = _reported(state, trove, price)
        gates = [_gate("more than one trove", state.troves > 1, f"{state.troves} troves")]
        verdict: Verdict
        if state.status == NONEXISTENT:
            verdict = Unknown("there never was such a trove")
        elif min(trove.interest, trove.fee) < 0 or trove.debt > UINT256_MAX:
            gates.append(_gate("arithmetic", False, "the contract itself overflows"))
            verdict = Unknown(gates[-1].detail)
        elif state.status not in (ACTIVE, ZOMBIE) or trove.debt == 0:
            verdict = NoDebt()
        elif price is None or price == 0:
            why = f"fetchPrice() reverts: {state.price_error}" if price is None else "the price is 0"
            gates.append(_gate("price", False, why))
            verdict = Unknown(f"{why}; the liquidation reverts")
        elif trove.coll * price > UINT256_MAX:
            gates.append(_gate("arithmetic", False, "the contract itself overflows"))
            verdict = Unknown(gates[-1].detail)
        else:
            # floor(coll * price / debt) < MCR is the same as coll * price < MCR * debt
            verdict = Known(trove.coll * price, facts.mcr * trove.debt)
        unhealthy = isinstance(verdict, Known) and verdict.unhealthy
        legs = _legs(state, trove, price)
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=BOLD,
            reported=reported,
            gates=tuple(gates),
            liquidatable=unhealthy and all(gate.state is GateState.OPEN for gate in gates),
            legs=legs,
            collateral=sum(leg.value for leg in legs if leg.side is Side.COLLATERAL),
            debt=trove.debt,
            notes=tuple(_notes(state, context, price)),
        )

    def find_positions(self, facts: Facts, owner: Address, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
        """Of several troves each by its id, which is the market's; a single one is the owner's own position."""
        if facts.market.id is not None:
            return [Found(facts.market, owner)]
        troves = (yield from find_troves(facts, [owner]))[owner]
        if isinstance(troves, str):
            return [Unreadable(facts.market.position_id(owner), owner, block, troves)]
        if len(troves) < 2:
            return [Found(facts.market, owner)]
        return [Found(replace(facts.market, id=hex(one)), owner, f"trove {hex(one)[:10]}") for one in troves]

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        found = yield from find_troves(facts, owners)
        ids = {owner: one[0] for owner, one in found.items() if not isinstance(one, str) and len(one) == 1}
        latests = [Call(facts.manager, f"{ABI}.getLatestTroveData", (one,), allow_revert=True) for one in ids.values()]
        price, *troves = yield (fetch_price(facts), *latests)
        ratios: Sequence[Answer] = [price] * len(ids)
        if isinstance(price, Ok) and ids:
            asked = price.values[0]
            ratios = yield [
                Call(facts.manager, f"{ABI}.getCurrentICR", (one, asked), allow_revert=True) for one in ids.values()
            ]
        rows = dict(zip(ids, zip(troves, ratios, strict=True), strict=True))
        return [_truth(owner, *rows[owner]) if owner in rows else Truth(owner, {}, NOT_ONE) for owner in owners]

    def explain(self, position: Position, context: Context | None = None) -> list[Line]:
        state: State = position.state
        facts, now_s, health = state.facts, position.block.timestamp, self.evaluate(position, context)
        trove, batch = latest(state, now_s), state.batch
        updated_s = batch.updated_s if batch else state.updated_s
        seconds = period(state, updated_s, now_s)
        shares = f" × {state.shares} / {batch.shares}" if batch else ""
        source = "getLatestBatchData(manager)" if batch else "Troves(id)"
        lines = [
            Line("collateral", f"{format_units(state.coll, 18)} {facts.symbol}", source="troveManager.Troves(id).coll"),
            Line("recorded debt", f"{format_units(trove.recorded_debt, 18)} BOLD", shares.strip(" ×"), source),
            Line("rate", f"{format_units(trove.rate * 100, 18)} %", "redemptions take the lowest first", source),
            Line(
                "interest",
                f"{format_units(trove.interest, 18)} BOLD",
                f"floor(floor({batch.debt if batch else state.debt} × {trove.rate} × {seconds} s / 1 year) / 10^18)"
                + shares,
            ),
            Line("batch fee", f"{format_units(trove.fee, 18)} BOLD", source=source if batch else ""),
            Line("redistributed debt", f"{format_units(state.redist_debt, 18)} BOLD", source="getLatestTroveData(id)"),
            Line("redistributed collateral", format_units(state.redist_coll, 18), source="getLatestTroveData(id)"),
        ]
        if not isinstance(health.verdict, Known):
            return lines
        price = position.prices[facts.coll]
        ratio = f"floor({trove.coll} × {price} / {trove.debt})"
        return [
            *lines,
            Line("price", f"{format_units(price, 18)} USD", source=f"fetchPrice() at {facts.price_feed}"),
            Line("collateral ratio", format_units(health.reported["ICR"], 18), ratio, "getCurrentICR(id, price)"),
            Line(
                "health",
                f"{health.verdict.numerator} / {health.verdict.denominator}",
                f"collateral × price / ({format_units(facts.mcr * 100, 18)} % × debt)",
            ),
        ]

    def prices(
        self, facts: Facts, positions: Sequence[Position], context: Context | None, block: BlockRef
    ) -> list[Price]:
        used = [position.prices[facts.coll] for position in positions if facts.coll in position.prices]
        return [Price(facts.coll, used[0], 18, "USD", None, None, facts.price_feed)] if used else []

    def price_keys(self, position: Position) -> Mapping[str, str]:
        return dict.fromkeys(position.prices, position.state.facts.symbol)

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {facts.coll: facts.symbol}

    def contracts(self, facts: Facts) -> tuple[Address, ...]:
        return facts.manager, facts.price_feed

    def parameters(self, position: Position) -> Any:
        """Immutable but for the rates, which owners and batch managers set, and the shutdown."""
        state: State = position.state
        return state.facts.mcr, state.shutdown_s, state.batch.manager if state.batch else ""


PARTS = {
    0: "entireDebt",
    1: "entireColl",
    2: "redistBoldDebtGain",
    3: "redistCollGain",
    4: "accruedInterest",
    5: "recordedDebt",
    6: "annualInterestRate",
    8: "accruedBatchManagementFee",
}
"""What getLatestTroveData tells, by its place there."""
NOT_ONE = "not one trove"


def _truth(owner: Address, trove: Answer, ratio: Answer) -> Truth:
    """Without a price the contract has no ratio to tell, and the debt is all that can be compared."""
    if not isinstance(trove, Ok):
        return Truth(owner, {}, trove.reason)
    told = {name: trove.values[0][at] for at, name in PARTS.items()}
    return Truth(owner, told | ({"ICR": ratio.values[0]} if isinstance(ratio, Ok) else {}))


def _reported(state: State, trove: Latest, price: int | None) -> dict[str, int]:
    if state.status not in (ACTIVE, ZOMBIE):
        told = dict.fromkeys(PARTS.values(), 0)
    else:
        told = {
            "entireDebt": trove.debt,
            "entireColl": trove.coll,
            "redistBoldDebtGain": state.redist_debt,
            "redistCollGain": state.redist_coll,
            "accruedInterest": trove.interest,
            "recordedDebt": trove.recorded_debt,
            "annualInterestRate": trove.rate,
            "accruedBatchManagementFee": trove.fee,
        }
    if price is None or trove.coll * price > UINT256_MAX:
        return told
    return told | {"ICR": compute_cr(told["entireColl"], told["entireDebt"], price)}


def _gate(name: str, is_open: bool, detail: str) -> Gate:
    return Gate(name, GateState.OPEN if is_open else GateState.SHUT, detail)


def _legs(state: State, trove: Latest, price: int | None) -> tuple[Leg, ...]:
    facts = state.facts
    rows = (
        (Side.COLLATERAL, facts.coll, facts.symbol, trove.coll, price or 0, WAD * WAD // facts.mcr),
        (Side.DEBT, facts.bold, "BOLD", trove.debt, WAD, WAD),
    )
    return tuple(
        Leg(side, asset, symbol, 18, amount, rate, 18, mul_div_down(amount, rate, WAD), factor, 18)
        for side, asset, symbol, amount, rate, factor in rows
        if amount
    )


def _notes(state: State, context: Context | None, price: int | None) -> list[str]:
    facts, said = state.facts, []
    if state.oracle_failed:
        said.append("the price feed has failed: whoever asks it next on chain shuts the branch down")
    if state.shutdown_s:
        said.append(
            f"the branch was shut down at {state.shutdown_s}: no top-ups; anyone may redeem any trove at a bonus"
        )
    if state.status == ZOMBIE:
        said.append("a zombie: redeemed below the least debt, and still liquidatable")
    if state.batch is not None:
        said.append(f"the batch manager {state.batch.manager} sets the rate for all of its troves")
    if context is None or not context.debt or context.coll is None or price is None:
        return said
    ratio = compute_cr(context.coll, context.debt, price)
    if ratio < facts.scr and not state.shutdown_s:
        said.append(f"the branch's ratio is {format_units(ratio, 18)}: anyone may shut it down")
    elif ratio < facts.ccr and not state.shutdown_s:
        said.append(f"the branch's ratio is {format_units(ratio, 18)}: no new debt until it is above its CCR")
    return said


PROTOCOL = LiquityV2()
