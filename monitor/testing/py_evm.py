"""A chain inside this process: the DevChain port in front of eth-tester and py-evm.

Knows how to make one that has room for Aave's deployment and a repeatable clock. There is no loopback traffic, no other
process and no npm binary, which is why the default test suite runs on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from eth.abc import ComputationAPI
from eth_keys.datatypes import PrivateKey
from eth_tester import EthereumTester, PyEVMBackend
from eth_utils.address import to_canonical_address

from monitor.testing.codec import address_of, encode_call
from monitor.testing.devchain import ZERO_ADDRESS, CallReverted, DevChain, Transaction, account_key

GENESIS_TIMESTAMP = 1_700_000_000
BLOCK_GAS = 500_000_000
TRANSACTION_GAS = 60_000_000
ENOUGH_WEI = 10**21
FEE_CAP_WEI = 10**9
ZERO_HASH = b"\x00" * 32
BATCH = 10  # transactions a block, where order is all that matters


def new_tester(timestamp: int = GENESIS_TIMESTAMP) -> EthereumTester:
    """An empty chain that begins at `timestamp`; each block is one second after its parent unless time is moved."""
    overrides = {"timestamp": timestamp, "gas_limit": BLOCK_GAS}
    backend = PyEVMBackend(
        genesis_parameters=PyEVMBackend.generate_genesis_params(overrides),
        genesis_state=PyEVMBackend.generate_genesis_state(overrides={"balance": 10**30}, num_accounts=1),
    )
    return EthereumTester(backend=backend)


class EthTesterDevChain(DevChain):
    """A DevChain over an EthereumTester; `tester` stays open for whoever reads the same chain."""

    def __init__(self, tester: EthereumTester | None = None) -> None:
        self.tester = tester or new_tester()
        self._labels: dict[str, str] = {}
        self._keys: dict[str, PrivateKey] = {}
        self._bank = PrivateKey((1).to_bytes(32, "big"))  # eth-tester's first account, rich from genesis
        self._step()

    @property
    def chain_id(self) -> int:
        return int(self.tester.backend.chain.chain_id)

    def account(self, label: str) -> str:
        if label not in self._labels:
            key = PrivateKey(account_key(label))
            self._labels[label] = address_of(key.public_key.to_canonical_address())
            self._keys[self._labels[label]] = key
            self._apply(self._bank, {"to": key.public_key.to_canonical_address(), "value": ENOUGH_WEI})
            self._seal()
        return self._labels[label]

    def labels(self) -> list[str]:
        """Of all accounts that exist here by now."""
        return list(self._labels)

    def adopt(self, labels: Iterable[str]) -> None:
        """The chain under the tester was replaced by one on which these accounts are funded already."""
        for label in labels:
            key = PrivateKey(account_key(label))
            self._labels[label] = address_of(key.public_key.to_canonical_address())
            self._keys[self._labels[label]] = key
        self._step()

    def _apply(self, key: PrivateKey, fields: dict[str, Any]) -> ComputationAPI:
        """Execute one transaction in the open block. May raise CallReverted; it stays in the block then."""
        chain = self.tester.backend.chain
        sender = key.public_key.to_canonical_address()
        unsigned = chain.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            **{"to": b"", "value": 0, "data": b"", "access_list": (), "gas": TRANSACTION_GAS, **fields},
            chain_id=chain.chain_id,
            nonce=chain.get_vm(chain.header).state.get_nonce(sender),
            max_fee_per_gas=FEE_CAP_WEI,
            max_priority_fee_per_gas=0,
        )
        _, _, computation = chain.apply_transaction(unsigned.as_signed_transaction(key, chain.chain_id))
        if computation.is_error:
            self._seal()
            raise CallReverted("transaction", bytes(computation.output))
        return cast("ComputationAPI", computation)

    def _seal(self) -> None:
        """Mine the open block. The mix hash is fixed, so that block hashes repeat from run to run."""
        self.tester.backend.chain.mine_block(mix_hash=ZERO_HASH)
        self._step()

    def _step(self) -> None:
        """The open block comes one second after its parent; py-evm would take the wall clock."""
        chain = self.tester.backend.chain
        chain.set_header_timestamp(chain.get_canonical_head().timestamp + 1)

    def create(self, sender: str, init_code: bytes) -> str:
        computation = self._apply(self._keys[sender], {"data": init_code})
        self._seal()
        return address_of(computation.msg.storage_address)

    def send_data(self, sender: str, to: str, data: bytes) -> None:
        self._apply(self._keys[sender], {"to": to_canonical_address(to), "data": data})
        self._seal()

    def send_all(self, transactions: Iterable[Transaction]) -> None:
        for n, transaction in enumerate(transactions, 1):
            data = encode_call(transaction.signature, transaction.args)
            self._apply(self._keys[transaction.sender], {"to": to_canonical_address(transaction.to), "data": data})
            if n % BATCH == 0:
                self._seal()
        self._seal()

    def call_data(self, to: str, data: bytes, *, sender: str = ZERO_ADDRESS) -> bytes:
        # not tester.call: that loses revert data and wants the caller to own ether
        chain = self.tester.backend.chain
        vm = chain.get_vm(chain.get_canonical_head())
        target, origin = to_canonical_address(to), to_canonical_address(sender)
        computation = vm.execute_bytecode(
            origin=origin,
            gas_price=0,
            gas=TRANSACTION_GAS,
            to=target,
            sender=origin,
            value=0,
            data=data,
            code=vm.state.get_code(target),
        )
        if computation.is_error:
            raise CallReverted("call", bytes(computation.output))
        return bytes(computation.output)

    def code(self, address: str) -> bytes:
        chain = self.tester.backend.chain
        return bytes(chain.get_vm(chain.get_canonical_head()).state.get_code(to_canonical_address(address)))

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self._seal()

    def set_next_timestamp(self, timestamp: int) -> None:
        self.tester.backend.chain.set_header_timestamp(timestamp)

    def block_number(self) -> int:
        return int(self.tester.backend.chain.get_canonical_head().block_number)

    def timestamp(self) -> int:
        return int(self.tester.backend.chain.get_canonical_head().timestamp)

    def snapshot(self) -> str:
        return str(self.tester.take_snapshot())

    def revert(self, snapshot: str) -> None:
        self.tester.revert_to_snapshot(int(snapshot))
        self._step()
