"""levmon: exact health of leveraged positions on EVM chains.

    import monitor

    for report in monitor.check("ethereum/aave-v3/core", ["0x..."], rpc="https://..."):
        print(report.level, report.health, report.to_json())

Names are resolved on first use, so that importing the package is instant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monitor.api import acheck, averify, check, thresholds, verify, watch
    from monitor.core.errors import LevmonError
    from monitor.core.types import Level
    from monitor.report import Report

__all__ = ["Level", "LevmonError", "Report", "acheck", "averify", "check", "thresholds", "verify", "watch"]

_HOMES = {"Level": "monitor.core.types", "LevmonError": "monitor.core.errors", "Report": "monitor.report"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES.get(name, "monitor.api")), name)
