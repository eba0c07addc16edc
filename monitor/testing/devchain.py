"""The port through which a local chain is driven: deploy, send, call, move time, remember and go back.

Knows what a development chain can do and nothing of how: anvil over loopback (`anvil.py`) and py-evm in this process
(`py_evm.py`) both fit. It is synchronous, because set-up code is a list of steps. It must not be used by levmon itself,
which reads chains through monitor.chain.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from eth_utils.crypto import keccak

from monitor.testing.codec import address_of, decode, encode_args, encode_call, revert_reason

ZERO_ADDRESS = "0x" + "00" * 20
MAX_UINT256 = 2**256 - 1
LISTED_AT_ONCE = 10  # so many new reserves fit into one transaction


class CallReverted(Exception):
    """A call or transaction reverted; `data` is what the contract said, `reason` the same for people."""

    def __init__(self, what: str, data: bytes) -> None:
        super().__init__(f"{what}: {revert_reason(data)}")
        self.data = data
        self.reason = revert_reason(data)


class DevChainError(Exception):
    """The local chain refused or did not understand a request."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One call to be sent: `signature` such as `mint(address,uint256)` names function and argument types."""

    sender: str
    to: str
    signature: str
    args: tuple[Any, ...]


def account_key(label: str) -> bytes:
    """The private key of a local account, made from its label: no secret, and the same on every chain."""
    return keccak(text=f"levmon local account {label}")


def account_address(label: str) -> str:
    from eth_keys.datatypes import PrivateKey

    return address_of(PrivateKey(account_key(label)).public_key.to_canonical_address())


class DevChain(ABC):
    """A chain of our own. Every sent transaction has succeeded when the method returns, or CallReverted is raised."""

    @property
    @abstractmethod
    def chain_id(self) -> int: ...

    @abstractmethod
    def account(self, label: str) -> str:
        """Checksum address of the account called `label`, ready to send transactions."""

    @abstractmethod
    def create(self, sender: str, init_code: bytes) -> str:
        """Deploy raw init code; answers the new contract's address."""

    @abstractmethod
    def send_data(self, sender: str, to: str, data: bytes) -> None: ...

    @abstractmethod
    def call_data(self, to: str, data: bytes, *, sender: str = ZERO_ADDRESS) -> bytes:
        """The answer at the newest block, under that block's own timestamp."""

    @abstractmethod
    def code(self, address: str) -> bytes:
        """What runs at this address now; empty where there is no contract."""

    @abstractmethod
    def mine(self, blocks: int = 1) -> None: ...

    @abstractmethod
    def set_next_timestamp(self, timestamp: int) -> None:
        """The next mined block has this timestamp (it must be later than the newest block's)."""

    @abstractmethod
    def block_number(self) -> int: ...

    @abstractmethod
    def timestamp(self) -> int:
        """Of the newest block."""

    @abstractmethod
    def snapshot(self) -> str: ...

    @abstractmethod
    def revert(self, snapshot: str) -> None:
        """Back to the snapshot, which is used up."""

    def warp(self, seconds: int) -> None:
        """One block, `seconds` after the newest."""
        self.set_next_timestamp(self.timestamp() + seconds)
        self.mine()

    def deploy(self, sender: str, code: bytes, types: str = "()", args: Sequence[Any] = ()) -> str:
        return self.create(sender, code + encode_args(types, args))

    def send(self, sender: str, to: str, signature: str, *args: Any) -> None:
        try:
            self.send_data(sender, to, encode_call(signature, args))
        except CallReverted as error:
            raise CallReverted(f"{signature} on {to} from {sender}", error.data) from error

    def send_all(self, transactions: Iterable[Transaction]) -> None:
        """In order. A backend may put many into one block; the first that fails ends it."""
        for transaction in transactions:
            self.send(transaction.sender, transaction.to, transaction.signature, *transaction.args)

    def call(self, to: str, signature: str, returns: str, *args: Any, sender: str = ZERO_ADDRESS) -> tuple[Any, ...]:
        """Call `signature` and decode the answer as the tuple `returns`. May raise CallReverted."""
        return decode(returns, self.call_data(to, encode_call(signature, args), sender=sender))
