"""The signer as what it is, a process: killed at every point, started twice, told to stop, and searched for secrets.

Rows S3, S8, P1 to P4 (the signer's part), P11 and P12 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from monitor.core.actions import Signed
from monitor.core.errors import SignerUnavailable
from monitor.signer.client import SignerClient, transaction_of
from monitor.signer.errors import Denied, Refusal
from monitor.signer.templates import collect, export, load_file
from tests.signer.room import (
    CHAIN,
    CONFIG,
    GUARDIAN,
    SECRET,
    TEMPLATES,
    Process,
    cancel,
    intent,
    open_room,
    prepare,
    repay,
    request,
    running,
    start,
)
from tests.signer.test_service import sealed

pytestmark = pytest.mark.slow


async def code_of(process: Process, *asked: object) -> list[Refusal | None]:
    """Each request's refusal, or None where it was signed."""
    codes: list[Refusal | None] = []
    for one in asked:
        try:
            await process.client.sign(one)  # type: ignore[arg-type]
        except Denied as no:
            codes.append(no.code)
        else:
            codes.append(None)
    return codes


class TestLife:
    async def test_signs_stops_and_goes_on(self, tmp_path: Path) -> None:
        async with running(tmp_path) as first:
            await first.client.register(CHAIN, GUARDIAN, 1, 0)
            signed = await first.client.sign(request(0))
            assert signed.raw == sealed(transaction_of(request(0), TEMPLATES))
            assert await first.end(signal.SIGTERM) == 0
        assert not (tmp_path / "signer.sock").exists()
        assert "stopped" in "".join(first.said)
        async with running(tmp_path) as second:
            assert await second.client.sign(request(0)) == signed
            assert await code_of(second, request(0, repay(1)), request(1)) == [Refusal.NONCE_TAKEN, None]
            assert await second.end(signal.SIGINT) == 0

    async def test_a_second_one_on_the_same_record_does_not_start(self, tmp_path: Path) -> None:
        """P12."""
        async with running(tmp_path) as first:
            await first.client.register(CHAIN, GUARDIAN, 1, 0)
            second = await start(tmp_path)
            assert await second.wait() == 2
            assert "another process has" in "".join(second.said)
            (tmp_path / "signer.toml").write_text(CONFIG.replace("sign.db", "other.db"))
            third = await start(tmp_path)
            assert await third.wait() == 2
            assert "another signer listens" in "".join(third.said)
            assert await code_of(first, request(0)) == [None]

    async def test_the_kill_switch_holds_within_a_second(self, tmp_path: Path) -> None:
        """S8: by its file, by a signal, and after a restart."""
        async with running(tmp_path) as process:
            await process.client.register(CHAIN, GUARDIAN, 1, 0)
            assert await code_of(process, request(0)) == [None]
            (tmp_path / "kill").touch()
            assert await code_of(process, request(0), request(1), cancel(0)) == [Refusal.KILLED] * 3
            (tmp_path / "kill").unlink()
            assert await code_of(process, request(0)) == [None]
            begun = time.monotonic()
            process.process.send_signal(signal.SIGUSR1)
            while await code_of(process, request(0)) == [None]:
                assert time.monotonic() < begun + 1
            assert await process.end(signal.SIGTERM) == 0
        async with running(tmp_path) as process:
            assert await code_of(process, request(0)) == [Refusal.KILLED]

    async def test_the_command_turns_it_on_while_it_runs(self, tmp_path: Path) -> None:
        async with running(tmp_path) as process:
            await process.client.register(CHAIN, GUARDIAN, 1, 0)
            command = await start(tmp_path, "kill")
            assert await command.wait() == 0
            assert await code_of(process, request(0)) == [Refusal.KILLED]

    async def test_a_lost_record_is_initialised_by_hand(self, tmp_path: Path) -> None:
        """P19."""
        async with running(tmp_path) as process:
            with pytest.raises(Denied) as no:
                await process.client.register(CHAIN, GUARDIAN, 1, 7)
            assert no.value.code is Refusal.HISTORY
            assert await code_of(process, request(7)) == [Refusal.UNREGISTERED]
            assert await process.end(signal.SIGTERM) == 0
        by_hand = await start(tmp_path, "init", "--chain", str(CHAIN), "--address", GUARDIAN, "--next-nonce", "7")
        assert await by_hand.wait() == 0
        async with running(tmp_path) as process:
            await process.client.register(CHAIN, GUARDIAN, 1, 7)
            assert await code_of(process, request(6), request(7)) == [Refusal.WATERMARK, None]
            assert await process.end(signal.SIGTERM) == 0
        assert await (await start(tmp_path, "export", str(tmp_path / "moved.json"))).wait() == 0
        assert await (await start(tmp_path, "export", str(tmp_path / "moved.json"))).wait() == 2  # never over another
        assert (tmp_path / "moved.json").stat().st_mode & 0o077 == 0
        (tmp_path / "sign.db").unlink()
        assert await (await start(tmp_path, "import", str(tmp_path / "moved.json"))).wait() == 0
        async with running(tmp_path) as process:
            assert await code_of(process, request(7, repay(1)), request(8)) == [Refusal.NONCE_TAKEN, None]

    async def test_a_keystore_without_an_address_and_a_password_in_a_file(self, tmp_path: Path) -> None:
        store = Account.encrypt(SECRET, "a password", kdf="scrypt", iterations=2)
        store.pop("address")  # as cast writes it
        (tmp_path / "home" / ".foundry" / "keystores").mkdir(parents=True)
        (tmp_path / "home" / ".foundry" / "keystores" / "guardian").write_text(json.dumps(store))
        password = tmp_path / "password"
        password.touch(0o600)
        password.write_text("a password\n")
        home = {"HOME": str(tmp_path / "home")}
        text = CONFIG.replace('key_file = "guardian.key"', 'account = "guardian"\npassword_file = "password"')
        async with running(tmp_path, text, env=home) as process:
            assert (await process.client.status()).keys == (GUARDIAN,)
        (tmp_path / "signer.sock").unlink()
        text = CONFIG.replace('key_file = "guardian.key"', "environment = true")
        foundry = home | {"ETH_KEYSTORE_ACCOUNT": "guardian", "ETH_PASSWORD": str(password), "ETH_FROM": GUARDIAN}
        async with running(tmp_path, text, env=foundry) as process:
            assert (await process.client.status()).keys == (GUARDIAN,)

    async def test_a_template_from_elsewhere_is_used_under_its_hash_only(self, tmp_path: Path) -> None:
        foreign = export(replace(TEMPLATES["aave-v3/repay"].template, kind="foreign/repay"))
        digest = hashlib.sha256(foreign).hexdigest()
        (tmp_path / "foreign.json").write_bytes(foreign)
        text = CONFIG.replace('"aave-v3/supply"]', '"foreign/repay"]')
        text += f'[[templates]]\nfile = "foreign.json"\nsha256 = "{digest}"\n'
        known = collect([*TEMPLATES.values(), load_file(foreign, digest)])
        asked = request(0, intent("foreign/repay"))
        async with running(tmp_path, text) as process:
            asker = SignerClient(tmp_path / "signer.sock", known)
            await asker.register(CHAIN, GUARDIAN, 1, 0)
            assert (await asker.sign(asked)).raw == sealed(transaction_of(asked, known))
            assert await process.end(signal.SIGTERM) == 0
        (tmp_path / "foreign.json").write_bytes(foreign + b" ")
        changed = await start(tmp_path)
        assert await changed.wait() == 2
        assert "not the listed one" in "".join(changed.said)


