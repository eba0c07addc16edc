"""A mirror on disk: one file, written whole or not at all, read back in seconds, and believed only with its proof.

Layout: a line that names the format, a line of JSON (what it is of, and the arrays' shapes), the arrays' bytes in that
order, and the SHA-256 of all before. A file is a hint: after it was read the accounts are brought to the newest block,
and the audit compares them with the chain like any others.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from monitor.chain.mirror import Mirror
from monitor.core.errors import LevmonError
from monitor.core.types import BlockRef
from monitor.protocols.columns import Columns

MAGIC = b"levmon.mirror/1\n"
CHECK_BYTES = 32
MAX_HEADER = 4 * 1024 * 1024
_TYPES = {"owners": "u1", "mode": "u1", "flags": "<u8", "start": "<i8", "kind": "<u2", "low": "<u8", "high": "<u8"}


class NotResumable(LevmonError):
    """The file cannot be gone on from; the message says why. All accounts are to be read anew."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose mirror it is. `facts`: a digest of the market's facts, so that rows and kinds mean the same."""

    chain_id: int
    market: str
    facts: str


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds."""

    columns: Columns
    block: BlockRef
    unknown: Mapping[int, str] = field(default_factory=dict)
    unseen: int | None = None

    @classmethod
    def of(cls, mirror: Mirror[Any]) -> Self:
        """A mirror as it is now."""
        return cls(mirror.ledger.columns(), mirror.tip, dict(mirror.unknown), mirror.unseen)


def save(path: Path, identity: Identity, saved: Saved) -> None:
    """Write the file: all of it or none. May raise: OSError."""
    arrays = [np.ascontiguousarray(getattr(saved.columns, name), kind) for name, kind in _TYPES.items()]
    header = {
        "identity": asdict(identity),
        "block": asdict(saved.block),
        "unknown": {str(row): reason for row, reason in saved.unknown.items()},
        "unseen": saved.unseen,
        "shapes": [array.shape for array in arrays],
    }
    digest = hashlib.sha256()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, suffix=".new", delete=False) as file:
        try:
            for part in _parts(header, arrays):
                digest.update(part)
                file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            with suppress(OSError):
                Path(file.name).unlink()
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name is durable, too
    finally:
        os.close(folder)


def _parts(header: Mapping[str, Any], arrays: Sequence[NDArray[Any]]) -> Iterator[bytes]:
    yield MAGIC
    yield json.dumps(header).encode() + b"\n"
    for array in arrays:
        yield array.tobytes()


def load(path: Path, identity: Identity) -> Saved:
    """What was saved. May raise: NotResumable, with the reason."""
    try:
        with path.open("rb") as file:
            if hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid():
                raise NotResumable(f"{path.name} belongs to another user")
            content = file.read()
    except FileNotFoundError:
        raise NotResumable(f"there is no {path.name} yet") from None
    except OSError as broken:
        raise NotResumable(f"{path.name} cannot be read ({type(broken).__name__})") from None
    if not content.startswith(MAGIC):
        raise NotResumable(f"{path.name} is no mirror of this version of levmon")
    whole = memoryview(content)[: -CHECK_BYTES or None]
    if hashlib.sha256(whole).digest() != content[-CHECK_BYTES:]:
        raise NotResumable(f"{path.name} was cut off or changed")
    end = content.find(b"\n", len(MAGIC), len(MAGIC) + MAX_HEADER)
    header = json.loads(content[len(MAGIC) : end])
    told = Identity(**header["identity"])
    for one in fields(Identity):
        if getattr(told, one.name) != getattr(identity, one.name):
            raise NotResumable(f"{path.name} is of another {one.name.replace('_', ' ')}")
    return _saved(header, whole[end + 1 :])


def _saved(header: Mapping[str, Any], body: memoryview) -> Saved:
    """The arrays are views of the file's bytes: whoever keeps them copies."""
    arrays: dict[str, Any] = {}
    at = 0
    for (name, kind), shape in zip(_TYPES.items(), header["shapes"], strict=True):
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        part = np.frombuffer(body[at : at + size], kind)
        arrays[name] = part.reshape(shape).astype(np.dtype(kind).newbyteorder("="), copy=False)
        at += size
    unknown = {int(row): reason for row, reason in header["unknown"].items()}
    return Saved(Columns(**arrays), BlockRef(**header["block"]), unknown, header["unseen"])
