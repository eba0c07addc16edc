"""Which code each market ran when it was last acted upon or agreed to: kept, so that a change while levmon was down

is noticed. A code is the digest that pipeline.basis makes; what it means is not known here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, select

from monitor.journal.codec import canonical
from monitor.journal.commits import Commits
from monitor.journal.tables import META


@dataclass(frozen=True, slots=True)
class Met:
    """`trusted`: what may be acted upon. `seen`: another that was met later and is refused; "" if none was."""

    trusted: str
    seen: str = ""


class Codes:
    """One journal's. Every method may raise: JournalError."""

    def __init__(self, journal: Commits) -> None:
        self._journal = journal

    def met(self, market: str) -> Met | None:
        """None for a market that was never met."""
        with self._journal.look() as db:
            return _read(db, market)

    def keep(self, market: str, met: Met, at_s: int) -> None:
        """Record it, where it is otherwise than before."""
        with self._journal.commit("code") as db:
            if _read(db, market) == met:
                return
            db.execute(META.delete().where(META.c.name == _name(market)))
            db.execute(META.insert().values(name=_name(market), value=canonical(asdict(met))))
            self._journal.append(db, at_s, [("code", market, asdict(met))])

    def agree(self, market: str, at_s: int) -> None:
        """A person has understood why the code is another one: what was refused is trusted from now on."""
        met = self.met(market)
        if met is not None and met.seen:
            self.keep(market, replace(met, trusted=met.seen, seen=""), at_s)


def _name(market: str) -> str:
    return f"code:{market}"


def _read(db: Connection, market: str) -> Met | None:
    value = db.execute(select(META.c.value).where(META.c.name == _name(market))).scalar()
    return None if value is None else Met(**json.loads(value))