# -- killed at every point -------------------------------------------------------------------------------------------

POINTS = {
    "before the record": "Signer._admit",
    "after the record": "Signer._ask_backend",
    "after the signature": "SignDb.keep",
    "after it was kept": "Server._send",
}
DIE = """
import os, signal, sys
from monitor.signer import __main__, service
from monitor.signer.defences import ALL
from monitor.signer.server import Server
from monitor.signer.service import Signer
from monitor.signer.signdb import SignDb

signed, real = [], Signer._sign_now
async def sign_now(self, request):
    signed.append(request)
    return await real(self, request)
Signer._sign_now = sign_now

cls = {{"Signer": Signer, "SignDb": SignDb, "Server": Server}}["{cls}"]
inner = getattr(cls, "{name}")
def die(self, *args):
    if signed:
        os.kill(os.getpid(), signal.SIGKILL)
    return inner(self, *args)
setattr(cls, "{name}", die)

if not {record_first}:
    begin = Signer.__init__
    def init(self, *args, **named):
        begin(self, *args, **named)
        self._defences = ALL.without("record_first")
    Signer.__init__ = init
sys.exit(__main__.main())
"""


def dying(point: str, *, record_first: bool = True) -> str:
    cls, name = point.split(".")
    return DIE.format(cls=cls, name=name, record_first=record_first)


