"""A chain in pure Python: geth's rules for its transaction pool, blocks, base fee, reorganisations, finality.

Thousands of seeds a minute, because nothing waits and time is a number. It takes the same signed bytes as a real node
and answers in geth's words. What it knows of contracts is one thing: a call with data to any address is an effect, and
effects are counted, so that an audit can tell from the chain alone whether something was done twice.
A differential test holds it to anvil (tests/execution/test_model_chain.py names the differences that are anvil's).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from eth_utils.crypto import keccak

from monitor.core.errors import WrongSignature
from monitor.core.types import Address, BlockRef
from monitor.execution import transaction
from monitor.execution.transaction import SignedTransaction

CALL_GAS = 60_000
TRANSFER_GAS = 21_000
FINALITY = 64
RICH_WEI = 10**24


class TxRejected(Exception):
    """The pool refused; the text is geth's."""

    def __init__(self, message: str, code: int = -32000) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class ModelReceipt:
    """The outcome of one transaction in one block."""

    hash: str
    block_number: int
    block_hash: str
    ok: bool
    gas_used: int
    price_wei: int


@dataclass(frozen=True, slots=True)
class Pooled:
    """A transaction with its bytes."""

    raw: bytes
    tx: SignedTransaction

    @property
    def hash(self) -> str:
        return self.tx.hash

    @property
    def slot(self) -> tuple[Address, int]:
        return self.tx.sender, self.tx.fields.nonce

    @property
    def max_fee_wei(self) -> int:
        return self.tx.fields.max_fee_wei

    @property
    def tip_wei(self) -> int:
        return self.tx.fields.tip_wei


@dataclass(slots=True)
class ModelBlock:
    """A block, and how to take it back."""

    ref: BlockRef
    pooled: list[Pooled] = field(default_factory=list)
    receipts: dict[str, ModelReceipt] = field(default_factory=dict)
    undo: list[Callable[[], None]] = field(default_factory=list)


@lru_cache(maxsize=4096)
def read(raw: bytes) -> SignedTransaction:
    """Decoding recovers a public key, which is slow; the same bytes come again and again."""
    return transaction.decode(raw)


