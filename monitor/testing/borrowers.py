"""A crowd of borrowers on a wide, real Aave V3 market: thousands of accounts written straight into its storage.

The contracts, the listing, the liquidity and a year of interest come from transactions; only the crowd's balances,
bitmaps and e-modes are written by slot, because ten thousand loans would take an hour. Which slots these are is found
on an account with real loans, and what was written is compared with the contracts' own getters on a sample, so that a
wrong guess ends here and not in a measurement. Always the same crowd for the same seed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from random import Random

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from monitor.testing import aave_v3
from monitor.testing.aave_v3_listing import ETH_EMODE, ISOLATED_SYMBOL, Listing
from monitor.testing.aave_v3_market import AaveMarket, Reserve, Version
from monitor.testing.aave_v3_people import BORROW, DAY_S, SUPPLY
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.devchain import MAX_UINT256, DevChain, Transaction
from monitor.testing.wide_listing import MOST, wide_listings

RAY = 10**27
ANCHOR = "anchor"
"""The account with real loans in every reserve."""
ANCHOR_USD = 3_000_000
"""What the anchor borrows of each reserve; it supplies ten times as much of each."""
E_MODE_SYMBOLS = ("wstETH", "WETH")
SAMPLE = 12
SLOTS_SEARCHED = 100
WRITES_PER_REQUEST = 2_000
BALANCE_BITS = 120
"""The balance in a token's user state: 120 bits from 3.5 on, and no balance here is larger on 3.0 either."""


@dataclass(frozen=True, slots=True)
class Seeded:
    """One account to be written: raw amounts by symbol; `health_bps` is what they come to at the listing's terms."""

    owner: bytes
    emode: int
    supplies: Mapping[str, int]
    debts: Mapping[str, int]
    health_bps: int


