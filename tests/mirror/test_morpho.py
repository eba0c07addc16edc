"""A whole Morpho Blue market: borrowers found by its id, followed by logs, judged as one by one, bit by bit as read."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.chain.bulk.accounts import BulkAccounts
from monitor.chain.bulk.reader import LADDER, BulkReader
from monitor.chain.bulk.words import Batch, Multicall
from monitor.chain.mirror import Market, Mirror
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.address import parse_address
from monitor.core.types import BlockRef, Known, MarketRef, Position
from monitor.health.book import Book
from monitor.pipeline.borrowers import fetch_borrowers, naming_of
from monitor.protocols.columns import Bulk, Columns
from monitor.protocols.events import Contradiction, RawLog, Stage
from monitor.protocols.ledger import Account, Ledger
from monitor.protocols.morpho_blue import PROTOCOL
from monitor.protocols.morpho_blue.math import Facts, Token, Totals
from monitor.protocols.morpho_blue.reading import Market as Globals
from monitor.protocols.morpho_blue.replay import COLLATERAL, DEBT, MorphoReplay
from monitor.protocols.morpho_blue.whole import MorphoBulk, whole
from monitor.testing import morpho
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.morpho import PARAMS, MorphoMarket
from tests.mirror.world import columns_of, same

REPAY = f"repay({PARAMS},uint256,uint256,address,bytes)"
WITHDRAW = f"withdrawCollateral({PARAMS},uint256,address,address)"
LIQUIDATE = f"liquidate({PARAMS},address,uint256,uint256,bytes)"


class Activity:
    """People who borrow, repay, add and take collateral, and are liquidated, in two markets of one contract."""

    def __init__(self, local: AnvilDevChain, seed: int) -> None:
        self.local, self.random = local, random.Random(seed)
        self.market = morpho.deploy(local)
        self.other = morpho.beside(local, self.market, 77 * 10**16)
        self.people = [local.account(f"person {number}") for number in range(10)]
        self.keeper = local.account("morpho keeper")
        for token in self.market.params[:2]:
            for who in (*self.people, self.keeper):
                morpho.fund(local, self.market, str(token), who, 10**24)
        self.done: set[str] = set()

    def begin(self, market: MorphoMarket, owner: str) -> None:
        collateral = self.random.randrange(10**15, 10**18)
        morpho.borrow(self.local, market, owner, collateral, collateral * 2_000 * 70 // 100 // 10**12)

    async def act(self, chain: RpcChain, facts: Facts) -> None:
        """One random thing by one random person."""
        local, market, owner = self.local, self.market, self.random.choice(self.people)
        block = await chain.block("latest")
        (position,) = await run(chain, PROTOCOL.state(facts, (owner,), block), block)
        assert isinstance(position, Position)
        shares, collateral = position.state.borrow_shares, position.state.collateral
        what = self.random.choice(("begin", "begin elsewhere", "repay", "close", "withdraw", "liquidate", "all of it"))
        if what == "begin":
            self.begin(market, owner)
        elif what == "begin elsewhere":
            self.begin(self.other, owner)
        elif not shares:
            return
        elif what == "repay":
            part = self.random.randrange(1, shares + 1)
            local.send(self.keeper, market.morpho, REPAY, market.params, 0, part, owner, b"")
        elif what == "close":
            local.send(owner, market.morpho, REPAY, market.params, 0, shares, owner, b"")
            local.send(owner, market.morpho, WITHDRAW, market.params, collateral, owner, owner)
        elif what == "withdraw":
            local.send(owner, market.morpho, WITHDRAW, market.params, collateral // 20, owner, owner)
        else:
            owed = PROTOCOL.evaluate(position).debt
            morpho.set_price(local, market, owed * 10**36 * 9 // (10 * collateral))
            seized, repaid = (collateral, 0) if what == "all of it" else (0, shares // 3)
            local.send(self.keeper, market.morpho, LIQUIDATE, market.params, owner, seized, repaid, b"")
            morpho.set_price(local, market, 2_000 * 10**24)
        self.done.add(what)


async def facts_of(chain: RpcChain, market: MorphoMarket) -> Facts:
    block = await chain.block("latest")
    ref = MarketRef(chain.chain_id, PROTOCOL.name, market.morpho, market.id)
    return await run(chain, PROTOCOL.static(ref, block), block)


async def columns_by_getter(chain: RpcChain, facts: Facts, owners: Sequence[bytes], block: BlockRef) -> Columns:
    """As the state of single positions is read."""
    people = [parse_address("0x" + owner.hex()) for owner in owners]
    found: dict[bytes, Account] = {}
    for owner, position in zip(owners, await run(chain, PROTOCOL.state(facts, people, block), block), strict=True):
        assert isinstance(position, Position)
        held = {DEBT: position.state.borrow_shares, COLLATERAL: position.state.collateral}
        found[owner] = Account(0, 0, {kind: amount for kind, amount in held.items() if amount})
    return columns_of(found)


@pytest.mark.anvil
async def test_it_equals_a_read_of_everybody_after_every_block(tmp_path: Path) -> None:
    with AnvilProcess() as process:
        local = process.chain()
        activity = Activity(local, seed=2)
        for owner in activity.people[:4]:
            activity.begin(activity.market, owner)
        for owner in activity.people[:7]:
            activity.begin(activity.other, owner)
        async with RpcChain(process.url) as chain:
            facts = await facts_of(chain, activity.market)
            parts, block = whole(facts), await chain.block("latest")
            owners = await fetch_borrowers(chain, facts.market, parts, block, home=tmp_path)
            assert len(owners) == 4  # those of the other market are others'
            reader = BulkReader(chain, parts.survey)
            accounts = BulkAccounts(chain, reader, naming_of(parts), tmp_path)
            market: Market[Globals] = Market(
                parts.replay, parts.bulk.read_globals, lambda at: PROTOCOL.recheck(facts, at)
            )
            mirror = Mirror(chain, market, accounts)
            await mirror.start([row.tobytes() for row in owners], block)
            for _ in range(120):
                await activity.act(chain, facts)
                head = await chain.block("latest")
                step = await mirror.follow(head)
                mine = mirror.ledger.columns()
                at = [mine.owners[row].tobytes() for row in range(len(mine))]
                same(mine, await columns_by_getter(chain, facts, at, mirror.tip))
                if step is not None:
                    await judged_alike(chain, facts, parts.bulk, mine, step.globals_)
            assert activity.done >= {"begin", "begin elsewhere", "repay", "close", "withdraw", "liquidate", "all of it"}
            assert (mirror.counts.differences, sum(mirror.counts.rereads.values())) == (0, 1), mirror.counts
            everybody = await fetch_borrowers(chain, facts.market, parts, mirror.tip, home=tmp_path)
            followed = mirror.ledger.columns().owners
            assert {row.tobytes() for row in everybody} == {row.tobytes() for row in followed}
        local.close()


async def judged_alike(
    chain: RpcChain, facts: Facts, bulk: Bulk[Any, Any], columns: Columns, globals_: Globals
) -> None:
    """Who is below a threshold is the same by weights and by the verdict of each position."""
    block = globals_.block
    book = Book(bulk, columns)
    people = [parse_address(columns.owner(row)) for row in range(len(columns))]
    found = await run(chain, PROTOCOL.state(facts, people, block), block)
    verdicts = [PROTOCOL.evaluate(one).verdict for one in found if isinstance(one, Position)]
    exact = bulk.exact(globals_, columns, np.arange(len(columns)), block.timestamp)
    assert exact == [(v.numerator, v.denominator) if isinstance(v, Known) else (1, 0) for v in verdicts]
    for threshold in (Fraction(1), Fraction(5, 4), *(Fraction(*one) for one in exact if one and one[1])):
        wanted = [n for n, one in enumerate(exact) if one and one[1] and Fraction(*one) < threshold]
        assert book.below(globals_, block.timestamp, threshold).rows.tolist() == wanted


@pytest.mark.anvil
async def test_the_rungs_without_a_lens_tell_the_same() -> None:
    with AnvilProcess() as process:
        local = process.chain()
        activity = Activity(local, seed=3)
        for owner in activity.people:
            activity.begin(activity.market, owner)
        async with RpcChain(process.url) as chain:
            facts = await facts_of(chain, activity.market)
            block = await chain.block("latest")
            owners = [bytes.fromhex(owner[2:]) for owner in (*activity.people, activity.keeper)]
            asked = np.frombuffer(b"".join(owners), np.uint8).reshape(-1, 20)
            read = await columns_by_getter(chain, facts, owners, block)
            for ladder in (LADDER, (Batch,)):
                reader = BulkReader(chain, whole(facts).survey, ladder=ladder)
                swept = await reader.read(asked, block)
                same(swept.columns, read)
                assert swept.unread == ()
                # nobody is told that a lens is missing where there is none
                assert all(drop.rung == Multicall.name for drop in reader.drops)
                assert swept.rungs[0] in (Multicall.name, Batch.name)
        local.close()


RECORDED = Path(__file__).parent.parent / "golden" / "morpho-blue.json.gz"


def test_recorded_logs_lead_to_the_recorded_positions() -> None:
    (replayed,) = json.loads(gzip.decompress(RECORDED.read_bytes()))["replays"]
    compared = 0
    for identity, people in replayed["expected_accounts"]["positions"].items():
        ref = MarketRef(31337, PROTOCOL.name, parse_address(replayed["addresses"]["Morpho"]), identity)
        token = Token(ref.address, "T", 18)
        replay = MorphoReplay(Facts(ref, token, token, ref.address, ref.address, 0, adaptive=False))
        by_block: dict[int, list[RawLog]] = {}
        for entry in replayed["logs"]:
            topics = tuple(bytes.fromhex(topic[2:]) for topic in entry["topics"])
            if entry["address"].lower() == ref.address.lower() and topics[0] in replay.watch.topics:
                where, data = bytes.fromhex(entry["address"][2:]), bytes.fromhex(entry["data"][2:])
                raw = RawLog(int(entry["logIndex"]), where, topics, data)
                by_block.setdefault(int(entry["blockNumber"]), []).append(raw)
        # everybody is known from before, with nothing
        named = {topic[12:] for logs in by_block.values() for log in logs for topic in log.topics[2:]}
        ledger = Ledger(columns_of({owner: Account() for owner in sorted(named)}))
        for number, logs in sorted(by_block.items()):
            stage = Stage(ledger)
            replay.apply(stage, logs, BlockRef(31337, number, "", "", number))
            assert stage.dirty == set()
            for owner, account in stage.accounts.items():
                ledger.put(stage.before[owner][0], account)
        expected = {
            bytes.fromhex(person[2:]): (int(told["borrowShares"]), int(told["collateral"]))
            for person, told in people.items()
        }
        for row in range(len(ledger)):
            held = ledger.account(row).balances
            if ledger.owner(row) in expected:
                assert (held.get(DEBT, 0), held.get(COLLATERAL, 0)) == expected[ledger.owner(row)]
                compared += bool(held)
    assert compared > 10


def test_what_cannot_be_true_and_whom_nobody_has_seen() -> None:
    morpho_, owner = "0x" + "11" * 20, b"\x22" * 20
    ref = MarketRef(31337, PROTOCOL.name, parse_address(morpho_), "0x" + "33" * 32)
    token = Token(ref.address, "T", 18)
    facts = Facts(ref, token, token, ref.address, ref.address, 0, adaptive=False)
    replay = MorphoReplay(facts)
    block = BlockRef(31337, 1, "", "", 1)

    def log(event: int, people: Sequence[bytes], words: Sequence[int], market: bytes = facts.market_id) -> RawLog:
        topics = (replay.watch.topics[event], market, *(one.rjust(32, b"\0") for one in people))
        return RawLog(0, bytes.fromhex(morpho_[2:]), topics, b"".join(word.to_bytes(32, "big") for word in words))

    borrow, repay, supply = 0, 1, 2
    stage = Stage(Ledger(columns_of({owner: Account(balances={DEBT: 5})})))
    with pytest.raises(Contradiction, match="would be -1"):
        replay.apply(stage, [log(repay, [owner, owner], [1, 6])], block)
    elsewhere = log(repay, [owner, owner], [1, 6], b"\x44" * 32)
    stranger = b"\x55" * 20
    stage = Stage(Ledger(columns_of({owner: Account(balances={DEBT: 5})})))
    replay.apply(stage, [elsewhere, log(supply, [stranger, stranger], [9])], block)
    assert (stage.accounts, stage.dirty) == ({}, set())
    replay.apply(stage, [log(borrow, [stranger, stranger], [0, 9, 9])], block)
    assert stage.dirty == {stranger}


def test_prices_and_totals_that_no_float_may_judge() -> None:
    """A position at such numbers is left to the integers, and they to the contract's own overflow."""
    ref = MarketRef(31337, PROTOCOL.name, "0x" + "11" * 20, "0x" + "33" * 32)
    facts = Facts(ref, Token("0x" + "22" * 20, "L", 6), Token("0x" + "33" * 20, "C", 18), "", "", 86 * 10**16, False)
    block = BlockRef(31337, 1, "", "", 1_000)
    usual = Globals(facts, block, Totals(10**12, 10**18, 10**12, 10**18, 1_000, 0), 2 * 10**27, "", "", 0, None)
    people = {b"\x01" * 20: Account(balances={DEBT: 10**15, COLLATERAL: 10**18}), b"\x02" * 20: Account()}
    columns, bulk = columns_of(people), MorphoBulk(facts)
    assert [total.owed for total in whole(facts).totals(usual, columns, 1_000)] == [0, 10**9]
    odd = (
        replace(usual, price=None, oracle_error="stale"),
        replace(usual, price=2**130),
        replace(usual, totals=replace(usual.totals, total_borrow_assets=2**127)),
        replace(usual, totals=replace(usual.totals, last_update=0), borrow_rate=2**250),
    )
    for globals_ in odd:
        assert np.isnan(bulk.weights(globals_, 1_000).lower[1:]).all()
        first, second = bulk.exact(globals_, columns, np.arange(2), 1_000)
        assert second == (1, 0)
        found = bulk.position(globals_, columns, 0, block)
        assert isinstance(found, Position)
        verdict = PROTOCOL.evaluate(found, None, 1_000).verdict
        assert first == ((verdict.numerator, verdict.denominator) if isinstance(verdict, Known) else None)
    assert not np.isnan(bulk.weights(usual, 1_000).lower).any()
    assert bulk.prices(bulk.at_prices(usual, {facts.collateral.address: 5})) == {facts.collateral.address: 5}