async def killed_while_signing(path: Path, code: str) -> None:
    async with running(path, code=code) as process:
        await process.client.register(CHAIN, GUARDIAN, 1, 0)
        with pytest.raises(SignerUnavailable):
            await process.client.sign(request(0))
        assert await process.wait() == -signal.SIGKILL


class TestKilled:
    @pytest.mark.parametrize("point", POINTS)
    async def test_the_same_request_gets_the_same_bytes_afterwards(self, tmp_path: Path, point: str) -> None:
        await killed_while_signing(tmp_path, dying(POINTS[point]))
        async with running(tmp_path) as process:
            other = await code_of(process, request(0, repay(1), action_id="b")) if point != "before the record" else []
            assert other in ([], [Refusal.NONCE_TAKEN])
            again = await process.client.sign(request(0))
            assert again.raw == sealed(transaction_of(request(0), TEMPLATES))

    @pytest.mark.parametrize("record_first", [True, False])
    async def test_a_signature_that_may_exist_is_never_followed_by_another(
        self, tmp_path: Path, *, record_first: bool
    ) -> None:
        """Killed between the signature and its being kept: only what was recorded before protects the nonce."""
        point = "SignDb.keep" if record_first else "Signer._admit"
        await killed_while_signing(tmp_path, dying(point, record_first=record_first))
        async with running(tmp_path) as process:
            expected = Refusal.NONCE_TAKEN if record_first else None
            assert await code_of(process, request(0, repay(1), action_id="b")) == [expected]

    async def test_killed_at_any_moment_no_nonce_gets_two_intents(self, tmp_path: Path) -> None:
        """Two impatient planners fight for each nonce while the signer is killed and started again."""
        chance = random.Random(20)
        got: dict[int, set[int]] = {}
        kills = 0

        async def fight(process: Process, amount: int, nonces: range) -> None:
            for nonce in nonces:
                with contextlib.suppress(Denied, SignerUnavailable):
                    signed: Signed = await process.client.sign(
                        request(nonce, repay(amount), action_id=f"{amount}-{nonce}")
                    )
                    assert signed.raw == sealed(transaction_of(request(nonce, repay(amount)), TEMPLATES))
                    got.setdefault(nonce, set()).add(amount)

        for round_ in range(4):
            async with running(tmp_path) as process:
                await process.client.register(CHAIN, GUARDIAN, 1, 0)
                nonces = range(max(0, round_ * 4 - 2), round_ * 4 + 6)
                planners = asyncio.gather(*(fight(process, amount, nonces) for amount in (1, 2)))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(planners), chance.uniform(0.05, 0.6))
                process.process.send_signal(signal.SIGKILL)
                await planners
                kills += await process.wait() == -signal.SIGKILL
        assert kills == 4
        assert len(got) > 5
        assert {len(intents) for intents in got.values()} == {1}
        with open_room(tmp_path, register=False) as room:
            recorded = {row["nonce"]: int(row["amount"]) for row in room.db.rows("intents")}
        assert {nonce: {recorded[nonce]} for nonce in got} == got


# -- secrets ---------------------------------------------------------------------------------------------------------


