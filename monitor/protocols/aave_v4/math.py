# ruff: noqa: N802  (functions bear the names of the contract functions that they mirror)
"""Aave V4's integers: what a hub's shares are worth, the seven numbers of an account, and what a liquidation moves.

Mirrors AssetLogic and SharesMath of the hub, Spoke._processUserAccountData and LiquidationLogic of aave-v4 0.5.11
(SPOKE_REVISION 1). Holds the raw state that they work on; knows nothing of reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import BPS, RAY, UINT256_MAX, WAD
from monitor.protocols.aave_v3.math import SECONDS_PER_YEAR, ArithmeticReverts, uint256

VIRTUAL = 10**6
"""SharesMath.VIRTUAL_ASSETS and VIRTUAL_SHARES."""
DUST_LIQUIDATION_THRESHOLD = 1000 * 10**26
MAX_LISTED_VALUE = (1 << 224) - 1
"""KeyValueList has room for less than this."""
MAX_RISK_PREMIUM_THRESHOLD = (1 << 24) - 1
PAUSED, FROZEN, RECEIVE_SHARES = 1, 2, 8
"""Bits of a reserve's flags: ReserveFlagsMap."""


class Reverts(ProtocolError):
    """The contract reverts; the message is its own error, or `price: ...` where its oracle does."""


@dataclass(frozen=True, slots=True)
class ReserveFacts:
    """A reserve of the spoke by its id, and the hub's asset behind it.

    `key` names it and its price: the asset's address, with the id where the spoke lists the asset more than once.
    """

    id: int
    asset: Address
    symbol: str
    decimals: int
    hub: Address
    asset_id: int
    key: str

    @property
    def unit(self) -> int:
        return int(10**self.decimals)


@dataclass(frozen=True, slots=True)
class Facts:
    """A spoke, its oracle and its reserves in the order of their ids."""

    market: MarketRef
    oracle: Address
    reserves: tuple[ReserveFacts, ...]


