"""The socket and the client at its other end, with real sockets: strangers, garbage, floods, silence and lies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.actions import SignRequest
from monitor.core.errors import ConfigError, SignerRefused, SignerUnavailable, WrongSignature
from monitor.signer.client import transaction_of
from monitor.signer.defences import ALL
from monitor.signer.errors import Denied, Refusal
from monitor.signer.protocol import (
    LINE_LIMIT,
    Answer,
    Done,
    Refused,
    Sign,
    SignedAnswer,
    StatusAnswer,
    read_answer,
    write_answer,
    write_request,
)
from monitor.signer.server import CONNECTION_LIMIT, Server
from monitor.signer.transaction import Transaction
from tests.signer.room import (
    CHAIN,
    GUARDIAN,
    GWEI,
    STRANGER,
    TEMPLATES,
    cancel,
    client,
    intent,
    listening,
    open_room,
    repay,
    request,
)
from tests.signer.test_service import LIES, sealed


async def raw_exchange(path: Path, content: bytes, *, end: bool = True) -> list[Answer]:
    """Send bytes as they are, and everything that comes back until the other end closes."""
    reader, writer = await asyncio.open_unix_connection(str(path / "signer.sock"))
    try:
        writer.write(content)
        if end:
            writer.write_eof()
        return [read_answer(line) async for line in reader]
    finally:
        writer.close()


class TestTogether:
    async def test_a_signature_over_the_socket(self, tmp_path: Path) -> None:
        with open_room(tmp_path, register=False) as room:
            async with listening(room):
                asker = client(tmp_path)
                await asker.register(CHAIN, GUARDIAN, 1, 0)
                first = await asker.sign(request(0))
                assert await asker.sign(request(0)) == first
                assert (await asker.sign(cancel(0))).raw == sealed(transaction_of(cancel(0), TEMPLATES))
                assert await asker.status() == StatusAnswer((GUARDIAN,), False)
                await asker.kill()
                assert (await asker.status()).killed
                with pytest.raises(SignerRefused) as no:
                    await asker.sign(request(1))
                assert isinstance(no.value, Denied)
                assert no.value.code is Refusal.KILLED
                assert not no.value.retryable

    async def test_many_at_once(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                asker = client(tmp_path)
                asked = [request(nonce, repay(1)) for nonce in range(16)]
                signed = await asyncio.gather(*(asker.sign(one) for one in asked))
                assert len({one.raw for one in signed}) == len(asked)

    async def test_one_connection_may_ask_often(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                lines = b"".join(write_request(Sign(request(nonce, repay(1)))) for nonce in range(5))
                answers = await raw_exchange(tmp_path, lines)
                assert [type(answer) for answer in answers] == [SignedAnswer] * 5

    async def test_no_request_is_told_apart_from_another(self, tmp_path: Path) -> None:
        """Half a line that ends is no request."""
        with open_room(tmp_path) as room:
            async with listening(room):
                assert await raw_exchange(tmp_path, write_request(Sign(request()))[:-1]) == []
                assert room.db.rows("intents") == []


class TestStrangers:
    async def test_a_user_who_is_not_listed_is_refused(self, tmp_path: Path) -> None:
        """The user of the tests is the stranger: the signer is told that only another one may ask."""
        with open_room(tmp_path) as room:
            async with listening(room, uids={os.getuid() + 1}):
                with pytest.raises(Denied) as no:
                    await client(tmp_path).sign(request())
                assert no.value.code is Refusal.STRANGER
            loose = ALL.without("peer_uid")
            async with listening(room, uids={os.getuid() + 1}, defences=loose):
                await client(tmp_path).sign(request())

    async def test_a_stranger_who_talks_on_still_hears_it(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room, uids=set()):
                lines = write_request(Sign(request())) * 100
                assert [a.code for a in await raw_exchange(tmp_path, lines) if isinstance(a, Refused)] == [
                    Refusal.STRANGER
                ]

    async def test_the_socket_is_for_its_owner_only(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            for defences, mode in ((ALL, 0o600), (ALL.without("socket_mode"), 0o666)):
                with open_room(tmp_path) as room:
                    async with listening(room, defences=defences):
                        assert stat.S_IMODE((tmp_path / "signer.sock").stat().st_mode) == mode
        finally:
            os.umask(before)

    async def test_a_directory_that_others_can_write_to_is_refused(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            os.chmod(tmp_path, 0o777)  # noqa: PTH101, S103  # the Path method is taken for slow, and this is the point
            with pytest.raises(ConfigError, match="others can write"):
                async with listening(room):
                    pass
            os.chmod(tmp_path, 0o1777)  # noqa: PTH101, S103
            async with listening(room):
                pass


class TestPlace:
    async def test_the_socket_of_a_dead_signer_is_taken_over(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(tmp_path / "signer.sock"))
        with open_room(tmp_path) as room:
            async with listening(room):
                await client(tmp_path).sign(request())
        assert not (tmp_path / "signer.sock").exists()

    async def test_that_of_a_living_one_is_not(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                other = Server(room.signer, tmp_path / "signer.sock", {os.getuid()})
                with pytest.raises(ConfigError, match="another signer listens"):
                    await other.start()
                await client(tmp_path).sign(request())

    @pytest.mark.parametrize("kind", ["file", "link", "directory"])
    async def test_nothing_else_is_removed(self, tmp_path: Path, kind: str) -> None:
        place = tmp_path / "signer.sock"
        {"file": place.touch, "link": lambda: place.symlink_to("elsewhere"), "directory": place.mkdir}[kind]()
        with open_room(tmp_path) as room, pytest.raises(ConfigError, match="is no socket"):
            async with listening(room):
                pass
        assert place.is_symlink() or place.exists()

    async def test_a_path_that_is_too_long_or_nowhere_is_told(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            for path in (tmp_path / ("x" * 200), tmp_path / "nowhere" / "signer.sock"):
                with pytest.raises(ConfigError, match="cannot"):
                    await Server(room.signer, path, {os.getuid()}).start()


class TestAbuse:
    @pytest.mark.parametrize("size", [LINE_LIMIT, LINE_LIMIT + 1, 2_000_000])
    @pytest.mark.parametrize("line_ends", [True, False])
    async def test_too_long_is_refused_without_reading_it_all(
        self, tmp_path: Path, size: int, *, line_ends: bool
    ) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                content = b" " * size + b"\n" * line_ends
                answers = await raw_exchange(tmp_path, content)
                if size == LINE_LIMIT and not line_ends:
                    assert answers == []  # a line that never ended
                else:
                    assert [a.code for a in answers if isinstance(a, Refused)] == [Refusal.MALFORMED]
                await client(tmp_path).sign(request())

    async def test_the_cap_is_what_refuses_it(self, tmp_path: Path) -> None:
        long = b" " * 1_000_000 + write_request(Sign(request()))
        for defences, kind in ((ALL, Refused), (ALL.without("size_cap"), SignedAnswer)):
            with open_room(tmp_path) as room:
                async with listening(room, defences=defences):
                    assert [type(answer) for answer in await raw_exchange(tmp_path, long)] == [kind]

    async def test_garbage_is_answered_and_the_next_line_is_read(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                lines = b"garbage\n\n" + b"[" * 60_000 + b"\n\xff\xfe\n" + write_request(Sign(request()))
                answers = await raw_exchange(tmp_path, lines)
                assert [type(answer) for answer in answers] == [Refused] * 4 + [SignedAnswer]

    def test_any_bytes_leave_it_alive(self, tmp_path: Path) -> None:
        noise = st.lists(st.binary(max_size=300), max_size=5).map(b"\n".join)

        async def go() -> None:
            with open_room(tmp_path) as room:
                async with listening(room) as server:
                    loop = asyncio.get_running_loop()

                    @settings(max_examples=100, database=None)
                    @given(noise, st.booleans())
                    def throw(content: bytes, end: bool) -> None:
                        asyncio.run_coroutine_threadsafe(self.throw(tmp_path, content, end=end), loop).result(10)

                    await asyncio.to_thread(throw)
                    assert not server.broken.is_set()
                    await client(tmp_path).sign(request())

        asyncio.run(go())

    async def throw(self, path: Path, content: bytes, *, end: bool) -> None:
        _, writer = await asyncio.open_unix_connection(str(path / "signer.sock"))
        writer.write(content)
        if end:
            writer.write_eof()
        writer.close()

    async def test_who_is_silent_is_left(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room, idle_s=0.05):
                assert await raw_exchange(tmp_path, b'{"type": ', end=False) == []

    async def test_so_many_connections_and_no_more(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                held = [
                    await asyncio.open_unix_connection(str(tmp_path / "signer.sock")) for _ in range(CONNECTION_LIMIT)
                ]
                try:
                    with pytest.raises(SignerUnavailable, match="too many"):
                        await client(tmp_path).sign(request())
                finally:
                    for _, writer in held:
                        writer.close()
                        await writer.wait_closed()

    async def test_who_leaves_early_loses_nothing(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            async with listening(room):
                await self.throw(tmp_path, write_request(Sign(request())), end=True)
                signed = await client(tmp_path).sign(request())
                assert signed.raw == sealed(transaction_of(request(), TEMPLATES))

    async def test_a_record_that_fails_ends_it(self, tmp_path: Path) -> None:
        """Row P16: after an error of the disk nothing is signed until the record was opened and checked anew."""
        with open_room(tmp_path) as room:
            room.db._sql.execute(f"PRAGMA max_page_count = {room.db._one('PRAGMA page_count')}")
            async with listening(room) as server:
                asked = [request(nonce, repay(1), action_id="x" * 290 + str(nonce)) for nonce in range(16)]
                results = await asyncio.gather(*map(client(tmp_path).sign, asked), return_exceptions=True)
                assert any("record failed" in str(one) for one in results if isinstance(one, SignerUnavailable))
                assert server.broken.is_set()
        with open_room(tmp_path, register=False) as room:
            watermark = room.db.watermark(CHAIN, GUARDIAN)
            assert watermark is not None
            assert len(room.db.rows("intents")) == watermark + 1

    async def test_a_bug_is_an_answer_and_not_an_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def bug(*_: Any) -> None:
            raise RuntimeError("canary in the text of a bug")

        with open_room(tmp_path) as room:
            async with listening(room):
                with monkeypatch.context() as patched:
                    patched.setattr(room.db, "admit", bug)
                    with pytest.raises(SignerUnavailable, match="RuntimeError"):
                        await client(tmp_path).sign(request())
                await client(tmp_path).sign(request())
        assert "canary" not in caplog.text


@asynccontextmanager
async def liar(path: Path, answer: bytes | None) -> AsyncIterator[None]:
    """Something at the signer's socket that answers these bytes to anything; None: never."""
    gone = asyncio.Event()
    gone.set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone.clear()
        await reader.readline()
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_unix_server(connected, str(path / "signer.sock"))
    try:
        yield
        await gone.wait()
    finally:
        server.close()


