"""Where one contract holds many markets, made by anybody, only the listed ones are signed for; structs are words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from monitor.chain.abi import function
from monitor.core.actions import ArgRule, Intent, Template
from monitor.core.errors import ConfigError
from monitor.signer import config as configuration
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.templates import bind
from monitor.testing.devchain import account_address
from tests.signer.room import CHAIN, CONFIG, OWNER, PER_ACTION, SHADY, STRANGER, TEMPLATES, USDC, WETH, request

MORPHO, ORACLE, IRM = (account_address(name) for name in ("morpho", "oracle", "irm"))
TYPES = "(address,address,address,address,uint256)"
LLTV = 86 * 10**16
PARAMS = (USDC, WETH, ORACLE, IRM, LLTV)
ID = "0x" + keccak(encode((TYPES,), (PARAMS,))).hex()
ARGS: dict[str, int | str] = {
    "loanToken": USDC,
    "collateralToken": WETH,
    "oracle": ORACLE,
    "irm": IRM,
    "lltv": LLTV,
}
KINDS = '"morpho-blue/repay", "morpho-blue/supply", "morpho-blue/liquidate"'
TEXT = CONFIG.replace("[chains.local]", "[chains.local]\nliquidate = true").replace(
    f'address = "{USDC}"', f'address = "{USDC}"\nliquidate_per_action = 700\nliquidate_per_day = 700'
) + (f'\n[[chains.local.contracts]]\naddress = "{MORPHO}"\nkinds = [{KINDS}]\nmarkets = ["{ID}"]\n')
RULES = configuration.parse(TEXT)


def intent(kind: str, owner: str = OWNER, **args: int | str) -> Intent:
    position = f"eip155:{CHAIN}/morpho-blue/{MORPHO}/{ID}/{owner}"
    return Intent(f"morpho-blue/{kind}", CHAIN, position, owner, MORPHO, {**ARGS, **args})


CALLS = [
    (
        intent("repay", amount=PER_ACTION),
        f"repay({TYPES},uint256,uint256,address,bytes)",
        (PARAMS, PER_ACTION, 0, OWNER, b""),
        (USDC, PER_ACTION),
    ),
    (
        intent("supply", amount=7),
        f"supplyCollateral({TYPES},uint256,address,bytes)",
        (PARAMS, 7, OWNER, b""),
        (WETH, 7),
    ),
    (
        intent("liquidate", STRANGER, repaidShares=350_000_000),
        f"liquidate({TYPES},address,uint256,uint256,bytes)",
        (PARAMS, STRANGER, 0, 350_000_000, b""),
        (f"liquidate:{USDC}", 700),
    ),
]


@pytest.mark.parametrize(("wanted", "signature", "args", "counted"), CALLS, ids=["repay", "supply", "liquidate"])
def test_what_is_signed_is_the_call_that_was_meant(
    wanted: Intent, signature: str, args: tuple[object, ...], counted: tuple[str, int]
) -> None:
    draft = judge(request(0, wanted), RULES, TEMPLATES)
    called = function(TEMPLATES[wanted.kind].template.function)
    assert draft.transaction.data == keccak(text=signature)[:4] + encode(called.inputs, args)
    assert (draft.asset, draft.amount) == counted


REFUSED = [
    ("an oracle of somebody's own", intent("repay", amount=1, oracle=STRANGER), Refusal.MARKET, "markets"),
    ("another rate model", intent("supply", amount=1, irm=STRANGER), Refusal.MARKET, "markets"),
    ("another threshold", intent("liquidate", repaidShares=1, lltv=LLTV + 1), Refusal.MARKET, "markets"),
    ("another collateral", intent("repay", amount=1, collateralToken=SHADY), Refusal.MARKET, "markets"),
    ("a loan that is not listed", intent("repay", amount=1, loanToken=SHADY), Refusal.ASSET, ""),
    ("too much", intent("repay", amount=PER_ACTION + 1), Refusal.LIMIT_ACTION, "limit_action"),
    ("too many shares", intent("liquidate", repaidShares=350_000_001), Refusal.LIMIT_ACTION, "limit_action"),
    ("a stranger's position", intent("repay", STRANGER, amount=1), Refusal.OWNER, "owners"),
]


@pytest.mark.parametrize(("asked", "code", "defence"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_is_refused(asked: Intent, code: Refusal, defence: str) -> None:
    with pytest.raises(Denied) as no:
        judge(request(0, asked), RULES, TEMPLATES)
    assert no.value.code is code
    if defence:
        judge(request(0, asked), RULES, TEMPLATES, ALL.without(defence))


def test_without_a_list_no_market_is_used() -> None:
    rules = configuration.parse(TEXT.replace(f'markets = ["{ID}"]\n', ""))
    with pytest.raises(Denied, match="not a listed market"):
        judge(request(0, intent("supply", amount=1)), rules, TEMPLATES)


LIQUIDATE = TEMPLATES["morpho-blue/liquidate"].template


def with_rule(name: str, **changes: Any) -> Template:
    args = tuple(replace(rule, **changes) if rule.name == name else rule for rule in LIQUIDATE.args)
    return replace(LIQUIDATE, kind="bad", args=args)


@pytest.mark.parametrize(
    "template",
    [
        replace(LIQUIDATE, kind="bad", market=()),
        replace(LIQUIDATE, kind="bad", market=("oracle",)),
        replace(LIQUIDATE, kind="bad", market=(*LIQUIDATE.market, "vault")),
        replace(LIQUIDATE, kind="bad", args=(ArgRule("marketParams", "intent"), *LIQUIDATE.args[5:])),
        with_rule("data", value="0x12"),
        with_rule("data", value=5),
        with_rule("data", source="intent"),
        with_rule("repaidShares", per=0),
        with_rule("seizedAssets", per=2),
    ],
    ids=[
        *("no market", "part of one", "a word that is not there", "a struct as one"),
        *("some bytes", "a number as bytes", "free bytes", "per nothing", "per of no amount"),
    ],
)
def test_a_hole_is_refused(template: Template) -> None:
    with pytest.raises(ConfigError, match="template bad"):
        bind(template, function(template.function))
