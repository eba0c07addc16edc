"""The ledger against a plain dictionary, over thousands of changes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from monitor.protocols.ledger import Account, Ledger, accounts_of
from tests.mirror.world import columns_of, same


def drawn(dice: Random, words: int = 2) -> Account:
    """Any account: few or many balances, small and as large as they come."""
    kinds = dice.sample(range(600), dice.choice((0, 1, 2, 3, 9)))
    amounts = (1, 2**64 - 1, 2**64, 2**128 - 1)
    balances = {kind: dice.choice((*amounts, dice.getrandbits(90) + 1)) for kind in kinds}
    return Account(dice.randrange(256), dice.getrandbits(64 * words), balances)


@pytest.mark.parametrize("seed", range(3))
def test_it_holds_what_a_dictionary_holds(seed: int) -> None:
    dice = Random(seed)
    plain = {dice.randbytes(20): drawn(dice) for _ in range(300)}
    ledger = Ledger(columns_of(plain, 2))
    for _ in range(3_000):
        act = dice.random()
        if act < 0.1:
            owner = dice.randbytes(20)
            plain[owner] = drawn(dice)
            assert ledger.add(owner, plain[owner]) == len(plain) - 1
        else:
            row = dice.randrange(len(plain))
            owner = list(plain)[row]
            assert (ledger.find(owner), ledger.owner(row)) == (row, owner)
            plain[owner] = drawn(dice)
            ledger.put(row, plain[owner])
            assert ledger.account(row) == plain[owner]
        if act > 0.97:
            some = dice.sample(list(plain), dice.randint(0, 40))
            found = [row for row in ledger.find_all([*some, dice.randbytes(20)]) if row is not None]
            assert [ledger.owner(row) for row in found] == some
            assert ledger.accounts(found) == [plain[owner] for owner in some]
            for owner in some:
                keep = dice.random() < 0.6
                held = {kind: dice.getrandbits(100) + 1 for kind in plain[owner].balances}
                plain[owner] = Account(dice.randrange(256), dice.getrandbits(128), held) if keep else drawn(dice)
            ledger.put_all(found, [plain[owner] for owner in some])
    assert accounts_of(ledger.columns()) == plain
    assert list(accounts_of(ledger.columns())) == list(plain)
    same(ledger.columns(), columns_of(plain, 2))
    rows = dice.sample(range(len(plain)), 40)
    same(ledger.take(rows), columns_of({list(plain)[row]: plain[list(plain)[row]] for row in rows}, 2))


def test_addresses_that_share_their_start_are_told_apart() -> None:
    owners = [bytes(19) + bytes([n]) for n in range(9)]
    ledger = Ledger(columns_of({owner: Account(n) for n, owner in enumerate(owners)}))
    assert [ledger.find(owner) for owner in owners] == list(range(9))
    assert ledger.find(bytes(18) + b"\1\1") is None


def test_a_shorter_list_of_balances_leaves_no_trace() -> None:
    ledger = Ledger(columns_of({b"a" * 20: Account(balances={1: 5, 3: 6}), b"b" * 20: Account(balances={2: 7})}))
    ledger.put(0, Account(balances={3: 9, 4: 0}))
    assert ledger.account(0).balances == {3: 9}
    assert ledger.columns().kind.tolist() == [3, 2]


def test_flags_that_do_not_fit_are_refused() -> None:
    ledger = Ledger(columns_of({b"a" * 20: Account()}))
    with pytest.raises(OverflowError):
        ledger.put(0, Account(flags=1 << 64))


def test_gaps_are_closed_before_they_are_a_third() -> None:
    """Balances that grow by one over and over move to the end each time."""
    dice = Random(1)
    ledger = Ledger(columns_of({dice.randbytes(20): Account(balances={1: 1}) for _ in range(2_000)}))
    for entries in range(2, 8):
        for row in range(2_000):
            ledger.put(row, Account(balances=dict.fromkeys(range(entries), 3)))
    entries_bytes = len(ledger.columns().kind) * 18
    assert ledger.nbytes < 2 * entries_bytes + 2_000 * 60
    assert np.all(ledger.columns().low == 3)
