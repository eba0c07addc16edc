"""Liquity V1: one trove per address, ETH against LUSD, no interest, and a recovery mode for the whole system.

The market's address is the TroveManager. Pending redistributions belong to a trove before any event says so; in
recovery mode a trove is liquidatable below the system's own ratio, if the Stability Pool can absorb it (TroveManager at
the deployed commit 5174ecd0). What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

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
    ReadPlan,
    Reverted,
    Rule,
    Side,
    Unit,
    Unknown,
    Unread,
    Unreadable,
)
from monitor.core.units import UINT256_MAX, WAD, format_units, mul_div_down
from monitor.protocols.base import Deployment, Helpers, Protocol, Truth, Version

ABI = "liquity_v1"
ACTIVE = 1
ETH: Address = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
STRANGER: Address = "0x000000000000000000000000000000000000dEaD"
USD = Unit("USD", 18)


@dataclass(frozen=True, slots=True)
class Facts:
    """Liquity's immutable contracts and ratios (WAD)."""

    market: MarketRef
    price_feed: Address
    active_pool: Address
    default_pool: Address
    stability_pool: Address
    lusd: Address
    mcr: int
    ccr: int


@dataclass(frozen=True, slots=True)
class System:
    """What all troves share: redistribution terms, pool balances in wei, number of troves."""

    l_eth: int
    l_lusd_debt: int
    active_eth: int
    active_debt: int
    default_eth: int
    default_debt: int
    stability_pool: int
    owners: int

    @property
    def coll(self) -> int:
        """getEntireSystemColl."""
        return self.active_eth + self.default_eth

    @property
    def debt(self) -> int:
        """getEntireSystemDebt."""
        return self.active_debt + self.default_debt


@dataclass(frozen=True, slots=True)
class State:
    """One trove as stored, with the reward snapshots that its pending redistribution is counted from."""

    facts: Facts
    system: System
    debt: int
    coll: int
    stake: int
    status: int
    snapshot_eth: int
    snapshot_lusd_debt: int
    price_error: str = ""

    @property
    def pending_eth(self) -> int:
        """TroveManager.getPendingETHReward."""
        return self._pending(self.system.l_eth - self.snapshot_eth)

    @property
    def pending_lusd_debt(self) -> int:
        """TroveManager.getPendingLUSDDebtReward."""
        return self._pending(self.system.l_lusd_debt - self.snapshot_lusd_debt)

    @property
    def underflows(self) -> bool:
        """What was promised to stakes is less than when the trove was last touched: its SafeMath would revert."""
        return self.system.l_eth < self.snapshot_eth or self.system.l_lusd_debt < self.snapshot_lusd_debt

    @property
    def entire_coll(self) -> int:
        """getEntireDebtAndColl().coll."""
        return self.coll + self.pending_eth

    @property
    def entire_debt(self) -> int:
        """getEntireDebtAndColl().debt, with the 200 LUSD of gas compensation."""
        return self.debt + self.pending_lusd_debt

    def _pending(self, reward_per_unit: int) -> int:
        return mul_div_down(self.stake, reward_per_unit, WAD) if self.status == ACTIVE else 0


def compute_cr(coll: int, debt: int, price: int) -> int:
    """LiquityMath._computeCR: the collateral ratio in WAD, floored; the maximum without debt."""
    return mul_div_down(coll, price, debt) if debt else UINT256_MAX


