"""What is publicly known of the main chains: names, native symbol, block time, explorer, header format.

Nothing here decides health. An unknown chain works all the same, under the name of its id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from monitor.core.errors import ConfigError


class DataFee(StrEnum):
    """How a rollup charges for what it writes to its L1, beside gas; NONE also where gas or its price holds it."""

    NONE = "none"
    OP_STACK = "op-stack"
    """a fee on top, told by the GasPriceOracle predeploy"""
    SCROLL = "scroll"
    """the same, at another address and without an upper bound"""
    ARBITRUM = "arbitrum"
    """more gas, told by the NodeInterface"""


@dataclass(frozen=True, slots=True)
class ChainInfo:
    """`block_time_s` is the usual time between blocks, None where blocks come on demand.

    `checks_headers`: True, the header is Ethereum's and must hash to the block's hash; False, it has other fields;
    None, not known.
    """

    id: int
    name: str
    symbol: str = "ETH"
    block_time_s: float | None = None
    explorer: str = ""
    checks_headers: bool | None = None
    data_fee: DataFee = DataFee.NONE


ROLLUPS = frozenset({10, 130, 324, 1088, 5000, 8453, 42161, 42220, 57073, 59144, 81457, 534352})
"""Chains whose blocks stop when one sequencer does."""
SEQUENCER_FEEDS = {
    10: "0x371EAD81c9102C9BF4874A9075FFFf170F2Ee389",
    324: "0x0E6AC8B967393dcD3D36677c126976157F993940",
    1088: "0x58218ea7422255EBE94e56b504035a784b7AA204",
    5000: "0xaDE1b9AbB98c6A542E4B49db2588a3Ec4bF7Cdf0",
    8453: "0xBCF85224fc0756B9Fa45aA7892530B47e10b6433",
    42161: "0xFdB631F5EE196F0ed6FAa767959853A9F217697D",
    42220: "0x4CD491Dc27C8B0BbD10D516A502856B786939d18",
    534352: "0x45c2b8C204568A03Dc7A2E32B71D67Fe97F908A9",
}
"""Chainlink's uptime feeds by chain, as its documentation lists them (Data Feeds, L2 Sequencer Uptime Feeds)."""

_KNOWN = (
    ChainInfo(1, "ethereum", "ETH", 12, "https://etherscan.io", True),
    ChainInfo(10, "optimism", "ETH", 2, "https://optimistic.etherscan.io", True, DataFee.OP_STACK),
    ChainInfo(56, "bnb", "BNB", 0.75, "https://bscscan.com", None),
    ChainInfo(100, "gnosis", "xDAI", 5, "https://gnosisscan.io", None),
    ChainInfo(130, "unichain", "ETH", 1, "https://uniscan.xyz", None, DataFee.OP_STACK),
    ChainInfo(137, "polygon", "POL", 2, "https://polygonscan.com", None),
    ChainInfo(146, "sonic", "S", 0.5, "https://sonicscan.org", None),
    ChainInfo(324, "zksync", "ETH", 1, "https://era.zksync.network", False),
    ChainInfo(1088, "metis", "METIS", 4, "https://explorer.metis.io", None),
    ChainInfo(5000, "mantle", "MNT", 2, "https://mantlescan.xyz", None),
    ChainInfo(8453, "base", "ETH", 2, "https://basescan.org", True, DataFee.OP_STACK),
    ChainInfo(31337, "local", "ETH", None, "", True),
    ChainInfo(42161, "arbitrum", "ETH", 0.25, "https://arbiscan.io", None, DataFee.ARBITRUM),
    ChainInfo(42220, "celo", "CELO", 1, "https://celoscan.io", False, DataFee.OP_STACK),
    ChainInfo(43114, "avalanche", "AVAX", 2, "https://snowtrace.io", False),
    ChainInfo(57073, "ink", "ETH", 1, "https://explorer.inkonchain.com", None, DataFee.OP_STACK),
    ChainInfo(59144, "linea", "ETH", 2, "https://lineascan.build", None),
    ChainInfo(81457, "blast", "ETH", 2, "https://blastscan.io", None, DataFee.OP_STACK),
    ChainInfo(534352, "scroll", "ETH", 3, "https://scrollscan.com", None, DataFee.SCROLL),
    ChainInfo(11155111, "sepolia", "ETH", 12, "https://sepolia.etherscan.io", True),
)
_ALIASES = {"mainnet": 1, "eth": 1, "op": 10, "bsc": 56, "matic": 137, "arb": 42161, "avax": 43114, "anvil": 31337}
_BY_ID = {info.id: info for info in _KNOWN}
_BY_NAME = {info.name: info.id for info in _KNOWN} | _ALIASES


def chain_info(chain_id: int) -> ChainInfo:
    """What is known of a chain; for an unknown one its id as name and nothing else."""
    return _BY_ID.get(chain_id) or ChainInfo(chain_id, str(chain_id))


def chain_id_of(name: str) -> int:
    """The id of a chain by name, alias or decimal id. May raise: ConfigError."""
    lowered = name.strip().lower()
    if lowered.isascii() and lowered.isdecimal():
        return int(lowered)
    if lowered not in _BY_NAME:
        raise ConfigError(
            f"no chain is called {name!r}", hint=f"known: {', '.join(sorted(_BY_NAME))}; or give its numeric id"
        )
    return _BY_NAME[lowered]
