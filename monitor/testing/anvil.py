"""anvil: a process of our own on a free loopback port, and the DevChain port in front of it.

Knows the flags that make blocks and fees repeatable, and the JSON-RPC methods of a development node. It asks plainly
over one kept-alive loopback connection; levmon's own transport is what is under test and so is not used here.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from monitor.testing.child import birth_of, bound
from monitor.testing.codec import address_of
from monitor.testing.devchain import ZERO_ADDRESS, CallReverted, DevChain, DevChainError, account_address

GENESIS_TIMESTAMP = 1_700_000_000
SCRATCH_PREFIX = "levmon-anvil-"
USER_FILE = "anvil.pid"
STATES = 500
"""So many blocks back anvil answers for; it keeps their states in memory, and would write older ones to disk."""
READY_WITHIN_S = 20.0
TRANSACTION_GAS = 60_000_000  # under the block's limit, enough to list ten reserves at once
SETTLE_POLLS = 2_000  # some tenths of a second of asking again; one is nearly always enough


class AnvilFailed(DevChainError):
    """anvil did not start; the message holds the end of what it printed."""


class AnvilProcess:
    """A context manager: anvil on loopback, killed by its own pid on the way out.

    `timestamp` is that of the genesis block; None means the wall clock. With `step_s` every block is that many seconds
    after its parent, so that runs repeat exactly; None lets block time follow the clock. With `own_session` a Ctrl-C at
    the terminal does not reach anvil. It ends with whoever started it, however that ends, unless it `outlives` that.
    `states`: so many are kept, those of blocks that were reverted among them; None keeps all, the older ones on disk.
    """

    def __init__(
        self,
        *,
        binary: Path | None = None,
        port: int = 0,
        timestamp: int | None = GENESIS_TIMESTAMP,
        step_s: int | None = 1,
        own_session: bool = False,
        outlives: bool = False,
        states: int | None = STATES,
        flags: Sequence[str] = (),
    ) -> None:
        self._binary = binary
        self._asked_port = port
        self._timestamp = timestamp
        self._step_s = step_s
        self._own_session = own_session
        self._outlives = outlives
        self._states = states
        self._flags = tuple(flags)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.scratch: Path | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise AnvilFailed("anvil is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """May raise AnvilFailed: it ended early (port taken, bad flag) or was not ready in time."""
        from monitor.testing.artifacts import find_anvil

        binary = self._binary or find_anvil()
        remove_scratch_of_the_dead()
        # what anvil prints, and what it would otherwise leave for good in the user's home
        self.scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX))
        command = [
            str(binary),
            *("--host", "127.0.0.1", "--port", str(self._asked_port)),
            *("--hardfork", "prague", "--code-size-limit", "100000", "--gas-limit", "100000000"),
            *("--base-fee", "0", "--gas-price", "0", "--auto-impersonate"),
            *(("--timestamp", str(self._timestamp)) if self._timestamp is not None else ()),
            *("--cache-path", str(self.scratch)),
            *(("--prune-history", str(self._states)) if self._states is not None else ()),
            *self._flags,
        ]
        output = self.scratch / "anvil.log"
        try:
            with output.open("wb") as log:
                self._process = subprocess.Popen(
                    command if self._outlives else bound(command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=self._own_session,
                )
            (self.scratch / USER_FILE).write_text(f"{self.pid} {birth_of(self.pid)}")
            self.port = self._wait_until_ready(self._process, output)
        except BaseException:
            self.stop()
            raise
        chain = AnvilDevChain(self.url)
        chain.rpc("anvil_setLoggingEnabled", False)
        if self._step_s is not None:
            chain.rpc("anvil_setBlockTimestampInterval", self._step_s)
        chain.close()
        return self

    @staticmethod
    def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> int:
        mark = "Listening on 127.0.0.1:"
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            text = log.read_text(errors="replace")
            if mark in text and text.endswith("\n"):
                return int(text.rsplit(mark, 1)[1].split()[0])
            if process.poll() is not None:
                raise AnvilFailed(f"anvil ended with code {process.returncode}: {text.strip()[-600:]}")
            if time.monotonic() > deadline:
                raise AnvilFailed(f"anvil was not ready within {READY_WITHIN_S} s: {text.strip()[-600:]}")
            try:
                process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue

    def stop(self) -> None:
        """Ends this process, waits for it and removes its files; says nothing when there is none."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        scratch, self.scratch = self.scratch, None
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)

    def wait(self) -> None:
        """Until anvil ends by itself."""
        if self._process is not None:
            self._process.wait()

    def detach(self) -> int:
        """Let anvil, if it `outlives`, live on; answers its pid. The caller ends it and then removes its `scratch`."""
        if not self._outlives:
            raise AnvilFailed("this anvil ends with the process that started it")
        pid = self.pid
        self.scratch = None
        if self._process is not None:
            self._process.returncode = 0  # keeps Popen from warning that its child still runs
        self._process = None
        return pid

    def chain(self) -> AnvilDevChain:
        return AnvilDevChain(self.url)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def remove_scratch_of_the_dead() -> None:
    """What this user's anvils left that were killed along with whoever should have tidied up."""
    for scratch in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*"):
        try:
            pid, birth = (scratch / USER_FILE).read_text().split(" ", 1)
            mine = scratch.stat().st_uid == os.getuid()
        except (OSError, ValueError):
            continue  # still being set up, or removed meanwhile
        if mine and birth_of(int(pid)) != birth:
            shutil.rmtree(scratch, ignore_errors=True)


