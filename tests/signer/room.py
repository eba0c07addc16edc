"""A signer with one key, one chain, one pool and two tokens: in this process for the rules, else in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from monitor.core.actions import Intent, Signed, SignRequest
from monitor.core.types import Address
from monitor.signer import config as configuration
from monitor.signer.backend import LocalKeys, RemoteSigner
from monitor.signer.client import SignerClient
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.keys import SecretKey
from monitor.signer.killswitch import KillSwitch
from monitor.signer.protocol import Answer, Refused, Register, Request, Sign, SignedAnswer
from monitor.signer.server import Server
from monitor.signer.service import Rules, Signer
from monitor.signer.signdb import SignDb
from monitor.signer.templates import Templates, builtin
from monitor.testing.child import bound
from monitor.testing.devchain import account_address, account_key

CHAIN = 31337
SECRET = account_key("guardian")
KEY = SecretKey(SECRET)
GUARDIAN = KEY.address
OTHER_KEY = SecretKey(account_key("other guardian"))
OWNER, STRANGER = account_address("owner"), account_address("stranger")
POOL, OTHER_POOL = account_address("pool"), account_address("other pool")
USDC, WETH, SHADY = account_address("usdc"), account_address("weth"), account_address("shady token")
GWEI = 10**9
START_S = 1_800_000_000
PER_ACTION, PER_DAY, MAX_ALLOWANCE = 1_000, 5_000, 10_000
GAS, FEE, TIP = 300_000, 2 * GWEI, GWEI
NONCE_GAP = 16
ONE_DAY_S = 86_400

CONFIG = f"""
socket = "signer.sock"
database = "sign.db"
kill_file = "kill"

[keys.guardian]
key_file = "guardian.key"

[chains.local]
chain_id = {CHAIN}
owners = ["{OWNER}"]
max_gas = 1_000_000
max_fee_per_gas_wei = 100_000_000_000
max_priority_fee_per_gas_wei = 10_000_000_000
max_cost_wei = 10_000_000_000_000_000
max_cost_per_day_wei = 100_000_000_000_000_000

[[chains.local.contracts]]
address = "{POOL}"
kinds = ["aave-v3/repay", "aave-v3/supply"]

[[chains.local.contracts]]
address = "{OTHER_POOL}"
kinds = ["aave-v3/repay"]

[[chains.local.assets]]
address = "{USDC}"
per_action = {PER_ACTION}
per_day = {PER_DAY}
max_allowance = {MAX_ALLOWANCE}

[[chains.local.assets]]
address = "{WETH}"
per_action = 100
per_day = 300
"""
TEMPLATES: Templates = builtin()


def intent(kind: str = "aave-v3/repay", **changes: Any) -> Intent:
    """Repay 500 USDC of the owner's debt, but for the changes."""
    plain = Intent(kind, CHAIN, f"eip155:{CHAIN}/aave-v3/{POOL}/{OWNER}", OWNER, POOL, {"asset": USDC, "amount": 500})
    return replace(plain, **changes)


def repay(amount: int = 500, asset: Address = USDC, **changes: Any) -> Intent:
    return intent(args={"asset": asset, "amount": amount}, **changes)


def approve(amount: int = 500, spender: Address = POOL, token: Address = USDC) -> Intent:
    return intent("erc20/approve", to=token, args={"spender": spender, "amount": amount})


def request(nonce: int = 0, wanted: Intent | None = None, **changes: Any) -> SignRequest:
    """Sign that intent (a repayment if none is given) at that nonce, as action `a<nonce>`."""
    plain = SignRequest(f"a{nonce}", 1, CHAIN, GUARDIAN, nonce, wanted or intent(), GAS, FEE, TIP)
    return replace(plain, **changes)


def cancel(nonce: int, **changes: Any) -> SignRequest:
    return replace(request(nonce), intent=None, gas=21_000, **changes)


@dataclass
class Clock:
    now: int = START_S

    def __call__(self) -> int:
        return self.now


