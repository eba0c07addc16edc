"""The plans: what is asked in how many rounds, what becomes of what fails, and what is pinned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from monitor.core.errors import CallFailed, ProtocolError
from monitor.core.types import (
    BlockRef,
    Call,
    Known,
    Log,
    LogQuery,
    MarketRef,
    Ok,
    Position,
    PriceStatus,
    Reverted,
    Unread,
    Unreadable,
)
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.records import ZERO, Category, CategoryFacts, Facts, ReserveFacts
from monitor.protocols.aave_v3.versions import PROBES, TABLE
from monitor.protocols.base import Truth
from monitor.protocols.symbols import symbol_of
from tests.protocols.aave_v3_fake import (
    BLOCK,
    IMPLEMENTATION,
    MARKET,
    ORACLE,
    POOL,
    PROVIDER,
    SENTINEL,
    SINCE_3_6,
    FakePool,
    address,
    fake_pool,
    source,
    token,
)
from tests.protocols.aave_v3_positions import NOW_S, RAY, asset, bitmap, word

ANN, BOB, CAT = (address(0xD00 + n) for n in range(3))
CATEGORY_SOURCE = address(0xE00)


def facts_of(pool: FakePool, version: str | None = None) -> Facts:
    facts = pool.run(PROTOCOL.static(MARKET, BLOCK))
    return replace(facts, version=version) if version else facts


def state(pool: FakePool, facts: Facts, *owners: str) -> list[Position | Unreadable]:
    return pool.run(PROTOCOL.state(facts, owners, BLOCK))


def asked(pool: FakePool) -> list[set[str]]:
    """The function names of each round."""
    return [{q.function.partition(".")[2] for q in batch if isinstance(q, Call)} for batch in pool.rounds]


# -- static ------------------------------------------------------------------------------------------------------------


def test_static_takes_three_rounds() -> None:
    pool = fake_pool(functions=SINCE_3_6)
    facts = facts_of(pool)
    assert len(pool.rounds) == 3
    assert facts == Facts(
        market=MARKET,
        pool=POOL,
        oracle=ORACLE,
        sentinel=ZERO,
        implementation=IMPLEMENTATION,
        revision=10,
        version="3.6",
        candidates=("3.6",),
        base_symbol="USD",
        base_unit=10**8,
        reserves=tuple(ReserveFacts(asset(n), f"T{n}", n, n, token(n, 0), source(n)) for n in range(3)),
    )
    assert TypeAdapter(PROTOCOL.facts_type).validate_json(TypeAdapter(PROTOCOL.facts_type).dump_json(facts)) == facts
    assert PROTOCOL.symbols(facts) == {asset(n): f"T{n}" for n in range(3)}


def test_static_asks_for_every_function_that_tells_versions_apart() -> None:
    pool = fake_pool()
    facts_of(pool)
    assert {name for name, _ in PROBES} < asked(pool)[1]
    for number, (name, versions) in enumerate(PROBES):
        found = facts_of(fake_pool(revision=99, functions=[name for name, _ in PROBES[number:]]))
        assert found.candidates == versions, name
    assert facts_of(fake_pool(revision=99)).candidates == ("3.0",)


def test_static_asks_the_proxy_as_its_admin() -> None:
    pool = fake_pool()
    facts_of(pool)
    (call,) = [
        q for batch in pool.rounds for q in batch if isinstance(q, Call) and q.function.endswith("implementation")
    ]
    assert (call.to, call.sender) == (POOL, PROVIDER)


def test_static_survives_what_newer_and_forked_markets_lack() -> None:
    pool = fake_pool(functions=SINCE_3_6)
    pool.mute(PROVIDER, "aave_v3_provider.getPriceOracleSentinel")
    pool.mute(POOL, "aave_v3_pool.implementation")
    pool.mute(ORACLE, "aave_v3_oracle.getSourceOfAsset", asset(1))
    facts = facts_of(pool)
    assert (facts.sentinel, facts.implementation, facts.reserves[1].source) == (ZERO, ZERO, ZERO)
    assert pool.run(PROTOCOL.recheck(facts, BLOCK))


@pytest.mark.parametrize(
    "missing",
    [
        (PROVIDER, "aave_v3_provider.getPool"),
        (PROVIDER, "aave_v3_provider.getPriceOracle"),
        (POOL, "aave_v3_pool.POOL_REVISION"),
        (POOL, "aave_v3_pool.getReservesList"),
        (ORACLE, "aave_v3_oracle.BASE_CURRENCY_UNIT"),
        (ORACLE, "aave_v3_oracle.BASE_CURRENCY"),
    ],
)
def test_static_needs_what_makes_a_market(missing: tuple[str, str]) -> None:
    pool = fake_pool()
    pool.mute(*missing)
    with pytest.raises(CallFailed, match=missing[1].partition(".")[2]):
        facts_of(pool)


@pytest.mark.parametrize("unit", [0, 3, 20, 10**8 + 1])
def test_a_base_unit_must_be_a_power_of_ten(unit: int) -> None:
    pool = fake_pool()
    pool.say(ORACLE, "aave_v3_oracle.BASE_CURRENCY_UNIT", is_=unit)
    with pytest.raises(ProtocolError, match="not a power of ten"):
        facts_of(pool)


def test_a_market_that_counts_in_a_token() -> None:
    pool = fake_pool()
    pool.say(ORACLE, "aave_v3_oracle.BASE_CURRENCY", is_=asset(9))
    pool.say(ORACLE, "aave_v3_oracle.BASE_CURRENCY_UNIT", is_=10**18)
    pool.say(asset(9), "erc20.symbol", is_="WETH")
    pool.open_account(ANN, 0)
    facts = facts_of(pool)
    assert (facts.base_symbol, facts.base_unit) == ("WETH", 10**18)
    pool.mute(asset(9), "erc20.symbol")
    pool.say(asset(9), "erc20_bytes32.symbol", is_=b"OLD" + bytes(29))
    assert facts_of(pool).base_symbol == "OLD"
    pool.say(asset(9), "erc20.symbol", is_="WETH")
    (position,) = state(pool, facts, ANN)
    assert isinstance(position, Position)
    unit = PROTOCOL.evaluate(position).unit
    assert (unit.symbol, unit.decimals) == ("WETH", 18)


@pytest.mark.parametrize(
    ("text", "old", "shown"),
    [
        (Ok(("WETH",)), Reverted(b"", ""), "WETH"),
        (Ok((" pad ",)), Reverted(b"", ""), "pad"),
        (Unread("bytes do not fit"), Ok((b"MKR" + b"\0" * 29,)), "MKR"),
        (Ok(("",)), Ok((b"SAI" + b"\0" * 29,)), "SAI"),
        (Ok(("a\x1b[31mb\u202ec\n",)), Reverted(b"", ""), "a[31mbc"),
        (Ok(("x" * 99,)), Reverted(b"", ""), "x" * 32),
        (Reverted(b"", ""), Reverted(b"", ""), asset(1)[:8]),
        (Reverted(b"", ""), Ok((b"\xff" * 32,)), "�" * 32),
    ],
)
def test_symbols(text: Any, old: Any, shown: str) -> None:
    assert symbol_of(asset(1), text, old) == shown


@pytest.mark.parametrize(
    ("decimals", "refused"), [(0, False), (2, False), (6, False), (27, False), (36, False), (37, True), (77, True)]
)
def test_decimals(decimals: int, refused: bool) -> None:
    """Beyond 36 only the positions in that reserve are refused, with the reason."""
    pool = fake_pool(1, functions=SINCE_3_6)
    pool.list_reserve(1, decimals=decimals)
    facts = facts_of(pool)
    assert facts.reserves[1].decimals == decimals
    pool.open_account(ANN, bitmap([1], []))
    pool.give(ANN, 1, 10**decimals)
    pool.open_account(BOB, bitmap([0], []))
    pool.give(BOB, 0, 1)
    ann, bob = state(pool, facts, ANN, BOB)
    assert isinstance(bob, Position)
    if refused:
        assert isinstance(ann, Unreadable)
        assert ann.reason == f"T1: {decimals} decimals, more than 36"
    else:
        assert isinstance(ann, Position)
        assert PROTOCOL.evaluate(ann).collateral == 10**8


def test_categories_with_a_source_of_their_own_are_found() -> None:
    pool = fake_pool(revision=1)
    pool.say(POOL, "aave_v3_pool.getEModeCategoryData", 2, is_=(1, 2, 3, CATEGORY_SOURCE, "Money"))
    pool.say(POOL, "aave_v3_pool.getEModeCategoryData", 3, is_=(1, 2, 3, ZERO, "ETH"))
    pool.say(POOL, "aave_v3_pool.getEModeCategoryData", 16, is_=(1, 2, 3, CATEGORY_SOURCE, ""))
    facts = facts_of(pool)
    assert facts.version == "3.0"
    assert facts.categories == (CategoryFacts(2, "Money", CATEGORY_SOURCE), CategoryFacts(16, "", CATEGORY_SOURCE))
    assert PROTOCOL.symbols(facts)[CATEGORY_SOURCE] == "e-mode 16"


def test_candidates_are_the_same_facts_under_each_version() -> None:
    pool = fake_pool(revision=9, functions=SINCE_3_6[1:])
    facts = facts_of(pool)
    assert facts.version == "3.5"
    assert [c.version for c in PROTOCOL.candidates(facts)] == ["3.5", "3.4"]
    assert all(replace(c, version="3.5") == facts for c in PROTOCOL.candidates(facts))


# -- recheck -----------------------------------------------------------------------------------------------------------


def test_recheck_takes_one_round() -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    assert pool.run(PROTOCOL.recheck(facts, BLOCK)) is True
    assert len(pool.rounds) == 1


def reserve_data(number: int = 1, **changes: Any) -> tuple[Any, ...]:
    fields = {"word": word(decimals=1), "id": 1, "a_token": token(1, 0)} | changes
    tokens = (fields["a_token"], token(number, 1), token(number, 2))
    return ((fields["word"],), RAY, 11, 2 * RAY, 12, 0, NOW_S - 5, fields["id"], *tokens, ZERO, 0, 0, 0)


CHANGES: list[tuple[str, str, tuple[Any, ...], Any]] = [
    (PROVIDER, "aave_v3_provider.getPool", (), asset(9)),
    (PROVIDER, "aave_v3_provider.getPriceOracle", (), asset(9)),
    (PROVIDER, "aave_v3_provider.getPriceOracleSentinel", (), SENTINEL),
    (POOL, "aave_v3_pool.POOL_REVISION", (), 11),
    (POOL, "aave_v3_pool.implementation", (), asset(9)),
    (POOL, "aave_v3_pool.getReservesList", (), (asset(0), asset(1))),
    (POOL, "aave_v3_pool.getReservesList", (), (asset(1), asset(0), asset(2))),
    (ORACLE, "aave_v3_oracle.BASE_CURRENCY_UNIT", (), 10**18),
    (POOL, "aave_v3_pool.getReserveData", (asset(1),), reserve_data(word=word(decimals=2))),
    (POOL, "aave_v3_pool.getReserveData", (asset(1),), reserve_data(id=2)),
    (POOL, "aave_v3_pool.getReserveData", (asset(1),), reserve_data(a_token=asset(9))),
    (POOL, "aave_v3_pool.getReserveData", (asset(1),), Unread("no gas")),
    (POOL, "aave_v3_pool.POOL_REVISION", (), Unread("no gas")),
]


@pytest.mark.parametrize(("to", "function", "args", "now"), CHANGES)
def test_recheck_sees_every_change(to: str, function: str, args: tuple[Any, ...], now: Any) -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    pool.say(to, function, *args, is_=now)
    assert pool.run(PROTOCOL.recheck(facts, BLOCK)) is False


def test_recheck_does_not_mind_what_moves_every_day() -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    pool.say(POOL, "aave_v3_pool.getReserveData", asset(1), is_=reserve_data(word=word(decimals=1, frozen=True, ltv=1)))
    pool.say(ORACLE, "aave_v3_oracle.getAssetPrice", asset(1), is_=1)
    assert pool.run(PROTOCOL.recheck(facts, BLOCK)) is True


def test_state_asks_what_recheck_asks_in_the_same_words() -> None:
    """So that both travel in one request without a call twice."""
    pool = fake_pool()
    facts = facts_of(pool)
    pool.run(PROTOCOL.recheck(facts, BLOCK))
    rechecked = set(pool.rounds[0])
    state(pool, facts, ANN)
    shared = {q for q in pool.rounds[0] if q in rechecked}
    assert len(shared) == 1 + len(facts.reserves)


# -- state -------------------------------------------------------------------------------------------------------------


def test_state_takes_two_rounds_and_asks_only_what_the_bits_call_for() -> None:
    pool = fake_pool(functions=SINCE_3_6)
    facts = facts_of(pool)
    pool.open_account(ANN, bitmap([0], [2]))
    pool.give(ANN, 0, 70)
    pool.give(ANN, 2, 3, 40)
    pool.open_account(BOB, 0, 9)
    ann, bob = state(pool, facts, ANN, BOB)
    assert len(pool.rounds) == 2
    assert {(q.to, q.function, q.args) for q in pool.rounds[1] if isinstance(q, Call)} == {
        (token(0, 0), "aave_v3_token.scaledBalanceOf", (ANN,)),
        (token(2, 0), "aave_v3_token.scaledBalanceOf", (ANN,)),
        (token(2, 2), "aave_v3_token.scaledBalanceOf", (ANN,)),
    }
    assert isinstance(ann, Position)
    assert isinstance(bob, Position)
    assert ann.id == f"eip155:1/aave-v3/{PROVIDER}/{ANN}"
    assert (ann.rule.protocol, ann.rule.version, ann.block, ann.owner) == ("aave-v3", "3.6", BLOCK, ANN)
    assert ann.prices == {asset(0): 10**8, asset(2): 10**8}
    first, last = ann.state.reserves
    assert (first.id, first.symbol, first.scaled_a_token, first.scaled_variable_debt) == (0, "T0", 70, 0)
    assert (last.id, last.scaled_a_token, last.scaled_variable_debt) == (2, 3, 40)
    assert (last.liquidity_index, last.liquidity_rate) == (RAY, 11)
    assert (last.variable_borrow_index, last.variable_borrow_rate) == (2 * RAY, 12)
    assert (last.last_update_s, last.configuration) == (NOW_S - 5, word(decimals=2))
    assert (bob.state.reserves, bob.state.category, bob.prices) == ((), None, {})


def test_no_owner_with_a_bit_is_one_round() -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    pool.open_account(ANN, 0)
    state(pool, facts, ANN)
    assert len(pool.rounds) == 1


@pytest.mark.parametrize(("version", "stable"), [(v, v in ("3.0", "3.1")) for v in TABLE])
def test_stable_debt_is_asked_for_up_to_3_1(version: str, stable: bool) -> None:
    pool = fake_pool()
    facts = facts_of(pool, version)
    pool.open_account(ANN, bitmap([0], [1]))
    pool.give(ANN, 0, 70)
    pool.give(ANN, 1, 3, 40, stable=(500, 600, 700))
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Position)
    told = [(r.stable_principal, r.stable_rate, r.stable_update_s) for r in ann.state.reserves]
    assert told == [(0, 0, 0), (500, 600, 700) if stable else (0, 0, 0)]


@pytest.mark.parametrize("version", ["3.0", "3.1"])
@pytest.mark.parametrize("known", [True, False])
def test_an_e_mode_of_the_first_kind(version: str, known: bool) -> None:
    """A price source that the facts do not know costs a third round."""
    pool = fake_pool()
    for number in (1, 2):
        pool.say(
            POOL,
            "aave_v3_pool.getEModeCategoryData",
            number,
            is_=(10, 20, 30, CATEGORY_SOURCE if number == 1 else ZERO, "x"),
        )
    pool.say(ORACLE, "aave_v3_oracle.getAssetPrice", CATEGORY_SOURCE, is_=99)
    facts = replace(facts_of(pool, version), categories=(CategoryFacts(1, "x", CATEGORY_SOURCE),) if known else ())
    for owner, number in ((ANN, 1), (BOB, 2)):
        pool.open_account(owner, bitmap([0], []), number)
        pool.give(owner, 0, 70)
    ann, bob = state(pool, facts, ANN, BOB)
    assert len(pool.rounds) == (2 if known else 3)
    assert isinstance(ann, Position)
    assert isinstance(bob, Position)
    assert ann.state.category == Category(1, 10, 20, 30, price_source=CATEGORY_SOURCE)
    assert ann.prices == {CATEGORY_SOURCE: 99, asset(0): 10**8}
    assert bob.state.category == Category(2, 10, 20, 30)
    assert bob.prices == {asset(0): 10**8}


@pytest.mark.parametrize("version", ["3.2", "3.3", "3.4", "3.5", "3.6", "3.7"])
def test_an_e_mode_of_the_second_kind(version: str) -> None:
    pool = fake_pool()
    facts = facts_of(pool, version)
    pool.open_account(ANN, bitmap([0], []), 7)
    pool.give(ANN, 0, 70)
    expected = Category(7, 10, 20, 30, collateral_bitmap=5)
    pool.say(POOL, "aave_v3_pool.getEModeCategoryCollateralConfig", 7, is_=(10, 20, 30))
    pool.say(POOL, "aave_v3_pool.getEModeCategoryCollateralBitmap", 7, is_=5)
    if version >= "3.6":
        pool.say(POOL, "aave_v3_pool.getEModeCategoryLtvzeroBitmap", 7, is_=4)
        expected = replace(expected, ltvzero_bitmap=4)
    if version >= "3.7":
        pool.say(POOL, "aave_v3_pool.getIsEModeCategoryIsolated", 7, is_=True)
        expected = replace(expected, isolated=True)
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Position)
    assert ann.state.category == expected
    pool.mute(POOL, "aave_v3_pool.getEModeCategoryCollateralBitmap", 7)
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Unreadable)
    assert ann.reason == "e-mode category 7 could not be read"


def three_owners() -> tuple[FakePool, Facts]:
    """Ann is in reserve 0, Bob in 1, Cat in both."""
    pool = fake_pool(functions=SINCE_3_6)
    facts = facts_of(pool)
    for owner, collateral, debt in ((ANN, [0], []), (BOB, [1], []), (CAT, [0], [1])):
        pool.open_account(owner, bitmap(collateral, debt))
        for number in collateral + debt:
            pool.give(owner, number, 1000, 10)
    return pool, facts


@pytest.mark.parametrize(
    ("to", "function", "args"),
    [
        (ORACLE, "aave_v3_oracle.getAssetPrice", (asset(1),)),
        (POOL, "aave_v3_pool.getReserveData", (asset(1),)),
    ],
)
@pytest.mark.parametrize("broken", [Reverted(b"", "execution reverted"), Unread("short data")])
def test_what_breaks_in_one_reserve_hurts_its_holders_only(
    to: str, function: str, args: tuple[Any, ...], broken: Any
) -> None:
    pool, facts = three_owners()
    pool.say(to, function, *args, is_=broken)
    ann, bob, cat = state(pool, facts, ANN, BOB, CAT)
    assert isinstance(ann, Position)
    for hurt in (bob, cat):
        assert isinstance(hurt, Unreadable)
        assert broken.reason in hurt.reason
        assert function.partition(".")[2] in hurt.reason


@pytest.mark.parametrize("function", ["getUserConfiguration", "getUserEMode"])
def test_what_breaks_for_one_owner_hurts_no_other(function: str) -> None:
    pool, facts = three_owners()
    pool.mute(POOL, f"aave_v3_pool.{function}", BOB)
    ann, bob, cat = state(pool, facts, ANN, BOB, CAT)
    assert isinstance(ann, Position)
    assert isinstance(bob, Unreadable)
    assert function in bob.reason
    assert isinstance(cat, Position)
    assert (bob.id, bob.owner, bob.block) == (MARKET.position_id(BOB), BOB, BLOCK)


@pytest.mark.parametrize("kind", [0, 2])
def test_a_balance_that_cannot_be_read(kind: int) -> None:
    pool, facts = three_owners()
    pool.mute(token(1, kind), "aave_v3_token.scaledBalanceOf", CAT)
    ann, bob, cat = state(pool, facts, ANN, BOB, CAT)
    assert isinstance(ann, Position)
    assert isinstance(bob, Position)
    assert isinstance(cat, Unreadable)
    assert "scaledBalanceOf" in cat.reason


@pytest.mark.parametrize("now", [(asset(0), asset(1)), (asset(0), asset(1), asset(2), asset(3)), Unread("no gas")])
def test_a_list_that_changed_makes_everyone_unreadable(now: Any) -> None:
    pool, facts = three_owners()
    pool.say(POOL, "aave_v3_pool.getReservesList", is_=now)
    for found in state(pool, facts, ANN, BOB):
        assert isinstance(found, Unreadable)
        assert "list of reserves" in found.reason


@pytest.mark.parametrize("changed", [{"id": 2}, {"word": word(decimals=3)}])
def test_a_reserve_that_changed_its_nature_is_not_judged(changed: dict[str, Any]) -> None:
    pool, facts = three_owners()
    pool.say(POOL, "aave_v3_pool.getReserveData", asset(1), is_=reserve_data(**changed))
    ann, bob, _ = state(pool, facts, ANN, BOB, CAT)
    assert isinstance(ann, Position)
    assert isinstance(bob, Unreadable)
    assert bob.reason.startswith("T1: its id or decimals changed")


def test_ids_are_the_contracts_and_not_places_in_the_list() -> None:
    """After a reserve was dropped the list is shorter than the ids; a bit of the dropped one counts for nothing."""
    pool = fake_pool(1, functions=SINCE_3_6)
    pool.list_reserve(1, id_=4, price=3)
    pool.list_reserve(2, id_=2, price=5)
    facts = facts_of(pool)
    pool.open_account(ANN, bitmap([1, 4], [2]))
    pool.give(ANN, 1, 100)
    pool.give(ANN, 2, 0, 7)
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Position)
    assert [(r.asset, r.id) for r in ann.state.reserves] == [(asset(2), 2), (asset(1), 4)]
    assert PROTOCOL.evaluate(ann).collateral == 300


def test_a_reserve_unread_at_registration() -> None:
    pool = fake_pool(functions=SINCE_3_6)
    pool.mute(POOL, "aave_v3_pool.getReserveData", asset(1))
    facts = facts_of(pool)
    assert facts.reserves[1] == ReserveFacts(
        asset(1), "T1", -1, 0, ZERO, source(1), "its reserve data could not be read"
    )
    assert pool.run(PROTOCOL.recheck(facts, BLOCK))
    # which bit is the lost reserve's is not known: a bit of no other reserve may be a debt in it
    pool.open_account(ANN, bitmap([0], [1]))
    pool.open_account(BOB, bitmap([0], []))
    for owner in (ANN, BOB):
        pool.give(owner, 0, 70)
    ann, bob = state(pool, facts, ANN, BOB)
    assert isinstance(ann, Unreadable)
    assert ann.reason == "T1: its reserve data could not be read, and with it what is held in it"
    assert isinstance(bob, Position)


def test_a_deposit_that_does_not_count_may_be_worth_more_than_the_contract_can_reckon() -> None:
    """The contract never looks at it, and so health is known; only what is shown of it needs the large number."""
    pool = fake_pool(1, functions=SINCE_3_6)
    pool.list_reserve(1, id_=1, price=2**200)
    facts = facts_of(pool)
    pool.open_account(ANN, bitmap([0], [1]))
    pool.give(ANN, 0, 70)
    pool.give(ANN, 1, 2**100, 1)
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Position)
    health = PROTOCOL.evaluate(ann)
    assert isinstance(health.verdict, Known)
    assert health.verdict.unhealthy
    [idle] = [leg for leg in health.legs if not leg.enabled]
    assert idle.value == idle.amount * 2**200 // 10**idle.decimals > 2**256


def test_a_broken_base_price_is_not_needed_where_the_categorys_counts() -> None:
    pool = fake_pool(1, revision=1)
    pool.list_reserve(1, category=1)
    pool.say(POOL, "aave_v3_pool.getEModeCategoryData", 1, is_=(10, 20, 30, CATEGORY_SOURCE, "x"))
    pool.say(ORACLE, "aave_v3_oracle.getAssetPrice", CATEGORY_SOURCE, is_=99)
    facts = facts_of(pool)
    pool.open_account(ANN, bitmap([1], []), 1)
    pool.give(ANN, 1, 70)
    pool.mute(ORACLE, "aave_v3_oracle.getAssetPrice", asset(1))
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Position)
    assert ann.prices == {CATEGORY_SOURCE: 99}
    assert PROTOCOL.evaluate(ann).collateral == 70 * 99
    pool.mute(ORACLE, "aave_v3_oracle.getAssetPrice", CATEGORY_SOURCE)
    (ann,) = state(pool, facts, ANN)
    assert isinstance(ann, Unreadable)


# -- truth, sample, context, prices ------------------------------------------------------------------------------------


def test_truth() -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    pool.say(POOL, "aave_v3_pool.getUserAccountData", ANN, is_=Ok((1, 2, 3, 4, 5, 6)))
    pool.say(POOL, "aave_v3_pool.getUserAccountData", BOB, is_=Reverted(b"", "why"))
    assert pool.run(PROTOCOL.truth(facts, [ANN, BOB], BLOCK)) == [
        Truth(
            ANN,
            {
                "totalCollateralBase": 1,
                "totalDebtBase": 2,
                "availableBorrowsBase": 3,
                "currentLiquidationThreshold": 4,
                "ltv": 5,
                "healthFactor": 6,
            },
        ),
        Truth(BOB, {}, "why"),
    ]


def test_only_truth_asks_the_contracts_own_getter() -> None:
    pool, facts = three_owners()
    for plan in (
        PROTOCOL.static(MARKET, BLOCK),
        PROTOCOL.recheck(facts, BLOCK),
        PROTOCOL.state(facts, [ANN, CAT], BLOCK),
        PROTOCOL.context(facts, BLOCK),
        PROTOCOL.sample(facts, BLOCK, 9),
    ):
        pool.run(plan)
        assert not any("getUserAccountData" in names for names in asked(pool))


def test_sample_is_newest_first_and_each_once() -> None:
    pool = fake_pool()
    facts = facts_of(pool)
    pool.logs = [
        Log(POOL, "aave_v3_pool.Borrow", {"onBehalfOf": owner}, n, "0x", 0)
        for n, owner in enumerate((ANN, BOB, ANN, CAT, BOB))
    ]
    assert pool.run(PROTOCOL.sample(facts, BLOCK, 500)) == [BOB, CAT, ANN]
    assert pool.rounds == [(LogQuery(POOL, "aave_v3_pool.Borrow", 500, allow_revert=True),)]


def test_context_takes_two_rounds_and_needs_no_owner() -> None:
    pool = fake_pool(2, functions=SINCE_3_6)
    pool.say(source(0), "price_source.latestRoundData", is_=Ok((7, 10**8, NOW_S - 9, NOW_S - 8, 7)))
    pool.say(source(0), "price_source.aggregator", is_=asset(8))
    pool.say(asset(8), "price_source.minAnswer", is_=1)
    pool.say(asset(8), "price_source.maxAnswer", is_=10**30)
    facts = facts_of(pool)
    found = pool.run(PROTOCOL.context(facts, BLOCK))
    assert len(pool.rounds) == 2
    assert found.sentinel_allows is True
    first, second = found.reserves
    assert (first.asset, first.grace_until_s, first.underlying, first.virtual_balance) == (asset(0), 0, 777, 666)
    assert first.reading is not None
    assert (first.reading.updated_at, first.reading.min_answer, first.reading.max_answer) == (NOW_S - 8, 1, 10**30)
    assert second.reading is not None
    assert second.reading.updated_at is None
    assert second.grace_until_s == 1
    assert found.of(asset(9)).grace_until_s is None
    assert found.of(asset(9)).underlying is None


def test_context_of_3_0_asks_for_no_grace() -> None:
    pool = fake_pool(1, revision=1)
    facts = facts_of(pool, "3.0")
    (found,) = pool.run(PROTOCOL.context(facts, BLOCK)).reserves
    assert (found.grace_until_s, found.virtual_balance) == (0, None)
    assert "getLiquidationGracePeriod" not in asked(pool)[0]


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [(Ok((True,)), True), (Ok((False,)), False), (Reverted(b"", ""), False), (Unread("gas"), None)],
)
def test_the_sentinel(answer: Any, allowed: bool | None) -> None:
    pool = fake_pool(functions=SINCE_3_6)
    pool.say(PROVIDER, "aave_v3_provider.getPriceOracleSentinel", is_=SENTINEL)
    pool.say(SENTINEL, "aave_v3_sentinel.isLiquidationAllowed", is_=answer)
    facts = facts_of(pool)
    assert facts.sentinel == SENTINEL
    assert pool.run(PROTOCOL.context(facts, BLOCK)).sentinel_allows is allowed
    assert pool.run(PROTOCOL.context(replace(facts, version="3.7"), BLOCK)).sentinel_allows is True


def test_what_fails_in_the_context_is_unknown_there() -> None:
    pool = fake_pool(1, functions=SINCE_3_6)
    facts = facts_of(pool)
    pool.mute(POOL, "aave_v3_pool.getLiquidationGracePeriod", asset(0))
    pool.mute(asset(0), "erc20.balanceOf", token(0, 0))
    pool.say(ORACLE, "aave_v3_oracle.getSourceOfAsset", asset(0), is_=asset(9))
    (found,) = pool.run(PROTOCOL.context(facts, BLOCK)).reserves
    assert (found.grace_until_s, found.underlying, found.reading) == (None, None, None)


def test_prices_with_their_age() -> None:
    pool, facts = three_owners()
    pool.say(source(0), "price_source.latestRoundData", is_=Ok((7, 10**8, 0, NOW_S - 90_001, 7)))
    pool.say(source(1), "price_source.latestRoundData", is_=Ok((7, 10**8, 0, NOW_S - 90_000, 7)))
    context = pool.run(PROTOCOL.context(facts, BLOCK))
    positions = [p for p in state(pool, facts, CAT, BOB) if isinstance(p, Position)]
    prices = PROTOCOL.prices(facts, positions, context, BLOCK)
    assert [(p.asset, p.answer, p.decimals, p.unit, p.source) for p in prices] == [
        (asset(n), 10**8, 8, "USD", source(n)) for n in (0, 1)
    ]
    assert [p.status(NOW_S) for p in prices] == [PriceStatus.STALE, PriceStatus.FRESH]
    health = PROTOCOL.evaluate(positions[0], context)
    assert health.input_age_s == 90_001
    assert "T0: the price is stale, 90001 s old" in health.notes
    assert PROTOCOL.evaluate(positions[1], context).input_age_s == 90_000
    assert PROTOCOL.evaluate(positions[0]).input_age_s is None
    bare = PROTOCOL.prices(facts, positions, None, BLOCK)
    assert {p.updated_at for p in bare} == {None}
    assert PROTOCOL.prices(facts, [], context, BLOCK) == []


def test_the_market_and_block_types_are_as_the_house_has_them() -> None:
    assert str(MarketRef(1, PROTOCOL.name, PROVIDER)) == f"eip155:1/aave-v3/{PROVIDER}"
    assert isinstance(BLOCK, BlockRef)
