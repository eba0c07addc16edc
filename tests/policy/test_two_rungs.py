"""Where no one trade reaches the target: a debt is made an end of, or paid from the purse, before another is traded."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest

from monitor.core.actions import ActionState
from monitor.core.guarding import GuardSetup
from monitor.core.types import Position
from monitor.journal.rows import Action
from monitor.pipeline.acting import Ending, draft_of
from monitor.pipeline.settling import settled
from monitor.policy.planner import Proposal, Terms, propose
from monitor.policy.rules import Aim, Rule, Watch
from monitor.protocols.aave_v3 import PROTOCOL
from monitor.protocols.aave_v3.guard import GuardState, Quote, Quotes, Wishes
from tests.protocols.aave_v3_positions import NOW_S, asset, bitmap, position, reserve, word
from tests.protocols.aave_v3_purses import GUARDIAN, POOL, facts, purse

ONE, WAD, ALWAYS = 10**8, 10**18, 2**256 - 1
CODE = "0x" + "11" * 32
SETUP = GuardSetup(asset(7), asset(8), asset(9), (500,))
BY_GUARD = ("aave-v3/deleverage", "aave-v3/close")
WISHES = Wishes(29 * WAD // 10, ALWAYS, 29 * WAD // 10, 4 * WAD, 100, 10**18, False, True, CODE, 10**18)


def account() -> Position:
    """1,000 worth of T0 at a threshold of 80 %, owing 400 of T1 and 200 of T2: health 1.33."""
    held = [(1000 * ONE, 0), (0, 400 * ONE), (0, 200 * ONE)]
    lent = word(decimals=8) | 1 << 63  # within a transaction
    reserves = [reserve(n, *amounts, configuration=lent) for n, amounts in enumerate(held)]
    return position("3.6", reserves, [ONE] * 3, user_configuration=bitmap([0], [1, 2]))


def ask(target: str, wishes: Wishes = WISHES, kinds: tuple[str, ...] = BY_GUARD, **held: Any) -> Proposal:
    found = account()
    assets = [asset(n) for n in range(3)]
    points = tuple(Quote(amount * ONE, amount * ONE + amount * ONE // 1999, 0) for amount in (1, 50, 200, 402))
    guard = GuardState(
        setup=SETUP,
        guardian=GUARDIAN,
        serves=POOL,
        router_code_hash=CODE,
        premium_bps=0,
        to_treasury_bps=0,
        wishes=((found.owner, wishes),),
        liquidity=tuple((one, 10**24) for one in assets),
        supplies=(),
        allowances=tuple((found.owner, one, ALWAYS) for one in assets),
        quotes=tuple(Quotes(found.owner, assets[0], debt, 500, points) for debt in assets[1:]),
    )
    terms = Terms(max_fee_per_gas_wei=10**9, native_price=2_000 * ONE, kinds=kinds)
    return propose(PROTOCOL, facts("3.6"), found, replace(purse(found, **held), guard=guard), Fraction(target), terms)


def test_a_debt_is_made_an_end_of_before_another_is_paid_in_part() -> None:
    proposal = ask("3")
    assert proposal.plans == ()
    opening, last = proposal.ladder
    assert [(plan.intent.kind, plan.asset) for plan in proposal.ladder] == [
        ("aave-v3/close", asset(1)),  # which helps most
        ("aave-v3/deleverage", asset(2)),
    ]
    assert opening.amount == 400 * ONE
    assert last.before.verdict == opening.expected.verdict
    # (600 - x) * 0.8 / (200 - x) = 3, but for what the exchange takes
    assert 54 * ONE < last.amount < 56 * ONE
    assert "deleverage T1 by T0: it leads to a health of 2.39" in "; ".join(opening.refused)


def test_one_trade_is_enough_where_it_is() -> None:
    proposal = ask("2", replace(WISHES, trigger=2 * WAD, low=2 * WAD))
    assert [plan.intent.kind for plan in proposal.plans] == ["aave-v3/deleverage"]
    assert proposal.ladder == ()


def test_an_owner_who_lets_nothing_be_closed_has_no_such_ladder() -> None:
    assert ask("3", replace(WISHES, close_below=0)).ladder == ()
    assert ask("3", kinds=BY_GUARD[:1]).ladder == ()


def test_an_opening_after_which_the_owner_would_not_let_the_guard_go_on_is_none() -> None:
    assert ask("3", replace(WISHES, trigger=15 * WAD // 10)).ladder == ()


def test_the_purse_opens_and_the_collateral_does_the_rest() -> None:
    wishes = replace(WISHES, trigger=26 * WAD // 10, low=26 * WAD // 10)
    kinds = ("aave-v3/repay", "aave-v3/deleverage")
    proposal = ask("2.6", wishes, kinds, balances={asset(1): 100 * ONE, asset(2): 0})
    assert [(plan.intent.kind, plan.asset) for plan in proposal.ladder] == [
        ("aave-v3/repay", asset(1)),
        ("aave-v3/deleverage", asset(1)),
    ]
    assert proposal.ladder[0].amount == 100 * ONE


@pytest.mark.parametrize("more", [True, False])
def test_the_second_rung_follows_the_first_at_once(more: bool) -> None:
    guardian: Any = SimpleNamespace(address=GUARDIAN)
    opening = ask("3").ladder[0]
    ending = Ending(Aim.RAISE, more=True) if more else None
    draft = draft_of(opening, guardian, Fraction(3), cause="health was below 2.9", ending=ending)
    done = Action(draft, ActionState.FINAL_OK, 1, 0, None, NOW_S, NOW_S + 5, "")
    rule = Rule("r", 1, "*", Fraction(29, 10), Fraction(3), cooldown_s=600)
    before = Watch(opening.position_id, rule, running=1, running_aim=Aim.RAISE)
    assert settled(before, done).ready_at_s == NOW_S + 5 + (0 if more else 600)