def lying(asked: SignRequest, lie: str) -> bytes:
    raw = LIES[lie](transaction_of(asked, TEMPLATES))
    return write_answer(SignedAnswer(raw, "0x00"))


class TestClient:
    """T23: the executor believes no signer."""

    @pytest.mark.parametrize("lie", LIES)
    @pytest.mark.parametrize("asked", [request(3), cancel(3)], ids=["intent", "cancel"])
    async def test_a_signer_that_lies_is_found_out(self, tmp_path: Path, lie: str, asked: SignRequest) -> None:
        async with liar(tmp_path, lying(asked, lie)):
            with pytest.raises(WrongSignature):
                await client(tmp_path).sign(asked)
            signed = await client(tmp_path, ALL.without("check_answer")).sign(asked)
            assert signed.raw == LIES[lie](transaction_of(asked, TEMPLATES))

    async def test_another_hash_than_that_of_its_bytes(self, tmp_path: Path) -> None:
        raw = sealed(transaction_of(request(3), TEMPLATES))
        async with liar(tmp_path, write_answer(SignedAnswer(raw, "0x" + "00" * 32))):
            with pytest.raises(WrongSignature, match="another hash"):
                await client(tmp_path).sign(request(3))

    @pytest.mark.parametrize("answer", [b"garbage\n", b"[" * 60_000 + b"\n", b"x" * 100_000 + b"\n", b"\xff\n"])
    async def test_garbage(self, tmp_path: Path, answer: bytes) -> None:
        async with liar(tmp_path, answer):
            with pytest.raises(WrongSignature, match="malformed"):
                await client(tmp_path).sign(request())

    @pytest.mark.parametrize("answer", [write_answer(Done()), write_answer(StatusAnswer((), False))])
    async def test_the_answer_to_another_question(self, tmp_path: Path, answer: bytes) -> None:
        async with liar(tmp_path, answer):
            with pytest.raises(WrongSignature, match="another question"):
                await client(tmp_path).sign(request())

    async def test_silence_has_a_deadline(self, tmp_path: Path) -> None:
        async with liar(tmp_path, None):
            with pytest.raises(SignerUnavailable, match="did not answer") as silent:
                await client(tmp_path, deadline_s=0.05).sign(request())
            assert silent.value.retryable

    @pytest.mark.parametrize("answer", [b"", b'{"type":'])
    async def test_half_an_answer(self, tmp_path: Path, answer: bytes) -> None:
        async with liar(tmp_path, answer):
            with pytest.raises(SignerUnavailable, match="no signer"):
                await client(tmp_path).sign(request())

    async def test_nobody_there(self, tmp_path: Path) -> None:
        with pytest.raises(SignerUnavailable, match="no signer"):
            await client(tmp_path).sign(request())
        (tmp_path / "signer.sock").touch()
        with pytest.raises(SignerUnavailable, match="no signer"):
            await client(tmp_path).status()

    async def test_what_cannot_be_asked_is_not_asked(self, tmp_path: Path) -> None:
        for asked in (request(0, intent("unknown")), replace(request(), action_id="x" * 70_000)):
            with pytest.raises(Denied):
                await client(tmp_path).sign(asked)

    async def test_refusals_of_other_questions(self, tmp_path: Path) -> None:
        async with liar(tmp_path, write_answer(Refused(Refusal.HISTORY, "no", "why"))):
            asker = client(tmp_path)
            for question in (asker.status(), asker.kill(), asker.register(CHAIN, GUARDIAN, 1, 0)):
                with pytest.raises(Denied, match="no"):
                    await question


def test_the_transaction_of_a_request_is_the_same_on_both_sides() -> None:
    asked = request(3, max_fee_per_gas_wei=5 * GWEI)
    built = transaction_of(asked, TEMPLATES)
    assert isinstance(built, Transaction)
    assert built.to != STRANGER
    assert sqlite3.sqlite_version_info >= (3, 37)  # STRICT tables
