"""The columns of a market that take changes: the cost is that of what changed, with ten thousand accounts or a million.

`Columns` are packed without gaps, so that one more balance would move all that follow. Here each account has an extent
of the entries' heap: a shorter list of balances stays in its place, a longer one moves to the end, and once a quarter
of the heap is gaps it is packed anew. Rows keep their numbers; new accounts come last. Knows no chain and no protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.protocols.columns import I64, U8, U64, Columns

S = TypeVar("S", bound=np.generic)

WORD = 2**64 - 1
SPARE = 8
"""One part in so many of each array is left free when it is made, so that the first changes need no larger one."""
KEY_BYTES = 8
"""So much of an address is looked up by bisection; what shares it is compared whole."""


@dataclass(slots=True)
class Account:
    """One account's raw state. `flags` is one integer however many words it takes; zero balances are left out."""

    mode: int = 0
    flags: int = 0
    balances: dict[int, int] = field(default_factory=dict)

    def copy(self) -> Account:
        return Account(self.mode, self.flags, dict(self.balances))


class Ledger:
    """Columns with changes. Rows `0 .. len - 1`; addresses are 20 bytes."""

    def __init__(self, columns: Columns) -> None:
        self._take_in(columns)

    def _take_in(self, columns: Columns) -> None:
        count, used = len(columns), len(columns.kind)
        self._count, self._used, self._gaps = count, used, 0
        self._owners = _roomy(columns.owners)
        self._mode = _roomy(columns.mode)
        self._flags = _roomy(columns.flags)
        self._start = _roomy(columns.start[:-1])
        self._size = _roomy(np.diff(columns.start).astype(np.uint16))
        self._kind = _roomy(columns.kind)
        self._low = _roomy(columns.low)
        self._high = _roomy(columns.high)
        keys = _keys(columns.owners)
        self._rows = np.argsort(keys, kind="stable").astype(np.int32)
        self._keys = keys[self._rows]
        self._late: dict[bytes, int] = {}
        """accounts that came after the keys were sorted"""

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """What the arrays take."""
        arrays = (self._owners, self._mode, self._flags, self._start, self._size, self._kind, self._low, self._high)
        return sum(array.nbytes for array in arrays) + self._rows.nbytes + self._keys.nbytes

    def find(self, owner: bytes) -> int | None:
        """The row of an address, or None."""
        key = np.uint64(int.from_bytes(owner[:KEY_BYTES], "big"))
        at = int(np.searchsorted(self._keys, key))
        while at < len(self._keys) and self._keys[at] == key:
            row = int(self._rows[at])
            if self._owners[row].tobytes() == owner:
                return row
            at += 1
        return self._late.get(owner)

    def find_all(self, owners: Sequence[bytes]) -> list[int | None]:
        """`find` of each, for little more than one costs."""
        if not owners or not len(self._keys):
            return [self.find(owner) for owner in owners]
        asked = np.frombuffer(b"".join(owners), np.uint8).reshape(-1, 20)
        at = np.minimum(np.searchsorted(self._keys, _keys(asked)), len(self._keys) - 1)
        rows = self._rows[at]
        same = (self._owners[rows] == asked).all(axis=1).tolist()
        pairs = zip(rows.tolist(), same, owners, strict=True)
        return [row if found else self.find(owner) for row, found, owner in pairs]

    def accounts(self, rows: Sequence[int]) -> list[Account]:
        """A copy of the state of each of these, all different."""
        return list(accounts_of(self.take(rows)).values())

    def owner(self, row: int) -> bytes:
        return bytes(self._owners[row])

    def account(self, row: int) -> Account:
        """A copy of one account's state."""
        span = slice(int(self._start[row]), int(self._start[row]) + int(self._size[row]))
        parts = zip(self._kind[span].tolist(), self._low[span].tolist(), self._high[span].tolist(), strict=True)
        flags = 0
        for n, word in enumerate(self._flags[row].tolist()):
            flags |= word << 64 * n
        return Account(int(self._mode[row]), flags, {kind: high << 64 | low for kind, low, high in parts})

    def put(self, row: int, account: Account) -> None:
        """Write one account. May raise: OverflowError, when its flags need more words than the columns have."""
        self._mode[row] = account.mode
        flags = account.flags
        for n in range(self._flags.shape[1]):
            self._flags[row, n] = flags & WORD
            flags >>= 64
        if flags:
            raise OverflowError("flags beyond the columns' words")
        entries = sorted((kind, amount) for kind, amount in account.balances.items() if amount)
        had = int(self._size[row])
        if len(entries) > had:
            self._gaps += had
            self._start[row] = self._room(len(entries))
        else:
            self._gaps += had - len(entries)
        self._size[row] = len(entries)
        at = int(self._start[row])
        for n, (kind, amount) in enumerate(entries, at):
            self._kind[n] = kind
            self._low[n] = amount & WORD
            self._high[n] = amount >> 64
        if self._gaps > 1024 and self._gaps > self._used // 4:
            self._take_in(self.columns())

    def put_all(self, rows: Sequence[int], accounts: Sequence[Account]) -> None:
        """`put` of each, for little more than one costs where balances have only changed."""
        chosen = np.asarray(rows, np.int64)
        starts, sizes = self._start[chosen].tolist(), self._size[chosen].tolist()
        places: list[int] = []
        balances: list[tuple[int, int]] = []
        same: list[int] = []
        others: list[int] = []
        for n, (account, start, size) in enumerate(zip(accounts, starts, sizes, strict=True)):
            entries = sorted(account.balances.items())
            if len(entries) != size or account.flags >> 64 * self._flags.shape[1] or not all(account.balances.values()):
                others.append(n)
                continue
            same.append(n)
            places += range(start, start + size)
            balances += entries
        kept = chosen[same]
        self._mode[kept] = [accounts[n].mode for n in same]
        for word in range(self._flags.shape[1]):
            self._flags[kept, word] = np.array([accounts[n].flags >> 64 * word & WORD for n in same], np.uint64)
        self._kind[places] = np.array([kind for kind, _ in balances], np.uint16)
        self._low[places] = np.array([amount & WORD for _, amount in balances], np.uint64)
        self._high[places] = np.array([amount >> 64 for _, amount in balances], np.uint64)
        for n in others:  # last, for they may move all others
            self.put(rows[n], accounts[n])

    def _room(self, entries: int) -> int:
        """Where so many entries may be written: the end of the heap."""
        at, self._used = self._used, self._used + entries
        if self._used > len(self._kind):
            self._kind, self._low, self._high = _roomy(self._kind), _roomy(self._low), _roomy(self._high)
        return at

    def add(self, owner: bytes, account: Account) -> int:
        """A new account; answers its row."""
        row = self._count
        if row == len(self._mode):
            self._owners, self._mode, self._flags = _roomy(self._owners), _roomy(self._mode), _roomy(self._flags)
            self._start, self._size = _roomy(self._start), _roomy(self._size)
        self._count += 1
        self._owners[row] = np.frombuffer(owner, dtype=np.uint8)
        self._size[row] = 0
        self._late[owner] = row
        self.put(row, account)
        return row

    def take(self, rows: Sequence[int] | I64) -> Columns:
        """These rows as columns of their own, in this order."""
        chosen = np.asarray(rows, dtype=np.int64)
        size = self._size[chosen].astype(np.int64)
        start = np.zeros(len(chosen) + 1, dtype=np.int64)
        np.cumsum(size, out=start[1:])
        # entry n of the result is entry n - start[i] of account i's extent
        entries = np.arange(start[-1]) + np.repeat(self._start[chosen] - start[:-1], size)
        return Columns(
            owners=self._owners[chosen],
            mode=self._mode[chosen],
            flags=self._flags[chosen],
            start=start,
            kind=self._kind[entries],
            low=self._low[entries],
            high=self._high[entries],
        )

    def columns(self) -> Columns:
        """All rows, packed: a copy."""
        return self.take(np.arange(self._count))


def accounts_of(columns: Columns) -> dict[bytes, Account]:
    """Columns as accounts by address."""
    starts, kinds = columns.start.tolist(), columns.kind.tolist()
    amounts = [high << 64 | low for low, high in zip(columns.low.tolist(), columns.high.tolist(), strict=True)]
    owners, modes = columns.owners.tobytes(), columns.mode.tolist()
    found = {}
    for row, words in enumerate(columns.flags.tolist()):
        span = slice(starts[row], starts[row + 1])
        flags = sum(word << 64 * n for n, word in enumerate(words))
        balances = dict(zip(kinds[span], amounts[span], strict=True))
        found[owners[20 * row : 20 * row + 20]] = Account(modes[row], flags, balances)
    return found


def _keys(owners: U8) -> U64:
    return np.ascontiguousarray(owners[:, :KEY_BYTES]).view(">u8").reshape(-1).astype(np.uint64)


def _roomy(array: NDArray[S]) -> NDArray[S]:
    """The same with room at its end."""
    length = len(array)
    larger = np.empty((length + length // SPARE + 64, *array.shape[1:]), dtype=array.dtype)
    larger[:length] = array
    return larger
