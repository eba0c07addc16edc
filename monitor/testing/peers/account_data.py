"""Reads getUserAccountData of many accounts as Python programs do: with multicall.py, or with web3.py call by call.

Started once with `URL POOL OWNERS` (a file, one address a line), it answers each line of standard input, a JSON object
`{"peer": "multicall" | "web3", "count": n, "block": number, "step": calls a batch, "gas": limit}`, with one of seconds,
CPU seconds and the SHA-256 of all health factors; `{"peer": "code"}` asks for Multicall3's code. Runs in the peers'
environment, so it knows nothing of levmon.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import multicall.multicall as module  # type: ignore[import-not-found,unused-ignore]
from multicall import Call, Multicall  # type: ignore[import-not-found,unused-ignore]
from web3 import HTTPProvider, Web3  # noqa: TID251  # a peer is measured as it is

WORDS = "uint256,uint256,uint256,uint256,uint256,uint256"
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
ABI = [
    {
        "type": "function",
        "name": "getUserAccountData",
        "stateMutability": "view",
        "inputs": [{"name": "user", "type": "address"}],
        "outputs": [{"name": f"word{n}", "type": "uint256"} for n in range(6)],
    }
]


def by_multicall(web3: Web3, pool: str, owners: list[str], job: dict[str, Any]) -> list[int]:
    """One struct for each account, which is its quickest form; `step` accounts a request."""
    module.batcher.step = job["step"]
    calls = [Call(pool, [f"getUserAccountData(address)(({WORDS}))", owner], [(owner, None)]) for owner in owners]
    found = asyncio.get_event_loop().run_until_complete(
        Multicall(calls, block_id=job["block"], gas_limit=job["gas"], _w3=web3).coroutine()
    )
    return [found[owner][5] for owner in owners]


def by_web3(web3: Web3, pool: str, owners: list[str], job: dict[str, Any]) -> list[int]:
    """The loop that everybody writes first."""
    contract = web3.eth.contract(address=web3.to_checksum_address(pool), abi=ABI)
    return [contract.functions.getUserAccountData(owner).call(block_identifier=job["block"])[5] for owner in owners]


def main() -> None:
    url, pool, file = sys.argv[1:]
    owners = Path(file).read_text().split()
    asyncio.set_event_loop(asyncio.new_event_loop())
    web3 = Web3(HTTPProvider(url))
    module.MULTICALL3_ADDRESSES[web3.eth.chain_id] = MULTICALL3  # it brings the code itself, by state override
    for line in sys.stdin:
        job = json.loads(line)
        if job["peer"] == "code":
            print(json.dumps({"code": module.MULTICALL3_BYTECODE}), flush=True)
            continue
        read = by_multicall if job["peer"] == "multicall" else by_web3
        wall, cpu = time.perf_counter(), time.process_time()
        health = read(web3, pool, owners[: job["count"]], job)
        took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        digest = hashlib.sha256(b"".join(value.to_bytes(32, "big") for value in health)).hexdigest()
        print(json.dumps({**took, "digest": digest}), flush=True)


if __name__ == "__main__":
    main()
