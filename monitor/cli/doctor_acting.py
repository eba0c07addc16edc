"""What `levmon doctor` looks at where the file has a guardian: journal, kill switch, signer, purse, rescues.

Reads only: the journal without its lock, the signer's status, the purse's balance; nothing is signed or journaled.
"""

from __future__ import annotations

import os
import socket as sockets
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.cli.doctor_machine import disk
from monitor.cli.findings import Finding

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.targets import Targets
    from monitor.journal.view import JournalView
    from monitor.pipeline.guardians import Guardian
    from monitor.pipeline.memory import Memory

CHECKED = 50_000
"""So many records are followed link by link."""
BIG = 2 << 30


def journal(url: str, what: str = "journal") -> Iterator[Finding]:
    """Whether it opens, is whole, has room, and what waits in it."""
    from monitor.core.errors import LevmonError
    from monitor.journal.engine import file_of
    from monitor.journal.view import JournalView

    try:
        file = file_of(url)
        view = JournalView(url)
        actions, holds = view.actions(only_open=True), view.holds()
        links = _links(view)
    except LevmonError as error:
        yield Finding(what, "bad", error.message, error.hint or "restore a copy, then see levmon keys adopt", 3)
        return
    if file is None:
        yield Finding(what, "ok", "a database server answers, and its schema is this version's")
    elif not file.exists():
        yield Finding(what, "ok", f"{file.name} is not there yet: what writes it first makes it")
    else:
        size = sum(one.stat().st_size for one in file.parent.glob(f"{file.name}*") if one.is_file())
        copy = f"sqlite3 {file.name} '.backup FILE' copies it while it is used"
        yield Finding(what, "ok", f"{file.name} opens, {links} records checked, {size >> 10} KiB; {copy}")
        if size > BIG:
            yield Finding(
                f"{what}, size", "warn", f"{size >> 20} MiB", "keep a copy and begin a new one when all is final"
            )
        if not os.access(file, os.W_OK):
            yield Finding(f"{what}, rights", "bad", f"{file.name} cannot be written", "chown it to who runs levmon", 3)
    if file is not None:
        yield disk(f"{what}, disk", file.parent)
        yield _lock(what, file, waiting=len(actions))
    for hold in holds:
        mend = f"levmon history tells why; once it is understood: levmon resume '{hold.scope}'"
        yield Finding(f"{what}, hold", "warn", f"{hold.scope}: {hold.reason}", mend)


def _links(view: JournalView) -> int:
    from monitor.journal.replay import broken_links
    from monitor.journal.rows import JournalUnfit

    records = view.records()
    if len(records) <= CHECKED and (wrong := broken_links(records)):
        raise JournalUnfit(
            f"record {wrong[0]} was changed or is missing", hint="restore a copy, then levmon keys adopt"
        )
    return min(len(records), CHECKED)


def _lock(what: str, file: Path, *, waiting: int) -> Finding:
    """Who works with it. The kernel gives a dead process's lock back, so one that is held is held by the living."""
    from monitor.journal.lock import FileLock
    from monitor.journal.rows import LeaseHeld

    name = f"{what}, lock"
    path = file.with_name(file.name + ".lock")
    try:
        if path.exists():
            FileLock(path).release()
    except LeaseHeld:
        return Finding(name, "ok", "a running levmon works with it")
    except OSError as failed:
        return Finding(name, "bad", f"{path.name}: {failed.strerror}", "chown it to who runs levmon", 3)
    if waiting:
        mend = "start levmon protect --broadcast: it carries on what an earlier run began"
        return Finding(name, "warn", f"nobody works with it, and {waiting} actions are open", mend)
    return Finding(name, "ok", "is free")


def stops(guardian: Guardian) -> Iterator[Finding]:
    """The kill switch."""
    from monitor.execution.killswitch import KillSwitch

    if thrown := KillSwitch(guardian.kill_file).thrown:
        yield Finding(
            "kill switch", "warn", f"{thrown} ({guardian.kill_file.name})", "levmon resume, once it is understood"
        )
    else:
        yield Finding("kill switch", "ok", "is not thrown")
    if not guardian.config.armed:
        told = "[guardian] is not armed: protect runs dry"
        yield Finding("armed", "ok", told)


