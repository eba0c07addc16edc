"""Finds protocols: every module of monitor.protocols, and every entry point of the group `monitor.protocols`.

Fails loudly: a module that does not import, or does not export exactly one PROTOCOL, is an error and never a gap.
Imports protocols by name only, so that core still depends on nothing of ours.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from monitor.core.errors import ConfigError, ProtocolError

PACKAGE = "monitor.protocols"
CONTRACT = ("base", "columns", "events", "ledger", "purse", "survey", "symbols", "whole")
"""The modules in there that say what a protocol is, and are none."""


@cache
def protocols() -> dict[str, Any]:
    """All protocols by name, built-in ones first. May raise: ProtocolError."""
    found: dict[str, Any] = {}
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name in CONTRACT or module.name.startswith("_"):
            continue
        loaded = importlib.import_module(f"{PACKAGE}.{module.name}")
        _add(found, getattr(loaded, "PROTOCOL", None), f"{PACKAGE}.{module.name}")
    for entry in sorted(entry_points(group=PACKAGE), key=lambda e: (e.name, e.value)):
        _add(found, entry.load(), f"entry point {entry.name} = {entry.value}")
    return found


def _add(found: dict[str, Any], protocol: Any, where: str) -> None:
    name = getattr(protocol, "name", None)
    if not isinstance(name, str):
        raise ProtocolError(f"{where} exports no PROTOCOL", hint="export one instance of a Protocol subclass")
    if name in found:
        raise ProtocolError(f"{where} calls itself {name!r}, which is taken", hint="rename the protocol")
    found[name] = protocol


def protocol(name: str) -> Any:
    """The protocol of that name. May raise: ConfigError."""
    known = protocols()
    if name not in known:
        raise ConfigError(f"unknown protocol {name!r}", hint=f"known: {', '.join(sorted(known))}")
    return known[name]
