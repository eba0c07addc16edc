"""`python -m monitor.signer --config signer.toml`: runs the signer, or looks after its record.

Ends by itself on SIGTERM and SIGINT (exit 0), turns its kill switch on at SIGUSR1, and exits 4 when its record fails.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from monitor.core.address import parse_address
from monitor.core.errors import ConfigError, LevmonError, SigningError
from monitor.signer import config as configuration
from monitor.signer import interchange, keys, templates
from monitor.signer.backend import LocalKeys
from monitor.signer.config import KeyConfig, SignerConfig
from monitor.signer.errors import Denied
from monitor.signer.hardening import harden
from monitor.signer.killswitch import KillSwitch
from monitor.signer.server import Server
from monitor.signer.service import Rules, Signer
from monitor.signer.signdb import SignDb

log = logging.getLogger("monitor.signer")
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def now_s() -> int:
    """The wall clock: limits per day and the dead man's switch go by it."""
    return int(time.time())


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    harden()
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    path = Path(arguments.config)
    try:
        config = configuration.load(path)
        base = path.resolve().parent
        match arguments.command:
            case "init":
                _init(config, base, arguments)
            case "export":
                _export(config, base, Path(arguments.file))
            case "import":
                _import(config, base, Path(arguments.file))
            case "kill":
                _kill(config, base)
            case _:
                _run(config, base)
    except LevmonError as failed:
        sys.stderr.write(f"{failed}\n")
        return failed.exit_code
    return 0


class _Parser(argparse.ArgumentParser):
    """Does not repeat what it does not understand: somebody may have typed a key there."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        sys.stderr.write("these arguments do not fit; a key or a password is never one of them\n  see --help\n")
        sys.exit(ConfigError.exit_code)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser("python -m monitor.signer", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="the signer's own signer.toml")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="listen and sign (also without a command)")
    init = commands.add_parser("init", help="say from which nonce on a key may be used, when its record is lost")
    init.add_argument("--chain", required=True, metavar="ID", type=int, help="chain id")
    init.add_argument("--address", required=True, help="the key's address")
    init.add_argument("--next-nonce", required=True, metavar="N", type=int, help="the next nonce on the chain")
    init.add_argument("--new-journal", action="store_true", help="the old journal is gone: epochs begin anew")
    for name, text in (("export", "write the record to a new file"), ("import", "add an exported record to this one")):
        commands.add_parser(name, help=text).add_argument("file")
    commands.add_parser("kill", help="turn the kill switch on; removing its file turns it off")
    parser.set_defaults(command="run")
    return parser.parse_args(argv)


# -- the record ------------------------------------------------------------------------------------------------------


def _init(config: SignerConfig, base: Path, arguments: argparse.Namespace) -> None:
    address = parse_address(arguments.address)
    if config.chain(arguments.chain) is None or not 0 <= arguments.next_nonce < 2**63:
        raise ConfigError("the chain is not in the configuration, or the nonce is none")
    db = SignDb(base / config.database)
    try:
        db.initialise(arguments.chain, address, arguments.next_nonce, "initialised by hand", now_s())
        if arguments.new_journal:
            db.forget_epoch(address)
    finally:
        db.close()


def _export(config: SignerConfig, base: Path, target: Path) -> None:
    db = SignDb(base / config.database)
    try:
        content = interchange.export(db)
    finally:
        db.close()
    try:
        with os.fdopen(os.open(target, NEW_FILE, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as failed:
        raise ConfigError(f"cannot write {target}: {failed.strerror}", hint="name a file that is new") from None


def _import(config: SignerConfig, base: Path, source: Path) -> None:
    try:
        content = source.read_bytes()
    except OSError as failed:
        raise ConfigError(f"cannot read {source}: {failed.strerror}", hint="name an exported file") from None
    db = SignDb(base / config.database)
    try:
        interchange.merge(db, content, now_s())
    finally:
        db.close()


def _kill(config: SignerConfig, base: Path) -> None:
    try:
        _kill_switch(config, base).turn_on()
    except OSError as failed:
        raise ConfigError(f"cannot make the kill file: {failed.strerror}", hint="make its directory") from None


def _kill_switch(config: SignerConfig, base: Path) -> KillSwitch:
    armed = base / config.armed_file if config.armed_file else None
    return KillSwitch(base / config.kill_file, now_s, armed, config.armed_for_s)


# -- running ---------------------------------------------------------------------------------------------------------


def _run(config: SignerConfig, base: Path) -> None:
    opened = {name: keys.load(_source(key, base), _ask) for name, key in config.keys.items()}
    by_address = {key.address: key for key in opened.values()}
    if len(by_address) != len(opened):
        raise ConfigError("two of the keys are the same", hint="remove one of them")
    gaps = {opened[name].address: key.nonce_gap for name, key in config.keys.items()}
    known = templates.collect(
        [
            *templates.builtin().values(),
            *(templates.load_file(_bytes(base / one.file), one.sha256) for one in config.templates),
        ]
    )
    kill = _kill_switch(config, base)
    db = SignDb(base / config.database)
    try:
        signer = Signer(Rules(config, known, gaps), LocalKeys(by_address), db, kill, now_s=now_s)
        server = Server(signer, base / config.socket, set(config.allowed_uids) or {os.getuid()})
        asyncio.run(_serve(signer, server))
    finally:
        db.close()
    if server.broken.is_set():
        raise SigningError("the record failed", hint="check the disk, then start again: opening it checks it")


async def _serve(signer: Signer, server: Server) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, _kill_now, signer)
    await server.start()
    log.info("ready")
    waits = [asyncio.ensure_future(event.wait()) for event in (stop, server.broken)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await server.stop()
    log.info("stopped")


def _kill_now(signer: Signer) -> None:
    try:
        signer.kill()
    except Denied as failed:
        log.critical("%s", failed.message)


def _source(key: KeyConfig, base: Path) -> keys.KeySource:
    home = Path.home()
    if key.environment:
        found = keys.from_environment(os.environ, home)
        return keys.KeySource(found.keystore, None, found.password_file, key.address or found.address)
    keystore = base / Path(key.keystore).expanduser() if key.keystore else None
    if key.account:
        keystore = keys.find_account(key.account, home)
    return keys.KeySource(
        keystore,
        base / Path(key.key_file).expanduser() if key.key_file else None,
        base / Path(key.password_file).expanduser() if key.password_file else None,
        key.address,
    )


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError("a password is needed and nobody is there to ask", hint="give password_file")
    return getpass.getpass(prompt)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failed:
        raise ConfigError(f"cannot read {path}: {failed.strerror}", hint="check the template's path") from None


if __name__ == "__main__":
    sys.exit(main())
