from __future__ import annotations

import re

from eth_utils.address import is_checksum_address

from monitor.core.registry import protocol
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.deployments import DEPLOYMENTS


def test_known_by_name() -> None:
    assert protocol("aave-v3") is PROTOCOL
    assert PROTOCOL.deployments is DEPLOYMENTS
    core = DEPLOYMENTS["ethereum/aave-v3/core"]
    assert (core.chain_id, core.address) == (1, "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e")
    assert DEPLOYMENTS["ethereum/aave-v3/spark"].address == "0x02C3eA4e34C0cBd694D2adFa2c690EECbC1793eE"
    assert {"ethereum/aave-v3/lido", "base/aave-v3/core", "arbitrum/aave-v3/core", "gnosis/aave-v3/core"} <= set(
        DEPLOYMENTS
    )
    assert len(DEPLOYMENTS) == 25


def test_addresses_are_checksummed_and_have_a_source() -> None:
    for name, deployment in DEPLOYMENTS.items():
        assert is_checksum_address(deployment.address), name
        assert name.count("/") == 2
        assert name == name.lower()
        assert deployment.chain_id > 0
        assert deployment.source.startswith(("npm:@aave-dao/aave-address-book@4.68.1 src/AaveV3", "github:sparkdotfi/"))


def test_one_market_has_one_name() -> None:
    """The same provider on several chains is several markets."""
    places = {(d.chain_id, d.address) for d in DEPLOYMENTS.values()}
    assert len(places) == len(DEPLOYMENTS)
    assert len({d.address for d in DEPLOYMENTS.values()}) < len(DEPLOYMENTS)
    assert len({d.chain_id for d in DEPLOYMENTS.values()}) == 21


CHAINS = {
    "ethereum": 1,
    "optimism": 10,
    "bnb": 56,
    "gnosis": 100,
    "polygon": 137,
    "sonic": 146,
    "zksync": 324,
    "metis": 1088,
    "soneium": 1868,
    "base": 8453,
    "mantle": 5000,
    "plasma": 9745,
    "arbitrum": 42_161,
    "megaeth": 4326,
    "monad": 143,
    "xlayer": 196,
    "celo": 42_220,
    "avalanche": 43_114,
    "ink": 57_073,
    "linea": 59_144,
    "scroll": 534_352,
}


def test_a_name_begins_with_its_chain() -> None:
    """By the chains' own ids, written down once more."""
    for name, deployment in DEPLOYMENTS.items():
        assert CHAINS[name.split("/")[0]] == deployment.chain_id, name
        assert re.fullmatch(r"[a-z]+/aave-v3/[a-z]+", name)


def test_a_source_names_one_file() -> None:
    for name, deployment in DEPLOYMENTS.items():
        assert re.fullmatch(r"\S+ src/[A-Z]\w+\.sol", deployment.source), name
