"""Aave 3.6, compiled from npm @aave-dao/aave-v3-origin, deployed in the order that its constructors ask for.

Knows the steps of 3.6 only: one rate strategy for all reserves, which exists before the pool; no stable debt; e-mode by
bitmaps. What is listed comes from aave_v3_listing, the chain through the DevChain port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from monitor.testing.aave_v3_listing import ETH_EMODE, LST_EMODE, STABLE_EMODE, Listing
from monitor.testing.aave_v3_market import Contracts
from monitor.testing.codec import encode_args
from monitor.testing.devchain import LISTED_AT_ONCE, ZERO_ADDRESS, DevChain
from monitor.testing.solc import LIBRARIES, origin

INIT_RESERVES = "initReserves((address,address,address,string,string,string,string,bytes,bytes)[])"
# category: ltv, threshold, bonus (bps), label, collateral, borrowable
EMODES: Mapping[int, tuple[int, int, int, str, tuple[str, ...], tuple[str, ...]]] = {
    STABLE_EMODE: (93_00, 95_00, 102_00, "Money", ("USDC", "DAI"), ("USDC", "DAI", "USDT")),
    ETH_EMODE: (90_00, 93_00, 101_00, "ETH correlated", ("WETH", "wstETH"), ("WETH", "wstETH")),
    LST_EMODE: (80_00, 84_00, 106_00, "wstETH against money", ("wstETH",), ("USDC", "USDT")),
}


def deploy_contracts(chain: DevChain, admin: str, market_id: str) -> Contracts:
    provider = chain.deploy(admin, origin("PoolAddressesProvider").code, "(string,address)", [market_id, admin])
    chain.send(admin, provider, "setACLAdmin(address)", admin)
    acl = chain.deploy(admin, origin("ACLManager").code, "(address)", [provider])
    chain.send(admin, provider, "setACLManager(address)", acl)
    for role in ("addPoolAdmin(address)", "addEmergencyAdmin(address)", "addRiskAdmin(address)"):
        chain.send(admin, acl, role, admin)
    libraries: dict[str, str] = {}
    for name in sorted(LIBRARIES, key=lambda name: len(origin(name).links)):  # those that link others come last
        libraries[name] = chain.deploy(admin, origin(name).linked(libraries))
    strategy = chain.deploy(admin, origin("DefaultReserveInterestRateStrategyV2").code, "(address)", [provider])
    pool_code = chain.deploy(admin, origin("PoolInstance").linked(libraries), "(address,address)", [provider, strategy])
    chain.send(admin, provider, "setPoolImpl(address)", pool_code)
    configurator_code = chain.deploy(admin, origin("PoolConfiguratorInstance").linked(libraries))
    chain.send(admin, provider, "setPoolConfiguratorImpl(address)", configurator_code)
    data_provider = chain.deploy(admin, origin("AaveProtocolDataProvider").code, "(address)", [provider])
    chain.send(admin, provider, "setPoolDataProvider(address)", data_provider)
    oracle = chain.deploy(
        admin,
        origin("AaveOracle").code,
        "(address,address[],address[],address,address,uint256)",
        [provider, [], [], ZERO_ADDRESS, ZERO_ADDRESS, 10**8],
    )
    chain.send(admin, provider, "setPriceOracle(address)", oracle)
    (pool,) = chain.call(provider, "getPool()", "(address)")
    (configurator,) = chain.call(provider, "getPoolConfigurator()", "(address)")
    return Contracts(provider, pool, configurator, oracle, data_provider)


def list_reserves(
    chain: DevChain, admin: str, contracts: Contracts, listed: Sequence[Listing], assets: Mapping[str, str]
) -> None:
    """Makes every asset a reserve and sets its terms."""
    a_token = chain.deploy(
        admin,
        origin("ATokenInstance").code,
        "(address,address,address)",
        [contracts.pool, ZERO_ADDRESS, chain.account("treasury")],
    )
    v_token = chain.deploy(
        admin, origin("VariableDebtTokenInstance").code, "(address,address)", [contracts.pool, ZERO_ADDRESS]
    )
    inputs = [
        (
            a_token,
            v_token,
            assets[item.symbol],
            f"Local aToken {item.symbol}",
            f"a{item.symbol}",
            f"Local variable debt {item.symbol}",
            f"variableDebt{item.symbol}",
            b"",
            encode_args(
                "(uint16,uint32,uint32,uint32)",
                [item.rates.optimal, item.rates.base, item.rates.slope1, item.rates.slope2],
            ),
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
    if item.protocol_fee:
        chain.send(admin, configurator, "setLiquidationProtocolFee(address,uint256)", asset, item.protocol_fee)
    if item.isolation_debt:
        chain.send(admin, configurator, "setBorrowableInIsolation(address,bool)", asset, True)
    if item.debt_ceiling:
        chain.send(admin, configurator, "setDebtCeiling(address,uint256)", asset, item.debt_ceiling)


def add_emodes(chain: DevChain, admin: str, contracts: Contracts, assets: Mapping[str, str]) -> None:
    add = "setEModeCategory(uint8,uint16,uint16,uint16,string)"
    for category, (ltv, threshold, bonus, label, collateral, borrowable) in EMODES.items():
        chain.send(admin, contracts.configurator, add, category, ltv, threshold, bonus, label)
        for symbols, allow in (
            (collateral, "setAssetCollateralInEMode(address,uint8,bool)"),
            (borrowable, "setAssetBorrowableInEMode(address,uint8,bool)"),
        ):
            for symbol in symbols:
                chain.send(admin, contracts.configurator, allow, assets[symbol], category, True)
