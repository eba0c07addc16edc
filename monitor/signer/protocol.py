"""What travels over the socket: one JSON object a line, each of a known type with exactly its fields, at most 64 KiB.

Reading is strict: no unknown, missing or doubled keys, no floats, no booleans for numbers, integers within their range,
addresses in their checksummed form only (an intent's hash covers the text). Nothing here has an effect.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from monitor.chain.abi import checksum
from monitor.core.actions import Intent, SignRequest
from monitor.core.types import Address
from monitor.signer import strict_json
from monitor.signer.errors import Refusal

LINE_LIMIT = 65_536
TEXT_LIMIT = 300
ARGS_LIMIT = 16
UINT64 = 2**64 - 1
UINT256 = 2**256 - 1
INT64 = 2**63 - 1


class Malformed(ValueError):
    """A line that is not of this protocol. The message repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign this."""

    request: SignRequest


@dataclass(frozen=True, slots=True)
class Register:
    """What the executor knows of a key on a chain when it starts: its lease epoch, and the next nonce at `latest`.

    Registers a key that is new on the chain; for a known one it fences lower epochs off at once.
    """

    chain_id: int
    sender: Address
    epoch: int
    latest_nonce: int


@dataclass(frozen=True, slots=True)
class Status:
    """Which keys there are, and whether the kill switch is on."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Turn the kill switch on. Only a person at the signer's files can turn it off again."""


Request = Sign | Register | Status | Kill


@dataclass(frozen=True, slots=True)
class SignedAnswer:
    """The bytes to broadcast."""

    raw: bytes
    hash: str


@dataclass(frozen=True, slots=True)
class Done:
    """The request was carried out; there is nothing to tell."""


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """The keys' addresses, and whether the kill switch is on."""

    keys: tuple[Address, ...]
    killed: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """No, by which rule, and why."""

    code: Refusal
    reason: str
    hint: str = ""


Answer = SignedAnswer | Done | StatusAnswer | Refused


# -- writing ---------------------------------------------------------------------------------------------------------


def write_request(request: Request) -> bytes:
    """The line of a request, newline included."""
    match request:
        case Sign(wanted):
            intent = None if wanted.intent is None else asdict(wanted.intent) | {"args": dict(wanted.intent.args)}
            fields = {name: getattr(wanted, name) for name in _SIGN if name != "intent"}
            return _line({"type": "sign", "intent": intent, **fields})
        case Register():
            return _line({"type": "register", **asdict(request)})
        case Status():
            return _line({"type": "status"})
        case Kill():
            return _line({"type": "kill"})


def write_answer(answer: Answer) -> bytes:
    """The line of an answer, newline included."""
    match answer:
        case SignedAnswer(raw, digest):
            return _line({"type": "signed", "raw": "0x" + raw.hex(), "hash": digest})
        case Done():
            return _line({"type": "done"})
        case StatusAnswer(keys, killed):
            return _line({"type": "status", "keys": list(keys), "killed": killed})
        case Refused(code, reason, hint):
            return _line({"type": "refused", "code": code.value, "reason": reason, "hint": hint})


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


# -- reading ---------------------------------------------------------------------------------------------------------

_SIGN = (
    "action_id",
    "epoch",
    "chain_id",
    "sender",
    "nonce",
    "intent",
    "gas",
    "max_fee_per_gas_wei",
    "max_priority_fee_per_gas_wei",
)


def read_request(line: bytes) -> Request:
    """The request of a line. May raise: Malformed."""
    fields = _Fields(line)
    match fields.kind:
        case "sign":
            return Sign(_sign_request(fields))
        case "register":
            fields.exactly("chain_id", "sender", "epoch", "latest_nonce")
            return Register(
                fields.integer("chain_id", 1, 2**53 - 1),
                fields.address("sender"),
                fields.integer("epoch", 0, INT64),
                fields.integer("latest_nonce", 0, INT64),
            )
        case "status":
            fields.exactly()
            return Status()
        case "kill":
            fields.exactly()
            return Kill()
        case _:
            raise Malformed("no request of that type")