class AnvilDevChain(DevChain):
    """A DevChain over the JSON-RPC of an anvil that impersonates every account and mines at once."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        parts = urlsplit(url)
        if parts.hostname not in {"127.0.0.1", "localhost", "::1"} or parts.port is None:
            raise DevChainError("a development chain is driven on loopback only, with its port given")
        self.url = url
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
        self._ids = count(1)
        self._chain_id: int | None = None

    def close(self) -> None:
        self._connection.close()

    def rpc(self, method: str, *params: Any) -> Any:
        """One JSON-RPC request. May raise: CallReverted, DevChainError, OSError when nobody listens."""
        body = json.dumps({"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params})
        try:
            self._connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = json.loads(self._connection.getresponse().read())
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        if "error" in answer:
            error = answer["error"]
            data = error.get("data")
            if error.get("code") == 3 or "revert" in str(error.get("message", "")):
                raise CallReverted(method, bytes.fromhex(data[2:]) if isinstance(data, str) else b"")
            raise DevChainError(f"{method}: {error.get('message')}")
        return answer["result"]

    def rpc_batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """The same method many times in one HTTP request. May raise: DevChainError, OSError."""
        body = [{"jsonrpc": "2.0", "id": number, "method": method, "params": own} for number, own in enumerate(params)]
        try:
            self._connection.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
            answers = json.loads(self._connection.getresponse().read())
        except (http.client.HTTPException, OSError):
            self._connection.close()
            raise
        if len(answers) != len(body) or any("error" in answer for answer in answers):
            raise DevChainError(f"{method}: not all of {len(body)} succeeded")
        return [answer["result"] for answer in sorted(answers, key=lambda answer: int(answer["id"]))]

    @property
    def chain_id(self) -> int:
        if self._chain_id is None:
            self._chain_id = int(self.rpc("eth_chainId"), 16)
        return self._chain_id

    def account(self, label: str) -> str:
        return account_address(label)

    def _transact(self, fields: dict[str, str]) -> dict[str, Any]:
        # the Sync form answers the receipt: eth_sendTransaction returns before the block is mined
        receipt = self.rpc("eth_sendTransactionSync", {**fields, "gas": hex(TRANSACTION_GAS), "gasPrice": "0x0"})
        self._wait_for(receipt["transactionHash"])
        if receipt["status"] != "0x1":
            raise CallReverted("transaction", self._why(fields, int(receipt["blockNumber"], 16)))
        return dict(receipt)

    def _wait_for(self, transaction_hash: str) -> None:
        """Until anvil has done with the block of a transaction that it has answered the receipt of.

        It answers first and clears its pool by sender and nonce later: what then changes the chain (evm_revert, the
        same nonce once more) is overtaken, and the new transaction thrown away as the old one.
        """
        for _ in range(SETTLE_POLLS):
            if self.rpc("eth_getTransactionByHash", transaction_hash)["blockNumber"] is not None:
                return
        raise DevChainError(f"anvil mined {transaction_hash} and keeps it in its pool")

    def _why(self, fields: dict[str, str], block: int) -> bytes:
        """Revert data of a mined transaction, found by calling it again on its parent block."""
        try:
            self.rpc("eth_call", fields, hex(block - 1))
        except CallReverted as error:
            return error.data
        return b""

    def create(self, sender: str, init_code: bytes) -> str:
        return address_of(self._transact({"from": sender, "data": "0x" + init_code.hex()})["contractAddress"])

    def send_data(self, sender: str, to: str, data: bytes) -> None:
        self._transact({"from": sender, "to": to, "data": "0x" + data.hex()})

    def call_data(self, to: str, data: bytes, *, sender: str = ZERO_ADDRESS) -> bytes:
        fields = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(TRANSACTION_GAS)}
        return bytes.fromhex(self.rpc("eth_call", fields, "latest")[2:])

    def code(self, address: str) -> bytes:
        return bytes.fromhex(self.rpc("eth_getCode", address, "latest")[2:])

    def mine(self, blocks: int = 1) -> None:
        for _ in range(blocks):
            self.rpc("evm_mine")

    def set_next_timestamp(self, timestamp: int) -> None:
        self.rpc("evm_setNextBlockTimestamp", timestamp)

    def block_number(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def timestamp(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def snapshot(self) -> str:
        return str(self.rpc("evm_snapshot"))

    def settle(self) -> None:
        """Until what others sent is mined and has left the pool, where anvil mines at once; some waits on purpose."""
        for _ in range(SETTLE_POLLS if self.rpc("anvil_getAutomine") else 0):
            if self.rpc("txpool_status")["pending"] == "0x0":
                break

    def revert(self, snapshot: str) -> None:
        self.settle()
        if self.rpc("evm_revert", snapshot) is not True:
            raise DevChainError(f"anvil does not know snapshot {snapshot}")
