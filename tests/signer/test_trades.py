"""Row S9 for what a guard does: only listed collateral, at listed routers, within a limit, once, for the owner."""

from __future__ import annotations

from dataclasses import replace

import pytest
from eth_abi.abi import decode

from monitor.chain.abi import function
from monitor.core.actions import ArgRule, Intent, Template
from monitor.core.errors import ConfigError
from monitor.signer import config as configuration
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.templates import bind
from monitor.testing.devchain import account_address
from tests.signer.room import CONFIG, OWNER, PER_ACTION, SHADY, STRANGER, TEMPLATES, USDC, WETH, intent, request

GUARD, ROUTER = account_address("guard"), account_address("router")
ACTION = "0x" + "ab" * 32
KINDS = ["aave-v3/deleverage", "aave-v3/close"]
RULES = configuration.parse(
    CONFIG.replace("max_gas =", f'routers = ["{ROUTER}"]\nmax_gas =')
    + f'\n[[chains.local.contracts]]\naddress = "{GUARD}"\nkinds = ["{KINDS[0]}", "{KINDS[1]}"]\n'
)
ARGS: dict[str, int | str] = {
    "action_id": ACTION,
    "deadline": 1_800_000_300,
    "collateral": WETH,
    "debt": USDC,
    "amount": PER_ACTION,
    "max_collateral": 10**18,
    "router": ROUTER,
    "fee": 500,
}


def trade(kind: str = KINDS[0], **changes: int | str) -> Intent:
    return intent(kind, to=GUARD, args=ARGS | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_signed_is_the_call_that_was_meant(kind: str) -> None:
    draft = judge(request(0, trade(kind)), RULES, TEMPLATES)
    called = function(TEMPLATES[kind].template.function)
    values = decode(called.inputs, draft.transaction.data[4:])
    assert draft.transaction.to == GUARD
    assert draft.transaction.data[:4] == called.selector
    assert [str(v).lower() if isinstance(v, str) else v for v in values] == [
        *(OWNER.lower(), bytes.fromhex(ACTION[2:]), 1_800_000_300, WETH.lower(), USDC.lower()),
        *(PER_ACTION, 10**18, ROUTER.lower(), 500),
    ]
    assert (draft.asset, draft.amount) == (USDC, PER_ACTION)


REFUSED = [
    ("a router that is not listed", trade(router=STRANGER), Refusal.ROUTER, "routers"),
    ("a collateral that is not listed", trade(collateral=SHADY), Refusal.ASSET, "assets"),
    ("a debt that is not listed", trade(debt=SHADY), Refusal.ASSET, ""),
    ("collateral without limit", trade(max_collateral=2**256 - 1), Refusal.UNLIMITED, "no_unlimited"),
    ("more debt than an action may pay", trade(amount=PER_ACTION + 1), Refusal.LIMIT_ACTION, "limit_action"),
    ("a guard that is not listed", replace(trade(), to=STRANGER), Refusal.TARGET, "targets"),
    ("a stranger's position", replace(trade(), owner=STRANGER), Refusal.OWNER, "owners"),
    ("an id that is too short", trade(action_id="0xab"), Refusal.ARGUMENTS, ""),
    ("an id that is no hex", trade(action_id="0x" + "zz" * 32), Refusal.ARGUMENTS, ""),
    ("no id at all", replace(trade(), args={k: v for k, v in ARGS.items() if k != "action_id"}), Refusal.ARGUMENTS, ""),
]


@pytest.mark.parametrize(("wanted", "code"), [pytest.param(w, c, id=name) for name, w, c, _ in REFUSED])
def test_nothing_else_is(wanted: Intent, code: Refusal) -> None:
    with pytest.raises(Denied) as denied:
        judge(request(0, wanted), RULES, TEMPLATES)
    assert denied.value.code is code


@pytest.mark.parametrize(("wanted", "defence"), [pytest.param(w, d, id=name) for name, w, _, d in REFUSED if d])
def test_without_its_defence_it_would_be(wanted: Intent, defence: str) -> None:
    assert judge(request(0, wanted), RULES, TEMPLATES, ALL.without(defence)).transaction.data


def test_without_listed_routers_nothing_is_traded() -> None:
    rules = configuration.parse(CONFIG + f'\n[[chains.local.contracts]]\naddress = "{GUARD}"\nkinds = ["{KINDS[0]}"]\n')
    with pytest.raises(Denied) as denied:
        judge(request(0, trade()), rules, TEMPLATES)
    assert denied.value.code is Refusal.ROUTER


@pytest.mark.parametrize(
    ("name", "role"), [("debt", "action"), ("debt", "bound"), ("amount", "router"), ("fee", "action")]
)
def test_a_role_that_does_not_fit_its_type_is_no_template(name: str, role: str) -> None:
    template = TEMPLATES[KINDS[0]].template
    plain = tuple(replace(rule, role="") if rule.role == role else rule for rule in template.args)
    args = tuple(ArgRule(rule.name, rule.source, role) if rule.name == name else rule for rule in plain)
    with pytest.raises(ConfigError):
        bind(Template("t", template.function, args, ""), function(template.function))
