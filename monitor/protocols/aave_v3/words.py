"""The packed words of Aave V3: a reserve's configuration and a user's bitmap, by bit position.

Mirrors ReserveConfiguration.sol, UserConfiguration.sol and EModeConfiguration.sol (positions never moved; which of
them a version still heeds is the business of versions.py).
"""

from __future__ import annotations

from collections.abc import Iterator


def bits(word: int, first: int, last: int) -> int:
    """Bits `first` to `last`, both included."""
    return word >> first & (1 << last - first + 1) - 1


def ltv(word: int) -> int:
    """Loan to value in basis points."""
    return bits(word, 0, 15)


def liquidation_threshold(word: int) -> int:
    """Liquidation threshold in basis points."""
    return bits(word, 16, 31)


def liquidation_bonus(word: int) -> int:
    """Liquidation bonus in basis points of the debt's value, e.g. 10500."""
    return bits(word, 32, 47)


def decimals(word: int) -> int:
    """Decimals of the underlying, as the pool uses them."""
    return bits(word, 48, 55)


def active(word: int) -> bool:
    return bits(word, 56, 56) == 1


def frozen(word: int) -> bool:
    return bits(word, 57, 57) == 1


def paused(word: int) -> bool:
    return bits(word, 60, 60) == 1


def flash_loans(word: int) -> bool:
    """Whether the reserve is lent within a transaction."""
    return bits(word, 63, 63) == 1


def reserve_factor(word: int) -> int:
    """The treasury's share of the interest in basis points."""
    return bits(word, 64, 79)


def supply_cap(word: int) -> int:
    """The most that may be supplied, in whole tokens; 0: no cap."""
    return bits(word, 116, 151)


def liquidation_protocol_fee(word: int) -> int:
    """The treasury's share of the bonus in basis points."""
    return bits(word, 152, 167)


def e_mode_category(word: int) -> int:
    """The category that the reserve belongs to; heeded up to 3.1."""
    return bits(word, 168, 175)


def debt_ceiling(word: int) -> int:
    """Debt ceiling of an isolated collateral with 2 decimals; 0 when not isolated. Heeded up to 3.6."""
    return bits(word, 212, 251)


def virtual_accounting(word: int) -> bool:
    """Whether the reserve keeps a virtual balance; read by 3.1 to 3.3 (always so from 3.4)."""
    return bits(word, 252, 252) == 1


def is_borrowing(user_configuration: int, reserve_id: int) -> bool:
    return user_configuration >> 2 * reserve_id & 1 == 1


def is_using_as_collateral(user_configuration: int, reserve_id: int) -> bool:
    return user_configuration >> 2 * reserve_id + 1 & 1 == 1


def reserve_ids(user_configuration: int) -> Iterator[int]:
    """Ids of the reserves with either bit set, in the order in which the contract walks them."""
    reserve_id = 0
    while user_configuration:
        if user_configuration & 3:
            yield reserve_id
        user_configuration >>= 2
        reserve_id += 1


def in_bitmap(bitmap: int, reserve_id: int) -> bool:
    """EModeConfiguration.isReserveEnabledOnBitmap."""
    return bitmap >> reserve_id & 1 == 1


def collateral_count(user_configuration: int) -> int:
    """How many reserves the user has enabled as collateral."""
    return sum(is_using_as_collateral(user_configuration, reserve_id) for reserve_id in reserve_ids(user_configuration))


def with_borrowing(user_configuration: int, reserve_id: int, *, borrowing: bool) -> int:
    """UserConfiguration.setBorrowing."""
    bit = 1 << 2 * reserve_id
    return user_configuration | bit if borrowing else user_configuration & ~bit


def with_collateral(user_configuration: int, reserve_id: int, *, used: bool = True) -> int:
    """UserConfiguration.setUsingAsCollateral."""
    bit = 1 << 2 * reserve_id + 1
    return user_configuration | bit if used else user_configuration & ~bit


def is_borrowing_any(user_configuration: int) -> bool:
    """UserConfiguration.isBorrowingAny."""
    return any(is_borrowing(user_configuration, reserve_id) for reserve_id in reserve_ids(user_configuration))
