"""Where a database is, from the text of a setting: a file beside levmon.toml, or a server's URL. Pure text."""

from __future__ import annotations

import re
from pathlib import Path

from monitor.core.errors import ConfigError

_POSTGRES = re.compile(r"^postgres(ql)?(\+psycopg)?://")
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@|([?&]password=)[^&\s]*")


def database_url(text: str, base: Path) -> str:
    """A URL as it is, with the driver that levmon uses; a path as SQLite's URL, relative to `base`.

    May raise: ConfigError, which does not repeat the text.
    """
    if "://" not in text:
        return f"sqlite:///{(base / text).absolute()}"
    if text.startswith("sqlite:///") and ":memory:" not in text:
        return f"sqlite:///{(base / text.removeprefix('sqlite:///')).absolute()}"
    if _POSTGRES.match(text) is None:
        raise ConfigError(
            "not a usable database URL (it is not shown: it may hold a password)",
            hint="write a file's path, or postgresql://user:password@host/name",
        )
    return _POSTGRES.sub("postgresql+psycopg://", text)


def shown(text: str) -> str:
    """The same without a password."""
    return _PASSWORD.sub(lambda found: f"{found[1]}:***@" if found[1] else f"{found[2]}***", text)
