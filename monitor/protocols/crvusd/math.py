"""LLAMMA's integers: band prices, what a loan's bands are worth in the borrowed coin, health, and a hard liquidation.

Mirrors AMM.vy and Controller.vy of curve-stablecoin v1 (Vyper 0.3.10): checked arithmetic reverts beyond 256 bits, and
`unsafe_div` floors. Holds the raw state that they work on; knows nothing of reading.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import isqrt

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, MarketRef
from monitor.core.units import UINT256_MAX, WAD

INT256_MAX = 2**255 - 1
DEAD_SHARES = 1000
PREV_P_O_DELAY = 120
MAX_P_O_CHG = 12_500 * 10**14
LN2_96 = 54916777467707473351141471128


class Reverts(ProtocolError):
    """The contract reverts on these inputs."""


@dataclass(frozen=True, slots=True)
class Token:
    """One of the two coins."""

    address: Address
    symbol: str
    decimals: int

    @property
    def precision(self) -> int:
        """What brings its amounts to 18 decimals."""
        return int(10 ** (18 - self.decimals))


@dataclass(frozen=True, slots=True)
class Facts:
    """A market: its controller (the market's address), AMM and oracle, and the AMM's immutables.

    `base_price` is that of band 0 before any interest, with 18 decimals. A band is 1 / A of its price wide.
    """

    market: MarketRef
    amm: Address
    oracle: Address
    collateral: Token
    borrowed: Token
    A: int
    base_price: int

    @property
    def log_ratio(self) -> int:
        """LOG_A_RATIO: ln(A / (A - 1)) as ControllerFactory reckons it."""
        return ln_int(WAD * self.A // (self.A - 1))

    @property
    def sqrt_ratio(self) -> int:
        """SQRT_BAND_RATIO."""
        return isqrt(WAD * self.A // (self.A - 1) * WAD)


@dataclass(frozen=True, slots=True)
class Band:
    """A band of the loan: what everybody has in it with 18 decimals, all shares, and those of the loan."""

    x: int
    y: int
    total_shares: int
    shares: int

    def part(self, amount: int) -> int:
        """The loan's part of an amount. DEAD_SHARES belong to nobody."""
        return _u(amount * self.shares) // (self.total_shares + DEAD_SHARES)


@dataclass(frozen=True, slots=True)
class State:
    """One loan, and what of the AMM decides it. Prices, rates and multipliers with 18 decimals, times in seconds.

    `bands` begin at `n1`, the one of the highest price. `initial_debt` 0: there is no loan.
    """

    facts: Facts
    n_loans: int
    rate: int
    rate_time: int
    rate_mul: int
    active_band: int
    old_p_o: int
    prev_p_o_time: int
    initial_debt: int
    loan_rate_mul: int
    liquidation_discount: int
    n1: int
    bands: tuple[Band, ...]
    price_error: str = ""

    @property
    def soft(self) -> bool:
        """Whether the AMM may convert the loan's collateral: the active band has come to its first one."""
        return self.n1 <= self.active_band


def _u(value: int) -> int:
    """uint256. May raise: Reverts."""
    if not 0 <= value <= UINT256_MAX:
        raise Reverts("a number does not fit 256 bits")
    return value


def _signed(value: int) -> int:
    """int256. May raise: Reverts."""
    if not -INT256_MAX - 1 <= value <= INT256_MAX:
        raise Reverts("a number does not fit 256 bits with sign")
    return value


def _sdiv(value: int, by: int) -> int:
    """Division toward zero. May raise: Reverts."""
    if by == 0:
        raise Reverts("division by zero")
    return value // by if value >= 0 else -(-value // by)


@cache
def ln_int(x: int) -> int:
    """ControllerFactory.ln_int: the natural logarithm by way of log2."""
    found = 0
    for power in (128, 64, 32, 16, 8, 4, 2, 1):
        if x >= (1 << power) * WAD:
            x //= 1 << power
            found += power * WAD
    digit = WAD
    for _ in range(59):
        if x >= 2 * WAD:
            found += digit
            x //= 2
        x = x * x // WAD
        digit //= 2
    return found * WAD // 1442695040888963328


def exp_int(power: int) -> int:
    """e^power with 18 decimals, as _p_oracle_up reckons it. May raise: Reverts."""
    if not -41446531673892821376 < power < 135305999368893231589:
        raise Reverts("a band is too far away")
    x = _sdiv(power << 96, WAD)
    k = _sdiv(_sdiv(x << 96, LN2_96) + (1 << 95), 1 << 96)
    x -= k * LN2_96
    y = x + 1346386616545796478920950773328
    y = _sdiv(y * x, 1 << 96) + 57155421227552351082224309758442
    p = y + x - 94201549194550492254356042504812
    p = _sdiv(p * y, 1 << 96) + 28719021644029726153956944680412240
    p = p * x + (4385272521454847904659076985693276 << 96)
    q = x - 2855989394907223263936484059900
    q = _sdiv(q * x, 1 << 96) + 50020603652535783019961831881945
    q = _sdiv(q * x, 1 << 96) - 533845033583426703283633433725380
    q = _sdiv(q * x, 1 << 96) + 3604857256930695427073651918091429
    q = _sdiv(q * x, 1 << 96) - 14423608567350463180887372962807573
    q = _sdiv(q * x, 1 << 96) + 26449188498355588339934803723976023
    found = (_sdiv(p, q) * 3822833074963236453042738258902158003155416615667 & UINT256_MAX) >> (195 - k)
    if found <= 1000:
        raise Reverts("a band is too far away")
    return found


def get_rate_mul(state: State, at_s: int) -> int:
    """AMM._rate_mul: linear since the last SetRate. May raise: Reverts."""
    return _u(state.rate_mul * (WAD + _u(state.rate * _u(at_s - state.rate_time)))) // WAD


def debt_of(state: State, at_s: int) -> int:
    """Controller._debt: rounded up, except for the only loan. May raise: Reverts."""
    if state.initial_debt == 0:
        return 0
    owed = _u(state.initial_debt * get_rate_mul(state, at_s))
    if state.loan_rate_mul == 0:
        raise Reverts("division by zero")
    if owed % state.loan_rate_mul and state.n_loans > 1:
        owed = _u(owed + state.loan_rate_mul - 1)
    return owed // state.loan_rate_mul


def p_oracle_up(state: State, n: int, at_s: int) -> int:
    """The upper price of band `n`: it drifts up with the borrow rate. May raise: Reverts."""
    base = _u(state.facts.base_price * get_rate_mul(state, at_s)) // WAD
    return _u(base * exp_int(-n * state.facts.log_ratio)) // WAD


def price_oracle(state: State, price: int, at_s: int) -> int:
    """AMM.limit_p_o: for two minutes after an exchange the price moves by a quarter at most. May raise: Reverts."""
    left_s = PREV_P_O_DELAY - min(PREV_P_O_DELAY, _u(at_s - state.prev_p_o_time))
    if left_s == 0:
        return price
    old, least = state.old_p_o, 10**36 // MAX_P_O_CHG
    if price > old:
        return old * MAX_P_O_CHG // WAD if _u(old * WAD) // price < least else price
    ratio = _u(price * WAD) // old if old else 0
    return _u(old * WAD) // MAX_P_O_CHG if ratio < least else price


def get_y0(a: int, x: int, y: int, p_o: int, p_o_up: int) -> int:
    """AMM._get_y0. May raise: Reverts."""
    b = 0
    if x:
        b = _u(_u(p_o_up * (a - 1)) * x) // p_o
    if y:
        b = _u(b + _u(_u(a * _u(p_o * p_o)) // p_o_up * y) // WAD)
    if x and y:
        root = isqrt(_u(_u(b * b) + _u(_u(_u(4 * a * p_o) * y) // WAD * x)))
        return _u(_u(b + root) * WAD) // (2 * a * p_o)
    return _u(b * WAD) // (a * p_o)


def x_down_of(facts: Facts, band: Band, x: int, y: int, p_o: int, p_o_up: int, p_o_down: int) -> int:
    """What the loan's part of one band comes to in the borrowed coin, traded down at `p_o`. May raise: Reverts."""
    a = facts.A
    if p_o_down == 0:
        raise Reverts("division by zero")
    p_current_mid = _u(_u(p_o * p_o) // p_o_down * p_o) // p_o_up

    def down(amount_y: int) -> int:
        return band.part(_u(amount_y * p_o_up) // facts.sqrt_ratio)

    if x == 0 or y == 0:
        if p_o > p_o_up:
            if y == 0:
                if p_current_mid == 0:
                    raise Reverts("division by zero")
                y = _u(x * WAD) // p_current_mid
            return down(y)
        if p_o < p_o_down:
            return band.part(x or _u(y * p_current_mid) // WAD)
    y0 = get_y0(a, x, y, p_o, p_o_up)
    f = _u(_u(_u(a * y0) * p_o) // p_o_up * p_o) // WAD
    g = _u(_u((a - 1) * y0) * p_o_up) // p_o
    inv = _u(_u(f + x) * _u(g + y))
    if p_o > p_o_up:
        return down(max(_over(inv, f), g) - g)
    if p_o < p_o_down:
        return band.part(max(_over(inv, g), f) - f)
    y_o = _u(_u(a * y0) * (p_o - p_o_down)) // p_o
    x_o = max(_over(inv, _u(g + y_o)), f) - f
    return band.part(_u(x_o + _u(y_o * isqrt(_u(p_o_down * p_o))) // WAD))


def _over(value: int, by: int) -> int:
    if by == 0:
        raise Reverts("division by zero")
    return value // by


def get_x_down(state: State, p_o: int, at_s: int) -> int:
    """AMM.get_xy_up(user, False), at the limited oracle price. May raise: Reverts."""
    if not state.bands or state.bands[0].shares == 0:
        return 0
    if p_o == 0:
        raise Reverts("the oracle's price is 0")
    facts, total, p_o_down = state.facts, 0, p_oracle_up(state, state.n1, at_s)
    for n, band in enumerate(state.bands, state.n1):
        y = band.y if n >= state.active_band else 0
        x = band.x if n <= state.active_band else 0
        p_o_up, p_o_down = p_o_down, _u(p_o_down * (facts.A - 1)) // facts.A
        if (x or y) and band.total_shares and band.shares:
            total = _u(total + x_down_of(facts, band, x, y, p_o, p_o_up, p_o_down))
    return total // facts.borrowed.precision


def get_sum_xy(state: State) -> tuple[int, int]:
    """AMM.get_sum_xy: (borrowed coin, collateral) that are the loan's now, in their smallest units."""
    if not state.bands or state.bands[0].shares == 0:
        return 0, 0
    xs = sum(band.part(band.x + 1) for band in state.bands)
    ys = sum(band.part(band.y + 1) for band in state.bands)
    return xs // state.facts.borrowed.precision, ys // state.facts.collateral.precision


@dataclass(frozen=True, slots=True)
class Judged:
    """Controller.health(user, True) and what it is made of: debt and x_down in the borrowed coin's smallest unit."""

    health: int
    debt: int
    x_down: int
    p_o: int


def judge(state: State, price: int, at_s: int) -> Judged:
    """Controller._health of a loan, `full`. May raise: Reverts."""
    facts, debt = state.facts, debt_of(state, at_s)
    if debt == 0:
        raise Reverts("Loan doesn't exist")
    p_o = price_oracle(state, price, at_s)
    x_down = get_x_down(state, p_o, at_s)
    counted = _signed(_signed(x_down) * (WAD - _signed(state.liquidation_discount)))
    health = _sdiv(counted, _signed(debt)) - WAD
    if not state.soft and p_o > (p_up := p_oracle_up(state, state.n1, at_s)):
        above = _u(_u((p_o - p_up) * get_sum_xy(state)[1]) * facts.collateral.precision)
        health = _signed(health + _signed(above // _u(debt * facts.borrowed.precision)))
    return Judged(health, debt, x_down, p_o)


@dataclass(frozen=True, slots=True)
class Seizure:
    """What liquidate(user, 0) moves: all of `debt` is paid, partly by `x` of the loan's own; `y` is the collateral."""

    debt: int
    x: int
    y: int

    @property
    def paid(self) -> int:
        """What the liquidator pays in; negative: is paid out."""
        return self.debt - self.x


def liquidation(state: State, price: int, at_s: int) -> Seizure:
    """Controller.liquidate by a funded stranger, who needs no more than `paid`. May raise: Reverts."""
    judged = judge(state, price, at_s)
    if judged.health >= 0:
        raise Reverts("Not enough rekt")
    if not state.bands or state.bands[0].shares == 0:
        raise Reverts("No deposits")
    return Seizure(judged.debt, *get_sum_xy(state))


def reach(state: State, low: int, high: int, low_s: int, high_s: int) -> tuple[int, int, int]:
    """(most, least, slack): by what fraction 1 + health can at most differ between two ends of prices and times.

    At a fixed composition a loan's worth moves by no more than the third power of the oracle's price relative to its
    bands, up or down; a fourth is allowed for here, and a fifth of the interest, which moves bands and debt. `slack`
    with 18 decimals is what roundings add: above all those of whole units of collateral. May raise: Reverts.
    """
    ends = [price_oracle(state, price, at_s) for price in (low, high) for at_s in (low_s, high_s)]
    before, after = get_rate_mul(state, low_s), get_rate_mul(state, high_s)
    unit = p_oracle_up(state, state.n1, high_s) // WAD + 1
    debt = debt_of(state, low_s) * state.facts.borrowed.precision
    slack = 1000 * len(state.bands) * unit * WAD // max(debt, 1) + 100
    return max(ends) ** 4 * after**5, min(ends) ** 4 * before**5, slack


def floor(state: State, low: int, high: int, low_s: int, high_s: int) -> int:
    """What 1 + health is at least between these prices and times; 0 where nothing is known but that.

    Below all bands no band comes to less than the borrowed coin that is in it, above them to no less than its
    collateral at the band's price. May raise: Reverts.
    """
    ends = [price_oracle(state, price, at_s) for price in (low, high) for at_s in (low_s, high_s)]
    facts, first, kept = state.facts, p_oracle_up(state, state.n1, high_s), WAD - state.liquidation_discount
    last = p_oracle_up(state, state.n1 + len(state.bands), low_s)
    total = 0
    if max(ends) * 1000 < last * 999:
        total = sum(band.part(band.x) for n, band in enumerate(state.bands, state.n1) if n <= state.active_band)
    elif min(ends) > first:
        for n, p_o_up, band in bands(state, low_s):
            if n >= state.active_band:
                total += band.part(band.y * p_o_up // facts.sqrt_ratio)
    return total // facts.borrowed.precision * kept // max(debt_of(state, high_s), 1)


def bands(state: State, at_s: int) -> Iterator[tuple[int, int, Band]]:
    """Each band's number and upper price, from the highest."""
    for n, band in enumerate(state.bands, state.n1):
        yield n, p_oracle_up(state, n, at_s), band
