"""Fees and limits over all their inputs: what was sent can be replaced, and no ceiling or sum is passed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef
from monitor.execution.fees import (
    POLICY,
    Capped,
    Fees,
    Urgency,
    cancel_ceiling,
    ceiling,
    first,
    offer,
    replacement,
    urgency,
)
from monitor.execution.limits import AssetLimits, SpendLimits, reasons
from monitor.journal.rows import Attempt, AttemptKind, Charge, Stage, Totals
from tests.execution.world import ASSET, GWEI, World, draft, rich_limits

HEAD = BlockRef(31337, 1, "0x01", "0x00", 1_700_000_000, GWEI)
WEI = st.integers(0, 10**13)
FEES = st.builds(lambda a, b: Fees(max(a, b), min(a, b)), WEI.map(lambda n: n + 1), WEI.map(lambda n: n + 1))


def attempt(fees: Fees, kind: AttemptKind = AttemptKind.INTENT) -> Attempt:
    return Attempt(1, "a", kind, Stage.SENT, 0, None, 100_000, fees.max_fee_wei, fees.tip_wei, 1)


@given(base=WEI, tip=WEI, how=st.sampled_from(Urgency))
def test_an_offer_is_well_formed(base: int, tip: int, how: Urgency) -> None:
    made = offer(base, tip, how, POLICY)
    assert 0 < made.tip_wei <= made.max_fee_wei
    assert made.tip_wei <= POLICY.max_tip_wei
    assert made.max_fee_wei >= 2 * base


@given(base=WEI, tip=WEI, how=st.sampled_from(Urgency), cap=WEI)
def test_the_first_attempt_pays_the_base_fee_within_the_ceiling(base: int, tip: int, how: Urgency, cap: int) -> None:
    made = first(offer(base, tip, how, POLICY), base, Capped(0, cap, "test"))
    if isinstance(made, Fees):
        assert base < made.max_fee_wei <= cap
        assert made.tip_wei <= made.max_fee_wei
    else:
        assert cap <= base


@given(wanted=FEES, before=st.lists(FEES, min_size=1, max_size=5), pooled=st.none() | st.tuples(WEI, WEI), cap=WEI)
def test_a_replacement_is_one_for_every_node(
    wanted: Fees, before: list[Fees], pooled: tuple[int, int] | None, cap: int
) -> None:
    made = replacement(wanted, map(attempt, before), pooled, Capped(0, cap, "test"), POLICY)
    held = [(fees.max_fee_wei, fees.tip_wei) for fees in before] + ([pooled] if pooled else [])
    if isinstance(made, Capped):
        assert made.wanted_wei > cap
        return
    assert made.max_fee_wei <= cap
    assert made.tip_wei <= made.max_fee_wei
    for max_fee, tip in held:
        assert made.max_fee_wei * 1000 >= max_fee * 1125
        assert made.tip_wei * 1000 >= tip * 1125


@given(max_fee=st.integers(1, 10**13), tip=WEI)
def test_whatever_was_sent_can_be_cancelled(max_fee: int, tip: int) -> None:
    """Even an attempt at the cap, else its nonce would stand in the way for ever."""
    sent = Fees(max_fee, min(tip, max_fee))
    limit = cancel_ceiling(draft(HEAD), [attempt(sent)], POLICY)
    made = replacement(Fees(1, 1), [attempt(sent)], None, limit, POLICY)
    assert isinstance(made, Fees)
    assert 21_000 * made.max_fee_wei < 100_000 * sent.max_fee_wei + 21_000
    cancel = attempt(made, AttemptKind.CANCEL)
    again = cancel_ceiling(draft(HEAD), [attempt(sent), cancel], POLICY)
    assert again.ceiling_wei == limit.ceiling_wei, "a cancel does not lift its own ceiling"


@given(cap=st.integers(2, 10**13), tip=WEI)
def test_a_cancel_stays_under_the_cap_where_that_is_wanted(cap: int, tip: int) -> None:
    """Attempts leave room for it, and no more than it takes."""
    policy = replace(POLICY, cancel_over_cap=False, max_fee_per_gas_wei=cap)
    capped = replace(draft(HEAD), max_fee_per_gas_wei=cap, max_cost_wei=10**30, loss_avoided_wei=0)
    most = ceiling(capped, policy).ceiling_wei
    assert most * 9 <= cap * 8 < (most + 1) * 9
    sent = attempt(Fees(most, min(tip, most)))
    limit = cancel_ceiling(capped, [sent], policy)
    assert limit.ceiling_wei == cap
    made = replacement(Fees(1, 1), [sent], None, limit, policy)
    assert isinstance(made, Fees)
    assert made.max_fee_wei <= cap
    too_dear = replacement(Fees(1, 1), [attempt(Fees(most + 1, 0))], None, limit, policy)
    assert isinstance(too_dear, Capped)
    # by default the whole cap is an attempt's, and only the cancel of one near it exceeds it
    usual = replace(policy, cancel_over_cap=True)
    assert ceiling(capped, usual).ceiling_wei == cap
    assert cancel_ceiling(capped, [sent], usual).ceiling_wei == cap
    assert cancel_ceiling(capped, [attempt(Fees(cap, 0))], usual).ceiling_wei > cap


def test_the_least_ceiling_counts() -> None:
    plain = draft(HEAD)
    assert ceiling(plain, POLICY).why == "the plan's cap"
    assert ceiling(replace(plain, max_fee_per_gas_wei=10**18), POLICY).why == "the key's cap"
    assert ceiling(replace(plain, max_cost_wei=10**15), POLICY) == Capped(0, 10**10, "the plan's cost")
    loss = replace(plain, loss_avoided_wei=10**15)
    assert ceiling(loss, POLICY) == Capped(0, 5 * 10**9, "the share of the loss avoided")


def test_urgency_follows_health() -> None:
    assert [urgency(n * 10**16) for n in (0, 90, 102, 103, 109, 110, 200)] == [
        Urgency.PRESSING,
        Urgency.URGENT,
        Urgency.URGENT,
        Urgency.PRESSING,
        Urgency.PRESSING,
        Urgency.CALM,
        Urgency.CALM,
    ]


AMOUNT = st.integers(0, 20)


@given(
    amount=AMOUNT, gas=AMOUNT, position=AMOUNT, key=AMOUNT, day=AMOUNT, balance=AMOUNT, caps=st.tuples(*[AMOUNT] * 6)
)
def test_a_charge_is_refused_exactly_when_some_limit_is_passed(
    amount: int, gas: int, position: int, key: int, day: int, balance: int, caps: tuple[int, ...]
) -> None:
    limits = SpendLimits({ASSET: AssetLimits(caps[0], caps[1], caps[2])}, caps[3], caps[4])
    plan = draft(HEAD, amount=amount, max_cost_wei=caps[5])
    found = reasons(limits, plan, Charge(amount, gas), balance, Totals(position, key, day))
    broken = (
        amount > caps[0],
        position + amount > caps[1],
        key + amount > caps[2],
        gas > caps[5],
        day + gas > caps[3],
        balance - gas < caps[4],
    )
    assert len(found) == sum(broken)


def test_an_asset_without_limits_is_refused() -> None:
    plan = draft(HEAD)
    assert reasons(SpendLimits(), plan, Charge(1, 1), 10**20, Totals()) == [f"no limits are set for asset {ASSET}"]


def test_what_a_rollup_charges_for_its_l1_leaves_less_for_gas() -> None:
    plain = draft(HEAD, max_cost_wei=10**15, l1_data_fee_wei=4 * 10**14)
    assert ceiling(plain, POLICY) == Capped(0, 6 * 10**9, "the plan's cost")
    loss = replace(plain, loss_avoided_wei=10**15)
    assert ceiling(loss, POLICY) == Capped(0, 10**9, "the share of the loss avoided")
    assert ceiling(replace(loss, l1_data_fee_wei=10**15), POLICY).ceiling_wei == 0


def test_it_is_reserved_with_the_gas(tmp_path: Path) -> None:
    """So that a key which could pay for the gas alone, or a day that has room for no more, is not armed."""
    fee = 10**15
    world = World(tmp_path)
    world.plan(l1_data_fee_wei=fee)
    world.look()
    [attempt] = world.journal.action("a").attempts
    assert world.journal.charge("a").gas_wei == attempt.worst_cost_wei + fee
    world.close()
    (tmp_path / "tight").mkdir()
    tight = World(tmp_path / "tight", limits=rich_limits(gas_wei_per_day=attempt.worst_cost_wei + fee - 1))
    tight.plan(l1_data_fee_wei=fee)
    tight.look()
    assert tight.state() is ActionState.PLANNED
    assert any("gas per day in wei" in alert for alert in tight.alerts())
    tight.close()
