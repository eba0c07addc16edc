"""Calldata from templates: which kinds of intent there are, and the bytes of each. Data in, bytes out.

Built-in templates are what the protocols of this package declare; protocols of other distributions are foreign code and
are not even imported in the process that holds the key. Their templates come as a JSON file (`export` writes one) that
the signer's own configuration names together with its sha256.

A template is refused when it leaves anything to the intent that no rule would judge: an address without a role, a type
that is not made of words, two amounts.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eth_utils.crypto import keccak

from monitor.chain.abi import Function, checksum, function, split_tuple
from monitor.core.actions import ArgRule, Intent, Template
from monitor.core.errors import ConfigError, DecodeError
from monitor.core.registry import CONTRACT
from monitor.signer import strict_json
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal

PACKAGE = "monitor.protocols"
FORMAT = "levmon-template/1"
FILE_LIMIT = 64_000
ROLES = frozenset(
    {
        *("", "asset", "amount", "spent", "allowance", "received", "recipient", "spender"),
        *("collateral", "router", "bound", "action"),
    }
)
SOURCES = frozenset({"intent", "owner", "constant"})
ADDRESS_ROLES = frozenset({"asset", "received", "recipient", "spender", "collateral", "router"})
AMOUNT_ROLES = frozenset({"amount", "spent", "allowance"})
NUMBER_ROLES = AMOUNT_ROLES | {"bound"}
_WORD = re.compile(r"address|bool|u?int\d{1,3}|bytes\d{1,2}")
_SIGNATURE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(\((?:[a-z0-9]+(?:,[a-z0-9]+)*)?\))")


@dataclass(frozen=True, slots=True)
class Bound:
    """A template and the function that it calls, found fit for each other."""

    template: Template
    function: Function

    def by_role(self, role: str) -> ArgRule | None:
        """The argument of that role, if any; there is at most one."""
        return next((rule for rule in self.template.args if rule.role == role), None)

    def value(self, rule: ArgRule, intent: Intent) -> int | str:
        """What the argument is for this intent."""
        if rule.source == "owner":
            return intent.owner
        return rule.value if rule.source == "constant" else intent.args[rule.name]

    def market_id(self, intent: Intent) -> str:
        """The market that the intent acts in, where the contract holds many; else empty. May raise: Denied."""
        rules = {rule.name: (rule, kind) for rule, kind in zip(self.template.args, leaves(self.function), strict=True)}
        if not self.template.market:
            return ""
        chosen = [rules[name] for name in self.template.market]
        kinds = tuple(kind for _, kind in chosen)
        values = [self.value(rule, intent) for rule, _ in chosen]
        part = Template(self.template.kind, "", tuple(rule for rule, _ in chosen), "")
        return "0x" + keccak(_encode(Function("market", b"", kinds, ()), part, values)).hex()

    def calldata(self, intent: Intent) -> bytes:
        """The bytes to call with. May raise: Denied when the intent's arguments do not fit."""
        wanted = {rule.name for rule in self.template.args if rule.source == "intent"}
        if set(intent.args) != wanted:
            raise Denied(Refusal.ARGUMENTS, f"{intent.kind} takes exactly {', '.join(sorted(wanted)) or 'none'}")
        values = [self.value(rule, intent) for rule in self.template.args]
        return _encode(self.function, self.template, values)


Templates = Mapping[str, Bound]
"""By kind."""


def _encode(called: Function, template: Template, values: list[int | str]) -> bytes:
    words: list[Any] = []
    for rule, kind, value in zip(template.args, leaves(called), values, strict=True):
        number = isinstance(value, int) and not isinstance(value, bool)
        if number != (not kind.startswith(("address", "bytes"))):
            raise Denied(Refusal.ARGUMENTS, f"{template.kind}: {rule.name} is not the {kind} that it should be")
        if kind == "address" and (not isinstance(value, str) or not _checksummed(value)):
            raise Denied(Refusal.ARGUMENTS, f"{template.kind}: {rule.name} is not a checksummed address")
        if kind == "bool" and value not in (0, 1):
            raise Denied(Refusal.ARGUMENTS, f"{template.kind}: {rule.name} is neither 0 nor 1")
        words.append(bool(value) if kind == "bool" else _bytes(value, kind) if kind.startswith("bytes") else value)
    try:
        return called.encode(_nested(called.inputs, iter(words)))
    except DecodeError:
        raise Denied(Refusal.ARGUMENTS, f"{template.kind}: an argument does not fit its type") from None


def leaves(called: Function) -> tuple[str, ...]:
    """The types of its arguments, those of a struct's fields in its place."""

    def flat(kinds: Iterable[str]) -> Iterator[str]:
        for kind in kinds:
            if kind.startswith("(") and kind.endswith(")"):
                yield from flat(split_tuple(kind))
            else:
                yield kind

    return tuple(flat(called.inputs))


def _nested(kinds: Iterable[str], words: Iterator[Any]) -> tuple[Any, ...]:
    """The words as the structs that they belong to."""
    return tuple(_nested(split_tuple(kind), words) if kind.startswith("(") else next(words) for kind in kinds)


def _bytes(value: int | str, kind: str) -> bytes:
    """All of a bytesN: what is shorter would be padded unseen. Of open bytes only none."""
    if kind == "bytes" and value == "0x":
        return b""
    if not re.fullmatch(rf"0x[0-9a-f]{{{2 * int(kind.removeprefix('bytes') or 0)}}}", str(value)):
        raise Denied(Refusal.ARGUMENTS, f"what should be {kind} is not that many bytes in hex")
    return bytes.fromhex(str(value)[2:])