def draw(version: Version, listed: tuple[Listing, ...], count: int, seed: int) -> list[Seeded]:
    """One to three collaterals, one or two debts; a tenth in the ether e-mode.

    One in twenty is below 1.05, one in a hundred below 1. The isolated asset is nobody's collateral, and nobody has a
    stable loan.
    """
    random = Random(f"{version} {seed}")
    known = {item.symbol: item for item in listed}
    free = [item for item in listed if item.symbol != ISOLATED_SYMBOL]
    crowd = []
    for _ in range(count):
        emode = ETH_EMODE if random.random() < 0.1 else 0
        if emode:
            backing, owing = [known["wstETH"]], [known["WETH"]]
        else:
            chosen = random.sample(free, random.choice((1, 1, 1, 2, 2, 3)) + random.choice((1, 1, 1, 2)))
            split = random.choice((1, 2)) if len(chosen) > 4 else 1 + (len(chosen) == 4)
            owing, backing = chosen[:split], chosen[split:]
        health_bps = 9_950 + int(60_000 * random.random() ** 1.6)
        value_e8 = 10**8 * int(10 ** random.uniform(2.0, 6.5))
        shares = [random.randrange(1, 10) for _ in backing]
        values = [value_e8 * share // sum(shares) for share in shares]
        backed = sum(value * (93_00 if emode else item.threshold) for value, item in zip(values, backing, strict=True))
        owed_e8 = backed // health_bps // len(owing)
        crowd.append(
            Seeded(
                owner=random.randbytes(20),
                emode=emode,
                supplies={
                    i.symbol: value * 10**i.decimals // i.price_e8 for i, value in zip(backing, values, strict=True)
                },
                debts={item.symbol: owed_e8 * 10**item.decimals // item.price_e8 for item in owing},
                health_bps=health_bps,
            )
        )
    return crowd


def seed(chain: AnvilDevChain, version: Version, count: int, *, reserves: int = MOST, seed: int = 1) -> AaveMarket:
    """A market with `count` borrowers at the newest block. May raise: AssertionError, when a getter says otherwise."""
    listed = wide_listings(version, reserves)
    crowd = draw(version, listed, count, seed)
    market = aave_v3.deploy_empty(chain, version, 0, listed)
    _bring_interest(chain, market, listed, crowd)
    state = _Storage(chain, market)
    _write(chain, state.words(crowd))
    chain.mine()
    market = replace(market, borrowers=tuple(to_checksum_address(one.owner) for one in crowd))
    _check(chain, market, crowd, Random(seed))
    return market


def _bring_interest(chain: DevChain, market: AaveMarket, listed: tuple[Listing, ...], crowd: Iterable[Seeded]) -> None:
    """Liquidity twice what the crowd owes, real debt in every reserve, and a year in five steps."""
    anchor, owed = chain.account(ANCHOR), dict.fromkeys(market.reserves, 0)
    for one in crowd:
        for symbol, amount in one.debts.items():
            owed[symbol] += amount
    funding, supplying, borrowing = [], [], []
    for item in listed:
        asset = market.reserves[item.symbol].asset
        unit = 10 ** (8 + item.decimals)
        for holder in (market.lender, market.liquidator, anchor):
            amount = 10**12 * 10**item.decimals
            funding.append(Transaction(market.admin, asset, "mint(address,uint256)", (holder, amount)))
            funding.append(Transaction(holder, asset, "approve(address,uint256)", (market.pool, MAX_UINT256)))
        liquid = 2 * owed[item.symbol] + ANCHOR_USD * unit // item.price_e8
        supplying.append(Transaction(market.lender, market.pool, SUPPLY, (asset, liquid, market.lender, 0)))
        backing = 10 * ANCHOR_USD * unit // item.price_e8
        supplying.append(Transaction(anchor, market.pool, SUPPLY, (asset, backing, anchor, 0)))
        loan = ANCHOR_USD * unit // item.price_e8
        borrowing.append(Transaction(anchor, market.pool, BORROW, (asset, loan, 2, 0, anchor)))
    chain.send_all([*funding, *supplying, *borrowing])
    for days in (73, 31, 97, 42, 122):
        chain.warp(days * DAY_S + 11)
        chain.send_all(
            Transaction(market.lender, market.pool, SUPPLY, (reserve.asset, 10**6, market.lender, 0))
            for reserve in market.reserves.values()
            if (reserve.id + days) % 3 or days == 122
        )
    aave_v3.refresh_prices(chain, market)


class _Storage:
    """Where a market keeps what, found on the anchor; and the words to write for a crowd."""

    def __init__(self, chain: AnvilDevChain, market: AaveMarket) -> None:
        self._chain, self._market = chain, market
        anchor, pool = chain.account(ANCHOR), market.pool
        self._places = [_key(anchor, slot) for slot in range(SLOTS_SEARCHED)]
        (bitmap,) = chain.call(pool, "getUserConfiguration(address)", "(uint256)", anchor)
        self._bitmap_slot = self._find(pool, bitmap, self._places)
        self._emode_slot = self._bitmap_slot + 3  # _usersConfig, _reservesList, _eModeCategories, _usersEModeCategory
        self._balances: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        for token in (token for reserve in market.reserves.values() for token in (reserve.a_token, reserve.v_token)):
            (balance,) = chain.call(token, "scaledBalanceOf(address)", "(uint256)", anchor)
            (total,) = chain.call(token, "scaledTotalSupply()", "(uint256)")
            self._balances[token] = self._find(token, balance, self._places, BALANCE_BITS)
            self._totals[token] = self._find(token, total, [n.to_bytes(32, "big") for n in range(SLOTS_SEARCHED)])

    def _find(self, contract: str, value: int, places: list[bytes], bits: int = 256) -> int:
        """Which of the places, and only that one, holds `value` in its low bits."""
        asked = [(contract, "0x" + place.hex(), "latest") for place in places]
        words = [int(word, 16) for word in self._chain.rpc_batch("eth_getStorageAt", asked)]
        found = [number for number, word in enumerate(words) if word & (1 << bits) - 1 == value]
        if value == 0 or len(found) != 1:
            raise AssertionError(f"{len(found)} slots of {contract} hold {value}")
        return found[0]

    def words(self, crowd: list[Seeded]) -> Iterator[tuple[str, bytes, int]]:
        """(contract, key, word) of all that the crowd's accounts consist of, and of the totals that include them."""
        market, added = self._market, dict.fromkeys(self._balances, 0)
        indexes = {symbol: self._indexes(reserve) for symbol, reserve in market.reserves.items()}
        for one in crowd:
            owner, bitmap = to_checksum_address(one.owner), 0
            for amounts, side in ((one.supplies, 1), (one.debts, 0)):
                for symbol, amount in amounts.items():
                    reserve = market.reserves[symbol]
                    token = reserve.a_token if side else reserve.v_token
                    index = indexes[symbol][1 - side]
                    scaled = amount * RAY // index
                    bitmap |= 1 << 2 * reserve.id + side
                    added[token] += scaled
                    yield token, _key(owner, self._balances[token]), index << 128 | scaled
            yield market.pool, _key(owner, self._bitmap_slot), bitmap
            if one.emode:
                yield market.pool, _key(owner, self._emode_slot), one.emode
        for token, amount in added.items():
            (total,) = self._chain.call(token, "scaledTotalSupply()", "(uint256)")
            yield token, self._totals[token].to_bytes(32, "big"), total + amount

    def _indexes(self, reserve: Reserve) -> tuple[int, int]:
        """The stored indexes: (liquidity, variable debt)."""
        words = "(uint256,uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address)"
        data = self._chain.call(self._market.pool, "getReserveData(address)", words, reserve.asset)
        return data[1], data[3]


def _key(owner: str, slot: int) -> bytes:
    """Solidity's place of `mapping(address => ...)` at `slot`."""
    return keccak(bytes.fromhex(owner[2:]).rjust(32, b"\0") + slot.to_bytes(32, "big"))


def _write(chain: AnvilDevChain, words: Iterable[tuple[str, bytes, int]]) -> None:
    """Many words by the node's own back door."""
    todo = iter(words)
    while part := list(islice(todo, WRITES_PER_REQUEST)):
        chain.rpc_batch(
            "anvil_setStorageAt", [(contract, "0x" + key.hex(), f"0x{word:064x}") for contract, key, word in part]
        )


def _check(chain: DevChain, market: AaveMarket, crowd: list[Seeded], random: Random) -> None:
    """The pool sees of a sample what was meant: bitmap, e-mode, balances, and health within a part in a thousand."""
    for one in random.sample(crowd, min(SAMPLE, len(crowd))):
        owner = to_checksum_address(one.owner)
        (bitmap,) = chain.call(market.pool, "getUserConfiguration(address)", "(uint256)", owner)
        bits = {1 << 2 * market.reserves[s].id + 1 for s in one.supplies} | {
            1 << 2 * market.reserves[s].id for s in one.debts
        }
        (emode,) = chain.call(market.pool, "getUserEMode(address)", "(uint256)", owner)
        if (bitmap, emode) != (sum(bits), one.emode):
            raise AssertionError(f"{owner} has bitmap {bitmap:x} and e-mode {emode}")
        for side, amounts in (("a_token", one.supplies), ("v_token", one.debts)):
            for symbol, amount in amounts.items():
                token = getattr(market.reserves[symbol], side)
                (balance,) = chain.call(token, "balanceOf(address)", "(uint256)", owner)
                if abs(balance - amount) > 2 + amount // 1000:
                    raise AssertionError(f"{owner} has {balance} of {token}, not {amount}")
        health = aave_v3.health_wad(chain, market, owner)
        if abs(health - one.health_bps * 10**14) > one.health_bps * 10**14 // 300 + 10**15:
            raise AssertionError(f"{owner} has health {health}, not {one.health_bps} bps")
