"""Row S6: a file with a mistake is refused with the line and the fix, and nothing is watched by half of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from monitor.core.config import parse
from monitor.core.errors import ConfigError
from monitor.core.thresholds import Thresholds
from tests.faults.rows import row
from tests.unit.test_config import OWNER, PROVIDER, RIGHT


def refused(text: str, line: int, told: str) -> None:
    said = "it is taken"
    try:
        parse(text, "x.toml", {})
    except ConfigError as wrong:
        said = str(wrong)
    assert f"x.toml:{line}: " in said
    assert told in said


def in_any_order(_: Thresholds) -> str:
    return ""


@row(
    "S6",
    "thresholds out of order or out of range are refused with their line",
    "monitor.core.thresholds:Thresholds.wrong",
    careless=in_any_order,
)
def test_thresholds() -> None:
    refused(RIGHT.replace("warn = 1.5", "warn = 1.05"), 14, "out of order")
    refused(RIGHT.replace("critical = 1.1", "critical = 0"), 15, "out of range")
    refused(RIGHT.replace("warn = 1.5", "warn = 1e12"), 14, "out of range")


def nothing(*_: Any, **__: Any) -> Iterator[Any]:
    return iter(())


@row(
    "S6",
    "a position that is there twice, also under another name, is refused with its line",
    "monitor.core.config:_check_positions",
    careless=nothing,
)
def test_duplicates() -> None:
    refused(RIGHT + f'[[positions]]\nmarket = "core"\nowner = "{OWNER.lower()}"\n', 18, "same position")
    refused(RIGHT + f'[[positions]]\nmarket = "core"\nowner = "me"\n[addresses]\nme = "{OWNER}"\n', 18, "same position")


@row(
    "S6", "unknown keys and wrong checksums are refused with their line and the fix", limit="the model's own strictness"
)
def test_keys_and_addresses() -> None:
    refused(RIGHT.replace("address = ", "adress = "), 9, "did you mean 'address'")
    refused(RIGHT.replace(PROVIDER, PROVIDER.replace("2f39d2", "2F39d2")), 9, "wrong checksum")
    refused(RIGHT.replace("chain_id = 31337", "chain_id = 31337\nrpc_url = 3"), 3, "unknown key")