def read_answer(line: bytes) -> Answer:
    """The answer of a line. May raise: Malformed."""
    fields = _Fields(line)
    match fields.kind:
        case "signed":
            fields.exactly("raw", "hash")
            return SignedAnswer(fields.hex("raw"), fields.text("hash"))
        case "done":
            fields.exactly()
            return Done()
        case "status":
            fields.exactly("keys", "killed")
            keys, killed = fields.content["keys"], fields.content["killed"]
            if not isinstance(keys, list) or not isinstance(killed, bool):
                raise Malformed("keys or killed")
            return StatusAnswer(tuple(_address(key, "keys") for key in keys), killed)
        case "refused":
            fields.exactly("code", "reason", "hint")
            try:
                code = Refusal(fields.text("code"))
            except ValueError:
                raise Malformed("no such refusal") from None
            return Refused(code, fields.text("reason", 2000), fields.text("hint", 2000, empty=True))
        case _:
            raise Malformed("no answer of that type")


def _sign_request(fields: _Fields) -> SignRequest:
    fields.exactly(*_SIGN)
    chain_id = fields.integer("chain_id", 1, 2**53 - 1)
    content = fields.content["intent"]
    return SignRequest(
        action_id=fields.text("action_id"),
        epoch=fields.integer("epoch", 0, INT64),
        chain_id=chain_id,
        sender=fields.address("sender"),
        nonce=fields.integer("nonce", 0, INT64 - 1),
        intent=None if content is None else _intent(content, chain_id),
        gas=fields.integer("gas", 0, UINT64),
        max_fee_per_gas_wei=fields.integer("max_fee_per_gas_wei", 0, 2**128),
        max_priority_fee_per_gas_wei=fields.integer("max_priority_fee_per_gas_wei", 0, 2**128),
    )


def _intent(content: Any, chain_id: int) -> Intent:
    if not isinstance(content, dict):
        raise Malformed("intent")
    fields = _Fields.of(content)
    fields.exactly("kind", "chain_id", "position_id", "owner", "to", "args", "value_wei")
    if fields.integer("chain_id", 1, 2**53 - 1) != chain_id:
        raise Malformed("the intent is for another chain")
    args = content["args"]
    if not isinstance(args, dict) or len(args) > ARGS_LIMIT:
        raise Malformed("args")
    inner = _Fields.of(args)
    return Intent(
        kind=fields.text("kind"),
        chain_id=chain_id,
        position_id=fields.text("position_id"),
        owner=fields.address("owner"),
        to=fields.address("to"),
        args={
            _text(name, "args", TEXT_LIMIT): inner.text(name) if isinstance(value, str) else inner.integer(name)
            for name, value in args.items()
        },
        value_wei=fields.integer("value_wei", 0, UINT256),
    )


class _Fields:
    """A JSON object read field by field."""

    def __init__(self, line: bytes) -> None:
        try:
            content = strict_json.loads(line)
        except strict_json.BadJson as wrong:
            raise Malformed(str(wrong)) from None
        if not isinstance(content, dict):
            raise Malformed("not one JSON object")
        self.content: dict[str, Any] = content
        kind = content.pop("type", None)
        self.kind = kind if isinstance(kind, str) else ""

    @classmethod
    def of(cls, content: dict[str, Any]) -> _Fields:
        made = cls.__new__(cls)
        made.content, made.kind = content, ""
        return made

    def exactly(self, *names: str) -> None:
        if set(self.content) != set(names):
            raise Malformed(f"the fields are {', '.join(names) or 'none'}")

    def integer(self, name: str, low: int = -UINT256, high: int = UINT256) -> int:
        value = self.content[name]
        if type(value) is not int or not low <= value <= high:
            raise Malformed(name)
        return value

    def text(self, name: str, limit: int = TEXT_LIMIT, *, empty: bool = False) -> str:
        return _text(self.content[name], name, limit, empty=empty)

    def address(self, name: str) -> Address:
        return _address(self.content[name], name)

    def hex(self, name: str) -> bytes:
        value = self.content[name]
        try:
            if not isinstance(value, str) or value[:2] != "0x":
                raise Malformed(name)
            return bytes.fromhex(value[2:])
        except ValueError:
            raise Malformed(name) from None


def _text(value: Any, name: str, limit: int, *, empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > limit or not (value or empty):
        raise Malformed(name)
    if not all(char.isprintable() or char == "\n" for char in value):
        raise Malformed(name)
    return value


def _address(value: Any, name: str) -> Address:
    if not isinstance(value, str) or len(value) != 42 or value[:2] != "0x":
        raise Malformed(name)
    try:
        right = checksum(value)
    except ValueError:
        raise Malformed(name) from None
    if right != value:
        raise Malformed(name)
    return value
