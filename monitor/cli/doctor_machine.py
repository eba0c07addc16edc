"""What `levmon doctor` looks at on this machine: version, memory, files, disk. Asks no node."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from monitor.cli.findings import Finding
from monitor.cli.resources import FILES, FILES_PER_ENDPOINT, MEMORY_MIB
from monitor.core.errors import ConfigError

LITTLE_DISK, NO_DISK = 500 << 20, 50 << 20
LITTLE_MEMORY = 512 << 20
GONE_AT_BOOT = frozenset({"tmpfs", "ramfs"})
AFAR = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"})


def machine(endpoints: int) -> Iterator[Finding]:
    """`endpoints`: so many are going to be held open."""
    from importlib.metadata import version

    yield Finding("version", "ok", f"levmon {version('levmon')} on Python {sys.version.split()[0]}")
    yield _memory()
    yield _files(endpoints)


def _memory() -> Finding:
    from monitor.cli.resources import require_memory

    try:
        require_memory()
    except ConfigError as wrong:
        return Finding("memory", "bad", wrong.message, wrong.hint, 3)
    free = _available()
    if free is not None and free < LITTLE_MEMORY:
        mend = "stop something, or take a bigger machine: a daemon that the kernel ends rescues nobody"
        return Finding("memory", "warn", f"{free >> 20} MiB are free", mend)
    told = f"; {free >> 20} MiB are free" if free is not None else ""
    return Finding("memory", "ok", f"{MEMORY_MIB} MiB of addresses are granted{told}")


def _available() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) << 10 if found else None


def _files(endpoints: int) -> Finding:
    wanted = FILES + FILES_PER_ENDPOINT * endpoints
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        detail = f"{hard} may be open, {wanted} are needed for {endpoints} endpoints"
        return Finding("open files", "bad", detail, f"ulimit -n {wanted}, or LimitNOFILE= in the unit", 3)
    return Finding("open files", "ok", f"{wanted} are needed and granted")


def disk(what: str, folder: Path) -> Finding:
    """Room for what is written there, and whether it stays. `folder` may not be there yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as failed:
        return Finding(what, "bad", f"{folder}: {failed.strerror}", "look whether its disk is mounted", 3)
    kind = _file_system(folder)
    if free < LITTLE_DISK:
        state, code = ("bad", 3) if free < NO_DISK else ("warn", 0)
        mend = "make room: what cannot be journaled is not signed"
        return Finding(what, state, f"{folder}: {free >> 20} MiB are free", mend, code)
    if kind in GONE_AT_BOOT:
        return Finding(what, "warn", f"{folder} is in memory ({kind})", "put it on a disk: a restart loses it all")
    if kind in AFAR:
        mend = "put it on a local disk: over a network neither locks nor commits can be relied on"
        return Finding(what, "warn", f"{folder} is on a network ({kind})", mend)
    return Finding(what, "ok", f"{folder}: {free >> 20} MiB are free")


def _file_system(folder: Path) -> str:
    """Its kind, "" where the system does not tell."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return ""
    real = folder.resolve()
    under = [(len(at), kind) for _, at, kind, *_ in mounts if real == Path(at) or Path(at) in real.parents]
    return max(under, default=(0, ""))[1]