class TestSecrets:
    """S3: the key and the password are in no output, and in nothing that others can look at."""

    PASSWORD = "canary-password-7f3a"
    FORMS = (SECRET.hex(), SECRET.hex().upper(), str(int.from_bytes(SECRET, "big")), repr(SECRET), PASSWORD)

    def silent(self, text: str) -> None:
        assert [form for form in self.FORMS if form in text] == []

    async def test_nothing_shows(self, tmp_path: Path) -> None:
        (tmp_path / "store.json").write_text(json.dumps(Account.encrypt(SECRET, self.PASSWORD, iterations=2)))
        password = tmp_path / "password"
        password.touch(0o600)
        password.write_text(self.PASSWORD)
        text = CONFIG.replace('key_file = "guardian.key"', 'keystore = "store.json"\npassword_file = "password"')
        async with running(tmp_path, text) as process:
            await process.client.register(CHAIN, GUARDIAN, 1, 0)
            await process.client.sign(request(0))
            await code_of(process, request(0, repay(10**6)), request(9**5), cancel(5))
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "signer.sock"))
            writer.write(b"garbage\n")
            writer.close()
            for name in ("environ", "cmdline", "status"):
                with contextlib.suppress(PermissionError):  # then nobody but root can look, which is as good
                    self.silent(Path(f"/proc/{process.pid}/{name}").read_bytes().decode(errors="replace"))  # noqa: ASYNC240
            await process.end(signal.SIGTERM)
        self.silent("".join(process.said))
        assert "signed aave-v3/repay" in "".join(process.said)
        self.silent_files(tmp_path)

    def silent_files(self, directory: Path) -> None:
        for path in directory.iterdir():
            if path.name not in {"guardian.key", "password"}:
                self.silent(path.read_bytes().decode(errors="replace"))
                assert SECRET not in path.read_bytes()

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--private-key", SECRET.hex()],
            [f"--private-key={SECRET.hex()}"],
            [SECRET.hex()],
            ["init", SECRET.hex()],
            ["init", "--chain", SECRET.hex()],
            ["--password", PASSWORD],
        ],
        ids=["flag", "flag with =", "alone", "after a command", "as a number", "password"],
    )
    async def test_a_key_as_an_argument_is_refused_and_not_repeated(self, tmp_path: Path, arguments: list[str]) -> None:
        prepare(tmp_path)
        process = await start(tmp_path, *arguments)
        assert await process.wait() == 2
        self.silent("".join(process.said))
        assert "never one of them" in "".join(process.said)

    @pytest.mark.misplaces_secrets
    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("guardian.key", SECRET.hex()),
            ('key_file = "guardian.key"', f'private_key = "{SECRET.hex()}"'),
            ('key_file = "guardian.key"', f"key_file = {SECRET.hex()}"),
            ('key_file = "guardian.key"', f'keystore = "guardian.key"\npassword_file = "{PASSWORD}"'),
        ],
        ids=["as a path", "as a key of its own", "without quotes", "password as a path"],
    )
    async def test_nor_one_in_the_wrong_place_of_the_file(self, tmp_path: Path, before: str, after: str) -> None:
        prepare(tmp_path, CONFIG.replace(before, after))
        process = await start(tmp_path)
        assert await process.wait() == 2
        self.silent("".join(process.said))

    async def test_the_process_leaves_no_core_and_cannot_be_looked_into(self, tmp_path: Path) -> None:
        code = (
            "import ctypes, resource, sys; from monitor.signer import __main__\n"
            "real = __main__._run\n"
            "def run(*args):\n"
            "    print('core', *resource.getrlimit(resource.RLIMIT_CORE), file=sys.stderr)\n"
            "    print('dumpable', ctypes.CDLL(None).prctl(3), file=sys.stderr)\n"
            "__main__._run = run\n"
            "sys.exit(__main__.main())\n"
        )
        prepare(tmp_path)
        process = await start(tmp_path, code=code)
        assert await process.wait() == 0
        assert "".join(process.said) == "core 0 0\ndumpable 0\n"
