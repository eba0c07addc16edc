"""Verifications that are kept in a file, and done again from it without a chain.

A file holds each position's calls and what the contract's getter said (chain.recording); the numbers are recomputed
from the calls every time, by the same code as on a chain. Of contracts it holds hashes of their code, never code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eth_utils.crypto import keccak

from monitor.chain.jsonrpc import Request, Result
from monitor.chain.quantity import parse_data
from monitor.chain.recording import RecordedChain, Recorder, Recording, block_of
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ConfigError
from monitor.core.types import Address, BlockRef, MarketRef
from monitor.pipeline.confirm import fields_differ
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.verify import Verification, verify

ORIGIN = "levmon verify --record"


async def fetch_code_hashes(chain: RpcChain, addresses: Sequence[Address], block: BlockRef) -> dict[Address, str]:
    """Keccak-256 of each contract's code; those that could not be read are left out. May raise: ChainError."""
    requests = [Request("eth_getCode", (address, hex(block.number))) for address in addresses]
    replies = await chain.pool.send(requests, need=block.number) if requests else []
    return {
        address: "0x" + keccak(parse_data(reply.value, "code")).hex()
        for address, reply in zip(addresses, replies, strict=True)
        if isinstance(reply, Result)
    }


def content(
    done: Sequence[Verification], recorders: Sequence[Recorder], codes: Mapping[str, Mapping[Address, str]]
) -> dict[str, Any]:
    """What a file holds of these verifications; `codes` by block hash. May raise: ConfigError when there are none."""
    samples = [
        {
            "name": f"{one.ref.protocol} {one.version}".strip(),
            "chain_id": str(one.ref.chain_id),
            "block": {
                "number": str(one.block.number),
                "hash": one.block.hash,
                "timestamp": str(one.block.timestamp),
            },
            "position": one.ref.position_id(one.owner),
            "expected": {name: str(value) for name, value in one.contract.items()},
        }
        for verification in done
        for one in verification.comparisons
    ]
    if not samples:
        raise ConfigError("nothing was compared, so there is nothing to record")
    calls = [row for recorder in recorders for row in recorder.calls()]
    return {"origin": ORIGIN, "samples": samples, "calls": calls, "codes": codes}


async def replay(recording: Recording) -> list[Verification]:
    """Every position of the file again, recomputed from its calls. May raise: NotRecorded, ConfigError."""
    asked: dict[BlockRef, dict[MarketRef, dict[Address, Mapping[str, str]]]] = {}
    for sample in recording.samples:
        if "position" not in sample:
            raise ConfigError("this recording does not say of which positions it is", hint=f"record it by {ORIGIN}")
        market, _, owner = sample["position"].rpartition("/")
        owners = asked.setdefault(block_of(sample), {}).setdefault(MarketRef.parse(market), {})
        owners[owner] = sample["expected"]
    done = []
    for block, markets in asked.items():
        chain = RecordedChain(recording, block.chain_id)
        again = await verify(chain, {ref: list(owners) for ref, owners in markets.items()}, ShortMemory(), block, 0)
        done += [_as_told(one, markets[one.ref]) for one in again]
    return done


def _as_told(verification: Verification, expected: Mapping[Address, Mapping[str, str]]) -> Verification:
    """Where the file's own words differ from its calls, that is a difference too."""
    compared = []
    for one in verification.comparisons:
        told = {name: int(value) for name, value in expected[one.owner].items()}
        wrong = fields_differ(one.contract, told)
        compared.append(replace(one, difference=f"`expected` in the file: {wrong}") if wrong else one)
    return replace(verification, comparisons=tuple(compared))
