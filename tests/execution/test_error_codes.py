"""Contracts that answer the code of an error instead of a revert: what is in a block may have done nothing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from eth_abi.abi import encode

from monitor.chain import abi
from monitor.core.actions import ActionState, ArgRule, Template
from monitor.core.errors import ConfigError
from monitor.execution.port import RawLog, Receipt
from monitor.journal.rows import Draft
from monitor.pipeline.acting import builder, failure
from monitor.signer.templates import bind, builtin
from monitor.testing.devchain import account_address
from monitor.testing.model_port import CONTRACT
from tests.execution.world import GUARDIAN, OWNER, World

REPAY = Template(
    "fork/repay",
    "compound_v2.repayBorrowBehalf",
    (ArgRule("borrower", "owner", "recipient"), ArgRule("amount", "intent", "spent")),
    "repay",
    event="compound_v2.RepayBorrow",
    told=("borrower", "payer", "repayAmount", ""),
    code=True,
)
KNOWN = {**builtin(), REPAY.kind: bind(REPAY, abi.function(REPAY.function))}
STRANGER = account_address("stranger")
EVENT = abi.event(REPAY.event)


def repaid(payer: str = GUARDIAN, borrower: str = OWNER, at: str = CONTRACT) -> RawLog:
    data = encode(("address", "address", "uint256", "uint256", "uint256"), (payer, borrower, 5, 0, 0))
    return RawLog(at, (EVENT.topic,), data)


def receipt(*logs: RawLog) -> Receipt:
    return Receipt("0x" + "11" * 32, 1, "0x" + "22" * 32, ok=True, gas_used=1, fee_wei=1, logs=logs)


def drafted(world: World) -> Draft:
    plain = world.draft()
    return replace(plain, intent=replace(plain.intent, kind=REPAY.kind, args={"amount": 5}))


@pytest.mark.parametrize(
    ("logs", "did"),
    [
        ([repaid()], True),
        ([repaid(borrower=STRANGER), repaid()], True),
        ([], False),
        ([repaid(borrower=STRANGER)], False),
        ([repaid(payer=STRANGER)], False),
        ([repaid(at=STRANGER)], False),
        ([RawLog(CONTRACT, (EVENT.topic,), b"\x01")], False),
        ([RawLog(CONTRACT, (b"\x01" * 32,), repaid().data)], False),
    ],
    ids=["ours", "ours among others", "none", "another's debt", "another's money", "elsewhere", "broken", "another"],
)
def test_only_the_event_says_that_something_was_done(tmp_path: Path, logs: list[RawLog], did: bool) -> None:
    with closing(World(tmp_path)) as world:
        why = failure(KNOWN)(drafted(world), receipt(*logs))
    assert why == (
        "" if did else "did nothing: the contract answered an error without a revert, and there is no RepayBorrow"
    )


def test_a_call_without_error_codes_is_left_to_its_status(tmp_path: Path) -> None:
    with closing(World(tmp_path)) as world:
        assert not failure(KNOWN)(world.draft(), receipt())
        draft = drafted(world)
        assert builder(KNOWN)(draft.intent).code
        approval = replace(draft.intent, kind="erc20/approve", args={"spender": STRANGER, "amount": 1})
        assert not builder(KNOWN)(approval).code


def test_what_did_nothing_ends_as_failed_and_a_cancel_as_a_cancel(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    with closing(World(tmp_path / "a", failure=lambda *_: "did nothing")) as world:
        world.plan()
        world.until(ActionState.FINAL_REVERTED)
        action = world.journal.action("a")
        assert "did nothing" in action.note
        assert action.mined is not None
        assert not action.mined.ok
    with closing(World(tmp_path / "b", failure=lambda *_: "")) as world:
        world.plan()
        world.until(ActionState.FINAL_OK)
    with closing(World(tmp_path / "c", failure=lambda *_: "did nothing")) as world:
        world.plan(valid_until_s=world.now_s + 100)
        for _ in range(12):
            world.look()
            world.chain.mine(lambda one: not one.tx.fields.call.data)
        world.finish()
        assert (world.state(), world.effects()) == (ActionState.FINAL_CANCELLED, 0)


@pytest.mark.parametrize(
    "template",
    [
        replace(REPAY, event=""),
        replace(REPAY, told=("borrower", "", "", "")),
        replace(
            REPAY,
            function="erc20.approve",
            args=(ArgRule("a", "intent", "spender"), ArgRule("b", "intent", "allowance")),
        ),
    ],
    ids=["no event", "by whom", "no code"],
)
def test_error_codes_without_an_event_are_refused(template: Template) -> None:
    with pytest.raises(ConfigError, match="answers the code of an error"):
        bind(template, abi.function(template.function))
