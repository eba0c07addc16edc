"""A real Aave V3 market on a local chain: deployment, and what tests and demos do to it.

`deploy` puts contracts, assets, loans and passed time on any DevChain, the same for 3.0 and 3.6. The other functions
move prices, pause, and try liquidations as a stranger would. Health is never computed here: it is asked of the
contracts, so that levmon's own arithmetic is compared with something that does not share a line with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.testing import aave_v3_core, aave_v3_origin
from monitor.testing.aave_v3_listing import EMODE_PRICE_E8, STABLE_EMODE, Listing, listings
from monitor.testing.aave_v3_loans import cast, opening
from monitor.testing.aave_v3_market import AaveMarket, Contracts, Reserve, Version
from monitor.testing.aave_v3_people import populate
from monitor.testing.artifacts import core_v3, own_contract
from monitor.testing.devchain import MAX_UINT256, CallReverted, DevChain
from monitor.testing.solc import origin

SHOCK_DECIMALS = 4
SHOCK_SCALE = 10**6  # 100 %, as parts of a million: a percentage with four decimals is exact


def deploy_token(chain: DevChain, admin: str, symbol: str, decimals: int) -> str:
    """Aave's own MintableERC20: anyone may mint."""
    return chain.deploy(
        admin,
        core_v3("mocks/tokens/MintableERC20").code,
        "(string,string,uint8)",
        [f"Local {symbol}", symbol, decimals],
    )


def deploy_feed(chain: DevChain, admin: str, description: str, price_e8: int) -> str:
    return chain.deploy(admin, own_contract("PriceFeed").code, "(uint8,string,int256)", [8, description, price_e8])


def _reserves(
    chain: DevChain, pool: str, listed: tuple[Listing, ...], assets: Mapping[str, str], feeds: Mapping[str, str]
) -> dict[str, Reserve]:
    """Token addresses as the pool answers them. 3.6 keeps the 3.0 layout, with zero for the stable debt token."""
    words = "(uint256,uint128,uint128,uint128,uint128,uint128,uint40,uint16,address,address,address)"
    reserves = {}
    for item in listed:
        answer = chain.call(pool, "getReserveData(address)", words, assets[item.symbol])
        number, a_token, s_token, v_token = answer[7:11]
        reserves[item.symbol] = Reserve(
            symbol=item.symbol,
            asset=assets[item.symbol],
            feed=feeds[item.symbol],
            a_token=a_token,
            v_token=v_token,
            s_token=s_token if int(s_token, 16) else None,
            decimals=item.decimals,
            id=number,
        )
    return reserves


def deploy(chain: DevChain, version: Version) -> AaveMarket:
    """One market with ten reserves and 32 borrowers, a month old: the same from run to run."""
    return deploy_all(chain, (version,))[0]


def deploy_all(chain: DevChain, versions: Sequence[Version]) -> tuple[AaveMarket, ...]:
    """A market per version on one chain, which grow old together; they share no asset, no feed and no borrower."""
    plans = {version: tuple(opening(loan, version) for loan in cast(version)) for version in versions}
    markets = tuple(deploy_empty(chain, version, len(plans[version])) for version in versions)
    populate(chain, [(market, plans[market.version]) for market in markets])
    for market in markets:
        refresh_prices(chain, market)
    return markets


def deploy_empty(
    chain: DevChain, version: Version, borrowers: int, listed: tuple[Listing, ...] | None = None
) -> AaveMarket:
    """The contracts and reserves (default: the ten of `listings`), and nobody in them."""
    admin = chain.account("admin")
    listed = listings(version) if listed is None else listed
    assets = {item.symbol: deploy_token(chain, admin, item.symbol, item.decimals) for item in listed}
    feeds = {item.symbol: deploy_feed(chain, admin, f"{item.symbol} / USD", item.price_e8) for item in listed}
    block = chain.block_number()
    contracts, emode_feeds = _deploy_protocol(chain, admin, version, listed, assets, feeds)
    return AaveMarket(
        version=version,
        chain_id=chain.chain_id,
        block=block,
        admin=admin,
        lender=chain.account(f"{version} lender"),
        liquidator=chain.account(f"{version} liquidator"),
        provider=contracts.provider,
        pool=contracts.pool,
        configurator=contracts.configurator,
        oracle=contracts.oracle,
        data_provider=contracts.data_provider,
        reserves=_reserves(chain, contracts.pool, listed, assets, feeds),
        emode_feeds=emode_feeds,
        borrowers=tuple(chain.account(f"{version} borrower {n:02}") for n in range(borrowers)),
    )