class LiquityV1(Protocol[Facts, None]):
    """Liquity V1."""

    name = "liquity-v1"
    title = "Liquity V1"
    helpers = Helpers(
        "nothing: nobody but its owner can add to a trove or repay its debt",
        "add ETH, or repay down to the 2000 LUSD that a trove must owe (200 of them set aside for gas), or "
        "close the trove",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("1", "recorded contracts of the deployed commit: ratios and liquidations equal, both modes", 119),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {
        "ethereum/liquity-v1": Deployment(
            1,
            "0xA39739EF8b0231DbFA0DcdA07d7e29faAbCf4bb2",
            "npm @liquity/lib-ethers 3.4.0 deployments/default/mainnet.json, troveManager",
        ),
    }

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        names = ("priceFeed", "activePool", "defaultPool", "stabilityPool", "lusdToken", "MCR", "CCR")
        answers = yield [Call(market.address, f"{ABI}.{name}") for name in names]
        found = tuple(values(answer)[0] for answer in answers)
        if 0 in found:
            raise ProtocolError(f"{market}: one of its ratios is 0")
        return Facts(market, *found)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        names = ("priceFeed", "stabilityPool", "MCR")
        answers = yield [Call(facts.market.address, f"{ABI}.{name}") for name in names]
        return [values(answer)[0] for answer in answers] == [facts.price_feed, facts.stability_pool, facts.mcr]

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        manager = facts.market.address
        shared = [
            Call(manager, f"{ABI}.L_ETH"),
            Call(manager, f"{ABI}.L_LUSDDebt"),
            Call(facts.active_pool, f"{ABI}.getETH"),
            Call(facts.active_pool, f"{ABI}.getLUSDDebt"),
            Call(facts.default_pool, f"{ABI}.getETH"),
            Call(facts.default_pool, f"{ABI}.getLUSDDebt"),
            Call(facts.stability_pool, f"{ABI}.getTotalLUSDDeposits"),
            Call(manager, f"{ABI}.getTroveOwnersCount"),
        ]
        mine = [
            Call(manager, f"{ABI}.{name}", (owner,), allow_revert=True)
            for owner in owners
            for name in ("Troves", "rewardSnapshots")
        ]
        *answers, price = yield [*shared, *mine, _fetch_price(facts)]
        system = System(*(values(answer)[0] for answer in answers[: len(shared)]))
        own = answers[len(shared) :]
        return [
            self._position(facts, system, owner, block, trove, snapshot, price)
            for owner, trove, snapshot in zip(owners, own[::2], own[1::2], strict=True)
        ]

    def _position(
        self,
        facts: Facts,
        system: System,
        owner: Address,
        block: BlockRef,
        trove: Answer,
        snapshot: Answer,
        price: Answer,
    ) -> Position | Unreadable:
        identity = facts.market.position_id(owner)
        for answer, name in ((trove, "Troves"), (snapshot, "rewardSnapshots")):
            if not isinstance(answer, Ok):
                return Unreadable(identity, owner, block, f"{name}(): {answer.reason}")
        debt, coll, stake, status, _ = values(trove)
        snapshot_eth, snapshot_debt = values(snapshot)
        if isinstance(price, Unread):
            return Unreadable(identity, owner, block, f"fetchPrice(): {price.reason}")
        error = price.reason if isinstance(price, Reverted) else ""
        prices = {ETH: price.values[0]} if isinstance(price, Ok) else {}
        state = State(facts, system, debt, coll, stake, status, snapshot_eth, snapshot_debt, error)
        return Position(identity, owner, block, Rule(self.name, "1"), prices, state)

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[None]:
        """Liquity has no pause, no governance and no gate that is not state."""
        yield from ()

    def evaluate(self, position: Position, context: None = None, at_s: int | None = None) -> Health:
        """Nothing accrues: `at_s` changes nothing."""
        state: State = position.state
        if state.status == ACTIVE and state.underflows:
            gate = Gate("arithmetic", GateState.SHUT, "the contract itself overflows")
            return Health(
                position.id,
                position.block,
                Unknown(gate.detail),
                USD,
                reported={},
                gates=(gate,),
                liquidatable=False,
            )
        if state.status != ACTIVE or state.entire_debt == 0:
            return Health(position.id, position.block, NoDebt(), USD, reported=_reported(state), liquidatable=False)
        price = position.prices.get(ETH)
        if price is None:
            gate = Gate("oracle", GateState.SHUT, f"fetchPrice() reverts: {state.price_error}")
            return Health(
                position.id,
                position.block,
                Unknown(gate.detail),
                USD,
                reported=_reported(state),
                gates=(gate,),
                liquidatable=False,
            )
        coll, debt, facts, system = state.entire_coll, state.entire_debt, state.facts, state.system
        ratio, total = compute_cr(coll, debt, price), compute_cr(system.coll, system.debt, price)
        recovery = total < facts.ccr
        by_system = recovery and total > facts.mcr
        verdict = Known(ratio, total) if by_system else Known(coll * price, facts.mcr * debt)
        gates = [_gate("more than one trove", system.owners > 1, f"{system.owners} troves")]
        if recovery and ratio >= facts.mcr:
            room = f"debt {format_units(debt, 18)}, Stability Pool {format_units(system.stability_pool, 18)} LUSD"
            gates.append(_gate("stability pool", debt <= system.stability_pool, room))
        return Health(
            position.id,
            position.block,
            verdict,
            USD,
            reported={**_reported(state), "ICR": ratio},
            gates=tuple(gates),
            liquidatable=verdict.unhealthy and all(gate.state is GateState.OPEN for gate in gates),
            legs=_legs(state, price, total if by_system else facts.mcr),
            collateral=mul_div_down(coll, price, WAD),
            debt=debt,
            notes=(f"recovery mode: system ratio {format_units(total, 18)}",) if recovery else (),
        )

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        manager = facts.market.address
        *entire, price = yield [
            *(Call(manager, f"{ABI}.getEntireDebtAndColl", (owner,), allow_revert=True) for owner in owners),
            _fetch_price(facts),
        ]
        if not isinstance(price, Ok):
            return [_truth(owner, whole, price) for owner, whole in zip(owners, entire, strict=True)]
        ratios = yield [Call(manager, f"{ABI}.getCurrentICR", (o, price.values[0]), allow_revert=True) for o in owners]
        return [_truth(o, whole, ratio) for o, whole, ratio in zip(owners, entire, ratios, strict=True)]

    def explain(self, position: Position, context: None = None) -> list[Line]:
        state: State = position.state
        health = self.evaluate(position)
        lines = [
            Line("debt", f"{format_units(state.debt, 18)} LUSD", source="troveManager.Troves(owner).debt"),
            Line("collateral", f"{format_units(state.coll, 18)} ETH", source="troveManager.Troves(owner).coll"),
            Line(
                "pending collateral",
                f"{format_units(state.pending_eth, 18)} ETH",
                f"floor({state.stake} × ({state.system.l_eth} - {state.snapshot_eth}) / 10^18)",
                "troveManager.L_ETH(), rewardSnapshots(owner).ETH",
            ),
            Line(
                "pending debt",
                f"{format_units(state.pending_lusd_debt, 18)} LUSD",
                f"floor({state.stake} × ({state.system.l_lusd_debt} - {state.snapshot_lusd_debt}) / 10^18)",
                "troveManager.L_LUSDDebt(), rewardSnapshots(owner).LUSDDebt",
            ),
        ]
        if not isinstance(health.verdict, Known):
            return lines
        price = position.prices[ETH]
        system = state.system
        total = compute_cr(system.coll, system.debt, price)
        return [
            *lines,
            Line("price", f"{format_units(price, 18)} USD", source=f"fetchPrice() at {state.facts.price_feed}"),
            Line(
                "collateral ratio",
                format_units(health.reported["ICR"], 18),
                f"floor({state.entire_coll} × {price} / {state.entire_debt})",
            ),
            Line(
                "system ratio",
                format_units(total, 18),
                f"floor({system.coll} × {price} / {system.debt})",
                "activePool and defaultPool getETH(), getLUSDDebt()",
            ),
            Line(
                "health",
                f"{health.verdict.numerator} / {health.verdict.denominator}",
                "trove ratio / system ratio (recovery mode)"
                if state.facts.mcr < total < state.facts.ccr
                else "collateral × price / (110 % × debt)",
            ),
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        return {ETH: "ETH"} if position.prices else {}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {ETH: "ETH"}


def _fetch_price(facts: Facts) -> Call:
    # fetchPrice stores what it finds, so it is asked alone (`sender`) and cannot touch its neighbours in a batch
    return Call(facts.price_feed, f"{ABI}.fetchPrice", allow_revert=True, sender=STRANGER)


def _gate(name: str, is_open: bool, detail: str) -> Gate:
    return Gate(name, GateState.OPEN if is_open else GateState.SHUT, detail)


def _reported(state: State) -> dict[str, int]:
    return {
        "debt": state.entire_debt,
        "coll": state.entire_coll,
        "pendingLUSDDebtReward": state.pending_lusd_debt,
        "pendingETHReward": state.pending_eth,
    }


def _truth(owner: Address, whole: Answer, ratio: Answer) -> Truth:
    """`ratio`: the price's answer where there is none. Without debt no ratio is asked for."""
    if not isinstance(whole, Ok):
        return Truth(owner, {}, whole.reason)
    names = ("debt", "coll", "pendingLUSDDebtReward", "pendingETHReward")
    debt, *_ = numbers = values(whole)
    told = dict(zip(names, numbers, strict=True))
    if not debt:
        return Truth(owner, told)
    return Truth(owner, told | {"ICR": values(ratio)[0]}) if isinstance(ratio, Ok) else Truth(owner, {}, ratio.reason)


def _legs(state: State, price: int, required: int) -> tuple[Leg, ...]:
    value = mul_div_down(state.entire_coll, price, WAD)
    factor = WAD * WAD // required
    return (
        Leg(Side.COLLATERAL, ETH, "ETH", 18, state.entire_coll, price, 18, value, factor, 18),
        Leg(Side.DEBT, state.facts.lusd, "LUSD", 18, state.entire_debt, WAD, 18, state.entire_debt, WAD, 18),
    )


PROTOCOL = LiquityV1()
