"""Aave V4 spokes by name. Source of each: npm @aave-dao/aave-address-book 4.68.1."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.protocols.base import Deployment

_BOOK = "npm:@aave-dao/aave-address-book@4.68.1 src/AaveV4"
_SPOKES: Mapping[str, tuple[int, str, tuple[tuple[str, str], ...]]] = {
    "ethereum": (
        1,
        "Ethereum.sol",
        (
            ("main", "0x94e7A5dCbE816e498b89aB752661904E2F56c485"),
            ("bluechip", "0x973a023A77420ba610f06b3858aD991Df6d85A08"),
            ("ethena-correlated", "0x58131E79531caB1d52301228d1f7b842F26B9649"),
            ("ethena-ecosystem", "0xba1B3D55D249692b669A164024A838309B7508AF"),
            ("forex", "0xD8B93635b8C6d0fF98CbE90b5988E3F2d1Cd9da1"),
            ("gold", "0x65407b940966954b23dfA3caA5C0702bB42984DC"),
            ("lombard-btc", "0x7EC68b5695e803e98a21a9A05d744F28b0a7753D"),
            ("paxg-gold", "0xAD75cE6354f87F3135cE10621d385d8D1e2562C2"),
            ("usdg-pendle", "0x956d8e0A89cfa3744428C4641b5a53B56167a7f9"),
            ("etherfi", "0xbF10BDfE177dE0336aFD7fcCF80A904E15386219"),
            ("kelp", "0x3131FE68C4722e726fe6B2819ED68e514395B9a4"),
            ("lido", "0xe1900480ac69f0B296841Cd01cC37546d92F35Cd"),
            ("usdg-maple", "0x774b9655413c34809c1f1b16b654465A89EBE989"),
        ),
    ),
    "avalanche": (
        43_114,
        "Avalanche.sol",
        (
            ("main", "0x435272CefF93a1E657E8ABfdf0A13e95900A3a56"),
            ("forex", "0x6a37776B5E026dBdF043b4F933c323C84DD1B514"),
            ("avax-correlated", "0x3b517594277c67307CF2d7CBE6FE1D4399B68c41"),
        ),
    ),
}

DEPLOYMENTS: Mapping[str, Deployment] = {
    f"{chain}/aave-v4/{name}": Deployment(chain_id, address, f"{_BOOK}{file}")
    for chain, (chain_id, file, spokes) in _SPOKES.items()
    for name, address in spokes
}
