"""Where a call does not say what it spends, the signer's own file does: one token for each contract, and no other."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from monitor.chain.abi import Function, function
from monitor.core.actions import ArgRule, Intent, Step, Template
from monitor.core.errors import ConfigError
from monitor.core.guardian import GuardianConfig
from monitor.core.types import BlockRef, Position, Rule
from monitor.execution.limits import AssetLimits
from monitor.pipeline.guardians import Guardian
from monitor.pipeline.signer_setup import ChainRules, KeySource, signer_toml
from monitor.protocols.venus_core import PROTOCOL
from monitor.signer import config as configuration
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.templates import Bound, bind, export, load_file
from monitor.testing.devchain import account_address
from tests.signer.room import CHAIN, CONFIG, MAX_ALLOWANCE, OWNER, PER_ACTION, STRANGER, TEMPLATES, USDC, WETH, request

V_USDC, V_BNB, ELSEWHERE = (account_address(name) for name in ("vUSDC", "vBNB", "another vToken"))
ARGS = (ArgRule("borrower", "owner", "recipient"), ArgRule("repayAmount", "intent", "spent"))
REPAY = Template("pay/repay", "repayBorrowBehalf(address,uint256)", ARGS, "repay")
CALLED = Function(REPAY.function, bytes.fromhex("2608f818"), ("address", "uint256"), ("uint256",), view=False)
KNOWN = {**TEMPLATES, "pay/repay": bind(REPAY, CALLED)}
ENTRY = '\n[[chains.local.contracts]]\naddress = "{}"\nkinds = ["pay/repay"]\n'
TEXT = CONFIG + ENTRY.format(V_USDC) + f'asset = "{USDC}"\n' + ENTRY.format(V_BNB)
RULES = configuration.parse(TEXT)


def repay(amount: int = 500, to: str = V_USDC, owner: str = OWNER, **changes: int | str) -> Intent:
    position = f"eip155:{CHAIN}/venus-core/{V_USDC}/{owner}"
    return Intent("pay/repay", CHAIN, position, owner, to, {"repayAmount": amount, **changes})


def approve(spender: str, token: str, amount: int = 500) -> Intent:
    return replace(repay(), kind="erc20/approve", to=token, args={"spender": spender, "amount": amount})


def test_what_counts_is_the_token_that_the_file_names() -> None:
    draft = judge(request(0, repay(PER_ACTION)), RULES, KNOWN)
    assert (draft.asset, draft.amount) == (USDC, PER_ACTION)
    words = OWNER[2:].lower().rjust(64, "0") + f"{PER_ACTION:064x}"
    assert draft.transaction.data.hex() == "2608f818" + words
    judge(request(0, approve(V_USDC, USDC, MAX_ALLOWANCE)), RULES, KNOWN)


REFUSED = [
    ("a contract without a named asset", repay(to=V_BNB), Refusal.ASSET, "names no asset", ""),
    ("a contract that is not listed", repay(to=ELSEWHERE), Refusal.TARGET, "not a listed contract", ""),
    ("the token called as if it were the contract", repay(to=USDC), Refusal.TARGET, "not a listed contract", ""),
    ("more than the asset's limit", repay(PER_ACTION + 1), Refusal.LIMIT_ACTION, "for one action", "limit_action"),
    ("all of the debt, whatever it is", repay(2**256 - 1), Refusal.UNLIMITED, "no limit", ""),
    ("an asset of the client's choice", repay(asset=WETH), Refusal.ARGUMENTS, "takes exactly", ""),
    ("a stranger's debt", repay(owner=STRANGER), Refusal.OWNER, "not a listed owner", ""),
    ("ether sent along", replace(repay(), value_wei=1), Refusal.VALUE, "may go along", "no_value"),
    ("an approval of another token", approve(V_USDC, WETH, 0), Refusal.SPENDER, f"takes {USDC}", "spenders"),
    (
        "too large an approval",
        approve(V_USDC, USDC, MAX_ALLOWANCE + 1),
        Refusal.LIMIT_ACTION,
        "are more than",
        "limit_action",
    ),
]


@pytest.mark.parametrize(
    ("asked", "code", "words", "defence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_is_refused(asked: Intent, code: Refusal, words: str, defence: str) -> None:
    with pytest.raises(Denied, match=words) as no:
        judge(request(0, asked), RULES, KNOWN)
    assert no.value.code is code
    if defence:
        judge(request(0, asked), RULES, KNOWN, ALL.without(defence))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('asset = "0x0000000000000000000000000000000000000000"', "own coin"),
        ('asset = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"', "own coin"),
        (f'asset = "{USDC}"\nmax_value_wei = 1', "no ether"),
        (f'asset = "{STRANGER}"', "no entry among the assets"),
        ('asset = "USDC"', "not an address"),
    ],
    ids=["zero", "the coin's usual mark", "token and ether", "without limits", "a symbol"],
)
def test_a_file_that_names_no_token_with_limits_is_refused(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        configuration.parse(CONFIG + ENTRY.format(V_BNB) + line + "\n")


def test_a_template_file_keeps_it() -> None:
    real = replace(REPAY, function="compound_v2.repayBorrowBehalf")
    content = export(real)
    loaded = load_file(content, hashlib.sha256(content).hexdigest())
    assert isinstance(loaded, Bound)
    assert [rule.role for rule in loaded.template.args] == ["recipient", "spent"]
    assert loaded.function.selector == function("compound_v2.repayBorrowBehalf").selector == CALLED.selector


@pytest.mark.parametrize("other", ["asset", "amount", "allowance"])
def test_a_template_says_once_what_it_spends(other: str) -> None:
    args = (*ARGS[1:], ArgRule("more", "intent", other))
    called = replace(CALLED, inputs=("uint256", "address" if other == "asset" else "uint256"))
    with pytest.raises(ConfigError, match="template pay/repay"):
        bind(replace(REPAY, args=args), called)


def test_the_file_that_is_proposed_names_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(PROTOCOL), "templates", (replace(REPAY, kind="venus-core/pay"),))
    asked = replace(repay(), kind="venus-core/pay")
    block = BlockRef(CHAIN, 1, "0x" + "00" * 32, "0x" + "00" * 32, 0)
    position = Position(asked.position_id, OWNER, block, Rule("venus-core", "10.3.0"), {}, None)
    step = Step(position, asked, USDC, "USDC", 6, 10**18, 1, 1, 1)
    rules = ChainRules(CHAIN)
    rules.add([step], {USDC: AssetLimits(7, 8, 9)}, ["venus-core/pay"])
    guardian = Guardian(GuardianConfig(address=STRANGER))
    written = configuration.parse(signer_toml(guardian, KeySource("environment", value=True), [rules]))
    chain = written.chain(CHAIN)
    assert chain is not None
    contract = chain.contract(V_USDC)
    assert contract is not None
    assert (contract.asset, contract.kinds) == (USDC, ("venus-core/pay",))
