"""A chain to rehearse on: a throwaway fork of the real one, or a local chain that is put back as it was.

Everything that changes something goes to the stage and to it alone. The fork is anvil's, on loopback, and knows the
real chain only through `Forward`, which passes reads on. Must not decide anything about positions.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from monitor.chain.cache import cache_home
from monitor.chain.jsonrpc import Failure, Request
from monitor.chain.quantity import parse_quantity
from monitor.chain.rpc_chain import RpcChain
from monitor.core.errors import ChainError, ConfigError, RpcError
from monitor.core.types import Address, BlockRef
from monitor.execution.port import TxCall
from monitor.pipeline.forward import Forward

LOCAL_CHAIN = 31337
READY_WITHIN_S = 60.0
USUAL_DECIMALS = 8
_LISTENING = "Listening on 127.0.0.1:"
_FEED = "60003560e01c806350d25bcd146028578063feaf968c146052578063313ce56714608e57600080fd"
_WORD = "5b7f{0:064x}60005260206000f3"
_ROUND = "5b60016000527f{0:064x}6020524260405242606052600160805260a06000f3"


def feed_code(answer: int, decimals: int = USUAL_DECIMALS) -> str:
    """Runtime code of a price source that says this, now: latestAnswer(), latestRoundData() and decimals()."""
    return "0x" + (_FEED + _WORD + _ROUND).format(answer) + _WORD.format(decimals)


class Stage:
    """`chain` reads it. One connection, no retries: what changes something happens once."""

    def __init__(self, chain: RpcChain) -> None:
        self.chain = chain

    async def _ask(self, method: str, *params: Any) -> Any:
        """May raise: ChainError."""
        (endpoint,) = self.chain.pool.endpoints
        _, (reply,) = await endpoint.ask([Request(method, params)], self.chain.chain_id)
        if isinstance(reply, Failure):
            raise RpcError(f"{method}: {reply.message[:200]}", code=reply.code, data=reply.data)
        return reply.value

    async def mine(self, after_s: int = 1) -> BlockRef:
        """One block, so many seconds after the newest."""
        head = await self.chain.block("latest")
        await self._ask("evm_setNextBlockTimestamp", head.timestamp + max(after_s, 1))
        await self._ask("evm_mine")
        return await self.chain.block("latest")

    async def snapshot(self) -> str:
        return str(await self._ask("evm_snapshot"))

    async def revert(self, snapshot: str) -> None:
        if await self._ask("evm_revert", snapshot) is not True:
            raise ChainError("the stage could not be put back")

    async def set_price(self, source: Address, answer: int, decimals: int = USUAL_DECIMALS) -> None:
        """Put a source that says this in the place of the one there."""
        await self._ask("anvil_setCode", source, feed_code(answer, decimals))

    async def endow(self, who: Address, token: Address, amount: int, coin_wei: int) -> None:
        """Let them have so much of a token and of the coin. May raise: ChainError for a token with odd books."""
        await self._ask("anvil_setBalance", who, hex(coin_wei))
        await self._ask("anvil_dealERC20", who, token, hex(amount))

    async def balance_wei(self, who: Address) -> int:
        return parse_quantity(await self._ask("eth_getBalance", who, "latest"), "balance")

    async def send(self, sender: Address, call: TxCall, gas: int, max_fee_wei: int, tip_wei: int) -> dict[str, Any]:
        """Include it as if `sender` had signed it; the receipt. May raise: ChainError where the stage refuses it."""
        fields = {
            "from": sender,
            "to": call.to,
            "data": "0x" + call.data.hex(),
            "value": hex(call.value_wei),
            "gas": hex(gas),
            "maxFeePerGas": hex(max_fee_wei),
            "maxPriorityFeePerGas": hex(min(tip_wei, max_fee_wei)),
        }
        await self._ask("anvil_impersonateAccount", sender)
        sent = await self._ask("eth_sendTransaction", fields)
        await self.mine()
        receipt = await self._ask("eth_getTransactionReceipt", sent)
        if not isinstance(receipt, dict):
            raise ChainError("it was not included in the next block")
        return receipt


@asynccontextmanager
async def in_place(chain: RpcChain) -> AsyncIterator[Stage]:
    """The local chain itself. May raise: ConfigError for any but a local one."""
    if chain.chain_id != LOCAL_CHAIN or len(chain.pool.endpoints) != 1:
        raise ConfigError(
            f"chain {chain.chain_id} is no local chain", hint="leave --in-place out: a fork of it is rehearsed on"
        )
    yield Stage(chain)


@asynccontextmanager
async def fork(chain: RpcChain, block: BlockRef, anvil: Path) -> AsyncIterator[Stage]:
    """A fork at that block, thrown away afterwards. May raise: ChainError, when anvil does not start."""
    async with AsyncExitStack() as stack:
        door = await stack.enter_async_context(Forward(chain))
        url = await stack.enter_async_context(_anvil(anvil, door.url, block.number))
        yield Stage(await stack.enter_async_context(RpcChain(url, chain_id=block.chain_id)))


@asynccontextmanager
async def _anvil(binary: Path, upstream: str, number: int) -> AsyncIterator[str]:
    command = [
        str(binary),
        *("--host", "127.0.0.1", "--port", "0", "--no-mining", "--disable-code-size-limit"),
        *("--fork-url", upstream, "--fork-block-number", str(number), "--no-storage-caching", "--no-rate-limit"),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    reader: asyncio.Task[None] | None = None
    try:
        url = await _address(process)
        reader = asyncio.create_task(_drain(process))  # what it prints from now on must go somewhere
        yield url
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        if reader is not None:
            await reader


async def _address(process: asyncio.subprocess.Process) -> str:
    said: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_WITHIN_S):
            while process.stdout is not None and (line := await process.stdout.readline()):
                text = line.decode(errors="replace")
                if _LISTENING in text:
                    return f"http://127.0.0.1:{text.rsplit(_LISTENING, 1)[1].split()[0]}"
                said.append(text.strip())
    raise ChainError(f"anvil did not start: {' '.join(said)[-400:]}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    while process.stdout is not None and await process.stdout.read(65_536):
        pass


def find_anvil(chosen: Path | None = None) -> Path:
    """The one asked for, else PATH's, else the one that scripts/localnet installed. May raise: ConfigError."""
    if chosen is not None:
        if not os.access(chosen, os.X_OK):
            raise ConfigError(f"{chosen} is no program")
        return chosen
    if found := shutil.which("anvil"):
        return Path(found)
    if sys.platform == "linux":
        pattern = "npm-*/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
        for path in sorted(cache_home().glob(pattern)):
            if os.access(path, os.X_OK):
                return path
    raise ConfigError("no anvil to rehearse on", hint="install Foundry, so that anvil is on PATH; or name it: --anvil")