def _deploy_protocol(
    chain: DevChain,
    admin: str,
    version: Version,
    listed: tuple[Listing, ...],
    assets: Mapping[str, str],
    feeds: Mapping[str, str],
) -> tuple[Contracts, dict[int, str]]:
    """The market's contracts, and the feeds that e-mode categories have of their own."""
    sources = "setAssetSources(address[],address[])"
    keys, values = [assets[x.symbol] for x in listed], [feeds[x.symbol] for x in listed]
    if version == "3.6":
        contracts = aave_v3_origin.deploy_contracts(chain, admin, "levmon core 3.6")
        aave_v3_origin.list_reserves(chain, admin, contracts, listed, assets)
        chain.send(admin, contracts.oracle, sources, keys, values)
        aave_v3_origin.add_emodes(chain, admin, contracts, assets)
        return contracts, {}
    contracts = aave_v3_core.deploy_contracts(chain, admin, "levmon core 3.0")
    aave_v3_core.list_reserves(chain, admin, contracts, listed, assets)
    price_key = chain.account("stable e-mode price key")
    emode_feed = deploy_feed(chain, admin, "stable e-mode / USD", EMODE_PRICE_E8)
    chain.send(admin, contracts.oracle, sources, [*keys, price_key], [*values, emode_feed])
    aave_v3_core.add_emodes(chain, admin, contracts, listed, assets, price_key)
    return contracts, {STABLE_EMODE: emode_feed}


def account_data(chain: DevChain, market: AaveMarket, user: str) -> tuple[int, int, int, int, int, int]:
    """getUserAccountData: collateral, debt, available (base units), threshold, ltv (bps), health factor (WAD)."""
    total, debt, available, threshold, ltv, health = chain.call(
        market.pool, "getUserAccountData(address)", "(uint256,uint256,uint256,uint256,uint256,uint256)", user
    )
    return total, debt, available, threshold, ltv, health


def health_wad(chain: DevChain, market: AaveMarket, user: str) -> int:
    """The health factor as the pool answers it; 2**256 - 1 without debt."""
    return account_data(chain, market, user)[5]


def price_of(chain: DevChain, feed: str) -> int:
    (answer,) = chain.call(feed, "latestAnswer()", "(int256)")
    return int(answer)


def set_price(chain: DevChain, market: AaveMarket, feed: str, answer: int) -> None:
    """A new round with this raw answer (8 decimals), updated now; any integer, also zero and below."""
    chain.send(market.admin, feed, "setAnswer(int256)", answer)


def refresh_prices(chain: DevChain, market: AaveMarket) -> None:
    """Every feed answers the same again, updated now."""
    for feed in (*(reserve.feed for reserve in market.reserves.values()), *market.emode_feeds.values()):
        set_price(chain, market, feed, price_of(chain, feed))


def parse_shock(text: str) -> int:
    """Parts of a million that remain: `-20%` is 800000. May raise ValueError: not a percentage above -100 %."""
    match = re.fullmatch(r"([+-]?)([0-9]{1,6})(?:\.([0-9]+))?%", text)
    if match is None:
        raise ValueError(f"{text!r} is no percentage, write for example -20%")
    sign, whole, decimals = match[1], match[2], (match[3] or "").rstrip("0")
    if len(decimals) > SHOCK_DECIMALS:
        raise ValueError(f"{text!r}: a percentage has at most four decimals")
    change = int(f"{whole}{decimals:0<{SHOCK_DECIMALS}}")
    if sign == "-" and change >= SHOCK_SCALE:
        raise ValueError(f"{text!r}: a price can lose less than 100 %")
    return SHOCK_SCALE - change if sign == "-" else SHOCK_SCALE + change


