"""A guarded position on a local chain: levmon.toml, a keystore, a running `levmon signer`, and `levmon protect`."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_keyfile.keyfile import create_keyfile_json

from monitor.testing import aave_v3, localnet
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.child import bound
from monitor.testing.devchain import account_address, account_key
from tests import canaries

ROOT = Path(__file__).resolve().parents[2]
GUARDIAN = account_address("guardian of the cli")
RPC_CANARY, PASSWORD_CANARY, KEY_CANARY = canaries.RPC, canaries.PASSWORD, canaries.KEYS[0]
WAIT_S = 90.0


class Daemon:
    """A levmon process whose output is read line by line as it comes."""

    def __init__(self, room: Room, *args: str) -> None:
        self.room, self.said = room, ""
        self.process = subprocess.Popen(
            bound([sys.executable, "-m", "monitor", *args]),
            cwd=room.path,
            env=room.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def until(self, text: str, wait_s: float = WAIT_S) -> str:
        """The next line with this in it."""
        end = time.monotonic() + wait_s
        while True:
            try:
                line = self._lines.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"no {text!r} within {wait_s} s in:\n{self.said}") from None
            if line is None:
                raise AssertionError(f"it ended before {text!r}:\n{self.said}")
            self.said += line
            if text in line:
                return line

    def end(self, number: int) -> int:
        """Send that signal, and the exit code; all that was left to say is read."""
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        while not self._lines.empty():
            self.said += self._lines.get() or ""
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.room.said += self.said
        return code


@dataclass
class Room:
    """One protected position in one market, and everything around it."""

    path: Path
    chain: AnvilDevChain
    market: AaveMarket
    name: str
    owner: str
    debt: str = "USDC"
    said: str = ""
    daemons: list[Daemon] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ETH_", "LEVMON_"))}
        # not the tests' own cache, and no network but the local chain
        return {**kept, "LEVMON_CACHE": str(self.path / "cache"), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    @property
    def position(self) -> str:
        return f"{self.name}/{self.owner}"

    def run(self, *args: str, code: int = 0) -> str:
        """A command to its end; its standard output."""
        done = subprocess.run(
            [sys.executable, "-m", "monitor", *args],
            cwd=self.path,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_S,
        )
        self.said += done.stdout + done.stderr
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def objects(self, *args: str, code: int = 0) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(*args, "--json", code=code).splitlines()]

    def start(self, *args: str) -> Daemon:
        daemon = Daemon(self, *args)
        self.daemons.append(daemon)
        return daemon

    def signer(self) -> Daemon:
        daemon = self.start("signer")
        daemon.until("ready")
        return daemon

    def protect(self, *args: str) -> Daemon:
        daemon = self.start("protect", "--poll", "0.1", *args)
        daemon.until("protected from")
        return daemon

    @property
    def health(self) -> float:
        return aave_v3.health_wad(self.chain, self.market, self.owner) / 10**18

    @property
    def nonce(self) -> int:
        return int(self.chain.rpc("eth_getTransactionCount", GUARDIAN, "latest"), 16)

    def repayments(self) -> int:
        """How many transactions of the guardian to the pool succeeded, counted on the chain alone."""
        count = 0
        for number in range(self.chain.block_number() + 1):
            block = self.chain.rpc("eth_getBlockByNumber", hex(number), True)
            for sent in block["transactions"]:
                if sent["from"].lower() == GUARDIAN.lower() and (sent["to"] or "").lower() == self.market.pool.lower():
                    count += int(self.chain.rpc("eth_getTransactionReceipt", sent["hash"])["status"], 16)
        return count

    def fall(self, percent: str) -> None:
        aave_v3.shock(self.chain, self.market, {"WETH": percent})

    def to_health(self, wanted: float) -> None:
        """Move the price of ETH so that health is about this."""
        feed = self.market.reserves["WETH"].feed
        price = aave_v3.price_of(self.chain, feed)
        aave_v3.set_price(self.chain, self.market, feed, int(price * wanted / self.health))


def config_text(net: localnet.Localnet, room: Room, *, armed: bool = True, more: str = "") -> str:
    return f"""
[chains.local]
chain_id = 31337
rpc = ["{net.url}/?key={RPC_CANARY}"]
finality = 1

[[markets]]
name = "{room.name}"
chain = "local"
protocol = "aave-v3"
address = "{room.market.provider}"

[guardian]
address = "{GUARDIAN}"
armed = {"true" if armed else "false"}
gas_per_day = 1
max_fee_gwei = 50

[guardian.limits]
per_action = 400_000
per_position_day = 500_000
per_key_day = 1_000_000

[[protect]]
name = "first"
market = "{room.name}"
owner = "{room.owner}"
trigger = 1.2
target = 1.4
observations = 1
cooldown_s = 0
retry_s = 0
actions = ["repay"]
{more}
"""


def borrower(chain: AnvilDevChain, market: AaveMarket, label: str) -> str:
    """A new borrower of 10,000 USDC against ETH, with health about 1.3."""
    owner = chain.account(label)
    weth, usdc = market.reserves["WETH"], market.reserves["USDC"]
    collateral = 10**18 * 18_000 * 10**8 // aave_v3.price_of(chain, weth.feed)
    chain.send(market.admin, weth.asset, "mint(address,uint256)", owner, collateral)
    chain.send(owner, weth.asset, "approve(address,uint256)", market.pool, collateral)
    chain.send(owner, market.pool, "supply(address,uint256,address,uint16)", weth.asset, collateral, owner, 0)
    borrow = "borrow(address,uint256,uint256,uint16,address)"
    chain.send(owner, market.pool, borrow, usdc.asset, 10_000 * 10**6, 2, 0, owner)
    return owner


@contextmanager
def guarded(
    net: localnet.Localnet, name: str, path: Path, text: Callable[[localnet.Localnet, Room], str] | None = None
) -> Iterator[Room]:
    """Files, purse, signer set up; health about 1.3, trigger 1.2, target 1.4. Everything ends afterwards."""
    chain, market = net.chain(), net.markets[name]
    room = Room(path, chain, market, name, borrower(chain, market, "protected"))
    try:
        chain.rpc("anvil_setBalance", GUARDIAN, hex(10 * 10**18))
        reserve = market.reserves[room.debt]
        chain.send(market.admin, reserve.asset, "mint(address,uint256)", GUARDIAN, 10**6 * 10**reserve.decimals)
        room.to_health(1.3)
        keystore = path / "keystore.json"
        content = create_keyfile_json(
            account_key("guardian of the cli"), PASSWORD_CANARY.encode(), kdf="pbkdf2", iterations=2
        )
        keystore.write_text(json.dumps(content))
        password = path / "password"
        password.touch(0o600)
        password.write_text(PASSWORD_CANARY)
        (path / "levmon.toml").write_text((text or config_text)(net, room))
        room.run("keys", "init", "--keystore", str(keystore), "--password-file", str(password))
        yield room
    finally:
        for daemon in room.daemons:
            if daemon.process.poll() is None:
                daemon.end(9)
        chain.close()


def no_secret(room: Room) -> None:
    """Nothing that was printed, logged or written down says a secret."""
    written = [file.read_bytes() for file in (*room.path.glob("levmon.db*"), *room.path.glob("sign.db*"))]
    for secret in (RPC_CANARY, PASSWORD_CANARY, KEY_CANARY):
        assert secret not in room.said
        assert all(secret.encode() not in content for content in written)
    raw = bytes.fromhex(KEY_CANARY)
    assert all(raw not in content for content in written)
