"""What each log does to an account, and which logs make it dirty."""

from __future__ import annotations

from random import Random

import pytest
from eth_utils.crypto import keccak

from monitor.core.types import BlockRef, MarketRef
from monitor.core.units import RAY
from monitor.protocols.aave_v3 import replay
from monitor.protocols.aave_v3.math import rayDivCeil, rayDivFloor, rayMulCeil, rayMulFloor
from monitor.protocols.aave_v3.records import ZERO, Facts, ReserveFacts
from monitor.protocols.aave_v3.replay import EVENTS, UPHEAVALS, AaveReplay, scaled_after
from monitor.protocols.aave_v3.versions import TABLE
from monitor.protocols.events import Contradiction, RawLog, Stage
from monitor.protocols.ledger import Account, Ledger
from tests.mirror.world import columns_of

POOL, PROVIDER, CONFIGURATOR = (f"0x{n:040x}" for n in (1, 2, 3))
ASSETS = {0: f"0x{10:040x}", 4: f"0x{14:040x}"}
BLOCK = BlockRef(1, 100, "0x" + "11" * 32, "0x" + "22" * 32, 5_000)
ANN, BOB, EVE = (bytes([n]) * 20 for n in (0xA1, 0xB2, 0xE3))
DEBT, SUPPLIED = 8, 9
"""The kinds of reserve 4."""
INDEX = RAY + 3 * 10**26 + 7


def market(version: str, *, virtual: bool = True) -> AaveReplay:
    """Two reserves, 0 and 4; token addresses are 100 + 10 * id + 0 (aToken), 1 (variable), 2 (stable)."""
    reserves = tuple(ReserveFacts(asset, f"T{n}", n, 18, ZERO) for n, asset in ASSETS.items())
    ref = MarketRef(1, "aave-v3", PROVIDER)
    facts = Facts(ref, POOL, ZERO, ZERO, ZERO, 1, version, (version,), "USD", 10**8, reserves)
    structs = {n: ((int(virtual) << 252,), 0, 0, 0, 0, 0, 0, n, token(n, 0), token(n, 2), token(n, 1)) for n in ASSETS}
    return AaveReplay(facts, CONFIGURATOR, structs)


def token(number: int, side: int) -> str:
    return f"0x{100 + 10 * number + side:040x}"


def log(address: str, signature: str, indexed: list[bytes], *words: int, index: int = 0) -> RawLog:
    topics = (bytes.fromhex({**EVENTS, **UPHEAVALS}[signature]), *(item.rjust(32, b"\0") for item in indexed))
    return RawLog(index, bytes.fromhex(address[2:]), topics, b"".join(word.to_bytes(32, "big") for word in words))


def after(version: str, *logs: RawLog, virtual: bool = True, **accounts: Account) -> tuple[Stage, Account | None]:
    """The stage after these logs, and what became of Ann."""
    names = {"ann": ANN, "bob": BOB}
    stage = Stage(Ledger(columns_of({names[name]: account for name, account in accounts.items()})))
    market(version, virtual=virtual).apply(stage, logs, BLOCK)
    return stage, stage.accounts.get(ANN)


def ann(**more: int) -> Account:
    """With debt and collateral in reserve 4."""
    return Account(
        1, 1 << DEBT | 1 << SUPPLIED, {DEBT: 1_000, SUPPLIED: 5_000} | {int(k[1:]): v for k, v in more.items()}
    )


@pytest.mark.parametrize(("signature", "topic"), [*EVENTS.items(), *UPHEAVALS.items()])
def test_topics_are_the_hashes_of_their_signatures(signature: str, topic: str) -> None:
    assert keccak(text=signature).hex() == topic


def test_it_watches_pool_provider_configurator_and_every_token() -> None:
    stable = {token(n, 2) for n in ASSETS}
    others = {POOL, PROVIDER, CONFIGURATOR, *(token(n, side) for n in ASSETS for side in (0, 1))}
    assert set(market("3.0").watch.addresses) == others | stable
    assert set(market("3.6").watch.addresses) == others