class ModelChain:
    """One chain with one pool. All amounts in wei, all times in seconds."""

    def __init__(
        self, *, chain_id: int = 31337, start_s: int = 1_700_000_000, block_s: int = 12, base_fee_wei: int = 10**9
    ) -> None:
        self.chain_id = chain_id
        self.block_s = block_s
        self.base_fee_wei = base_fee_wei
        self.min_tip_wei = 1
        self.finality = FINALITY
        self.nonces: dict[Address, int] = {}
        self.balances: dict[Address, int] = {}
        self.effects: dict[tuple[Address, bytes], int] = {}
        self.reverting: set[bytes] = set()
        """calldata that reverts for as long as it is in here"""
        self.delegated: set[Address] = set()
        self.pool: dict[tuple[Address, int], Pooled] = {}
        self._salt = 0
        self._receipts: dict[str, ModelReceipt] = {}
        self._slots: dict[tuple[Address, int], Pooled] = {}
        genesis = BlockRef(chain_id, 0, "0x" + keccak(text="genesis").hex(), "0x" + "00" * 32, start_s, base_fee_wei)
        self.blocks = [ModelBlock(genesis)]

    # -- the pool ------------------------------------------------------------------------------------------------

    def send(self, raw: bytes) -> str:
        """Into the pool by geth's rules. May raise: TxRejected."""
        try:
            tx = read(raw)
        except WrongSignature:
            raise TxRejected("rlp: expected input list for types.DynamicFeeTx", -32000) from None
        pooled = Pooled(raw, tx)
        self._admit(pooled)
        return pooled.hash

    def _admit(self, pooled: Pooled) -> None:
        fields, sender = pooled.tx.fields, pooled.tx.sender
        held = self.pool.get(pooled.slot)
        if held is not None and held.hash == pooled.hash:
            raise TxRejected("already known")
        if fields.chain_id != self.chain_id:
            raise TxRejected("invalid sender")
        if fields.tip_wei > fields.max_fee_wei:
            raise TxRejected("max priority fee per gas higher than max fee per gas")
        data = fields.call.data
        if fields.gas < TRANSFER_GAS + sum(16 if byte else 4 for byte in data):
            raise TxRejected(f"intrinsic gas too low: gas {fields.gas}, minimum needed {TRANSFER_GAS}")
        if fields.tip_wei < self.min_tip_wei:
            raise TxRejected(
                f"transaction underpriced: gas tip cap {fields.tip_wei}, minimum needed {self.min_tip_wei}"
            )
        nonce = self.nonce(sender)
        if fields.nonce < nonce:
            raise TxRejected(f"nonce too low: next nonce {nonce}, tx nonce {fields.nonce}")
        cost = fields.gas * fields.max_fee_wei + fields.call.value_wei
        balance = self.balance(sender)
        others = sum(
            one.tx.fields.gas * one.max_fee_wei + one.tx.fields.call.value_wei
            for slot, one in self.pool.items()
            if slot[0] == sender and slot != pooled.slot
        )
        if balance < cost:
            raise TxRejected(
                f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, "
                f"overshot {cost - balance}"
            )
        if balance < cost + others:
            raise TxRejected(
                f"insufficient funds for gas * price + value: balance {balance}, queued cost {others}, "
                f"tx cost {cost}, overshot {cost + others - balance}"
            )
        if sender in self.delegated and held is None:
            if fields.nonce > nonce:
                raise TxRejected("gapped-nonce tx from delegated accounts")
            if any(slot[0] == sender for slot in self.pool):
                raise TxRejected("in-flight transaction limit reached for delegated accounts")
        if held is not None and not _replaces(pooled, held):
            raise TxRejected("replacement transaction underpriced")
        self.pool[pooled.slot] = pooled

    def drop_all(self) -> None:
        """The pool is lost, as when a node restarts."""
        self.pool.clear()

    def drop(self, tx_hash: str) -> None:
        self.pool = {slot: pooled for slot, pooled in self.pool.items() if pooled.hash != tx_hash}

    def knows(self, tx_hash: str) -> bool:
        """In the pool or on the chain."""
        return self.receipt(tx_hash) is not None or any(pooled.hash == tx_hash for pooled in self.pool.values())

    # -- blocks --------------------------------------------------------------------------------------------------

    @property
    def head(self) -> BlockRef:
        return self.blocks[-1].ref

    @property
    def finalized(self) -> BlockRef:
        return self.blocks[max(len(self.blocks) - 1 - self.finality, 0)].ref

    def mine(self, take: Callable[[Pooled], bool] = lambda _: True, *, timestamp: int | None = None) -> BlockRef:
        """One block with all that `take` lets in, pays the base fee and has the next nonce; the best tip first."""
        parent = self.head
        at_s = parent.timestamp + self.block_s if timestamp is None else timestamp
        chosen: list[Pooled] = []
        nonces: dict[Address, int] = {}
        waiting = sorted(self.pool.values(), key=lambda one: (-min(one.tip_wei, one.max_fee_wei), one.hash))
        moved = True
        while moved:
            moved = False
            for one in waiting:
                sender, nonce = one.slot
                due = nonces.get(sender, self.nonce(sender))
                if one not in chosen and nonce == due and one.max_fee_wei >= self.base_fee_wei and take(one):
                    chosen.append(one)
                    nonces[sender] = nonce + 1
                    moved = True
        return self._append(parent, at_s, chosen)

    def _append(self, parent: BlockRef, at_s: int, chosen: Iterable[Pooled]) -> BlockRef:
        self._salt += 1
        number = parent.number + 1
        seed = f"{parent.hash}{number}{self._salt}"
        ref = BlockRef(self.chain_id, number, "0x" + keccak(text=seed).hex(), parent.hash, at_s, self.base_fee_wei)
        block = ModelBlock(ref)
        for one in chosen:
            self._execute(block, one)
        self.blocks.append(block)
        self.pool = {slot: one for slot, one in self.pool.items() if slot[1] >= self.nonce(slot[0])}
        return ref

    def _execute(self, block: ModelBlock, one: Pooled) -> None:
        fields, sender = one.tx.fields, one.tx.sender
        price = min(fields.max_fee_wei, self.base_fee_wei + fields.tip_wei)
        needed = CALL_GAS if fields.call.data else TRANSFER_GAS
        used = min(needed, fields.gas)
        ok = fields.gas >= needed and fields.call.data not in self.reverting
        before = self.balance(sender), self.nonce(sender)
        self.balances[sender] = before[0] - used * price
        self.nonces[sender] = before[1] + 1
        key = (fields.call.to, fields.call.data)
        counted = bool(ok and fields.call.data)
        if counted:
            self.effects[key] = self.effects.get(key, 0) + 1

        receipt = ModelReceipt(one.hash, block.ref.number, block.ref.hash, ok, used, price)

        def undo() -> None:
            del self._receipts[one.hash], self._slots[one.slot]
            self.balances[sender], self.nonces[sender] = before
            if counted:
                self.effects[key] -= 1

        block.undo.append(undo)
        block.pooled.append(one)
        block.receipts[one.hash] = self._receipts[one.hash] = receipt
        self._slots[one.slot] = one

    def reorg(self, depth: int, *, keep: Callable[[Pooled], bool] = lambda _: True, grow: int = 1) -> list[Pooled]:
        """Take `depth` blocks back and mine `depth + grow` empty ones in their place; answers what fell out.

        Fallen transactions that `keep` wants go back to the pool, as geth does it. Never reaches a finalized block.
        """
        depth = min(depth, len(self.blocks) - 1, self.finality)
        fallen: list[Pooled] = []
        times = [block.ref.timestamp for block in self.blocks[len(self.blocks) - depth :]]
        for _ in range(depth):
            block = self.blocks.pop()
            for undo in reversed(block.undo):
                undo()
            fallen = block.pooled + fallen
        for one in fallen:
            held = self.pool.get(one.slot)
            if keep(one) and (held is None or _replaces(one, held)):
                self.pool[one.slot] = one
        for n in range(depth + grow):
            at_s = times[n] if n < len(times) else self.head.timestamp + self.block_s
            self._append(self.head, at_s, ())
        return fallen

    # -- state ---------------------------------------------------------------------------------------------------

    def nonce(self, address: Address) -> int:
        return self.nonces.get(address, 0)

    def nonce_at(self, address: Address, number: int) -> int:
        """After the block of that number."""
        later = sum(1 for block in self.blocks[number + 1 :] for one in block.pooled if one.tx.sender == address)
        return self.nonce(address) - later

    def balance(self, address: Address) -> int:
        return self.balances.get(address, RICH_WEI)

    def receipt(self, tx_hash: str) -> ModelReceipt | None:
        return self._receipts.get(tx_hash)

    def occupant(self, sender: Address, nonce: int) -> Pooled | None:
        """The included transaction of that nonce."""
        return self._slots.get((sender, nonce))

    def block_hash(self, number: int) -> str | None:
        return self.blocks[number].ref.hash if 0 <= number < len(self.blocks) else None

    def included(self, sender: Address) -> list[tuple[Pooled, ModelReceipt]]:
        """Every transaction of that sender on the canonical chain, in order: what an audit goes by."""
        return [
            (one, block.receipts[one.hash]) for block in self.blocks for one in block.pooled if one.tx.sender == sender
        ]


def _replaces(new: Pooled, old: Pooled) -> bool:
    """geth's price bump: a tenth more in both fields."""
    return new.max_fee_wei * 100 >= old.max_fee_wei * 110 and new.tip_wei * 100 >= old.tip_wei * 110
