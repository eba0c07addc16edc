"""The reader's port over an EthereumTester: levmon on a chain inside this process, without a node or a socket.

eth-tester knows no calls by block hash and no logs by block hash, so the hash is resolved to a number that is checked
canonical before and after each batch. Calls run in py-evm on the state and header of that block; reverts come back with
the bytes that the contract sent, as from a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Self

from eth.exceptions import Revert
from eth_bloom.bloom import BloomFilter
from eth_utils.address import to_canonical_address

from monitor.chain import abi
from monitor.chain.aggregate import Item
from monitor.chain.jobs import Asked
from monitor.chain.port import BlockAt
from monitor.chain.rpc_chain import TAGS
from monitor.core.errors import ChainError, ConfigError, DecodeError, Reorged, StateMissing, WrongChain
from monitor.core.types import Answer, BlockRef, Call, Created, Log, LogQuery, Ok, Query, Unread, Word

if TYPE_CHECKING:
    from eth.abc import BlockHeaderAPI
    from eth_tester import EthereumTester

CALL_GAS = 100_000_000
"""As much as one eth_call has on the local anvil."""


class EthTesterChain:
    """One in-process chain. Holds no resources: `close` does nothing and it may be made as often as wanted."""

    def __init__(self, tester: EthereumTester) -> None:
        """`tester` must have a PyEVMBackend; whoever made it may go on mining with it."""
        self._tester = tester

    @property
    def _chain(self) -> Any:
        return self._tester.backend.chain

    @property
    def chain_id(self) -> int:
        return int(self._chain.chain_id)

    async def block(self, at: BlockAt = "latest") -> BlockRef:
        """May raise: StateMissing when there is no such block, ConfigError when `at` is no block."""
        return self._ref(self._header(at))

    async def headers(self, first: int, last: int) -> list[BlockRef]:
        """The canonical blocks `first` to `last`. May raise: StateMissing."""
        return [self._ref(self._by_number(number)) for number in range(first, last + 1)]

    def _header(self, at: BlockAt) -> BlockHeaderAPI:
        head = self._chain.get_canonical_head()
        if at in TAGS:
            return head if at != "earliest" else self._by_number(0)
        if isinstance(at, int):
            number = head.block_number + at if at < 0 else at
            if number < 0:
                raise ConfigError(f"there is no block {at} before block {head.block_number}")
            return self._by_number(number)
        for number in range(head.block_number, -1, -1):
            header = self._by_number(number)
            if _hex(header.hash) == at.lower():
                return header
        raise StateMissing(f"there is no block {at}")

    def _by_number(self, number: int) -> BlockHeaderAPI:
        if number > self._chain.get_canonical_head().block_number:
            raise StateMissing(f"there is no block {number}")
        header: BlockHeaderAPI = self._chain.get_canonical_block_header_by_number(number)
        return header

    def _ref(self, header: BlockHeaderAPI) -> BlockRef:
        return BlockRef(
            chain_id=self.chain_id,
            number=header.block_number,
            hash=_hex(header.hash),
            parent_hash=_hex(header.parent_hash),
            timestamp=header.timestamp,
            base_fee=header.base_fee_per_gas,
        )

    def _pinned(self, block: BlockRef) -> BlockHeaderAPI:
        """The canonical header of a block. May raise: WrongChain, StateMissing, Reorged."""
        if block.chain_id != self.chain_id:
            raise WrongChain(f"block {block.number} is of chain {block.chain_id}, not {self.chain_id}")
        header = self._by_number(block.number)
        if _hex(header.hash) != block.hash:
            raise Reorged(f"block {block.number} is no longer {block.hash}")
        return header

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        """May raise: ChainError."""
        vm = self._chain.get_vm(self._pinned(block))
        answers = [self._answer(vm, query, block) for query in queries]
        self._pinned(block)
        return answers

    def _answer(self, vm: Any, query: Query, block: BlockRef) -> Answer:
        if isinstance(query, LogQuery):
            return Ok(tuple(self._logs(query, block)))
        if isinstance(query, Word):
            return Ok((vm.state.get_storage(to_canonical_address(query.address), query.slot),))
        return Unread("no creation code here") if isinstance(query, Created) else self._call(vm, query)

    def _call(self, vm: Any, call: Call) -> Answer:
        try:
            item = Item(to_canonical_address(call.to), abi.function(call.function).encode(call.args))
        except DecodeError as wrong:
            return Unread(wrong.message)
        sender = to_canonical_address(call.sender) if call.sender else bytes(20)
        before = vm.state.snapshot()
        computation = vm.execute_bytecode(
            origin=sender,
            gas_price=0,
            gas=CALL_GAS,
            to=item.to,
            sender=sender,
            value=0,
            data=item.data,
            code=vm.state.get_code(item.to),
        )
        vm.state.revert(before)
        if computation.is_error and not isinstance(computation.error, Revert):
            return Unread(f"it ran out of gas, or broke a rule that costs all gas ({type(computation.error).__name__})")
        return Asked(0, call, item).answer(not computation.is_error, bytes(computation.output))

    def _logs(self, query: LogQuery, block: BlockRef) -> Iterator[Log]:
        address, topic = to_canonical_address(query.address), abi.event(query.event).topic
        for number in range(max(block.number - query.blocks + 1, 0), block.number + 1):
            header = self._by_number(number)
            bloom = BloomFilter(header.bloom)
            if address not in bloom or topic not in bloom:
                continue
            found = self._chain.get_canonical_block_by_number(number)
            logs = [log for receipt in found.get_receipts(self._chain.chaindb) for log in receipt.logs]
            for index, log in enumerate(logs):
                topics = [word.to_bytes(32, "big") for word in log.topics]
                if log.address == address and topics[:1] == [topic]:
                    try:
                        yield abi.decode_log(
                            query.event, query.address, topics, bytes(log.data), number, _hex(header.hash), index
                        )
                    except DecodeError as wrong:
                        raise ChainError(f"a log does not fit its event: {wrong.message}") from None

    async def close(self) -> None:
        """Nothing to release."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _hex(value: bytes) -> str:
    return "0x" + value.hex()