def _checksummed(text: str) -> bool:
    return re.fullmatch(r"0x[0-9a-fA-F]{40}", text) is not None and checksum(text) == text


def bind(template: Template, called: Function) -> Bound:
    """Check a template against its function. May raise: ConfigError when the two do not fit, or leave a hole."""

    def no(why: str) -> ConfigError:
        return ConfigError(f"template {template.kind}: {why}", hint="the signer takes no template that it cannot judge")

    kinds = leaves(called)
    if len(template.args) != len(kinds):
        raise no(f"{len(template.args)} arguments for {called.name}")
    if len({rule.name for rule in template.args}) != len(template.args):
        raise no("two arguments have one name")
    roles = [rule.role for rule in template.args if rule.role]
    if len(set(roles)) != len(roles):
        raise no("two arguments have one role")
    if len(AMOUNT_ROLES & set(roles)) > 1:
        raise no("it moves an amount and grants an allowance at once, or two amounts")
    if {"asset", "spent"} <= set(roles):
        raise no("it names an asset, and spends the one that the signer's file names")
    if template.code and not (called.outputs == ("uint256",) and template.event and all(template.told[:2])):
        raise no("it answers the code of an error, and names no event by which to tell that it did something")
    if not set(template.market) <= {rule.name for rule in template.args}:
        raise no("its market is told by arguments that it does not have")
    for rule, kind in zip(template.args, kinds, strict=True):
        if why := _unfit(rule, kind, listed=rule.name in template.market):
            raise no(f"{rule.name} {why}")
        if rule.source == "constant":
            one = Function(called.name, called.selector, (kind,), ())
            try:
                _encode(one, Template(template.kind, template.function, (rule,), ""), [rule.value])
            except Denied as wrong:
                raise no(wrong.message) from None
    return Bound(template, called)


def _unfit(rule: ArgRule, kind: str, *, listed: bool) -> str:
    """Why no argument of that type can be what the rule says; empty if it can. `listed`: the market's id binds it."""
    if rule.source not in SOURCES or rule.role not in ROLES:
        return "has an unknown source or role"
    if rule.per < 1 or (rule.per > 1 and rule.role not in ("amount", "spent")):
        return "counts in a way that only an amount can, and upwards"
    if kind == "bytes" and rule.source == "constant" and not rule.role:
        return ""
    if not _WORD.fullmatch(kind):
        return f"is a {kind}, not one word"
    fits = (
        (rule.role in ADDRESS_ROLES, kind == "address"),
        (rule.role in NUMBER_ROLES, kind.startswith("uint")),
        (rule.role == "action", kind == "bytes32"),
    )
    if any(asked and not right for asked, right in fits):
        return f"is a {kind} and cannot be the {rule.role}"
    if rule.source == "owner" and kind != "address":
        return f"is a {kind} and cannot be the owner"
    if rule.source == "intent" and not rule.role and not listed and not (kind == "bool" or "int" in kind):
        return "is left to the intent and no rule would judge it"
    return ""


def builtin() -> Templates:
    """The templates of the protocols in this package, and of no other. May raise: ConfigError."""
    found: list[Bound] = []
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name in CONTRACT or module.name.startswith("_"):
            continue
        protocol = importlib.import_module(f"{PACKAGE}.{module.name}").PROTOCOL
        found += [bind(template, function(template.function)) for template in protocol.templates]
    return collect(found)


def collect(bound: Iterable[Bound]) -> Templates:
    """By kind; the same template twice is one. May raise: ConfigError when one kind means two things."""
    known: dict[str, Bound] = {}
    for one in bound:
        if known.setdefault(one.template.kind, one) != one:
            raise ConfigError(f"two templates are called {one.template.kind}", hint="rename one of them")
    return known


# -- templates from elsewhere ----------------------------------------------------------------------------------------


def export(template: Template) -> bytes:
    """The file of a template for another signer's configuration: self-contained, and the same bytes each time."""
    called = function(template.function)
    content = {
        "format": FORMAT,
        "kind": template.kind,
        "function": called.name,
        "args": [asdict(rule) for rule in template.args],
        "note": template.note,
    }
    return json.dumps(content, sort_keys=True, indent=1).encode()


def load_file(content: bytes, sha256: str, defences: Defences = ALL) -> Bound:
    """A template from a file's content. May raise: ConfigError when its hash is another, or it is malformed."""
    actual = hashlib.sha256(content).hexdigest()
    if defences.template_hash and actual != sha256.lower():
        raise ConfigError(
            f"a template file has sha256 {actual}, not the listed one",
            hint="look at what changed in it, then list the new hash",
        )
    try:
        data = strict_json.loads(content[:FILE_LIMIT])
        if data["format"] != FORMAT or set(data) != {"format", "kind", "function", "args", "note"}:
            raise ConfigError(f"not a template file of format {FORMAT}")
        rules = tuple(ArgRule(**rule) for rule in data["args"])
        kind, signature, note = data["kind"], data["function"], data["note"]
        texts: list[object] = [kind, signature, note, *(t for r in rules for t in (r.name, r.source, r.role))]
        fits = all(isinstance(text, str) for text in texts)
        fits = fits and all(type(r.value) in (int, str) and type(r.per) is int for r in rules)
    except (ValueError, KeyError, TypeError):
        raise ConfigError("not a template file", hint="write one with monitor.signer.templates.export") from None
    found = _SIGNATURE.fullmatch(signature) if fits else None
    if found is None:
        raise ConfigError("not a template file: the function is not name(type,...)")
    called = Function(signature, keccak(text=signature)[:4], split_tuple(found[1]), (), view=False)
    return bind(Template(kind, signature, rules, note), called)