async def signer(guardian: Guardian) -> AsyncIterator[Finding]:
    """Its file and what that names, its socket, and what it says of itself."""
    from monitor.core.errors import ConfigError, SigningError
    from monitor.signer import config as signers
    from monitor.signer.client import SignerClient

    needed = ("bad", 3) if guardian.config.armed else ("warn", 0)
    if not guardian.signer_file.exists():
        mend = "levmon keys init --keystore FILE writes it"
        yield Finding("signer.toml", needed[0], f"{guardian.signer_file.name} is not there", mend, needed[1])
        return
    try:
        config = signers.load(guardian.signer_file)
    except ConfigError as wrong:
        yield Finding("signer.toml", needed[0], wrong.message, wrong.hint, needed[1])
        return
    yield Finding("signer.toml", "ok", f"{len(config.keys)} keys, {len(config.chains)} chains")
    base = guardian.signer_file.parent
    secret = [one for key in config.keys.values() for one in (key.keystore, key.key_file, key.password_file) if one]
    for path in (guardian.signer_file, *(base / one for one in secret)):
        yield _rights(path, secret=path != guardian.signer_file)
    try:
        status = await SignerClient(guardian.socket, {}, deadline_s=5).status()
    except SigningError as silent:
        dead = " (its socket is left over from a process that has ended)" if _is_socket(guardian.socket) else ""
        mend = "start it: levmon signer"
        yield Finding("signer", needed[0], f"{silent.message}{dead}", mend, needed[1])
        return
    if guardian.address not in status.keys:
        yield Finding("signer", needed[0], f"it has no key of {guardian.address}", "see levmon keys", needed[1])
    elif status.killed:
        yield Finding("signer", "warn", "its kill switch is thrown", "levmon resume, once it is understood")
    else:
        yield Finding("signer", "ok", f"answers, and has the key of {guardian.address}")


def _rights(path: Path, *, secret: bool) -> Finding:
    name = f"file {path.name}"
    try:
        mode = path.stat().st_mode
    except OSError as failed:
        return Finding(name, "bad", f"{failed.strerror}", "put it there, or mend its name in signer.toml", 3)
    if not os.access(path, os.R_OK):
        return Finding(
            name, "bad", "cannot be read by who runs this", "run doctor as the signer's user, or chown it", 3
        )
    open_to = stat.S_IRWXG | stat.S_IRWXO if secret else stat.S_IWGRP | stat.S_IWOTH
    if mode & open_to:
        return Finding(name, "warn", f"others may use it (mode {stat.S_IMODE(mode):03o})", f"chmod 600 {path.name}")
    return Finding(name, "ok", f"mode {stat.S_IMODE(mode):03o}")


def _is_socket(path: Path) -> bool:
    """Whether a socket is there that nobody listens at."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        with sockets.socket(sockets.AF_UNIX) as tried:
            tried.settimeout(1)
            tried.connect(str(path))
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


async def purse(chain: Open, guardian: Guardian) -> Finding:
    """Whether there is money for gas. May raise: ChainError."""
    from monitor.chain.chains import chain_info
    from monitor.core.units import format_units
    from monitor.pipeline.acting import ExecutionView

    view = ExecutionView(chain.chain)
    head = await view.head()
    account = await view.account(guardian.address, head, head)
    name = f"purse on {chain.name}"
    symbol = chain_info(chain.chain_id).symbol
    needed = guardian.min_reserve_wei + guardian.gas_per_day_wei
    has = f"{format_units(account.balance_wei, 18)} {symbol}"
    if account.code:
        mend = "it is a contract or has delegated to one: take a plain account, which nobody else can move"
        return Finding(name, "warn", f"{guardian.address} has code; {has}", mend)
    if account.balance_wei < needed:
        state, code = ("bad", 3) if account.balance_wei == 0 and guardian.config.armed else ("warn", 0)
        mend = f"send {symbol} to {guardian.address}: min_reserve and a day's gas are {format_units(needed, 18)}"
        return Finding(name, state, has, mend, code)
    return Finding(name, "ok", f"{has}, nonce {account.nonce}")


async def rescues(chain: Open, targets: Targets, guardian: Guardian, memory: Memory) -> AsyncIterator[Finding]:
    """Whether each protected position's rescue would reach its target: allowances, tokens, limits, consent.

    May raise: ChainError, ConfigError.
    """
    from monitor.cli.protecting import protected_subjects
    from monitor.pipeline import plans
    from monitor.pipeline.guardians import protections
    from monitor.pipeline.readiness import lacking

    rules = protections(targets.config) if targets.config else ()
    subjects = protected_subjects(chain, targets, rules)
    if not subjects:
        return
    seen = await plans.outlook(
        chain.chain, list(subjects), guardian.address, memory, depth=chain.depth, guards=guardian.guards
    )
    for report in seen.snapshot.reports:
        name = f"rescue of {report.subject.market}/{report.subject.name or report.owner}"
        if report.health is None:
            yield Finding(
                name, "bad", f"its health is unknown: {report.cause}", "see the endpoints and markets above", 3
            )
            continue
        lack = lacking(seen, report, guardian, subjects[report.subject])
        if lack is None:
            yield Finding(name, "ok", "is not paid from the purse, or its rule acts already: levmon plan tells")
        elif lack.why:
            mend = "levmon plan tells each step: fund the purse, levmon approve, or raise the limits"
            yield Finding(name, "bad" if lack.helpless else "warn", lack.why, mend, 3 if lack.helpless else 0)
        else:
            yield Finding(name, "ok", "would reach its target if prices fell to its trigger now")
