"""Facts that do not change, kept as JSON files between runs, one per market.

A file is a hint and no authority: what is read from it is re-verified at each pinned block by the protocol's `recheck`.
One that is corrupt, of another market, of another shape or not the user's own is ignored, and that is said aloud. What
cannot be written is only slower next time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from monitor.chain.jsonrpc import parse
from monitor.core.errors import BadAnswer
from monitor.core.types import MarketRef

SCHEMA = "levmon.facts/1"
MAX_BYTES = 8 * 1024 * 1024
_log = logging.getLogger("levmon.cache")


def cache_home() -> Path:
    """`LEVMON_CACHE`, else `levmon` in the XDG cache directory."""
    if chosen := os.environ.get("LEVMON_CACHE"):
        return Path(chosen).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "levmon"


class FactsCache:
    """Facts by market and type. `kind` is any type that pydantic can write as JSON, such as a frozen dataclass."""

    def __init__(self, home: Path | None = None) -> None:
        self._home = (home or cache_home()) / "facts"

    def path(self, market: MarketRef) -> Path:
        """The market's file: a readable start and a digest of its whole identity."""
        digest = hashlib.sha256(json.dumps(_identity(market)).encode()).hexdigest()[:16]
        return self._home / f"{market.chain_id}-{market.protocol}-{digest}.json"

    def load(self, market: MarketRef, kind: Any) -> Any | None:
        """The facts, or None where there are none that can be believed."""
        path = self.path(market)
        try:
            return _believe(_read(path), market, kind)
        except FileNotFoundError:
            return None
        except OSError as broken:
            _log.warning("ignored %s: %s", path, type(broken).__name__)
        except ValueError as wrong:
            _log.warning("ignored %s: %s", path, wrong)
        return None

    def store(self, market: MarketRef, kind: Any, facts: Any) -> None:
        """Write the facts; all of the file or none of it. Failing is said and no error."""
        path = self.path(market)
        temporary: str | None = None
        try:
            text = TypeAdapter(kind).dump_json(facts).decode()
            content = {
                "schema": SCHEMA,
                "shape": _shape(kind),
                "market": _identity(market),
                "digest": _digest(text),
                "facts": text,
            }
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._home, suffix=".new", delete=False) as file:
                temporary = file.name
                json.dump(content, file)
            Path(temporary).replace(path)
        except (OSError, PydanticSerializationError) as broken:
            _log.warning("facts of %s are not kept (%s)", market, type(broken).__name__)
            if temporary is not None:
                with suppress(OSError):
                    Path(temporary).unlink()


def _identity(market: MarketRef) -> list[Any]:
    return [market.chain_id, market.protocol, market.address, market.id]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _shape(kind: Any) -> str:
    """A name for the type's fields, so that facts of an older levmon are not read as today's."""
    return _digest(json.dumps(TypeAdapter(kind).json_schema(), sort_keys=True))[:16]


def _read(path: Path) -> bytes:
    """May raise: OSError, ValueError."""
    with path.open("rb") as file:
        if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
            raise ValueError("it belongs to another user")
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise ValueError("it is too large")
    return text


def _believe(text: bytes, market: MarketRef, kind: Any) -> Any:
    """The facts in a file's text. May raise: ValueError, with the reason for not believing it."""
    try:
        content = parse(text)  # limits depth first: where py-evm has raised the recursion limit, depth alone can kill
    except BadAnswer:
        content = None
    content = content if isinstance(content, dict) else {}
    if content.get("schema") != SCHEMA or content.get("shape") != _shape(kind):
        raise ValueError("another version of levmon wrote it")
    if content.get("market") != _identity(market):
        raise ValueError("it is about another market")
    if content.get("digest") != _digest(str(content.get("facts"))):
        raise ValueError("it was changed or cut off")
    try:
        return TypeAdapter(kind).validate_json(content["facts"], strict=True)
    except ValidationError:
        raise ValueError("its facts do not fit") from None
