"""The signer's Unix socket: for its own user only, line by line, bounded in size, time and number.

The file mode keeps others out; the kernel's word on who is at the other end (SO_PEERCRED) keeps them out even where the
mode was loosened. Nothing of a request but its meaning is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sqlite3
import stat
import struct
from collections.abc import Set as AbstractSet
from pathlib import Path

from monitor.core.errors import ConfigError
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Refusal
from monitor.signer.protocol import LINE_LIMIT, Answer, Malformed, Refused, read_request, write_answer
from monitor.signer.service import Signer

log = logging.getLogger("monitor.signer")
CONNECTION_LIMIT = 64
IDLE_S = 30.0
GRACE_S = 5.0
PARTING_S = 1.0
PARTING_READS = 64
_UCRED = struct.Struct("3i")
_WRITERS = stat.S_IWGRP | stat.S_IWOTH


class Server:
    """A listening socket in front of a Signer. `broken` is set once the record failed: then nothing may go on."""

    def __init__(
        self,
        signer: Signer,
        path: Path,
        uids: AbstractSet[int],
        *,
        defences: Defences = ALL,
        idle_s: float = IDLE_S,
    ) -> None:
        self._signer, self._path, self._uids = signer, path, frozenset(uids)
        self._defences, self._idle_s = defences, idle_s
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._open: set[asyncio.Task[None]] = set()
        self.broken = asyncio.Event()

    async def start(self) -> None:
        """Listen. May raise: ConfigError when the place is not safe, or taken."""
        listening = _bind(self._path, 0o600 if self._defences.socket_mode else 0o666)
        self._inode = self._path.stat().st_ino
        limit = LINE_LIMIT if self._defences.size_cap else 2**30
        self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=limit)

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """No new requests; those at work may end within the grace, then everything is closed and the socket removed."""
        if self._server is not None:
            self._server.close()
        if self._path.exists() and self._path.stat().st_ino == self._inode:
            self._path.unlink()
        if self._open:
            _, late = await asyncio.wait(self._open, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("asyncio serves each connection in a task")
        self._open.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            pass  # they left, or fell silent; whatever was signed for them is on record
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        refused = self._unwelcome(writer)
        if refused is not None:
            await self._part(reader, writer, refused)
            return
        while True:
            async with asyncio.timeout(self._idle_s):
                try:
                    line = await reader.readuntil(b"\n")
                except asyncio.LimitOverrunError:
                    await self._part(reader, writer, Refused(Refusal.MALFORMED, f"longer than {LINE_LIMIT} bytes"))
                    return
            await self._send(writer, await self._answer(line))

    def _unwelcome(self, writer: asyncio.StreamWriter) -> Refused | None:
        uid = _peer_uid(writer.get_extra_info("socket"))
        if self._defences.peer_uid and uid not in self._uids:
            log.warning("refused a connection of user %d", uid)
            return Refused(Refusal.STRANGER, f"user {uid} may not ask here")
        if len(self._open) > CONNECTION_LIMIT:
            return Refused(Refusal.BUSY, "too many connections")
        return None

    async def _answer(self, line: bytes) -> Answer:
        try:
            return await self._signer.answer(read_request(line))
        except Malformed as wrong:
            return Refused(Refusal.MALFORMED, f"not a request: {wrong}")
        except sqlite3.Error as failed:
            # what a failed write left behind is not known: only opening the record anew tells
            log.critical("the record failed: %s", failed)
            self.broken.set()
            return Refused(Refusal.INTERNAL, "the record failed, and nothing is signed without it")
        except Exception as bug:  # noqa: BLE001  # a supervision point: one request must not end the rest
            log.critical("unexpected %s while answering", type(bug).__name__)  # its text could quote anything
            return Refused(Refusal.INTERNAL, f"unexpected {type(bug).__name__}")

    async def _part(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, last: Answer) -> None:
        """Refuse and let them read it: closing on what they still send would take the answer away from them."""
        await self._send(writer, last)
        writer.write_eof()
        async with asyncio.timeout(PARTING_S):
            for _ in range(PARTING_READS):
                if not await reader.read(LINE_LIMIT):
                    return

    async def _send(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(write_answer(answer))
        async with asyncio.timeout(self._idle_s):
            await writer.drain()


def _peer_uid(connection: socket.socket) -> int:
    """Who the kernel says is at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def _bind(path: Path, mode: int) -> socket.socket:
    """A bound socket with that mode from its first moment. May raise: ConfigError."""
    try:
        directory = path.parent.stat()
    except OSError as failed:
        raise ConfigError(f"cannot use {path.parent}: {failed.strerror}", hint="make the socket's directory") from None
    if directory.st_mode & _WRITERS and not directory.st_mode & stat.S_ISVTX:
        raise ConfigError(f"others can write to {path.parent}", hint=f"chmod go-w {path.parent}")
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        made.bind(str(path))
    except OSError as failed:
        made.close()
        raise ConfigError(
            f"cannot listen on {path}: {failed}", hint="the path may be too long: use a shorter one"
        ) from None
    finally:
        os.umask(before)
    made.setblocking(False)
    return made


def _remove_stale(path: Path) -> None:
    """Remove the socket of a signer that is no more. May raise: ConfigError when one is there, or something else is."""
    if not path.exists() and not path.is_symlink():
        return
    if path.is_symlink() or not path.is_socket():
        raise ConfigError(f"{path} is there and is no socket", hint="give the socket another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except OSError as failed:
            raise ConfigError(f"cannot look at {path}: {failed}", hint="remove it by hand if it is stale") from None
        else:
            raise ConfigError(f"another signer listens on {path}", hint="stop it, or give this one another socket")
