"""Calldata comes from templates, and a template that leaves a hole is none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import encode

from monitor.chain.abi import function
from monitor.core import registry
from monitor.core.actions import ArgRule, Template
from monitor.core.errors import ConfigError
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.templates import FORMAT, bind, builtin, collect, export, load_file
from tests.signer.room import OWNER, POOL, STRANGER, TEMPLATES, USDC, approve, intent

REPAY = TEMPLATES["aave-v3/repay"].template


def selector(signature: str) -> bytes:
    return {
        "repay(address,uint256,uint256,address)": bytes.fromhex("573ade81"),
        "supply(address,uint256,address,uint16)": bytes.fromhex("617ba037"),
        "approve(address,uint256)": bytes.fromhex("095ea7b3"),
    }[signature]


class TestBuiltIn:
    def test_repay(self) -> None:
        expected = encode(("address", "uint256", "uint256", "address"), (USDC, 500, 2, OWNER))
        called = TEMPLATES["aave-v3/repay"].calldata(intent())
        assert called == selector("repay(address,uint256,uint256,address)") + expected

    def test_supply(self) -> None:
        expected = encode(("address", "uint256", "address", "uint16"), (USDC, 500, OWNER, 0))
        called = TEMPLATES["aave-v3/supply"].calldata(intent("aave-v3/supply"))
        assert called == selector("supply(address,uint256,address,uint16)") + expected

    def test_approve(self) -> None:
        expected = encode(("address", "uint256"), (POOL, 7))
        assert TEMPLATES["erc20/approve"].calldata(approve(7)) == selector("approve(address,uint256)") + expected

    def test_are_those_of_every_protocol_of_this_package(self) -> None:
        declared = {t.kind for p in registry.protocols().values() for t in getattr(p, "templates", ())}
        assert set(builtin()) == declared
        assert {"aave-v3/repay", "aave-v3/supply", "erc20/approve"} <= declared

    def test_foreign_protocols_are_not_even_imported(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def entry_points(**_: Any) -> Any:
            raise AssertionError("foreign code in the process with the key")

        monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
        monkeypatch.setattr(registry, "entry_points", entry_points)
        assert builtin()

    def test_one_kind_means_one_thing(self) -> None:
        one = TEMPLATES["aave-v3/repay"]
        assert collect([one, one]) == {"aave-v3/repay": one}
        other = bind(replace(REPAY, note="another"), one.function)
        with pytest.raises(ConfigError, match="two templates"):
            collect([one, other])


HOLES: list[tuple[str, str, tuple[ArgRule, ...]]] = [
    ("too few arguments", "erc20.approve", (ArgRule("spender", "intent", "spender"),)),
    ("an address without a role", "erc20.approve", (ArgRule("spender", "intent"), ArgRule("n", "intent", "allowance"))),
    ("one name twice", "erc20.approve", (ArgRule("n", "intent", "spender"), ArgRule("n", "intent", "allowance"))),
    (
        "one role twice",
        "aave_v3_pool.repay",
        (
            ArgRule("a", "intent", "recipient"),
            ArgRule("b", "intent", "amount"),
            ArgRule("c", "constant"),
            ArgRule("d", "owner", "recipient"),
        ),
    ),
    (
        "an amount and an allowance",
        "aave_v3_pool.repay",
        (
            ArgRule("a", "intent", "asset"),
            ArgRule("b", "intent", "amount"),
            ArgRule("c", "intent", "allowance"),
            ArgRule("d", "owner", "recipient"),
        ),
    ),
    ("an unknown source", "erc20.balanceOf", (ArgRule("account", "planner", "recipient"),)),
    ("an unknown role", "erc20.balanceOf", (ArgRule("account", "intent", "friend"),)),
    ("an address as an amount", "erc20.balanceOf", (ArgRule("account", "intent", "amount"),)),
    (
        "a number as recipient",
        "erc20.approve",
        (ArgRule("s", "intent", "spender"), ArgRule("n", "intent", "recipient")),
    ),
    ("a number as owner", "erc20.approve", (ArgRule("s", "intent", "spender"), ArgRule("n", "owner"))),
    ("a constant that does not fit", "erc20.balanceOf", (ArgRule("account", "constant", value=5),)),
    ("more than one word", "multicall3.aggregate3", (ArgRule("calls", "intent"),)),
]


class TestHoles:
    @pytest.mark.parametrize(("what", "called", "args"), HOLES, ids=[row[0] for row in HOLES])
    def test_is_refused(self, what: str, called: str, args: tuple[ArgRule, ...]) -> None:
        with pytest.raises(ConfigError, match="template bad"):
            bind(Template("bad", called, args, ""), function(called))

    @pytest.mark.parametrize("value", [STRANGER, "", "0x12", None, True, 1.5, b"x"])
    def test_an_amount_is_a_number(self, value: Any) -> None:
        with pytest.raises(Denied) as no:
            TEMPLATES["aave-v3/repay"].calldata(intent(args={"asset": USDC, "amount": value}))
        assert no.value.code is Refusal.ARGUMENTS

    def test_words_of_all_kinds(self) -> None:
        content = {
            "format": FORMAT,
            "kind": "foreign/mixed",
            "function": "mixed(bool,bytes4,int8,address)",
            "args": [
                {"name": "flag", "source": "intent", "role": "", "value": 0},
                {"name": "tag", "source": "constant", "role": "", "value": "0x11223344"},
                {"name": "shift", "source": "intent", "role": "", "value": 0},
                {"name": "for", "source": "owner", "role": "recipient", "value": 0},
            ],
            "note": "",
        }
        raw = json.dumps(content).encode()
        bound = load_file(raw, hashlib.sha256(raw).hexdigest())
        wanted = intent("foreign/mixed", args={"flag": 1, "shift": -3})
        assert bound.calldata(wanted)[4:] == encode(
            ("bool", "bytes4", "int8", "address"), (True, bytes.fromhex("11223344"), -3, OWNER)
        )
        bad: list[dict[str, int | str]] = [
            {"flag": 2, "shift": 0},
            {"flag": 0, "shift": 128},
            {"flag": "1", "shift": 0},
        ]
        for args in bad:
            with pytest.raises(Denied):
                bound.calldata(replace(wanted, args=args))


class TestThirdParty:
    content = export(replace(REPAY, kind="foreign/repay"))
    sha256 = hashlib.sha256(content).hexdigest()

    def test_loads_under_its_hash(self) -> None:
        bound = load_file(self.content, self.sha256)
        wanted = intent("foreign/repay")
        assert bound.calldata(wanted) == TEMPLATES["aave-v3/repay"].calldata(intent())
        assert load_file(self.content, self.sha256.upper()) == bound

    def test_not_when_a_byte_differs(self) -> None:
        changed = self.content.replace(b'"owner"', b'"owner" ')
        with pytest.raises(ConfigError, match="sha256"):
            load_file(changed, self.sha256)
        load_file(changed, self.sha256, ALL.without("template_hash"))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"[]",
            b"{}",
            b"[" * 50_000,
            content.replace(b"levmon-template/1", b"levmon-template/2"),
            content.replace(b'"note"', b'"code"'),
            content.replace(b'"kind": "foreign/repay"', b'"kind": 5'),
            content.replace(b"repay(address,uint256,uint256,address)", b"repay(address"),
            content.replace(b"repay(address,uint256,uint256,address)", b"repay((address),uint256)"),
            content.replace(b'"value": 2', b'"value": true'),
            content.replace(b'"value": 2', b'"value": null'),
            content.replace(b'"name": "asset"', b'"label": "asset"'),
        ],
    )
    def test_what_is_no_template_is_refused(self, content: bytes) -> None:
        with pytest.raises(ConfigError):
            load_file(content, hashlib.sha256(content).hexdigest())
