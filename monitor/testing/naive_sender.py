"""What a plain bot does: send, then write down that it did; plan again what it does not see. Only here to fail.

The kill harness must be able to tell a careful sender from this one; a harness that lets this pass proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from monitor.core.types import BlockRef
from monitor.execution.port import ExecutionChain
from monitor.execution.transaction import DynamicFee, tx_hash
from monitor.testing.kill_child import GUARDIAN, Line, Task, intent_for
from monitor.testing.model_port import build

NAIVE_POINTS = ("before send", "after send", "after record")


class NaiveSender:
    """Remembers one hash per position, in a file that is written after the send."""

    def __init__(
        self, folder: Path, chain: ExecutionChain, line: Line, clock: Any, reach: Callable[[str], None], now_s: int
    ) -> None:
        self._file = folder / "naive.json"
        self._chain = chain
        self._reach = reach

    async def head(self, tasks: Sequence[Task], head: BlockRef) -> None:
        sent: dict[str, str] = json.loads(self._file.read_text()) if self._file.exists() else {}
        for task in tasks:
            name = str(task.position)
            if name in sent and await self._chain.known([sent[name]]):
                continue
            nonce = (await self._chain.account(GUARDIAN.address, head, head)).nonce
            while await self._chain.pooled_fees(GUARDIAN.address, nonce) is not None:
                nonce += 1
            fee = 2 * (head.base_fee or 0) + 10**9
            fields = DynamicFee(31337, nonce, 10**9, fee, 100_000, build(intent_for(task.position)))
            raw = GUARDIAN.bytes_for(fields)
            self._reach("before send")
            await self._chain.send_raw(raw)
            self._reach("after send")
            sent[name] = tx_hash(raw)
            self._file.write_text(json.dumps(sent))
            self._reach("after record")