@dataclass
class Room:
    """The parts of one signer; `signer` runs on `db` with the defences given."""

    path: Path
    signer: Signer
    db: SignDb
    clock: Clock
    kill: KillSwitch
    backend: RemoteSigner

    async def ask(self, wanted: Request | SignRequest) -> Answer:
        return await self.signer.answer(Sign(wanted) if isinstance(wanted, SignRequest) else wanted)

    async def sign(self, wanted: SignRequest) -> Signed:
        """May raise: Denied."""
        answer = await self.ask(wanted)
        if isinstance(answer, Refused):
            raise Denied(answer.code, answer.reason, hint=answer.hint)
        assert isinstance(answer, SignedAnswer)
        return Signed(answer.raw, answer.hash)

    async def refusal(self, wanted: Request | SignRequest) -> Refusal | None:
        """The rule that says no, None when it is signed or done."""
        answer = await self.ask(wanted)
        return answer.code if isinstance(answer, Refused) else None

    async def register(self, latest_nonce: int = 0, epoch: int = 1) -> Refusal | None:
        return await self.refusal(Register(CHAIN, GUARDIAN, epoch, latest_nonce))


@contextmanager
def open_room(
    path: Path,
    defences: Defences = ALL,
    *,
    backend: RemoteSigner | None = None,
    text: str = CONFIG,
    register: bool = True,
    clock: Clock | None = None,
    gap: int = NONCE_GAP,
    templates: Templates = TEMPLATES,
    backend_deadline_s: float = 5.0,
) -> Iterator[Room]:
    """A signer in this process, its key registered at nonce 0 unless told otherwise."""
    clock = clock or Clock()
    db = SignDb(path / "sign.db", defences)
    with contextlib.closing(db):
        kill = KillSwitch(path / "kill", clock)
        keys: RemoteSigner = backend or LocalKeys({GUARDIAN: KEY})
        rules = Rules(configuration.parse(text), templates, {GUARDIAN: gap})
        signer = Signer(rules, keys, db, kill, now_s=clock, defences=defences, backend_deadline_s=backend_deadline_s)
        if register:
            db.register(CHAIN, GUARDIAN, 0, gap, clock())
        yield Room(path, signer, db, clock, kill, keys)


@asynccontextmanager
async def listening(
    room: Room, *, uids: set[int] | None = None, defences: Defences = ALL, idle_s: float = 5.0
) -> AsyncIterator[Server]:
    """The room's signer behind a socket in the room's directory."""
    server = Server(
        room.signer,
        room.path / "signer.sock",
        {os.getuid()} if uids is None else uids,
        defences=defences,
        idle_s=idle_s,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def client(path: Path, defences: Defences = ALL, deadline_s: float = 10.0) -> SignerClient:
    return SignerClient(path / "signer.sock", TEMPLATES, defences=defences, deadline_s=deadline_s)


# -- as its own process ----------------------------------------------------------------------------------------------


@dataclass
class Process:
    """A running `python -m monitor.signer`, with all that it has said."""

    path: Path
    process: asyncio.subprocess.Process
    said: list[str] = field(default_factory=list)

    @property
    def client(self) -> SignerClient:
        return client(self.path)

    @property
    def pid(self) -> int:
        return self.process.pid

    async def end(self, number: int) -> int:
        """Send that signal, and the exit code."""
        self.process.send_signal(number)
        return await self.wait()

    async def wait(self) -> int:
        assert self.process.stderr is not None
        self.said.append((await self.process.stderr.read()).decode())
        return await self.process.wait()


def prepare(path: Path, text: str = CONFIG) -> None:
    """The files of a signer whose key lies in a file."""
    (path / "signer.toml").write_text(text)
    secret = path / "guardian.key"
    if not secret.exists():
        secret.touch(0o600)
        secret.write_text(SECRET.hex())


async def start(path: Path, *arguments: str, code: str = "", env: dict[str, str] | None = None) -> Process:
    """`python -m monitor.signer --config path/signer.toml ...`, or `code` in its place."""
    how = ["-c", code] if code else ["-m", "monitor.signer"]
    process = await asyncio.create_subprocess_exec(
        *bound([sys.executable, *how, "--config", str(path / "signer.toml"), *arguments]),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **(env or {})},
    )
    return Process(path, process)


@asynccontextmanager
async def running(
    path: Path, text: str = CONFIG, code: str = "", env: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """A signer that is ready; killed at the end if it still lives."""
    prepare(path, text)
    started = await start(path, code=code, env=env)
    try:
        await ready(started)
        yield started
    finally:
        if started.process.returncode is None:
            started.process.kill()
            await started.wait()


async def ready(started: Process) -> None:
    """Wait until it says so."""
    assert started.process.stderr is not None
    async for line in started.process.stderr:
        started.said.append(line.decode())
        if line.rstrip().endswith(b"ready"):
            return
    raise AssertionError("".join(started.said))


Seal = Callable[[Any], bytes]


def digest(text: str) -> bytes:
    return bytes(keccak(text=text))
