"""Aave markets on py-evm, deployed once per machine and then thawed.

py-evm needs half a minute for what takes anvil one second, and every test process would pay it again. What is kept is
the chain's database as it was right after deployment, and the market. The file is named after everything that decides
its content (our code and artifact, the npm lock, the versions of the EVM), so that it is never stale; if any of it
changes, or the file is damaged, the market is deployed anew. Knows nothing of what is deployed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB

from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket, Version
from monitor.testing.artifacts import HERE, NPM, cache_dir, locked, own_contract
from monitor.testing.py_evm import EthTesterDevChain

DISTRIBUTIONS = ("eth-tester", "py-evm", "eth-abi", "eth-keys")
SOURCES = ("aave_v3*.py", "artifacts.py", "codec.py", "devchain.py", "in_process.py", "py_evm.py", "solc.py")


def _digest(version: Version) -> str:
    seen = hashlib.sha256(repr([version, *((name, installed_version(name)) for name in DISTRIBUTIONS)]).encode())
    seen.update(own_contract("PriceFeed").code)
    for file in (*(file for glob in SOURCES for file in sorted(HERE.glob(glob))), NPM / "package-lock.json"):
        seen.update(hashlib.sha256(file.read_bytes()).digest())
    return seen.hexdigest()[:16]


def market_in_process(version: Version) -> tuple[EthTesterDevChain, AaveMarket]:
    """A chain of one's own with the market on it. May raise ProvisionFailed."""
    file = cache_dir() / f"py-evm-{version}-{_digest(version)}.json.gz"
    with locked(cache_dir() / f"py-evm-{version}.lock"):
        if (kept := _read(file)) is not None:
            return kept
        chain = EthTesterDevChain()
        market = aave_v3.deploy(chain, version)
        fresh = file.with_suffix(".new")
        fresh.write_bytes(gzip.compress(json.dumps(_freeze(chain, market)).encode(), compresslevel=3))
        fresh.replace(file)
    return chain, market


def _freeze(chain: EthTesterDevChain, market: AaveMarket) -> dict[str, Any]:
    database = chain.tester.backend.chain.chaindb.db.wrapped_db.kv_store
    return {
        "database": {key.hex(): value.hex() for key, value in database.items()},
        "accounts": chain.labels(),
        "market": market.to_json(),
    }


def _read(file: Path) -> tuple[EthTesterDevChain, AaveMarket] | None:
    """None if there is no such file or it is not whole."""
    try:
        kept = json.loads(gzip.decompress(file.read_bytes()))
        database = MemoryDB({bytes.fromhex(key): bytes.fromhex(value) for key, value in kept["database"].items()})
        chain = EthTesterDevChain()
        backend = chain.tester.backend
        backend.chain = type(backend.chain)(AtomicDB(database))
        chain.adopt(kept["accounts"])
        return chain, AaveMarket.from_json(kept["market"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        return None
