"""Aave 3.0 from the compiled artifacts in npm @aave/core-v3, deployed in the order of Aave's own scripts.

Knows the steps and roles of 3.0 only. What is listed comes from aave_v3_listing, the chain through the DevChain port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.testing.aave_v3_listing import ETH_EMODE, STABLE_EMODE, Listing, Rates
from monitor.testing.aave_v3_market import Contracts
from monitor.testing.artifacts import core_v3
from monitor.testing.devchain import LISTED_AT_ONCE, ZERO_ADDRESS, DevChain

RAY_PER_BPS = 10**23
LIBRARIES = ("SupplyLogic", "BorrowLogic", "LiquidationLogic", "EModeLogic", "BridgeLogic", "PoolLogic")
INIT_RESERVES = (
    "initReserves((address,address,address,uint8,address,address,address,address,"
    "string,string,string,string,string,string,bytes)[])"
)


def _pieces(chain: DevChain, admin: str, provider: str) -> tuple[str, str]:
    """Implementations of Pool and PoolConfigurator, linked with their libraries."""
    logic = "protocol/libraries/logic/"
    libraries = {name: chain.deploy(admin, core_v3(logic + name).linked({})) for name in LIBRARIES}
    libraries["FlashLoanLogic"] = chain.deploy(admin, core_v3(logic + "FlashLoanLogic").linked(libraries))
    configurator_logic = chain.deploy(admin, core_v3(logic + "ConfiguratorLogic").linked({}))
    pool = chain.deploy(admin, core_v3("protocol/pool/Pool").linked(libraries), "(address)", [provider])
    linked = core_v3("protocol/pool/PoolConfigurator").linked({"ConfiguratorLogic": configurator_logic})
    return pool, chain.deploy(admin, linked)


def deploy_contracts(chain: DevChain, admin: str, market_id: str) -> Contracts:
    provider = chain.deploy(
        admin,
        core_v3("protocol/configuration/PoolAddressesProvider").code,
        "(string,address)",
        [market_id, admin],
    )
    chain.send(admin, provider, "setACLAdmin(address)", admin)
    acl = chain.deploy(admin, core_v3("protocol/configuration/ACLManager").code, "(address)", [provider])
    chain.send(admin, provider, "setACLManager(address)", acl)
    for role in ("addPoolAdmin(address)", "addEmergencyAdmin(address)", "addRiskAdmin(address)"):
        chain.send(admin, acl, role, admin)
    pool_code, configurator_code = _pieces(chain, admin, provider)
    chain.send(admin, provider, "setPoolImpl(address)", pool_code)
    chain.send(admin, provider, "setPoolConfiguratorImpl(address)", configurator_code)
    data_provider = chain.deploy(admin, core_v3("misc/AaveProtocolDataProvider").code, "(address)", [provider])
    chain.send(admin, provider, "setPoolDataProvider(address)", data_provider)
    oracle = chain.deploy(
        admin,
        core_v3("misc/AaveOracle").code,
        "(address,address[],address[],address,address,uint256)",
        [provider, [], [], ZERO_ADDRESS, ZERO_ADDRESS, 10**8],
    )
    chain.send(admin, provider, "setPriceOracle(address)", oracle)
    (pool,) = chain.call(provider, "getPool()", "(address)")
    (configurator,) = chain.call(provider, "getPoolConfigurator()", "(address)")
    return Contracts(provider, pool, configurator, oracle, data_provider)


def _strategy(chain: DevChain, admin: str, provider: str, rates: Rates) -> str:
    ray = [value * RAY_PER_BPS for value in (rates.optimal, rates.base, rates.slope1, rates.slope2)]
    # stable slopes, offsets over variable, and the share of stable debt that is thought normal
    ray += [value * RAY_PER_BPS for value in (50, 60_00, 1_00, 8_00, 20_00)]
    return chain.deploy(
        admin,
        core_v3("protocol/pool/DefaultReserveInterestRateStrategy").code,
        f"(address{',uint256' * 9})",
        [provider, *ray],
    )


def list_reserves(
    chain: DevChain, admin: str, contracts: Contracts, listed: Sequence[Listing], assets: Mapping[str, str]
) -> None:
    """Makes every asset a reserve and sets its terms."""
    implementations = [
        chain.deploy(admin, core_v3(f"protocol/tokenization/{name}").code, "(address)", [contracts.pool])
        for name in ("AToken", "StableDebtToken", "VariableDebtToken")
    ]
    strategies = {
        rates: _strategy(chain, admin, contracts.provider, rates) for rates in dict.fromkeys(x.rates for x in listed)
    }
    inputs = [
        (
            *implementations,
            item.decimals,
            strategies[item.rates],
            assets[item.symbol],
            chain.account("treasury"),
            ZERO_ADDRESS,
            f"Local aToken {item.symbol}",
            f"a{item.symbol}",
            f"Local variable debt {item.symbol}",
            f"variableDebt{item.symbol}",
            f"Local stable debt {item.symbol}",
            f"stableDebt{item.symbol}",
            b"\x00",
        )
        for item in listed
    ]
    for at in range(0, len(inputs), LISTED_AT_ONCE):
        chain.send(admin, contracts.configurator, INIT_RESERVES, inputs[at : at + LISTED_AT_ONCE])
    for item in listed:
        _set_terms(chain, admin, contracts.configurator, item, assets[item.symbol])


def _set_terms(chain: DevChain, admin: str, configurator: str, item: Listing, asset: str) -> None:
    chain.send(
        admin,
        configurator,
        "configureReserveAsCollateral(address,uint256,uint256,uint256)",
        *(asset, item.ltv, item.threshold, item.bonus),
    )
    chain.send(admin, configurator, "setReserveBorrowing(address,bool)", asset, True)
    chain.send(admin, configurator, "setReserveFlashLoaning(address,bool)", asset, True)
    chain.send(admin, configurator, "setReserveFactor(address,uint256)", asset, item.reserve_factor)
    if item.stable:
        chain.send(admin, configurator, "setReserveStableRateBorrowing(address,bool)", asset, True)
    if item.protocol_fee:
        chain.send(admin, configurator, "setLiquidationProtocolFee(address,uint256)", asset, item.protocol_fee)
    if item.isolation_debt:
        chain.send(admin, configurator, "setBorrowableInIsolation(address,bool)", asset, True)
    if item.debt_ceiling:
        chain.send(admin, configurator, "setDebtCeiling(address,uint256)", asset, item.debt_ceiling)


def add_emodes(
    chain: DevChain,
    admin: str,
    contracts: Contracts,
    listed: Sequence[Listing],
    assets: Mapping[str, str],
    price_key: str,
) -> None:
    """Category 1 prices its assets by the oracle's entry for `price_key`, category 2 each by its own price."""
    add = "setEModeCategory(uint8,uint16,uint16,uint16,address,string)"
    chain.send(admin, contracts.configurator, add, STABLE_EMODE, 93_00, 95_00, 102_00, price_key, "Money")
    chain.send(admin, contracts.configurator, add, ETH_EMODE, 90_00, 93_00, 101_00, ZERO_ADDRESS, "ETH correlated")
    for item in listed:
        if item.emode:
            chain.send(
                admin,
                contracts.configurator,
                "setAssetEModeCategory(address,uint8)",
                *(assets[item.symbol], item.emode),
            )
