"""The kill harness on a real node: the same lives, deaths and audit, with anvil for a chain.

Slower and smaller than the run on the model, and there to show that the model leaves nothing out that matters. anvil
drops what falls out in a reorganisation, so that the harness sends it again where geth would have put it back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import Address, BlockRef
from monitor.execution.port import SendReply
from monitor.execution.rpc_chain import RpcExecutionChain
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.devchain import DevChainError
from monitor.testing.kill_child import GUARDIAN
from monitor.testing.kill_harness import FAULTS, KillRun, Tally
from monitor.testing.model_chain import ModelBlock, ModelReceipt, Pooled, read
from monitor.testing.model_port import Faults

HELD_BACK_WEI = 10**14
"""A base fee that nobody offers: how a block without ours is made."""


class AnvilWorld:
    """What the harness needs of a chain, by the model's names, read back from the node after every change."""

    block_s = 1
    finality = 64

    def __init__(self, node: AnvilDevChain) -> None:
        self.node = node
        self.base_fee_wei = 10**9
        self.blocks: list[ModelBlock] = []
        node.rpc("anvil_setBalance", GUARDIAN.address, hex(10**24))
        self._refresh()

    def _refresh(self) -> None:
        """Drop blocks that are no longer canonical, fetch those that are missing."""
        top = int(self.node.rpc("eth_blockNumber"), 16)
        while self.blocks and (len(self.blocks) - 1 > top or self._raw(len(self.blocks) - 1)["hash"] != self.head.hash):
            self.blocks.pop()
        for number in range(len(self.blocks), top + 1):
            raw = self._raw(number)
            base = int(raw["baseFeePerGas"], 16)
            ref = BlockRef(31337, number, raw["hash"], raw["parentHash"], int(raw["timestamp"], 16), base)
            if self.blocks and ref.parent_hash != self.head.hash:
                raise DevChainError(f"anvil's block {number} does not follow from the one before it")
            block = ModelBlock(ref)
            for tx_hash in raw["transactions"]:
                told = self.node.rpc("eth_getTransactionReceipt", tx_hash)
                block.pooled.append(self._pooled(tx_hash))
                block.receipts[tx_hash] = ModelReceipt(
                    tx_hash,
                    number,
                    ref.hash,
                    told["status"] == "0x1",
                    int(told["gasUsed"], 16),
                    int(told["effectiveGasPrice"], 16),
                )
            self.blocks.append(block)

    def _raw(self, number: int) -> Any:
        return self.node.rpc("eth_getBlockByNumber", hex(number), False)

    def _pooled(self, tx_hash: str) -> Pooled:
        raw = bytes.fromhex(self.node.rpc("eth_getRawTransactionByHash", tx_hash)[2:])
        return Pooled(raw, read(raw))

    @property
    def head(self) -> BlockRef:
        return self.blocks[-1].ref

    @property
    def finalized(self) -> BlockRef:
        return self.blocks[max(len(self.blocks) - 1 - self.finality, 0)].ref

    @property
    def pool(self) -> set[tuple[Address, int]]:
        content = self.node.rpc("txpool_content")
        ours = GUARDIAN.address.lower()
        mine = [slots for part in content.values() for sender, slots in part.items() if sender.lower() == ours]
        return {(GUARDIAN.address, int(nonce)) for slots in mine for nonce in slots}

    @property
    def effects(self) -> dict[tuple[Address, bytes], int]:
        found: dict[tuple[Address, bytes], int] = {}
        for one, receipt in self.included(GUARDIAN.address):
            if receipt.ok and one.tx.fields.call.data:
                key = (one.tx.fields.call.to, one.tx.fields.call.data)
                found[key] = found.get(key, 0) + 1
        return found

    def included(self, sender: Address) -> list[tuple[Pooled, ModelReceipt]]:
        return [
            (one, block.receipts[one.hash]) for block in self.blocks for one in block.pooled if one.tx.sender == sender
        ]

    def nonce(self, sender: Address) -> int:
        return len(self.included(sender))

    def occupant(self, sender: Address, nonce: int) -> Pooled | None:
        return next((one for one, _ in self.included(sender) if one.tx.fields.nonce == nonce), None)

    def receipt(self, tx_hash: str) -> ModelReceipt | None:
        return next((block.receipts[tx_hash] for block in self.blocks if tx_hash in block.receipts), None)

    def mine(self, take: Callable[[Any], bool] = lambda _: True) -> None:
        base = self.base_fee_wei if take(None) else HELD_BACK_WEI
        self.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(base))
        self.node.rpc("evm_mine")
        self._refresh()

    def drop_all(self) -> None:
        self.node.rpc("anvil_dropAllTransactions")

    def reorg(self, depth: int, *, keep: Callable[[Any], bool] = lambda _: True) -> None:
        """With an empty pool, else anvil's chain breaks."""
        depth = min(depth, len(self.blocks) - 2)
        if depth < 1:
            return
        fallen = [one for block in self.blocks[-depth:] for one in block.pooled]
        self.drop_all()
        self.node.rpc("anvil_reorg", depth, [])
        self.mine(lambda _: False)
        for one in fallen:
            if keep(one):
                try:
                    self.node.rpc("eth_sendRawTransaction", "0x" + one.raw.hex())
                except DevChainError:
                    continue  # too cheap by now, or its place is taken
        self._refresh()


class AnvilRun(KillRun):
    """A kill run on an anvil of its own. `close` ends its event loop."""

    def __init__(self, folder: Path, seed: str, node: AnvilDevChain) -> None:
        super().__init__(folder, seed)
        self._loop = asyncio.new_event_loop()
        self._reader = RpcChain(node.url)
        self.chain = AnvilWorld(node)  # type: ignore[assignment]  # the same names
        self.port = RpcExecutionChain(self._reader)  # type: ignore[assignment]  # the same port
        self._faults = FAULTS

    def _call(self, what: str, args: tuple[Any, ...]) -> Any:
        if what == "send_raw" and self._happens(self._faults.lost_before):
            return [SendReply("anvil")]
        answer = self._loop.run_until_complete(getattr(self.port, what)(*args))
        if what == "send_raw":
            self.tally.sends += 1
            return [SendReply("anvil")] if self._happens(self._faults.lost_after) else answer
        return answer

    def _peace(self) -> None:
        self._faults = Faults()
        self.chain.base_fee_wei = 10**9

    def close(self) -> None:
        self._loop.run_until_complete(self._reader.close())
        self._loop.close()


def anvil_run(folder: Path, seed: str, kills: int) -> Tally:
    """So many kills on a fresh anvil."""
    with AnvilProcess(flags=("--no-mining", "--order", "fees")) as anvil:
        node = anvil.chain()
        run = AnvilRun(folder, seed, node)
        try:
            return run.run(kills)
        finally:
            run.close()
            node.close()
