"""Nodes that misbehave in ways that no probability describes: the model's port with one method changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from monitor.core.types import Address, BlockRef
from monitor.execution.port import Account, Receipt, Rung, SendReply, Simulated, TxCall
from monitor.testing.model_chain import ModelChain
from monitor.testing.model_port import ModelPort


class OddPort(ModelPort):
    """Every hook is a plain attribute; None leaves the model's behaviour."""

    def __init__(self, chain: ModelChain, endpoints: int = 1) -> None:
        super().__init__(chain, endpoints=endpoints)
        self.reply: Callable[[bytes], Sequence[SendReply]] | None = None
        self.edit_receipt: Callable[[Receipt], Receipt | None] | None = None
        self.edit_account: Callable[[Account], Account] | None = None
        self.edit_simulation: Callable[[Rung], Simulated | None] | None = None
        self.served_chain: int | None = None
        self.private: list[bytes] = []
        self.public: list[bytes] = []
        self.asked_receipts: list[str] = []
        self.hidden: set[str] = set()
        self.knows_nothing = False

    async def chain_id(self) -> int:
        return self.served_chain or await super().chain_id()

    async def account(self, address: Address, head: BlockRef, finalized: BlockRef) -> Account:
        found = await super().account(address, head, finalized)
        return self.edit_account(found) if self.edit_account else found

    async def receipts(self, hashes: Sequence[str]) -> Mapping[str, Receipt]:
        self.asked_receipts += hashes
        found = await super().receipts([one for one in hashes if one not in self.hidden])
        if self.edit_receipt is None:
            return found
        edited = {one: self.edit_receipt(receipt) for one, receipt in found.items()}
        return {one: receipt for one, receipt in edited.items() if receipt is not None}

    async def known(self, hashes: Sequence[str]) -> frozenset[str]:
        return frozenset() if self.knows_nothing else await super().known(hashes)

    async def send_raw(self, raw: bytes, *, private: bool = False) -> Sequence[SendReply]:
        (self.private if private else self.public).append(raw)
        if private:
            return [SendReply("relay", hash=_hash(raw))]
        return self.reply(raw) if self.reply else await super().send_raw(raw)

    async def simulate(self, sender: Address, call: TxCall, gas: int, block: BlockRef, rung: Rung) -> Simulated:
        edited = self.edit_simulation(rung) if self.edit_simulation else None
        return edited or await super().simulate(sender, call, gas, block, rung)


def _hash(raw: bytes) -> str:
    from monitor.execution.transaction import tx_hash

    return tx_hash(raw)


def disputed(receipt: Receipt) -> Receipt:
    """As when two endpoints tell different outcomes."""
    return replace(receipt, disputed=True, witnesses=1)


def refuse(text: str) -> Callable[[bytes], Sequence[SendReply]]:
    """An endpoint that answers everything with this error."""
    return lambda _: [SendReply("node0", message=text, code=-32000)]
