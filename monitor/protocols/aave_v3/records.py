"""What is known of a market and of one account, as frozen integers and text: nothing here computes.

Facts survive restarts as JSON; State is everything that the health of one owner depends on besides prices; Context is
what gates liquidations and tells the age of prices.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.actions import Swap
from monitor.core.types import Address, MarketRef
from monitor.oracles.chainlink import Reading

ZERO: Address = "0x0000000000000000000000000000000000000000"


@dataclass(frozen=True, slots=True)
class ReserveFacts:
    """One listed reserve. `id` is the contract's own number for it and not its place in the list."""

    asset: Address
    symbol: str
    id: int
    decimals: int
    a_token: Address
    source: Address = ZERO
    """The oracle's price source when the facts were read."""
    refused: str = ""
    """Why positions in it cannot be judged; empty if they can."""


@dataclass(frozen=True, slots=True)
class CategoryFacts:
    """An e-mode category with a price source of its own (<= 3.1)."""

    id: int
    label: str
    source: Address


@dataclass(frozen=True, slots=True)
class Facts:
    """A market's static facts, as far as they hold until an upgrade or a listing (recheck tells)."""

    market: MarketRef
    pool: Address
    oracle: Address
    sentinel: Address
    implementation: Address
    revision: int
    version: str
    candidates: tuple[str, ...]
    base_symbol: str
    base_unit: int
    reserves: tuple[ReserveFacts, ...]
    categories: tuple[CategoryFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class Category:
    """The owner's e-mode category. Bitmaps and `isolated` are 0 where the version has none."""

    id: int
    ltv: int
    liquidation_threshold: int
    liquidation_bonus: int
    price_source: Address = ZERO
    collateral_bitmap: int = 0
    ltvzero_bitmap: int = 0
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class ReserveState:
    """A reserve in which the owner has a bit set, with the owner's raw balances in it (scaled, stable in wei)."""

    asset: Address
    symbol: str
    id: int
    configuration: int
    liquidity_index: int
    liquidity_rate: int
    variable_borrow_index: int
    variable_borrow_rate: int
    last_update_s: int
    scaled_a_token: int
    scaled_variable_debt: int
    stable_principal: int = 0
    stable_rate: int = 0
    stable_update_s: int = 0


@dataclass(frozen=True, slots=True)
class Supply:
    """All that is supplied to a reserve, and the debts whose interest the treasury shares in. Scaled balances."""

    scaled: int
    accrued_to_treasury: int
    scaled_variable_debt: int
    stable_principal: int = 0
    stable_rate: int = 0
    stable_update_s: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """One way to pay a debt with collateral through a guard contract, as it is at the position's block.

    `premium_bps` is the flash loan's, `to_treasury_bps` the treasury's part of it; suppliers of the debt's asset share
    the rest, which `supply` tells (None: not read, and nothing is counted on). `returned`: the pool takes back what is
    not sold; else it goes to the owner's wallet.
    """

    collateral: Address
    debt: Address
    router: Address
    fee: int
    swap: Swap
    premium_bps: int
    to_treasury_bps: int
    supply: Supply | None
    returned: bool


@dataclass(frozen=True, slots=True)
class State:
    """One account's raw state. `sentinel` is the zero address where the market has none.

    `routes` are known only where rescues are judged; health has nothing to do with them.
    """

    base_symbol: str
    base_unit: int
    sentinel: Address
    user_configuration: int
    category: Category | None
    reserves: tuple[ReserveState, ...]
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class ReserveContext:
    """What gates a seizure in one reserve. None where it could not be read."""

    asset: Address
    grace_until_s: int | None
    """Liquidations are held back up to this second, included; 0 where there is no such thing."""
    underlying: int | None
    """What the aToken holds of the underlying."""
    virtual_balance: int | None
    """What the pool's own book allows to be taken out; heeded from 3.1."""
    reading: Reading | None = None
    """What the price source says of its answer."""


@dataclass(frozen=True, slots=True)
class Context:
    """Gates and price ages of a whole market. `sentinel_allows` is None where it could not be read."""

    sentinel_allows: bool | None
    reserves: tuple[ReserveContext, ...]

    def of(self, asset: Address) -> ReserveContext:
        """The asset's context; all unknown if it is not in here."""
        return next((r for r in self.reserves if r.asset == asset), ReserveContext(asset, None, None, None))
