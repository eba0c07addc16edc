"""A mirrored market on anvil, read in bulk, and compared with what the contracts' getters say of each account."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from monitor.chain import abi
from monitor.chain.bulk.accounts import BulkAccounts
from monitor.chain.bulk.reader import BulkReader
from monitor.chain.discover import Naming
from monitor.chain.mirror import Market, Mirror, Reading
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.address import parse_address
from monitor.core.types import BlockRef, Call, MarketRef, Ok, ReadPlan
from monitor.protocols.aave_v3 import static
from monitor.protocols.aave_v3.lens import BORROWERS, read_survey
from monitor.protocols.aave_v3.reading import A_TOKEN, STABLE_TOKEN, VARIABLE_TOKEN, pool_call, token_call
from monitor.protocols.aave_v3.records import ZERO, Facts
from monitor.protocols.aave_v3.replay import read_replay
from monitor.protocols.columns import Columns
from monitor.protocols.ledger import Account, Ledger
from monitor.testing.aave_v3_market import AaveMarket

_STABLE = ((256, "principalBalanceOf"), (384, "getUserStableRate"), (512, "getUserLastUpdated"))


def empty(words: int) -> Columns:
    """Columns of nobody."""
    none = np.zeros(0, np.uint64)
    return Columns(
        owners=np.zeros((0, 20), np.uint8),
        mode=np.zeros(0, np.uint8),
        flags=np.zeros((0, words), np.uint64),
        start=np.zeros(1, np.int64),
        kind=none.astype(np.uint16),
        low=none,
        high=none,
    )


def columns_of(accounts: dict[bytes, Account], words: int = 1) -> Columns:
    """Accounts as columns, in their order."""
    ledger = Ledger(empty(words))
    for owner, account in accounts.items():
        ledger.add(owner, account)
    return ledger.columns()


@dataclass
class GetterAccounts:
    """Reads accounts through the contracts' getters, as the state plan of a single position does."""

    chain: RpcChain
    facts: Facts
    tokens: dict[int, tuple[str, str, str]]
    """aToken, variable and stable debt token by reserve id"""
    reads: int = 0

    async def read(self, owners: Sequence[bytes], block: BlockRef) -> Reading:
        self.reads += len(owners)
        people = [parse_address("0x" + owner.hex()) for owner in owners]
        names = ("getUserConfiguration", "getUserEMode")
        answers = await self.chain.ask([pool_call(self.facts, name, one) for one in people for name in names], block)
        values = [answer.values[0] for answer in answers if isinstance(answer, Ok)]
        assert len(values) == len(answers)
        flags, modes = [word for (word,) in values[::2]], values[1::2]
        asked: list[tuple[bytes, int, Call]] = []
        for owner, person, word in zip(owners, people, flags, strict=True):
            for number, (supplied, variable, stable) in self.tokens.items():
                if word >> 2 * number & 1:
                    asked.append((owner, 2 * number, token_call(variable, "scaledBalanceOf", person)))
                    if stable != ZERO:
                        asked += [(owner, kind + number, token_call(stable, name, person)) for kind, name in _STABLE]
                if word >> 2 * number + 1 & 1:
                    asked.append((owner, 2 * number + 1, token_call(supplied, "scaledBalanceOf", person)))
        found = {owner: Account(mode, word) for owner, mode, word in zip(owners, modes, flags, strict=True)}
        for (owner, kind, _), answer in zip(asked, await self.chain.ask([c for *_, c in asked], block), strict=True):
            assert isinstance(answer, Ok)
            if answer.values[0]:
                found[owner].balances[kind] = answer.values[0]
        return Reading(columns_of(found))


@dataclass
class World:
    """One market with its mirror."""

    chain: RpcChain
    accounts: GetterAccounts
    mirror: Mirror[list[int]]
    market: Market[list[int]]

    async def agree(self) -> None:
        """The mirror's accounts are the chain's at its tip: all of them, bit by bit."""
        mine = self.mirror.ledger.columns()
        owners = [mine.owners[row].tobytes() for row in range(len(mine))]
        theirs = (await self.accounts.read(owners, self.mirror.tip)).columns
        same(mine, theirs)


def same(mine: Columns, theirs: Columns) -> None:
    """Bit by bit, with the first difference told."""
    for row in range(len(mine)):
        one, other = ((c.mode[row], c.flags[row].tolist(), c.balances(row), c.owner(row)) for c in (mine, theirs))
        assert one == other, f"row {row}"
    for name in ("owners", "mode", "flags", "start", "kind", "low", "high"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name


async def read_facts(chain: RpcChain, market: AaveMarket, block: BlockRef) -> Facts:
    ref = MarketRef(chain.chain_id, "aave-v3", market.provider)
    return await run(chain, static.read_static(ref), block)


async def open_world(chain: RpcChain, market: AaveMarket, folder: Path = Path(), **more: object) -> World:
    """A mirror that was made and not yet started. `folder`: where it may keep a search for newcomers."""
    block = await chain.block()
    facts = await read_facts(chain, market, block)
    replay = await run(chain, read_replay(facts), block)
    data = await chain.ask([pool_call(facts, "getReserveData", r.asset) for r in facts.reserves], block)
    structs = [answer.values[0] for answer in data if isinstance(answer, Ok)]
    tokens = {s[7]: (s[A_TOKEN], s[VARIABLE_TOKEN], s[STABLE_TOKEN]) for s in structs}
    accounts = GetterAccounts(chain, facts, tokens)

    def prices(_: BlockRef) -> ReadPlan[list[int]]:
        calls = [Call(facts.oracle, "aave_v3_oracle.getAssetPrice", (r.asset,)) for r in facts.reserves]
        answers = yield calls
        return [answer.values[0] for answer in answers if isinstance(answer, Ok)]

    described = Market(replay, prices, lambda _: static.read_recheck(facts))
    event, place = BORROWERS
    naming = Naming(facts.pool, abi.event(event).topic, place)
    reader = BulkReader(chain, await run(chain, read_survey(facts), block))
    bulk = BulkAccounts(chain, reader, naming, folder)
    mirror: Mirror[list[int]] = Mirror(chain, described, bulk, **more)  # type: ignore[arg-type]
    return World(chain, accounts, mirror, described)


def people(market: AaveMarket) -> list[bytes]:
    """Whom a mirror of a local market follows from the start."""
    everyone = (*market.borrowers, market.lender, market.liquidator)
    return [bytes.fromhex(one[2:]) for one in everyone]
