"""Addresses from a file that people or their programs wrote: one a line, `#` begins a comment, each counts once."""

from __future__ import annotations

from monitor.core.address import parse_address
from monitor.core.errors import ConfigError
from monitor.core.types import Address


def parse_addresses(text: str, name: str) -> list[Address]:
    """In order of first appearance; `name` is the file's, for errors. May raise: ConfigError, which tells the line."""
    found: dict[Address, None] = {}
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found[parse_address(word)] = None
        except ConfigError as wrong:
            raise ConfigError(f"{name}, line {number}: {wrong.message}", hint=wrong.hint) from None
    if not found:
        raise ConfigError(f"{name} has no address in it", hint="one address a line; # begins a comment")
    return list(found)
