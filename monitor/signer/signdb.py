"""The signer's own record of what it was asked to sign, written before it signs. One SQLite file, one process.

It knows nothing of the executor's journal and does not need it: if that one is lost, restored from a backup or lies,
this one still holds that a nonce carries one intent, that an action has one nonce, that nothing below the highest nonce
is signed again but what is listed there, and that a day's limits are not passed. (After the slashing-protection
databases of Ethereum's validators, EIP-3076.)

Days are the 24 hours before now by the clock that is passed in. What is dated later than now counts too, so setting the
clock back frees nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monitor.core.errors import ConfigError
from monitor.core.types import Address
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import CANCEL, Draft

DAY_S = 86_400
APPLICATION_ID = 0x6C767367
SCHEMA_VERSION = 1
_SCHEMA = (
    # The highest nonce recorded; -1: none yet.
    """CREATE TABLE keys (
        chain_id INTEGER NOT NULL, address TEXT NOT NULL, watermark INTEGER NOT NULL CHECK (watermark >= -1),
        how TEXT NOT NULL, at_s INTEGER NOT NULL, PRIMARY KEY (chain_id, address)) STRICT""",
    "CREATE TABLE epochs (address TEXT NOT NULL PRIMARY KEY, epoch INTEGER NOT NULL) STRICT",
    # Amounts are text: they pass 64 bits.
    """CREATE TABLE intents (
        id INTEGER PRIMARY KEY, chain_id INTEGER NOT NULL, address TEXT NOT NULL, nonce INTEGER NOT NULL,
        intent_hash TEXT NOT NULL, action_id TEXT NOT NULL, kind TEXT NOT NULL, asset TEXT NOT NULL,
        amount TEXT NOT NULL, at_s INTEGER NOT NULL, UNIQUE (chain_id, address, nonce, intent_hash),
        FOREIGN KEY (chain_id, address) REFERENCES keys (chain_id, address)) STRICT""",
    f"CREATE UNIQUE INDEX one_intent ON intents (chain_id, address, nonce) WHERE intent_hash <> '{CANCEL}'",
    "CREATE INDEX intents_of_action ON intents (action_id)",
    "CREATE INDEX intents_of_day ON intents (chain_id, address, asset, at_s)",
    """CREATE TABLE attempts (
        id INTEGER PRIMARY KEY, intent INTEGER NOT NULL REFERENCES intents (id), signing_hash BLOB NOT NULL UNIQUE,
        cost_wei TEXT NOT NULL, at_s INTEGER NOT NULL, raw BLOB) STRICT""",
    "CREATE INDEX attempts_of_intent ON attempts (intent)",
    "CREATE INDEX attempts_of_day ON attempts (at_s)",
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """A draft on record. `raw`: the bytes that it was signed to before, if it was."""

    attempt: int
    raw: bytes | None


@dataclass(frozen=True, slots=True)
class Day:
    """What one key has taken from the limits in the 24 hours up to now."""

    amounts: dict[Address, int]
    cost_wei: int


class SignDb:
    """The open database. Use from one thread; calls neither block on the network nor leave a transaction open."""

    def __init__(self, path: Path, defences: Defences = ALL) -> None:
        """Open or create. May raise: ConfigError when another process has it, or it is damaged or of another kind."""
        self._defences = defences
        self._path = path
        try:
            # made here and not by SQLite, so that it is never readable by others, not even for a moment
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._sql = sqlite3.connect(path, timeout=0, isolation_level=None)
        except (OSError, sqlite3.Error) as failed:
            raise ConfigError(
                f"cannot open {path}: {failed}", hint="the directory must exist and be writable"
            ) from None
        try:
            self._prepare()
        except sqlite3.OperationalError as failed:
            self._sql.close()
            if failed.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ConfigError(
                    f"another process has {path}", hint="one signer per database: stop that one"
                ) from None
            raise ConfigError(f"cannot use {path}: {failed}", hint="check the disk") from None
        except sqlite3.DatabaseError as failed:
            self._sql.close()
            raise ConfigError(
                f"{path} is damaged: {failed}", hint="restore the newest export with `import`, or see `init`"
            ) from None
        except ConfigError:
            self._sql.close()
            raise

    def _prepare(self) -> None:
        if self._defences.exclusive:
            # before anything is read: then no shared memory is used and the lock is kept until the end
            self._sql.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = FULL")
        self._sql.execute("PRAGMA foreign_keys = ON")
        self._sql.execute("PRAGMA trusted_schema = OFF")
        with self._transaction():
            version = self._one("PRAGMA user_version")
            if version == 0 and self._one("SELECT count(*) FROM sqlite_schema") == 0:
                for statement in _SCHEMA:
                    self._sql.execute(statement)
                self._sql.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._sql.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION or self._one("PRAGMA application_id") != APPLICATION_ID:
                raise ConfigError(f"{self._path} is not a sign database of version {SCHEMA_VERSION}")
        if (found := self._one("PRAGMA integrity_check")) != "ok":
            raise sqlite3.DatabaseError(str(found))

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._sql.close()

    # -- keys ------------------------------------------------------------------------------------------------------

    def watermark(self, chain_id: int, address: Address) -> int | None:
        """The highest nonce on record, -1 for none, None when the key is not registered on that chain."""
        row = self._sql.execute(
            "SELECT watermark FROM keys WHERE chain_id = ? AND address = ?", (chain_id, address)
        ).fetchone()
        return None if row is None else int(row[0])

    def epoch(self, address: Address) -> int:
        """The highest lease epoch that was seen with that key."""
        row = self._sql.execute("SELECT epoch FROM epochs WHERE address = ?", (address,)).fetchone()
        return 0 if row is None else int(row[0])

    def initialise(self, chain_id: int, address: Address, next_nonce: int, how: str, now_s: int) -> None:
        """Begin, or go on, at a nonce: nothing below it will be signed. Never lowers a watermark."""
        with self._transaction():
            self._raise_watermark(chain_id, address, next_nonce - 1, how, now_s)

    def _raise_watermark(self, chain_id: int, address: Address, watermark: int, how: str, now_s: int) -> None:
        self._sql.execute(
            "INSERT INTO keys VALUES (?, ?, ?, ?, ?) ON CONFLICT (chain_id, address) DO UPDATE"
            " SET watermark = max(watermark, excluded.watermark)",
            (chain_id, address, watermark, how, now_s),
        )

    def register(self, chain_id: int, address: Address, latest_nonce: int, nonce_gap: int, now_s: int) -> None:
        """Take note of a key that is new on its chain. May raise: Denied when the chain knows more than this.

        Then this database is not the one that the key's transactions were recorded in, or is an old copy of it, or the
        key is also used elsewhere.
        """
        watermark = self.watermark(chain_id, address)
        if watermark is None:
            if latest_nonce > 0 and self._defences.registered:
                raise Denied(
                    Refusal.HISTORY,
                    f"{address} has sent {latest_nonce} transactions on chain {chain_id} and none is on record here",
                    hint="import the key's export, or run `init` with the next nonce if the record is really lost",
                )
            self.initialise(chain_id, address, latest_nonce, "new on the chain", now_s)
        elif latest_nonce > watermark + 1 + nonce_gap and self._defences.nonce_gap:
            raise Denied(
                Refusal.HISTORY,
                f"the chain is at nonce {latest_nonce} of {address}, the record at {watermark + 1}",
                hint="an old copy of the record, or a key used elsewhere: find out, then run `init`",
            )

    def fence(self, address: Address, epoch: int) -> None:
        """Note the epoch if it is the highest. May raise: Denied when it is not the highest any more."""
        highest = self.epoch(address)
        if epoch < highest and self._defences.epoch:
            raise Denied(Refusal.EPOCH, f"lease epoch {epoch} is over: {highest} is at work")
        if epoch > highest:
            with self._transaction():
                self._sql.execute(
                    "INSERT INTO epochs VALUES (?, ?) ON CONFLICT (address) DO UPDATE SET epoch = excluded.epoch",
                    (address, epoch),
                )

    def forget_epoch(self, address: Address) -> None:
        """For a new journal, whose leases begin at one again. Only a person may say so."""
        with self._transaction():
            self._sql.execute("DELETE FROM epochs WHERE address = ?", (address,))

    # -- signatures ------------------------------------------------------------------------------------------------

    def admit(self, draft: Draft, action_id: str, nonce_gap: int, now_s: int) -> Admitted:
        """Record what is about to be signed, durably. May raise: Denied; then nothing was recorded."""
        with self._transaction():
            intent = self._place(draft, action_id, nonce_gap)
            done = self._sql.execute(
                "SELECT id, raw FROM attempts WHERE signing_hash = ?", (draft.transaction.signing_hash,)
            ).fetchone()
            if done is not None and done[1] is not None and self._defences.same_bytes:
                return Admitted(int(done[0]), bytes(done[1]))
            self._check_day(draft, now_s)
            intent = self._write_intent(draft, action_id, intent, now_s)
            self._sql.execute(
                "INSERT INTO attempts (intent, signing_hash, cost_wei, at_s) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (signing_hash) DO UPDATE SET at_s = excluded.at_s",
                (intent, draft.transaction.signing_hash, str(draft.cost_wei), now_s),
            )
            attempt = self._one("SELECT id FROM attempts WHERE signing_hash = ?", draft.transaction.signing_hash)
            return Admitted(int(attempt), None)

    def keep(self, attempt: int, raw: bytes) -> bytes:
        """Keep the signed bytes, so that the same request gets the same ones; gives those that are kept."""
        with self._transaction():
            self._sql.execute("UPDATE attempts SET raw = ? WHERE id = ? AND raw IS NULL", (raw, attempt))
            kept = self._one("SELECT raw FROM attempts WHERE id = ?", attempt)
        return bytes(kept) if self._defences.same_bytes else raw

    def _place(self, draft: Draft, action_id: str, nonce_gap: int) -> int | None:
        """The intent's row if it is on record at that nonce. May raise: Denied when it must not go there."""
        chain_id, nonce, address = draft.transaction.chain_id, draft.transaction.nonce, draft.sender
        watermark = self.watermark(chain_id, address)
        if watermark is None:
            if self._defences.registered:
                raise Denied(
                    Refusal.UNREGISTERED,
                    f"{address} is not registered on chain {chain_id}",
                    hint="the executor registers keys when it starts",
                )
            watermark = -1
        here = dict(
            self._sql.execute(
                "SELECT intent_hash, id FROM intents WHERE chain_id = ? AND address = ? AND nonce = ?",
                (chain_id, address, nonce),
            ).fetchall()
        )
        if not here:
            if nonce <= watermark and self._defences.watermark:
                raise Denied(Refusal.WATERMARK, f"nonce {nonce} is not above {watermark} and not on record")
            if nonce > watermark + 1 + nonce_gap and self._defences.nonce_gap:
                raise Denied(
                    Refusal.NONCE_GAP,
                    f"nonce {nonce} is more than {nonce_gap} above the next one, {watermark + 1}",
                    hint="if the key was used elsewhere, run `init` with the next nonce",
                )
        elif draft.intent_hash != CANCEL and draft.intent_hash not in here and self._defences.one_intent:
            raise Denied(Refusal.NONCE_TAKEN, f"nonce {nonce} carries another intent")
        elsewhere = self._sql.execute(
            "SELECT nonce FROM intents WHERE action_id = ? AND NOT (chain_id = ? AND address = ? AND nonce = ?)",
            (action_id, chain_id, address, nonce),
        ).fetchone()
        if elsewhere is not None and self._defences.one_nonce:
            raise Denied(Refusal.ACTION_MOVED, f"the action has nonce {elsewhere[0]} already")
        return here.get(draft.intent_hash)

    def _write_intent(self, draft: Draft, action_id: str, known: int | None, now_s: int) -> int:
        chain_id, nonce = draft.transaction.chain_id, draft.transaction.nonce
        if known is not None:
            self._sql.execute("UPDATE intents SET at_s = max(at_s, ?) WHERE id = ?", (now_s, known))
            return known
        self._raise_watermark(chain_id, draft.sender, nonce, "signed", now_s)
        if not self._defences.one_intent:
            self._sql.execute("DROP INDEX IF EXISTS one_intent")
        made = self._sql.execute(
            "INSERT INTO intents (chain_id, address, nonce, intent_hash, action_id, kind, asset, amount, at_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            (
                chain_id,
                draft.sender,
                nonce,
                draft.intent_hash,
                action_id,
                draft.kind,
                draft.asset,
                str(draft.amount),
                now_s,
            ),
        ).fetchone()
        return int(made[0])

    # -- days ------------------------------------------------------------------------------------------------------

    def day(self, chain_id: int, address: Address, now_s: int, *, but_nonce: int = -1) -> Day:
        """What counts now, without what is at `but_nonce`. Of a nonce's attempts the dearest counts: one can land."""
        amounts: dict[Address, int] = {}
        for asset, amount in self._sql.execute(
            "SELECT asset, amount FROM intents"
            " WHERE chain_id = ? AND address = ? AND at_s > ? AND nonce <> ? AND asset <> ''",
            (chain_id, address, now_s - DAY_S, but_nonce),
        ):
            amounts[asset] = amounts.get(asset, 0) + int(amount)
        costs: dict[int, int] = {}
        for nonce, cost in self._sql.execute(
            "SELECT nonce, cost_wei FROM attempts JOIN intents ON intents.id = intent"
            " WHERE chain_id = ? AND address = ? AND attempts.at_s > ? AND nonce <> ?",
            (chain_id, address, now_s - DAY_S, but_nonce),
        ):
            costs[nonce] = max(costs.get(nonce, 0), int(cost))
        return Day(amounts, sum(costs.values()))

    def _check_day(self, draft: Draft, now_s: int) -> None:
        transaction = draft.transaction
        day = self.day(transaction.chain_id, draft.sender, now_s, but_nonce=transaction.nonce)
        spent = day.amounts.get(draft.asset, 0)
        if draft.amount and spent + draft.amount > draft.amount_per_day and self._defences.limit_day:
            raise Denied(
                Refusal.LIMIT_DAY,
                f"{draft.amount} of {draft.asset} after {spent} are more than {draft.amount_per_day} in 24 hours",
            )
        if day.cost_wei + draft.cost_wei > draft.cost_per_day_wei and self._defences.fee_day:
            raise Denied(
                Refusal.FEE_DAY,
                f"{draft.cost_wei} wei after {day.cost_wei} are more than {draft.cost_per_day_wei} in 24 hours",
            )

    # -- rows for export and import ----------------------------------------------------------------------------------

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of `keys`, `epochs`, `intents` or `attempts`, in the order of their keys."""
        cursor = self._sql.execute(f"SELECT * FROM {_table(table)} ORDER BY 1, 2")  # noqa: S608  # one of four names
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def merge(self, tables: Mapping[str, list[dict[str, Any]]], now_s: int) -> None:
        """Add the rows of another record. May raise: ConfigError when the two disagree; then nothing was added."""
        with self._transaction():
            for key in tables["keys"]:
                self._raise_watermark(key["chain_id"], key["address"], key["watermark"], "imported", now_s)
            self._sql.executemany(
                "INSERT INTO epochs VALUES (:address, :epoch)"
                " ON CONFLICT (address) DO UPDATE SET epoch = max(epoch, excluded.epoch)",
                tables["epochs"],
            )
            try:
                places = {intent["id"]: self._merge_intent(intent) for intent in tables["intents"]}
                for attempt in tables["attempts"]:
                    self._sql.execute(
                        "INSERT INTO attempts (intent, signing_hash, cost_wei, at_s, raw) VALUES (?, ?, ?, ?, ?)"
                        " ON CONFLICT (signing_hash) DO UPDATE SET raw = coalesce(raw, excluded.raw)",
                        (places[attempt["intent"]], *(attempt[c] for c in ("signing_hash", "cost_wei", "at_s", "raw"))),
                    )
            except (sqlite3.IntegrityError, KeyError):
                raise ConfigError(
                    "the two records disagree about a nonce, or one is damaged",
                    hint="the key was used from two places: find out which transactions landed, then run `init`",
                ) from None

    def _merge_intent(self, row: dict[str, Any]) -> int:
        self._raise_watermark(row["chain_id"], row["address"], row["nonce"], "imported", row["at_s"])
        made = self._sql.execute(
            "INSERT INTO intents (chain_id, address, nonce, intent_hash, action_id, kind, asset, amount, at_s) VALUES"
            " (:chain_id, :address, :nonce, :intent_hash, :action_id, :kind, :asset, :amount, :at_s)"
            " ON CONFLICT (chain_id, address, nonce, intent_hash) DO UPDATE SET at_s = max(at_s, excluded.at_s)"
            " RETURNING id",
            row,
        ).fetchone()
        return int(made[0])

    # -- plumbing ----------------------------------------------------------------------------------------------------

    def _one(self, statement: str, *values: Any) -> Any:
        return self._sql.execute(statement, values).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")


def _table(name: str) -> str:
    if name not in {"keys", "epochs", "intents", "attempts"}:
        raise ValueError(name)
    return name