def shock(chain: DevChain, market: AaveMarket, changes: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Moves prices, e.g. `{"WETH": "-20%"}`, rounding down; answers (before, after) by symbol.

    May raise: ValueError for a bad percentage, KeyError for a symbol that is not listed; nothing has moved then.
    """
    moves = {market.reserves[symbol].feed: (symbol, parse_shock(change)) for symbol, change in changes.items()}
    moved = {}
    for feed, (symbol, parts) in moves.items():
        before = price_of(chain, feed)
        after = before * parts // SHOCK_SCALE
        set_price(chain, market, feed, after)
        moved[symbol] = (before, after)
    return moved


LIQUIDATION_CALL = "liquidationCall(address,address,address,uint256,bool)"


def liquidate(chain: DevChain, market: AaveMarket, collateral: str, debt: str, user: str) -> None:
    """A stranger covers as much of `debt` as the pool allows, for `collateral` (symbols). May raise CallReverted."""
    assets = market.reserves[collateral].asset, market.reserves[debt].asset
    chain.send(market.liquidator, market.pool, LIQUIDATION_CALL, *assets, user, MAX_UINT256, False)


def would_liquidate(chain: DevChain, market: AaveMarket, collateral: str, debt: str, user: str) -> str | None:
    """None if that liquidation would succeed on the newest block, else the pool's revert reason."""
    assets = market.reserves[collateral].asset, market.reserves[debt].asset
    try:
        chain.call(market.pool, LIQUIDATION_CALL, "()", *assets, user, MAX_UINT256, False, sender=market.liquidator)
    except CallReverted as error:
        return error.reason
    return None


def set_paused(chain: DevChain, market: AaveMarket, symbol: str, paused: bool) -> None:
    asset = market.reserves[symbol].asset
    chain.send(market.admin, market.configurator, "setReservePause(address,bool)", asset, paused)


def set_frozen(chain: DevChain, market: AaveMarket, symbol: str, frozen: bool) -> None:
    asset = market.reserves[symbol].asset
    chain.send(market.admin, market.configurator, "setReserveFreeze(address,bool)", asset, frozen)


@dataclass(frozen=True, slots=True)
class Sentinel:
    """A PriceOracleSentinel and the sequencer feed that it asks (Aave's own SequencerOracle)."""

    address: str
    sequencer: str
    grace_s: int


def deploy_sentinel(chain: DevChain, market: AaveMarket, grace_s: int = 3600) -> Sentinel:
    """Put a sentinel before borrowing and liquidation, as on rollups; the sequencer has been up since 1970.

    3.0 counts its grace period from the sequencer feed's updatedAt, 3.6 from startedAt: each has its own mock.
    """
    if market.version == "3.0":
        feed, code = core_v3("mocks/oracle/SequencerOracle"), core_v3("protocol/configuration/PriceOracleSentinel")
    else:
        feed, code = origin("SequencerOracle"), origin("PriceOracleSentinel")
    sequencer = chain.deploy(market.admin, feed.code, "(address)", [market.admin])
    address = chain.deploy(market.admin, code.code, "(address,address,uint256)", [market.provider, sequencer, grace_s])
    chain.send(market.admin, market.provider, "setPriceOracleSentinel(address)", address)
    return Sentinel(address, sequencer, grace_s)


def set_sequencer(chain: DevChain, market: AaveMarket, sentinel: Sentinel, *, down: bool, since: int) -> None:
    """The sequencer is down, or has been up, since this timestamp."""
    chain.send(market.admin, sentinel.sequencer, "setAnswer(bool,uint256)", down, since)
