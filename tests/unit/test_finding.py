"""All positions of an owner: found, judged under their own names, and unknown where the search failed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.core.types import Address, BlockRef, Call, MarketRef, Ok, ReadPlan, Unreadable
from monitor.pipeline import finding
from monitor.pipeline import snapshot as snapshots
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.snapshot import Depth, Snapshot, snapshot
from monitor.protocols.base import Found
from monitor.report import Subject
from tests.unit.toy import TOY, Contract, Facts, Toy, ToyChain, address, borrowers

MARKET, OTHER = "0x" + "01" * 20, "0x" + "02" * 20
REF = MarketRef(31337, "toy", MARKET)
WALLET = address(77)
ALL = Depth(liquidation_prices=False, find=True)


class Vaults(Toy):
    """A toy in which WALLET has the accounts 1 and 2; the question for them is one of the market's functions."""

    def find_positions(self, facts: Facts, owner: Address, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
        [answer] = yield [Call(facts.market.address, "toy.truth", (owner,), allow_revert=True)]
        if not isinstance(answer, Ok):
            return [Found(facts.market, address(1), "vault 1"), Unreadable("", owner, block, answer.reason)]
        if owner != WALLET:
            return [Found(facts.market, owner)]
        return [Found(facts.market, address(number), f"vault {number}") for number in (1, 2)]


@pytest.fixture
def vaults(monkeypatch: pytest.MonkeyPatch) -> Vaults:
    found = Vaults()
    for module in (snapshots, finding):
        monkeypatch.setattr(module, "protocol_named", lambda _: found)
    return found


async def take(chain: ToyChain, *subjects: Subject, memory: ShortMemory | None = None) -> Snapshot:
    return await snapshot(chain, subjects, memory or ShortMemory(), depth=ALL)


@pytest.mark.usefixtures("vaults")
async def test_an_owner_is_all_its_positions_and_each_is_named() -> None:
    chain, memory = ToyChain({MARKET: Contract(borrowers())}), ShortMemory()
    subjects = Subject(REF, "core", WALLET, "alice"), Subject(REF, "core", address(5))
    for rounds in (6, 3):  # cold: facts, the search, facts and rules with the state; warm: the search, the state
        chain.rounds.clear()
        taken = await take(chain, *subjects, memory=memory)
        assert [(one.owner, one.subject.name) for one in taken.reports] == [
            (address(1), "vault 1 of alice"),
            (address(2), "vault 2 of alice"),
            (address(5), ""),
        ]
        assert {one.verdict for one in taken.reports} == {"known"}
        assert {one.block for one in taken.reports} == {chain.head}
        assert len(chain.rounds) <= rounds


@pytest.mark.usefixtures("vaults")
async def test_what_is_asked_for_twice_is_one_line_under_its_own_name() -> None:
    chain = ToyChain({MARKET: Contract(borrowers())})
    taken = await take(chain, Subject(REF, "core", WALLET), Subject(REF, "core", address(2), "bob's"))
    assert [one.subject.name for one in taken.reports][1:] == ["bob's"]
    assert taken.reports[0].subject.name.startswith("vault 1 of 0x")


@pytest.mark.usefixtures("vaults")
async def test_a_search_that_fails_is_unknown_beside_what_it_found() -> None:
    chain = ToyChain({MARKET: Contract(borrowers(), broken={WALLET})})
    taken = await take(chain, Subject(REF, "core", WALLET))
    assert [(one.owner, one.verdict) for one in taken.reports] == [(address(1), "known"), (WALLET, "unknown")]
    assert "broken" in taken.reports[-1].errors[0]


@pytest.mark.usefixtures("vaults")
async def test_a_market_that_cannot_be_searched_takes_no_other_with_it() -> None:
    chain = ToyChain({MARKET: Contract(borrowers())})
    nowhere = Subject(replace(REF, address=OTHER), "other", WALLET)
    taken = await take(chain, nowhere, Subject(REF, "core", WALLET))
    assert [one.verdict for one in taken.reports] == ["known", "known", "unknown"]
    assert taken.reports[-1].id == nowhere.id


async def test_where_an_owner_is_the_position_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (snapshots, finding):
        monkeypatch.setattr(module, "protocol_named", lambda _: TOY)
    chain, memory = ToyChain({MARKET: Contract(borrowers())}), ShortMemory()
    await take(chain, Subject(REF, "core", address(1)), memory=memory)
    chain.rounds.clear()
    taken = await take(chain, Subject(REF, "core", address(1)), memory=memory)
    assert [one.owner for one in taken.reports] == [address(1)]
    assert len(chain.rounds) == 1
