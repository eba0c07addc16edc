"""The known markets by name: chain, PoolAddressesProvider, and the public source of each address.

Data only. The addresses are from files and not from chains: what answers there is checked when a market is first used.
"""

from __future__ import annotations

from collections.abc import Mapping

from monitor.protocols.base import Deployment

_BOOK = "npm:@aave-dao/aave-address-book@4.68.1 src/"
_SPARK = "github:sparkdotfi/spark-address-registry src/SparkLend.sol"

_AAVE: tuple[tuple[str, int, str, str], ...] = (
    # name, chain id, PoolAddressesProvider, file of the address book
    ("ethereum/aave-v3/core", 1, "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e", "AaveV3Ethereum.sol"),
    ("ethereum/aave-v3/lido", 1, "0xcfBf336fe147D643B9Cb705648500e101504B16d", "AaveV3EthereumLido.sol"),
    ("ethereum/aave-v3/etherfi", 1, "0xeBa440B438Ad808101d1c451C1C5322c90BEFCdA", "AaveV3EthereumEtherFi.sol"),
    ("ethereum/aave-v3/horizon", 1, "0x5D39E06b825C1F2B80bf2756a73e28eFAA128ba0", "AaveV3EthereumHorizon.sol"),
    ("arbitrum/aave-v3/core", 42_161, "0xa97684ead0e402dC232d5A977953DF7ECBaB3CDb", "AaveV3Arbitrum.sol"),
    ("base/aave-v3/core", 8453, "0xe20fCBdBfFC4Dd138cE8b2E6FBb6CB49777ad64D", "AaveV3Base.sol"),
    ("optimism/aave-v3/core", 10, "0xa97684ead0e402dC232d5A977953DF7ECBaB3CDb", "AaveV3Optimism.sol"),
    ("polygon/aave-v3/core", 137, "0xa97684ead0e402dC232d5A977953DF7ECBaB3CDb", "AaveV3Polygon.sol"),
    ("bnb/aave-v3/core", 56, "0xff75B6da14FfbbfD355Daf7a2731456b3562Ba6D", "AaveV3BNB.sol"),
    ("avalanche/aave-v3/core", 43_114, "0xa97684ead0e402dC232d5A977953DF7ECBaB3CDb", "AaveV3Avalanche.sol"),
    ("gnosis/aave-v3/core", 100, "0x36616cf17557639614c1cdDb356b1B83fc0B2132", "AaveV3Gnosis.sol"),
    ("scroll/aave-v3/core", 534_352, "0x69850D0B276776781C063771b161bd8894BCdD04", "AaveV3Scroll.sol"),
    ("linea/aave-v3/core", 59_144, "0x89502c3731F69DDC95B65753708A07F8Cd0373F4", "AaveV3Linea.sol"),
    ("zksync/aave-v3/core", 324, "0x2A3948BB219D6B2Fa83D64100006391a96bE6cb7", "AaveV3ZkSync.sol"),
    ("sonic/aave-v3/core", 146, "0x5C2e738F6E27bCE0F7558051Bf90605dD6176900", "AaveV3Sonic.sol"),
    ("celo/aave-v3/core", 42_220, "0x9F7Cf9417D5251C59fE94fB9147feEe1aAd9Cea5", "AaveV3Celo.sol"),
    ("metis/aave-v3/core", 1088, "0xB9FABd7500B2C6781c35Dd48d54f81fc2299D7AF", "AaveV3Metis.sol"),
    ("mantle/aave-v3/core", 5000, "0xba50Cd2A20f6DA35D788639E581bca8d0B5d4D5f", "AaveV3Mantle.sol"),
    ("soneium/aave-v3/core", 1868, "0x82405D1a189bd6cE4667809C35B37fBE136A4c5B", "AaveV3Soneium.sol"),
    ("plasma/aave-v3/core", 9745, "0x061D8e131F26512348ee5FA42e2DF1bA9d6505E9", "AaveV3Plasma.sol"),
    ("ink/aave-v3/core", 57_073, "0x4172E6aAEC070ACB31aaCE343A58c93E4C70f44D", "AaveV3InkWhitelabel.sol"),
    ("megaeth/aave-v3/core", 4326, "0x46Dcd5F4600319b02649Fd76B55aA6c1035CA478", "AaveV3MegaEth.sol"),
    ("monad/aave-v3/core", 143, "0x34793Fb9935F7bB5E5aE920fb963F39063E7A615", "AaveV3Monad.sol"),
    ("xlayer/aave-v3/core", 196, "0xdFf435BCcf782f11187D3a4454d96702eD78e092", "AaveV3XLayer.sol"),
)

DEPLOYMENTS: Mapping[str, Deployment] = {
    name: Deployment(chain_id, address, _BOOK + file) for name, chain_id, address, file in _AAVE
} | {
    "ethereum/aave-v3/spark": Deployment(1, "0x02C3eA4e34C0cBd694D2adFa2c690EECbC1793eE", _SPARK),
}