def test_half_up_moves_the_rounded_amount() -> None:
    """ScaledBalanceTokenBase up to 3.4: 100 minted beside 7 of interest; a burn that is less than the interest."""
    mint = log(token(4, 0), replay.MINT, [EVE, ANN], 107, 7, INDEX)
    assert after("3.0", mint, ann=ann())[1] == ann(_9=5_000 + (100 * RAY + INDEX // 2) // INDEX)
    less = log(token(4, 1), replay.MINT, [ANN, ANN], 3, 50, INDEX)
    assert after("3.4", less, ann=ann())[1] == ann(_8=1_000 - (47 * RAY + INDEX // 2) // INDEX)


@pytest.mark.parametrize("debt", [True, False])
def test_directed_rounding_finds_the_one_scaled_balance(debt: bool) -> None:
    """TokenMath of 3.5: mint and burn of any scaled amount, told as the difference of rounded balances."""
    dice = Random(5)
    balance = rayMulCeil if debt else rayMulFloor
    for _ in range(3_000):
        index = RAY + dice.randrange(10 ** dice.randint(1, 28))
        scaled = dice.randrange(10 ** dice.randint(1, 30))
        amount = dice.randrange(1, 10 ** dice.randint(1, 30))
        grown = scaled + (rayDivCeil if debt else rayDivFloor)(amount, index)
        burnt = scaled - min((rayDivFloor if debt else rayDivCeil)(amount, index), scaled)
        for expected in (grown, burnt):
            net = balance(expected, index) - balance(scaled, index)
            assert scaled_after(TABLE["3.6"], scaled, net, index, debt=debt) == expected


def test_a_transfer_moves_scaled_units_where_they_are_collateral() -> None:
    bob = Account(0, 1 << SUPPLIED, {SUPPLIED: 10})
    transfer = log(token(4, 0), replay.TRANSFER, [ANN, BOB], 5_000, INDEX)
    stage, sender = after("3.6", transfer, ann=ann(), bob=bob)
    assert sender is not None
    assert sender.balances == {DEBT: 1_000}
    assert stage.accounts[BOB].balances == {SUPPLIED: 5_010}
    stage, _ = after("3.6", transfer, ann=ann(), bob=Account())
    assert stage.accounts[BOB] == Account()
    assert not stage.dirty
    to_herself = log(token(4, 0), replay.TRANSFER, [ANN, ANN], 5_000, INDEX)
    assert after("3.6", to_herself, ann=ann())[1] == ann()


def test_interest_that_is_told_on_a_transfer_changes_nothing() -> None:
    for version in ("3.0", "3.6"):
        told = log(token(4, 0), replay.MINT, [EVE, ANN], 9, 9, INDEX)
        stage, _ = after(version, told, ann=ann())
        assert not stage.accounts
        assert not stage.dirty


@pytest.mark.parametrize(
    ("address", "signature", "who", "words"),
    [
        (token(0, 1), replay.MINT, [EVE, ANN], (100, 0, INDEX)),  # the first debt in a reserve: its bit has no event
        (token(4, 1), replay.BURN, [ANN, EVE], (1_300, 0, INDEX)),  # the last of a debt
        (token(0, 2), replay.STABLE_MINT, [EVE, ANN], (100, 0, 0, 5, 0, 0)),
        (token(4, 2), replay.STABLE_BURN, [ANN], (100, 103, 3, 0, 0)),
        (POOL, replay.ENABLED, [bytes.fromhex(ASSETS[0][2:]), ANN], ()),  # a balance that was not followed
        (POOL, replay.DISABLED, [EVE, ANN], ()),  # a reserve that nobody knows
    ],
)
def test_what_logs_do_not_tell_is_dirty(address: str, signature: str, who: list[bytes], words: tuple[int, ...]) -> None:
    stage, _ = after("3.0", log(address, signature, who, *words), ann=ann())
    assert stage.dirty == {ANN}
    assert not stage.accounts


def test_a_dirty_account_stays_so_whatever_comes() -> None:
    enabled = log(POOL, replay.ENABLED, [bytes.fromhex(ASSETS[0][2:]), ANN])
    mint = log(token(4, 0), replay.MINT, [EVE, ANN], 107, 7, INDEX, index=1)
    stage, _ = after("3.0", enabled, mint, ann=ann())
    assert (stage.dirty, stage.accounts) == ({ANN}, {})


def test_an_unknown_account_is_dirty_with_its_first_log() -> None:
    stage = Stage(Ledger(columns_of({ANN: Account()})), unknown={0})
    market("3.0").apply(stage, [log(POOL, replay.E_MODE, [ANN], 1)], BLOCK)
    assert stage.dirty == {ANN}


@pytest.mark.parametrize(
    ("side", "signature", "words", "enters"),
    [
        (1, replay.MINT, (100, 0, INDEX), True),
        (2, replay.STABLE_MINT, (100, 0, 0, 5, 0, 0), True),
        (0, replay.MINT, (100, 0, INDEX), False),
    ],
)
def test_who_borrows_enters_and_who_supplies_does_not(
    side: int, signature: str, words: tuple[int, ...], enters: bool
) -> None:
    stage, _ = after("3.0", log(token(4, side), signature, [EVE, BOB], *words), ann=ann())
    assert stage.dirty == ({BOB} if enters else set())


def test_a_cleared_collateral_bit_takes_the_balance_along() -> None:
    _, account = after("3.6", log(POOL, replay.DISABLED, [bytes.fromhex(ASSETS[4][2:]), ANN]), ann=ann())
    assert account == Account(1, 1 << DEBT, {DEBT: 1_000})


def test_the_category_is_set() -> None:
    _, account = after("3.6", log(POOL, replay.E_MODE, [ANN], 7), ann=ann())
    assert account is not None
    assert account.mode == 7


def test_stable_debt_has_principal_rate_and_time() -> None:
    """StableDebtToken: the principal is what was owed before, without its interest, and what was minted or burnt."""
    held = ann(_260=900, _388=5, _516=4_000)
    mint = log(token(4, 2), replay.STABLE_MINT, [EVE, ANN], 150, 950, 50, 6, 0, 0)
    assert after("3.0", mint, ann=held)[1] == ann(_260=1_050, _388=6, _516=5_000)
    burn = log(token(4, 2), replay.STABLE_BURN, [ANN], 100, 950, 50, 0, 0)
    assert after("3.0", burn, ann=held)[1] == ann(_260=800, _388=5, _516=5_000)


def test_debts_that_shrink_by_discounts_are_read_anew() -> None:
    mint = log(token(4, 1), replay.MINT, [EVE, ANN], 107, 7, INDEX)
    assert after("3.3", mint, ann=ann(), virtual=False)[0].dirty == {ANN}
    assert not after("3.3", mint, ann=ann())[0].dirty


def test_events_of_strangers_mean_nothing() -> None:
    for address, signature, who, words in (
        (CONFIGURATOR, replay.MINT, [EVE, ANN], (107, 7, INDEX)),
        (CONFIGURATOR, replay.BURN, [ANN, EVE], (107, 7, INDEX)),
        (CONFIGURATOR, replay.TRANSFER, [ANN, EVE], (107, INDEX)),
        (CONFIGURATOR, replay.STABLE_MINT, [EVE, ANN], (100, 0, 0, 5, 0, 0)),
        (CONFIGURATOR, replay.ENABLED, [bytes.fromhex(ASSETS[4][2:]), ANN], ()),
        (CONFIGURATOR, replay.DISABLED, [bytes.fromhex(ASSETS[4][2:]), ANN], ()),
        (CONFIGURATOR, replay.E_MODE, [ANN], (1,)),
    ):
        stage, _ = after("3.0", log(address, signature, who, *words), ann=ann())
        assert (stage.accounts, stage.dirty, stage.recheck) == ({}, set(), "")


@pytest.mark.parametrize(
    "wrong",
    [
        log(token(4, 0), replay.BURN, [ANN, EVE], 10_000, 0, INDEX),
        log(token(4, 0), replay.TRANSFER, [ANN, EVE], 5_001, INDEX),
        log(token(4, 0), replay.MINT, [EVE, ANN], 107, 7, RAY - 1),
        log(token(4, 0), replay.MINT, [EVE, ANN], 2**255, 7, INDEX),
        log(token(4, 0), replay.MINT, [EVE, ANN], 2**130, 7, INDEX),
        log(token(4, 0), replay.MINT, [EVE, ANN], 107),
        log(token(4, 0), replay.MINT, [EVE], 107, 7, INDEX),
        log(POOL, replay.E_MODE, [ANN], 256),
        log(token(4, 2), replay.STABLE_BURN, [ANN], 104, 103, 3, 0, 0),
    ],
    ids=["below zero", "too much", "index", "overflow", "too wide", "short", "topics", "category", "stable"],
)
def test_what_cannot_be_is_a_contradiction(wrong: RawLog) -> None:
    with pytest.raises(Contradiction):
        after("3.0", wrong, ann=ann())


def test_upheavals_are_told_by_name() -> None:
    stage, _ = after("3.0", log(PROVIDER, "PriceOracleUpdated(address,address)", [ANN, BOB]), ann=ann())
    assert stage.recheck == "PriceOracleUpdated"


def test_balances_without_their_bit_are_not_kept() -> None:
    account = Account(0, 1 << DEBT, {DEBT: 1, SUPPLIED: 2, 256 + 4: 3, 384 + 4: 4, 512 + 4: 5, 256: 6, 384: 7, 512: 8})
    market("3.0").trim(account)
    assert account.balances == {DEBT: 1, 256 + 4: 3, 384 + 4: 4, 512 + 4: 5}
