"""Comet proxies by name. Source of each: compound-finance/comet, deployments/CHAIN/MARKET/roots.json."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.protocols.base import Deployment

_MARKETS: Mapping[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "arbitrum": (
        42161,
        (
            ("usdc.e", "0xA5EDBDD9646f8dFF606d7448e414884C7d905dCA"),
            ("usdc", "0x9c4ec768c28520B50860ea7a15bd7213a9fF58bf"),
            ("usdt", "0xd98Be00b5D27fc98112BdE293e487f8D4cA57d07"),
            ("weth", "0x6f7D514bbD4aFf3BcD1140B7344b32f063dEe486"),
        ),
    ),
    "base": (
        8453,
        (
            ("aero", "0x784efeB622244d2348d4F2522f8860B96fbEcE89"),
            ("usdbc", "0x9c4ec768c28520B50860ea7a15bd7213a9fF58bf"),
            ("usdc", "0xb125E6687d4313864e53df431d5425969c15Eb2F"),
            ("usds", "0x2c776041CCFe903071AF44aa147368a9c8EEA518"),
            ("weth", "0x46e6b214b524310239732D51387075E0e70970bf"),
        ),
    ),
    "linea": (
        59144,
        (
            ("usdc", "0x8D38A3d6B3c3B7d96D6536DA7Eef94A9d7dbC991"),
            ("weth", "0x60F2058379716A64a7A5d29219397e79bC552194"),
        ),
    ),
    "ethereum": (
        1,
        (
            ("usdc", "0xc3d688B66703497DAA19211EEdff47f25384cdc3"),
            ("usds", "0x5D409e56D886231aDAf00c8775665AD0f9897b56"),
            ("usdt", "0x3Afdc9BCA9213A35503b077a6072F3D0d5AB0840"),
            ("wbtc", "0xe85Dc543813B8c2CFEaAc371517b925a166a9293"),
            ("weth", "0xA17581A9E3356d9A858b789D68B4d866e593aE94"),
            ("wsteth", "0x3D0bb1ccaB520A66e607822fC55BC921738fAFE3"),
        ),
    ),
    "mantle": (
        5000,
        (("usde", "0x606174f62cd968d8e684c645080fa694c1D7786E"),),
    ),
    "optimism": (
        10,
        (
            ("usdc", "0x2e44e174f7D53F0212823acC11C01A11d58c5bCB"),
            ("usdt", "0x995E394b8B2437aC8Ce61Ee0bC610D617962B214"),
            ("weth", "0xE36A30D249f7761327fd973001A32010b521b6Fd"),
        ),
    ),
    "polygon": (
        137,
        (
            ("usdc", "0xF25212E676D1F7F89Cd72fFEe66158f541246445"),
            ("usdt", "0xaeB318360f27748Acb200CE616E389A6C9409a07"),
        ),
    ),
    "ronin": (
        2020,
        (
            ("weth", "0x4006eD4097Ee51c09A04c3B0951D28CCf19e6DFE"),
            ("wron", "0xc0Afdbd1cEB621Ef576BA969ce9D4ceF78Dbc0c0"),
        ),
    ),
    "scroll": (
        534352,
        (("usdc", "0xB2f97c1Bd3bf02f5e74d13f02E3e26F93D77CE44"),),
    ),
    "unichain": (
        130,
        (
            ("usdc", "0x2c7118c4C88B9841FCF839074c26Ae8f035f2921"),
            ("weth", "0x6C987dDE50dB1dcDd32Cd4175778C2a291978E2a"),
        ),
    ),
}
_FOLDERS = {"ethereum": "mainnet"}

DEPLOYMENTS: Mapping[str, Deployment] = {
    f"{chain}/compound-v3-{market}": Deployment(
        chain_id, address, f"compound-finance/comet deployments/{_FOLDERS.get(chain, chain)}/{market}/roots.json"
    )
    for chain, (chain_id, markets) in _MARKETS.items()
    for market, address in markets
}
