"""Rows S9 and S15 of the fault matrix, the signer's side: whatever a planner asks, only what was listed gets signed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.chain.abi import function
from monitor.core.actions import ArgRule, Intent, SignRequest, Template
from monitor.signer import config as configuration
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import CANCEL, Draft, judge
from monitor.signer.templates import bind, collect
from tests.faults.rows import row
from tests.signer.room import (
    CHAIN,
    CONFIG,
    FEE,
    GAS,
    GUARDIAN,
    GWEI,
    MAX_ALLOWANCE,
    OTHER_POOL,
    OWNER,
    PER_ACTION,
    POOL,
    SHADY,
    STRANGER,
    TEMPLATES,
    TIP,
    USDC,
    WETH,
    approve,
    cancel,
    intent,
    open_room,
    repay,
    request,
)

RULES = configuration.parse(CONFIG)
# a foreign template that lets the intent say who receives: allowed, since the signer insists that it is the owner
DEPOSIT = bind(
    Template(
        "foreign/deposit",
        "aave_v3_pool.supply",
        (
            ArgRule("asset", "intent", "asset"),
            ArgRule("amount", "intent", "amount"),
            ArgRule("to", "intent", "recipient"),
            ArgRule("code", "constant"),
        ),
        "",
    ),
    function("aave_v3_pool.supply"),
)
ALL_TEMPLATES = collect([*TEMPLATES.values(), DEPOSIT])
ALL_RULES = configuration.parse(CONFIG.replace('"aave-v3/supply"]', '"aave-v3/supply", "foreign/deposit"]'))


def deposit(to: str) -> Intent:
    return intent("foreign/deposit", args={"asset": USDC, "amount": 5, "to": to})


def position_of(owner: str) -> dict[str, Any]:
    return {"owner": owner, "position_id": f"eip155:{CHAIN}/aave-v3/{POOL}/{owner}"}


REFUSED: list[tuple[str, SignRequest, Refusal, str]] = [
    ("another chain", request(chain_id=1), Refusal.UNKNOWN_CHAIN, ""),
    ("an intent of another chain", request(0, intent(chain_id=1)), Refusal.UNKNOWN_CHAIN, ""),
    ("an unknown kind", request(0, intent("aave-v3/withdraw")), Refusal.KIND, ""),
    ("a kind that this pool is not for", request(0, intent("aave-v3/supply", to=OTHER_POOL)), Refusal.KIND, "kinds"),
    ("a contract that is not listed", request(0, intent(to=STRANGER)), Refusal.TARGET, "targets"),
    ("a token as the pool", request(0, intent(to=USDC)), Refusal.TARGET, "targets"),
    ("an owner that is not listed", request(0, intent(**position_of(STRANGER))), Refusal.OWNER, "owners"),
    (
        "a position of someone else",
        request(0, intent(position_id=f"eip155:{CHAIN}/x/{STRANGER}")),
        Refusal.OWNER,
        "owners",
    ),
    ("a position elsewhere", request(0, intent(position_id=f"eip155:1/x/{OWNER}")), Refusal.OWNER, "owners"),
    ("a recipient that is not the owner", request(0, deposit(STRANGER)), Refusal.RECIPIENT, "recipients"),
    ("an asset that is not listed", request(0, repay(1, SHADY)), Refusal.ASSET, "assets"),
    ("approving a token that is not listed", request(0, approve(token=SHADY)), Refusal.ASSET, ""),
    ("approving a stranger", request(0, approve(spender=STRANGER)), Refusal.SPENDER, "spenders"),
    ("approving the owner", request(0, approve(spender=OWNER)), Refusal.SPENDER, "spenders"),
    ("ether along", request(0, intent(value_wei=1)), Refusal.VALUE, "no_value"),
    ("one more than an action may", request(0, repay(PER_ACTION + 1)), Refusal.LIMIT_ACTION, "limit_action"),
    ("one more than may be approved", request(0, approve(MAX_ALLOWANCE + 1)), Refusal.LIMIT_ACTION, "limit_action"),
    ("approving where nothing may be", request(0, approve(1, token=WETH)), Refusal.LIMIT_ACTION, "limit_action"),
    ("more gas than allowed", request(gas=1_000_001), Refusal.FEE_CAP, "fee_cap"),
    ("a fee over the cap", request(max_fee_per_gas_wei=100 * GWEI + 1), Refusal.FEE_CAP, "fee_cap"),
    (
        "a tip over the cap",
        request(max_fee_per_gas_wei=20 * GWEI, max_priority_fee_per_gas_wei=10 * GWEI + 1),
        Refusal.FEE_CAP,
        "fee_cap",
    ),
    ("a tip over the fee", request(max_priority_fee_per_gas_wei=FEE + 1), Refusal.FEE_CAP, "fee_cap"),
    ("a cost over the cap", request(gas=1_000_000, max_fee_per_gas_wei=11 * GWEI), Refusal.FEE_CAP, "fee_cap"),
    ("a cancel over the cap", cancel(0, max_fee_per_gas_wei=101 * GWEI), Refusal.FEE_CAP, "fee_cap"),
    ("an argument too few", request(0, intent(args={"asset": USDC})), Refusal.ARGUMENTS, ""),
    (
        "an argument too many",
        request(0, intent(args={"asset": USDC, "amount": 1, "onBehalfOf": STRANGER})),
        Refusal.ARGUMENTS,
        "",
    ),
    ("text for a number", request(0, intent(args={"asset": USDC, "amount": "5"})), Refusal.ARGUMENTS, ""),
    ("a number for an address", request(0, intent(args={"asset": 5, "amount": 5})), Refusal.ARGUMENTS, ""),
    ("a negative amount", request(0, repay(-1)), Refusal.ARGUMENTS, ""),
    ("an amount past 256 bits", request(0, repay(2**256)), Refusal.ARGUMENTS, ""),
    ("an address in lower case", request(0, repay(1, USDC.lower())), Refusal.ARGUMENTS, ""),
    (
        "the mode of interest",
        request(0, intent(args={"asset": USDC, "amount": 1, "interestRateMode": 1})),
        Refusal.ARGUMENTS,
        "",
    ),
]


class TestRefusals:
    @pytest.mark.parametrize(("what", "asked", "code", "defence"), REFUSED, ids=[row[0] for row in REFUSED])
    def test_is_refused(self, what: str, asked: SignRequest, code: Refusal, defence: str) -> None:
        with pytest.raises(Denied) as no:
            judge(asked, ALL_RULES, ALL_TEMPLATES)
        assert no.value.code is code

    @pytest.mark.parametrize(
        ("what", "asked", "code", "defence"),
        [row for row in REFUSED if row[3]],
        ids=[row[0] for row in REFUSED if row[3]],
    )
    def test_would_be_signed_without_the_defence(
        self, what: str, asked: SignRequest, code: Refusal, defence: str
    ) -> None:
        judge(asked, ALL_RULES, ALL_TEMPLATES, ALL.without(defence))

    @pytest.mark.parametrize("amount", [2**96 - 1, 2**128 - 1, 2**160 - 1, 2**255, 2**256 - 1])
    @pytest.mark.parametrize("make", [approve, repay])
    def test_infinite_amounts_are_refused_for_what_they_are(self, make: Any, amount: int) -> None:
        loose = ALL.without("limit_action")
        with pytest.raises(Denied) as no:
            judge(request(0, make(amount)), RULES, TEMPLATES, loose)
        assert no.value.code is Refusal.UNLIMITED
        judge(request(0, make(amount)), RULES, TEMPLATES, loose.without("no_unlimited"))

    @pytest.mark.parametrize(
        "asked",
        [
            request(0, repay(PER_ACTION)),
            request(0, repay(100, WETH)),
            request(0, intent("aave-v3/supply")),
            request(0, repay(to=OTHER_POOL)),
            request(0, approve(MAX_ALLOWANCE)),
            request(0, approve(0)),
            request(0, approve(spender=OTHER_POOL)),
            request(0, deposit(OWNER)),
            request(gas=1_000_000, max_fee_per_gas_wei=10 * GWEI, max_priority_fee_per_gas_wei=10 * GWEI),
            cancel(0),
        ],
    )
    def test_what_is_listed_is_allowed_up_to_its_limit(self, asked: SignRequest) -> None:
        judge(asked, ALL_RULES, ALL_TEMPLATES)

    def test_ether_goes_where_it_was_allowed(self) -> None:
        rules = configuration.parse(CONFIG.replace('"aave-v3/supply"]', '"aave-v3/supply"]\nmax_value_wei = 7'))
        assert judge(request(0, intent(value_wei=7)), rules, TEMPLATES).transaction.value_wei == 7
        with pytest.raises(Denied):
            judge(request(0, intent(value_wei=8)), rules, TEMPLATES)
        with pytest.raises(Denied):
            judge(request(0, intent(value_wei=7, to=OTHER_POOL)), rules, TEMPLATES)

    def test_a_cancel_moves_nothing_but_the_nonce(self) -> None:
        draft = judge(cancel(3), RULES, TEMPLATES)
        assert (draft.intent_hash, draft.amount) == (CANCEL, 0)
        assert (draft.transaction.to, draft.transaction.value_wei, draft.transaction.data) == (GUARDIAN, 0, b"")


# -- the adversarial planner -----------------------------------------------------------------------------------------

ADDRESSES = st.sampled_from([OWNER, STRANGER, POOL, OTHER_POOL, USDC, WETH, SHADY, GUARDIAN])
EDGES = st.sampled_from(
    [
        0,
        1,
        100,
        101,
        500,
        PER_ACTION,
        PER_ACTION + 1,
        MAX_ALLOWANCE,
        MAX_ALLOWANCE + 1,
        2**96 - 1,
        2**255,
        2**256 - 1,
        -1,
    ]
)
VALUES = st.one_of(EDGES, st.integers(-(2**257), 2**257), ADDRESSES, st.text(max_size=5))
NAMES = ["asset", "amount", "spender", "to", "onBehalfOf", "interestRateMode", "referralCode", ""]
FITTING = st.one_of(
    st.fixed_dictionaries({"asset": ADDRESSES, "amount": st.one_of(EDGES, st.integers(0, 2_000))}),
    st.fixed_dictionaries({"spender": ADDRESSES, "amount": st.one_of(EDGES, st.integers(0, 20_000))}),
    st.fixed_dictionaries({"asset": ADDRESSES, "amount": st.integers(0, 2_000), "to": ADDRESSES}),
)
INTENTS = st.builds(
    Intent,
    kind=st.sampled_from([*ALL_TEMPLATES, "aave-v3/withdraw", "", CANCEL]),
    chain_id=st.sampled_from([CHAIN, CHAIN, CHAIN, 1]),
    position_id=st.builds("eip155:{}/aave-v3/x/{}".format, st.sampled_from([CHAIN, CHAIN, 1]), ADDRESSES),
    owner=st.one_of(st.just(OWNER), ADDRESSES),
    to=st.one_of(st.just(POOL), ADDRESSES),
    args=st.one_of(FITTING, st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)),
    value_wei=st.sampled_from([0, 0, 0, 1, 10**18]),
)
LIKELY = st.one_of(
    st.builds(
        lambda kind, to, args: intent(kind, to=to, args=args),
        st.sampled_from(["aave-v3/repay", "aave-v3/supply"]),
        st.sampled_from([POOL, OTHER_POOL, USDC]),
        st.fixed_dictionaries(
            {"asset": st.sampled_from([USDC, WETH, SHADY]), "amount": st.one_of(EDGES, st.integers(0, 2_000))}
        ),
    ),
    st.builds(
        approve,
        st.one_of(EDGES, st.integers(0, 20_000)),
        st.sampled_from([POOL, OTHER_POOL, STRANGER]),
        st.sampled_from([USDC, WETH, SHADY]),
    ),
    st.builds(deposit, ADDRESSES),
)


def mostly(usual: int, others: st.SearchStrategy[int]) -> st.SearchStrategy[int]:
    return st.integers(0, 9).flatmap(lambda which: others if which == 9 else st.just(usual))


REQUESTS = st.builds(
    SignRequest,
    action_id=st.just("a"),
    epoch=st.just(1),
    chain_id=st.sampled_from([CHAIN, CHAIN, CHAIN, 1]),
    sender=st.just(GUARDIAN),
    nonce=st.integers(0, 3),
    intent=st.one_of(LIKELY, LIKELY, INTENTS, st.none()),
    gas=mostly(GAS, st.integers(0, 2**64)),
    max_fee_per_gas_wei=mostly(FEE, st.integers(0, 2**100)),
    max_priority_fee_per_gas_wei=mostly(TIP, st.integers(0, 2**100)),
)


def violations(draft: Draft) -> list[str]:
    """What the signed transaction itself breaks, told from its bytes and the configuration and from nothing else."""
    transaction, chain = draft.transaction, ALL_RULES.chains["local"]
    wrong = []
    if transaction.value_wei:
        wrong.append("ether")
    if transaction.chain_id != CHAIN or transaction.gas > chain.max_gas or transaction.cost_wei > chain.max_cost_wei:
        wrong.append("cost")
    if not transaction.max_priority_fee_per_gas_wei <= transaction.max_fee_per_gas_wei <= chain.max_fee_per_gas_wei:
        wrong.append("fee")
    if transaction.max_priority_fee_per_gas_wei > chain.max_priority_fee_per_gas_wei:
        wrong.append("tip")
    selector, data = transaction.data[:4].hex(), transaction.data[4:]
    if transaction.to == GUARDIAN:
        wrong += ["calldata"] if transaction.data else []
    elif selector == "573ade81" and transaction.to in (POOL, OTHER_POOL):
        asset, amount, mode, beneficiary = decode(("address", "uint256", "uint256", "address"), data)
        wrong += moved(asset, amount, beneficiary) + (["mode"] if mode != 2 else [])
    elif selector == "617ba037" and transaction.to == POOL:
        asset, amount, beneficiary, code = decode(("address", "uint256", "address", "uint16"), data)
        wrong += moved(asset, amount, beneficiary) + (["code"] if code else [])
    elif selector == "095ea7b3" and transaction.to in (USDC, WETH):
        most = MAX_ALLOWANCE if transaction.to == USDC else 0  # taking an approval back is always allowed
        spender, amount = decode(("address", "uint256"), data)
        wrong += [] if spender in (POOL.lower(), OTHER_POOL.lower()) and amount <= most else ["allowance"]
    else:
        wrong.append("target or selector")
    return wrong


def moved(asset: str, amount: int, beneficiary: str) -> list[str]:
    most = {USDC.lower(): PER_ACTION, WETH.lower(): 100}.get(asset, -1)
    return (["amount"] if amount > most else []) + (["beneficiary"] if beneficiary != OWNER.lower() else [])


class TestAdversarialPlanner:
    @settings(max_examples=1_500)
    @given(asked=REQUESTS)
    def test_nothing_else_is_ever_signed(self, asked: SignRequest) -> None:
        try:
            draft = judge(asked, ALL_RULES, ALL_TEMPLATES)
        except Denied:
            return
        assert violations(draft) == []

    @pytest.mark.parametrize(
        "defence",
        ["targets", "owners", "recipients", "assets", "spenders", "no_value", "limit_action", "fee_cap", "kinds"],
    )
    def test_without_a_defence_something_else_is(self, defence: str) -> None:
        """The check above would notice: the rows of the table are signed then, and every one of them is wrong."""
        rows = [row for row in REFUSED if row[3] == defence and not row[0].startswith("a position")]
        drafts = [judge(asked, ALL_RULES, ALL_TEMPLATES, ALL.without(defence)) for _, asked, _, _ in rows]
        assert drafts
        assert all(violations(draft) for draft in drafts)

    def test_the_examples_are_not_all_refused(self) -> None:
        """A strategy that never gets anything signed would prove nothing."""
        allowed: list[str] = []

        @settings(max_examples=500, database=None)
        @given(asked=REQUESTS)
        def count(asked: SignRequest) -> None:
            try:
                allowed.append(judge(asked, ALL_RULES, ALL_TEMPLATES).kind)
            except Denied:
                return

        count()
        assert len(allowed) > 30
        assert {"aave-v3/repay", "aave-v3/supply", "erc20/approve", CANCEL} <= set(allowed)

    async def test_the_bytes_that_leave_are_those_that_were_judged(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            signed = await room.sign(request(0, repay(7)))
            draft = judge(request(0, repay(7)), RULES, TEMPLATES)
            assert draft.transaction.data in signed.raw


@row(
    "S9",
    "whatever a planner asks: only listed calls are signed, for the owner, without ether or unlimited allowance",
    "targets",
    limit="every other rule with its defence off, and 1,500 random requests, are in the tests above",
)
def test_whatever_a_planner_asks(off: str | None) -> None:
    defences, signed = ALL.without(off) if off else ALL, 0
    for _, asked, _, _ in [*REFUSED, ("fine", request(0), Refusal.KIND, ""), ("fine", cancel(0), Refusal.KIND, "")]:
        try:
            draft = judge(asked, ALL_RULES, ALL_TEMPLATES, defences)
        except Denied:
            continue
        signed += 1
        assert violations(draft) == []
    assert signed == 2
