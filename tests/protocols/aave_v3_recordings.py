"""The recorded Aave V3 markets as the adapter sees them: facts from the file, state from its cassette.

The recorded deployments have no sentinel, no grace periods, and more liquidity than any sampled account can take out;
that is what CONTEXT says, since the cassettes hold no calls for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monitor.chain.abi import checksum
from monitor.core.plan import run
from monitor.core.types import Answer, BlockRef, Call, MarketRef, Ok, Position, Query
from monitor.protocols.aave_v3 import PROTOCOL, words
from monitor.protocols.aave_v3.records import ZERO, CategoryFacts, Context, Facts, ReserveContext, ReserveFacts
from tests.protocols.cassette import Cassette, block_of

VERSIONS = ("3.0", "3.3", "3.4", "3.5", "3.6", "3.7")
PLENTY = 2**127


def facts_of(cassette: Cassette, market: Mapping[str, Any]) -> Facts:
    """Facts from a recording's `deployments` and one sample's `market`."""
    deployed, version = cassette.content["deployments"], cassette.content["version"]
    reserves = []
    for asset in market["reservesList"]:
        recorded = market["reserves"][asset]
        data = recorded["getReserveData"]
        reserves.append(
            ReserveFacts(
                asset=checksum(asset),
                symbol=recorded["symbol"],
                id=int(data["id"]),
                decimals=words.decimals(int(data["configuration"]["data"])),
                a_token=checksum(data["aTokenAddress"]),
                source=checksum(deployed[f"priceSource.{recorded['symbol']}"]),
            )
        )
    categories = {
        int(number): category["priceSource"]
        for number, category in market.get("eModeCategories", {}).items()
        if category.get("priceSource", ZERO) != ZERO
    }
    return Facts(
        market=MarketRef(31337, "aave-v3", checksum(deployed["PoolAddressesProvider"])),
        pool=checksum(deployed["Pool"]),
        oracle=checksum(deployed["AaveOracle"]),
        sentinel=ZERO,
        implementation=ZERO,
        revision=int(market["POOL_REVISION"]),
        version=version,
        candidates=(version,),
        base_symbol="USD",
        base_unit=int(market["BASE_CURRENCY_UNIT"]),
        reserves=tuple(reserves),
        categories=tuple(CategoryFacts(number, "", checksum(source)) for number, source in categories.items()),
    )


def context_of(facts: Facts) -> Context:
    """See the module's first lines."""
    return Context(True, tuple(ReserveContext(r.asset, 0, PLENTY, PLENTY) for r in facts.reserves))


def read(cassette: Cassette, recorded: Mapping[str, Any]) -> tuple[Facts, Any]:
    """The facts and the position (or Unreadable) of a sample, read from the cassette."""
    block: BlockRef = block_of(recorded)
    facts = facts_of(cassette, recorded["market"])
    (position,) = cassette.replay(PROTOCOL.state(facts, [checksum(recorded["account"]["address"])], block), block)
    return facts, position


def read_before(cassette: Cassette, recorded: Mapping[str, Any]) -> tuple[Facts, Any]:
    """The same for a liquidation, whose block has no calls in the cassette but its state in the record itself."""
    block: BlockRef = block_of(recorded)
    facts = facts_of(cassette, recorded["market"])
    plan = PROTOCOL.state(facts, [checksum(recorded["account"]["address"])], block)
    (position,) = run(plan, lambda queries: [_from_record(facts, recorded, query) for query in queries])
    return facts, position


def _from_record(facts: Facts, recorded: Mapping[str, Any], query: Query) -> Answer:
    """What the record says the contracts would answer. May raise: KeyError for what it does not say."""
    assert isinstance(query, Call)
    market, account = recorded["market"], recorded["account"]
    name = query.function.partition(".")[2]
    if name == "getReservesList":
        return Ok((tuple(reserve.asset for reserve in facts.reserves),))
    if name == "getUserConfiguration":
        return Ok(((int(account[name]),),))
    if name == "getUserEMode":
        return Ok((int(account[name]),))
    if query.function.startswith("aave_v3_token"):
        for asset, balances in account["balances"].items():
            data = market["reserves"][asset]["getReserveData"]
            for token in ("aToken", "variableDebtToken", "stableDebtToken"):
                if checksum(data[f"{token}Address"]) == query.to:
                    return Ok((int(balances[f"{token}.{name}"]),))
    if name == "getReserveData":
        data = _by_asset(market, query)["getReserveData"]
        values = [value if str(value).startswith("0x") else int(value) for value in list(data.values())[1:]]
        return Ok((((int(data["configuration"]["data"]),), *values),))
    if name == "getAssetPrice":
        sources = {c.get("priceSource"): c for c in market.get("eModeCategories", {}).values()}
        if query.args[0] in sources:
            return Ok((int(sources[query.args[0]]["getAssetPrice(priceSource)"]),))
        return Ok((int(_by_asset(market, query)["getAssetPrice"]),))
    category = market["eModeCategories"][str(query.args[0])]
    terms = tuple(int(category[key]) for key in ("ltv", "liquidationThreshold", "liquidationBonus"))
    return {
        "getEModeCategoryData": lambda: Ok(((*terms, checksum(category["priceSource"]), ""),)),
        "getEModeCategoryCollateralConfig": lambda: Ok((terms,)),
        "getEModeCategoryCollateralBitmap": lambda: Ok((int(category["collateralBitmap"]),)),
        "getEModeCategoryLtvzeroBitmap": lambda: Ok((int(category["ltvzeroBitmap"]),)),
        "getIsEModeCategoryIsolated": lambda: Ok((category["isolated"],)),
    }[name]()


def _by_asset(market: Mapping[str, Any], query: Call) -> Any:
    return next(reserve for asset, reserve in market["reserves"].items() if checksum(asset) == query.args[0])


def positions(cassette: Cassette) -> list[tuple[dict[str, Any], Facts, Position]]:
    """Every sample that can be read, with its facts."""
    found = []
    for sample in cassette.samples:
        facts, position = read(cassette, sample)
        if isinstance(position, Position):
            found.append((sample, facts, position))
    return found