@dataclass(frozen=True, slots=True)
class HubAsset:
    """What Hub.getAsset tells that accrual and share prices rest on. Index, rate and `..._ray` in ray, time in seconds.

    A ray amount is the asset's smallest unit times 10^27.
    """

    liquidity: int
    realized_fees: int
    added_shares: int
    swept: int
    premium_offset_ray: int
    drawn_shares: int
    premium_shares: int
    liquidity_fee: int
    drawn_index: int
    drawn_rate: int
    updated_s: int
    deficit_ray: int

    def index(self, at_s: int) -> int:
        """AssetLogic.getDrawnIndex: linear from the last accrual, rounded up."""
        if at_s == self.updated_s or self.drawn_shares == self.premium_shares == 0:
            return self.drawn_index
        if at_s < self.updated_s:
            raise Reverts("the hub accrued later than that")
        grown = self.drawn_rate * (at_s - self.updated_s) // SECONDS_PER_YEAR + RAY
        return -(-uint256(self.drawn_index * grown) // RAY)

    def owed(self, index: int) -> int:
        """_calculateAggregatedOwedRay, rounded up to whole units."""
        premium = premiumRay(self.premium_shares, self.premium_offset_ray, index)
        return fromRayUp(uint256(self.drawn_shares * index + premium + self.deficit_ray))

    def assets(self, at_s: int) -> int:
        """AssetLogic.totalAddedAssets."""
        index = self.index(at_s)
        owed = self.owed(index)
        grown = owed - self.owed(self.drawn_index) if index != self.drawn_index else 0
        fees = grown * self.liquidity_fee // BPS
        return uint256(self.liquidity + self.swept + owed - self.realized_fees - fees)

    def toAssetsDown(self, shares: int, at_s: int) -> int:
        """previewRemoveByShares."""
        return mulDiv(shares, self.assets(at_s) + VIRTUAL, self.added_shares + VIRTUAL)

    def toAssetsUp(self, shares: int, at_s: int) -> int:
        """previewAddByShares."""
        return mulDiv(shares, self.assets(at_s) + VIRTUAL, self.added_shares + VIRTUAL, up=True)

    def toSharesDown(self, assets: int, at_s: int) -> int:
        """previewAddByAssets."""
        return mulDiv(assets, self.added_shares + VIRTUAL, self.assets(at_s) + VIRTUAL)


@dataclass(frozen=True, slots=True)
class Terms:
    """A dynamic configuration in basis points, under the key that the account holds and not the reserve's newest."""

    key: int
    collateral_factor: int
    max_liquidation_bonus: int
    liquidation_fee: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """One reserve and what the account has in it; `terms` is None where the account does not use it as collateral."""

    facts: ReserveFacts
    hub: HubAsset
    collateral_risk: int
    flags: int
    newest_key: int
    collateral: bool
    borrowing: bool
    drawn_shares: int
    premium_shares: int
    premium_offset_ray: int
    supplied_shares: int
    terms: Terms | None

    @property
    def factor(self) -> int:
        """What counts of the supply in basis points."""
        return self.terms.collateral_factor if self.collateral and self.terms else 0

    def supplied(self, at_s: int) -> int:
        """getUserSuppliedAssets."""
        return self.hub.toAssetsDown(self.supplied_shares, at_s)

    def premium_ray(self, at_s: int) -> int:
        return premiumRay(self.premium_shares, self.premium_offset_ray, self.hub.index(at_s))

    def debt_ray(self, at_s: int) -> int:
        """Drawn and premium debt, exact: what health counts."""
        return uint256(self.drawn_shares * self.hub.index(at_s) + self.premium_ray(at_s))

    def debt(self, at_s: int) -> int:
        """getUserTotalDebt: drawn and premium, each rounded up to whole units."""
        return fromRayUp(self.drawn_shares * self.hub.index(at_s)) + fromRayUp(self.premium_ray(at_s))


@dataclass(frozen=True, slots=True)
class LiquidationConfig:
    """The spoke's: health factors in wad, the smallest part of the largest bonus in basis points."""

    target_health_factor: int
    health_factor_for_max_bonus: int
    liquidation_bonus_factor: int


@dataclass(frozen=True, slots=True)
class State:
    """One account: the reserves in which it has a bit or shares. `price_errors`: by key, why a price is missing."""

    facts: Facts
    config: LiquidationConfig
    reserves: tuple[Reserve, ...]
    price_errors: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HubSpoke:
    """What a hub lets this spoke do with one asset (Hub.getSpoke): shares, and the cap on premium in basis points."""

    drawn_shares: int
    premium_shares: int
    risk_premium_threshold: int
    active: bool
    halted: bool

    def has_room(self, reserve: Reserve, most_risk: int) -> bool:
        """Whether no liquidation of the account can exceed the premium cap; more cannot be said without its amounts."""
        if self.risk_premium_threshold == MAX_RISK_PREMIUM_THRESHOLD:
            return True
        most = self.premium_shares + -(-reserve.drawn_shares * most_risk // BPS)
        left = max(self.drawn_shares - reserve.drawn_shares, 0)
        return most <= -(-left * self.risk_premium_threshold // BPS)


@dataclass(frozen=True, slots=True)
class AccountData:
    """Spoke.UserAccountData. Values with 26 decimals, the debt's times 10^27."""

    risk_premium: int
    avg_collateral_factor: int
    health_factor: int
    total_collateral_value: int
    total_debt_value_ray: int
    active_collateral_count: int
    borrow_count: int

    def reported(self) -> dict[str, int]:
        """By the ABI's names, in its order."""
        return {
            "riskPremium": self.risk_premium,
            "avgCollateralFactor": self.avg_collateral_factor,
            "healthFactor": self.health_factor,
            "totalCollateralValue": self.total_collateral_value,
            "totalDebtValueRay": self.total_debt_value_ray,
            "activeCollateralCount": self.active_collateral_count,
            "borrowCount": self.borrow_count,
        }


def mulDiv(a: int, b: int, denominator: int, *, up: bool = False) -> int:
    """OpenZeppelin's Math.mulDiv: 512 bits between, 256 after. May raise: ArithmeticReverts."""
    if denominator == 0:
        raise ArithmeticReverts("division by zero")
    return uint256(-(-a * b // denominator) if up else a * b // denominator)


def fromRayUp(amount: int) -> int:
    """Whole units of a ray amount, rounded up."""
    return -(-amount // RAY)


def premiumRay(shares: int, offset_ray: int, index: int) -> int:
    """Premium.calculatePremiumRay. May raise: ArithmeticReverts."""
    return uint256(shares * index - offset_ray)


def toValue(amount: int, reserve: ReserveFacts, price: int) -> int:
    """SpokeUtils.toValue: exact, with 26 decimals. May raise: ArithmeticReverts."""
    return uint256(uint256(amount * price) * int(10 ** (18 - reserve.decimals)))


def price_of(state: State, prices: Mapping[str, int], reserve: Reserve) -> int:
    """AaveOracle.getReservePrice: nothing at or below zero, and no second oracle. May raise: Reverts."""
    key = reserve.facts.key
    price = prices.get(key, 0)
    if price <= 0:
        reason = "InvalidPrice" if key in prices else state.price_errors.get(key, "no price")
        raise Reverts(f"price: {reserve.facts.symbol}: {reason}")
    return price


def sums(state: State, prices: Mapping[str, int], at_s: int) -> tuple[int, int]:
    """(collateral value times its factor in basis points, debt value in ray). May raise: ArithmeticReverts, Reverts."""
    weighted = owed = 0
    for one in state.reserves:
        if one.collateral or one.borrowing:
            price = price_of(state, prices, one)
            if one.factor and one.supplied_shares:
                weighted = uint256(weighted + one.factor * toValue(one.supplied(at_s), one.facts, price))
            if one.borrowing:
                owed = uint256(owed + toValue(one.debt_ray(at_s), one.facts, price))
    return weighted, owed


def health_factor(weighted: int, owed_ray: int) -> int:
    """In wad, rounded down. May raise: ArithmeticReverts."""
    return mulDiv(uint256(weighted * (WAD // BPS)), RAY, owed_ray) if owed_ray else UINT256_MAX


def account_data(state: State, prices: Mapping[str, int], at_s: int) -> AccountData:
    """_processUserAccountData without refreshing the dynamic configuration. May raise: ArithmeticReverts, Reverts."""
    weighted, owed_ray = sums(state, prices, at_s)
    listed = []
    for one in state.reserves:
        if one.factor and one.supplied_shares:
            value = toValue(one.supplied(at_s), one.facts, prices[one.facts.key])
            if value >= MAX_LISTED_VALUE:
                raise Reverts("MaxDataSizeExceeded()")
            listed.append((one.collateral_risk, value))
    collateral = uint256(sum(value for _, value in listed))
    factor = health_factor(weighted, owed_ray)
    return AccountData(
        risk_premium=_risk_premium(listed, fromRayUp(owed_ray)),
        avg_collateral_factor=weighted * (WAD // BPS) // collateral if collateral else 0,
        health_factor=factor,
        total_collateral_value=collateral,
        total_debt_value_ray=owed_ray,
        active_collateral_count=len(listed),
        borrow_count=sum(one.borrowing for one in state.reserves),
    )


def _risk_premium(listed: Sequence[tuple[int, int]], owed: int) -> int:
    """The mean risk of the least risky collateral that covers the debt, rounded up, in basis points."""
    left, total = owed, 0
    for risk, value in sorted(listed, key=lambda one: (one[0], -one[1])):
        part = min(value, left)
        total, left = total + part * risk, left - part
    return -(-total // (owed - left)) if left < owed else 0


# -- liquidation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seizure:
    """What liquidationCall moves, as its event names it; `collateralAmountRemoved` at the share price before."""

    debtAmountRestored: int  # noqa: N815
    drawnSharesLiquidated: int  # noqa: N815
    premiumDebtRayLiquidated: int  # noqa: N815
    collateralAmountRemoved: int  # noqa: N815
    collateralSharesLiquidated: int  # noqa: N815
    collateralSharesToLiquidator: int  # noqa: N815
    deficit: bool


def liquidation(
    state: State,
    prices: Mapping[str, int],
    at_s: int,
    collateral: int,
    debt: int,
    cover: int = UINT256_MAX,
    *,
    receive_shares: bool = False,
    spokes: Mapping[int, HubSpoke] | None = None,
) -> Seizure:
    """liquidationCall by a funded stranger, reserves by id. May raise: ArithmeticReverts, Reverts.

    Without `spokes` the hubs are taken to let the spoke act.
    """
    data = account_data(state, prices, at_s)
    held, terms, due = _validated(state, data, collateral, debt, cover, receive_shares)
    price, debt_price = price_of(state, prices, held), price_of(state, prices, due)
    bonus = liquidation_bonus(state.config, data.health_factor, terms.max_liquidation_bonus)
    index, premium = due.hub.index(at_s), due.premium_ray(at_s)
    drawn, paid_ray = _debt_to_liquidate(state.config, data, held, due, debt_price, bonus, cover, at_s)

    def shares_for(drawn_shares: int, premium_part: int) -> int:
        """_calculateCollateralToLiquidate."""
        worth = uint256(debt_price * held.facts.unit * bonus)
        below = uint256(due.facts.unit * price * BPS * RAY)
        seized = mulDiv(uint256(drawn_shares * index + premium_part), worth, below)
        return held.hub.toSharesDown(seized, at_s)

    shares = shares_for(drawn, paid_ray)
    dust = shares < held.supplied_shares and (
        toValue(held.hub.toAssetsDown(held.supplied_shares - shares, at_s), held.facts, price)
        < DUST_LIQUIDATION_THRESHOLD
    )
    if shares > held.supplied_shares or (dust and drawn < due.drawn_shares):
        shares = held.supplied_shares
        worth = uint256(price * due.facts.unit * BPS * RAY)
        below = uint256(debt_price * held.facts.unit * bonus)
        part = mulDiv(held.hub.toAssetsUp(shares, at_s), worth, below, up=True)
        if part <= premium:
            drawn, paid_ray = 0, min(fromRayUp(part) * RAY, premium)
        else:
            drawn, paid_ray = -(-(part - premium) // index), premium
            if drawn > due.drawn_shares:
                drawn = due.drawn_shares
                shares = min(shares_for(drawn, paid_ray), held.supplied_shares)
    restored = fromRayUp(drawn * index) + fromRayUp(paid_ray)
    if cover < restored:
        raise Reverts("MustNotLeaveDust()")
    fee = mulDiv(shares, terms.liquidation_fee * (bonus - BPS), bonus * BPS, up=True)
    emptied, paid_up = shares == held.supplied_shares, drawn == due.drawn_shares
    seizure = Seizure(
        debtAmountRestored=restored,
        drawnSharesLiquidated=drawn,
        premiumDebtRayLiquidated=paid_ray,
        collateralAmountRemoved=held.hub.toAssetsDown(shares, at_s),
        collateralSharesLiquidated=shares,
        collateralSharesToLiquidator=shares - fee,
        deficit=emptied and data.active_collateral_count <= 1 and (not paid_up or data.borrow_count > 1),
    )
    _validate_hubs(state, held, due, seizure, at_s, receive_shares, spokes)
    return seizure


def liquidation_bonus(config: LiquidationConfig, factor: int, largest: int) -> int:
    """calculateLiquidationBonus in basis points: it grows as health falls."""
    if factor <= config.health_factor_for_max_bonus:
        return largest
    least = (largest - BPS) * config.liquidation_bonus_factor // BPS + BPS
    return least + (largest - least) * (WAD - factor) // (WAD - config.health_factor_for_max_bonus)


def _debt_to_liquidate(
    config: LiquidationConfig,
    data: AccountData,
    held: Reserve,
    due: Reserve,
    price: int,
    bonus: int,
    cover: int,
    at_s: int,
) -> tuple[int, int]:
    """_calculateDebtToLiquidate: (drawn shares, premium in ray), premium first, and no dust of debt left."""
    index, premium = due.hub.index(at_s), due.premium_ray(at_s)
    target = config.target_health_factor
    penalty = -(-bonus * (WAD // BPS) * held.factor // BPS)
    to_target = mulDiv(
        data.total_debt_value_ray,
        due.facts.unit * (target - data.health_factor),
        uint256((target - penalty) * price * WAD),
        up=True,
    )
    paid_ray = min(uint256(fromRayUp(to_target) * RAY), premium)
    if cover < fromRayUp(paid_ray):
        paid_ray = cover * RAY
    drawn = 0
    if paid_ray == premium and paid_ray < to_target:
        to_cover = mulDiv(cover - fromRayUp(paid_ray), RAY, index)
        drawn = min(-(-(to_target - paid_ray) // index), to_cover, due.drawn_shares)
    left = (due.drawn_shares - drawn) * index + premium - paid_ray
    if drawn < due.drawn_shares and toValue(left, due.facts, price) < DUST_LIQUIDATION_THRESHOLD * RAY:
        return due.drawn_shares, premium
    return drawn, paid_ray


def _validated(
    state: State, data: AccountData, collateral: int, debt: int, cover: int, receive_shares: bool
) -> tuple[Reserve, Terms, Reserve]:
    """_validateLiquidationCall: the collateral, its terms and the debt. May raise: Reverts."""
    held, due = (next((one for one in state.reserves if one.facts.id == number), None) for number in (collateral, debt))
    if cover == 0:
        raise Reverts("InvalidDebtToCover()")
    if any(one.flags & PAUSED for one in (held, due) if one is not None):
        raise Reverts("ReservePaused()")
    if held is None or held.supplied_shares == 0:
        raise Reverts("ReserveNotSupplied()")
    if due is None or due.drawn_shares == 0:
        raise Reverts("ReserveNotBorrowed()")
    if data.health_factor >= WAD:
        raise Reverts("HealthFactorNotBelowThreshold()")
    if held.factor == 0 or held.terms is None:
        raise Reverts("ReserveNotEnabledAsCollateral()")
    if receive_shares and (held.flags & FROZEN or not held.flags & RECEIVE_SHARES):
        raise Reverts("CannotReceiveShares()")
    return held, held.terms, due


def _validate_hubs(
    state: State,
    held: Reserve,
    due: Reserve,
    moved: Seizure,
    at_s: int,
    receive_shares: bool,
    spokes: Mapping[int, HubSpoke] | None,
) -> None:
    """What Hub.remove, restore, payFeeShares, refreshPremium and reportDeficit refuse. May raise: Reverts."""
    removes = not receive_shares and moved.collateralSharesToLiquidator > 0
    if removes:
        amount = held.hub.toAssetsDown(moved.collateralSharesToLiquidator, at_s)
        if amount == 0:
            raise Reverts("InvalidAmount()")
        if amount > held.hub.liquidity:
            raise Reverts("InsufficientLiquidity(uint256)")
    if moved.drawnSharesLiquidated == moved.premiumDebtRayLiquidated == 0:
        raise Reverts("InvalidAmount()")
    if spokes is None:
        return
    pays_fee = moved.collateralSharesLiquidated > moved.collateralSharesToLiquidator
    moving = [due, *([held] if removes else [])]
    touched = [*moving, *([held] if pays_fee else []), *(one for one in state.reserves if one.borrowing)]
    if not all(spokes[one.facts.id].active for one in touched):
        raise Reverts("SpokeNotActive()")
    if any(spokes[one.facts.id].halted for one in moving):
        raise Reverts("SpokeHalted()")


def pairs(state: State) -> Sequence[tuple[int, int]]:
    """Every (collateral, debt) that a liquidation could name."""
    return [
        (held.facts.id, due.facts.id)
        for held in state.reserves
        if held.factor and held.supplied_shares
        for due in state.reserves
        if due.drawn_shares
    ]
