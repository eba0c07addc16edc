"""Loads abis/ and translates between read plans and bytes. Minimal ABIs, written by us; shipped as monitor/_abis.

Knows nothing of transports. Decoding is strict: bytes that do not fit raise DecodeError, addresses come out
checksummed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from monitor.chain import static_words
from monitor.core.errors import DecodeError
from monitor.core.registry import PACKAGE
from monitor.core.types import Address, Log

checksum, split_tuple = static_words.checksum, static_words.split_tuple
_SHIPPED = Path(__file__).parent.parent / "_abis"
_SOURCE = Path(__file__).parent.parent.parent / "abis"


@dataclass(frozen=True, slots=True)
class Function:
    """One function of an ABI, ready to encode and decode."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    view: bool = True
    """Declared view or pure: it may share an eth_call with others."""

    def encode(self, args: tuple[Any, ...]) -> bytes:
        """Calldata. May raise: DecodeError when the arguments do not fit."""
        try:
            return _calldata(self.selector, self.inputs, args)
        except (EncodingError, TypeError, ValueError) as wrong:
            raise DecodeError(f"{self.name}: arguments do not fit {self.inputs}: {wrong}") from None

    def decode(self, data: bytes) -> tuple[Any, ...]:
        """Return values in ABI order, structs as tuples. May raise: DecodeError."""
        return _decode(self.name, self.outputs, data)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an ABI."""

    name: str
    topic: bytes
    inputs: tuple[tuple[str, str, bool], ...]
    """(name, type, indexed)"""

    def decode(self, topics: list[bytes], data: bytes) -> dict[str, Any]:
        """Arguments by name. May raise: DecodeError."""
        indexed = [i for i in self.inputs if i[2]]
        if len(topics) != len(indexed) + 1 or topics[0] != self.topic:
            raise DecodeError(f"{self.name}: {len(topics)} topics do not fit")
        args = {
            name: _decode(self.name, (kind,), topic)[0]
            for (name, kind, _), topic in zip(indexed, topics[1:], strict=True)
        }
        plain = [i for i in self.inputs if not i[2]]
        values = _decode(self.name, tuple(i[1] for i in plain), data) if plain else ()
        return args | {name: value for (name, _, _), value in zip(plain, values, strict=True)}


@lru_cache(maxsize=8192, typed=True)
def _calldata(selector: bytes, types: tuple[str, ...], args: tuple[Any, ...]) -> bytes:
    """Remembered: a market's questions are the same in every block."""
    return selector + abi_encode(types, args)


def _decode(name: str, types: tuple[str, ...], data: bytes) -> tuple[Any, ...]:
    static = static_words.static_of(types)
    if static is not None:
        try:
            return static(data)
        except ValueError as wrong:
            raise DecodeError(f"{name}: {len(data)} bytes do not fit {types}: {wrong}") from None
    try:
        values = abi_decode(types, data)
    except (DecodingError, OverflowError, ValueError) as wrong:
        raise DecodeError(f"{name}: {len(data)} bytes do not fit {types}: {wrong}") from None
    return tuple(_clean(kind, value) for kind, value in zip(types, values, strict=True))


def _clean(kind: str, value: Any) -> Any:
    """Checksum addresses at any depth; arrays become tuples so that values are hashable."""
    if kind == "address":
        return checksum(value)
    if isinstance(value, (list, tuple)):
        if kind.endswith("]"):
            inner = kind[: kind.rindex("[")]
            return tuple(_clean(inner, item) for item in value)
        return tuple(_clean(part, item) for part, item in zip(split_tuple(kind), value, strict=True))
    return value


def _type_of(entry: dict[str, Any]) -> str:
    kind: str = entry["type"]
    if kind.startswith("tuple"):
        return f"({','.join(_type_of(part) for part in entry['components'])}){kind[5:]}"
    return kind


@dataclass(frozen=True, slots=True)
class Abi:
    """One file of abis/: functions by name and by full signature, events, errors by selector, bytecode if any."""

    functions: dict[str, Function]
    events: dict[str, Event]
    errors: dict[bytes, tuple[str, tuple[str, ...]]]
    bytecode: str


def _folders() -> Iterator[Path]:
    """levmon's own, and `abis` inside each package that brings a protocol by entry point."""
    yield from (_SHIPPED, _SOURCE)
    for entry in sorted(entry_points(group=PACKAGE), key=lambda e: (e.name, e.value)):
        found = find_spec(entry.module.partition(".")[0])
        yield from (Path(place) / "abis" for place in (found and found.submodule_search_locations) or ())


@cache
def load(name: str) -> Abi:
    """The ABI file `name` of abis/. May raise: DecodeError when there is none."""
    path = next((p for folder in _folders() if (p := folder / f"{name}.json").exists()), None)
    if path is None:
        raise DecodeError(f"no ABI file {name}.json", hint="abis/ holds one JSON file per contract")
    content = json.loads(path.read_text())
    entries = content if isinstance(content, list) else content["abi"]
    abi = Abi({}, {}, {}, "" if isinstance(content, list) else content.get("bytecode", ""))
    for entry in entries:
        types = tuple(_type_of(i) for i in entry.get("inputs", ()))
        signature = f"{entry.get('name', '')}({','.join(types)})"
        if entry["type"] == "function":
            outputs = tuple(_type_of(o) for o in entry.get("outputs", ()))
            view = entry.get("stateMutability", "view") in {"view", "pure"}
            function = Function(signature, keccak(text=signature)[:4], types, outputs, view)
            abi.functions[signature] = function
            abi.functions.setdefault(entry["name"], function)
        elif entry["type"] == "event":
            inputs = tuple((i["name"], _type_of(i), bool(i["indexed"])) for i in entry["inputs"])
            abi.events[entry["name"]] = Event(entry["name"], keccak(text=signature), inputs)
        elif entry["type"] == "error":
            abi.errors[keccak(text=signature)[:4]] = (entry["name"], types)
    return abi


@cache
def function(reference: str) -> Function:
    """`abi.function` or `abi.function(types)`. May raise: DecodeError."""
    file, _, name = reference.partition(".")
    found = load(file).functions.get(name)
    if found is None:
        raise DecodeError(f"{file}.json has no function {name}")
    return found


@cache
def event(reference: str) -> Event:
    """`abi.Event`. May raise: DecodeError."""
    file, _, name = reference.partition(".")
    found = load(file).events.get(name)
    if found is None:
        raise DecodeError(f"{file}.json has no event {name}")
    return found


def decode_log(
    reference: str, address: Address, topics: list[bytes], data: bytes, number: int, block_hash: str, index: int
) -> Log:
    """A raw log as a Log. May raise: DecodeError."""
    return Log(address, reference, event(reference).decode(topics, data), number, block_hash, index)


_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")


def revert_reason(data: bytes, reference: str) -> str:
    """What a revert says: Error(string), Panic(code), a custom error of the called ABI, else the hex of the data."""
    if not data:
        return "reverted without a reason"
    try:
        if data[:4] == _ERROR_STRING:
            return str(abi_decode(("string",), data[4:])[0])
        if data[:4] == _PANIC:
            return f"panic 0x{abi_decode(('uint256',), data[4:])[0]:02x}"
        known = load(reference.partition(".")[0]).errors.get(data[:4])
        if known is not None:
            values = abi_decode(known[1], data[4:])
            return f"{known[0]}({', '.join(map(str, values))})"
    except (DecodingError, OverflowError, ValueError):
        pass
    return "0x" + data[:68].hex()
