from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import logging
import pickle
import time
from email.utils import formatdate

import pytest

from monitor.alerts.channel import Letter, Undelivered
from monitor.alerts.notify import Notifier
from monitor.alerts.webhook import Webhook
from monitor.core.errors import ConfigError
from monitor.core.secret import Secret, channel_url
from monitor.testing.clock import FakeClock
from tests.alerts.ledger import NOW_S
from tests.alerts.sink import SECRET, TOKEN, Sink, sink

LETTER = Letter("key-1", "levmon CRITICAL", "health 1.05\nsecond line", "critical", {"schema": "x", "text": "é"})


def hook(to: Sink, deadline_s: float = 5) -> Webhook:
    return Webhook(to.url, Secret(SECRET), deadline_s=deadline_s)


async def test_a_webhook_is_signed_over_time_and_bytes() -> None:
    async with sink() as to:
        port = hook(to)
        await port.send(LETTER)
        await port.close()
        [got] = to.taken
        stamp = got["headers"]["X-Levmon-Timestamp"]
        made = hmac.new(SECRET.encode(), stamp.encode() + b"." + got["body"], hashlib.sha256).hexdigest()
        assert got["headers"]["X-Levmon-Signature"] == f"v1={made}"
        assert abs(int(stamp) - time.time()) < 600
        assert got["headers"]["Idempotency-Key"] == "key-1"
        assert got["json"] == LETTER.content


@pytest.mark.parametrize(
    ("mode", "said", "wait_s", "refused"),
    [
        ("500", "answered 500", 0, False),
        ("401", "does not let levmon in", 0, False),
        ("400", "answered 400", 0, True),
        ("down", "not reached", 0, False),
        ("lost", "not reached", 0, False),
        ("slow", "no answer within", 0, False),
        ("moved", "redirect", 0, False),
        ("429", "asks to wait", 7, False),
    ],
)
async def test_a_webhook_that_fails_says_how_and_no_secret(mode: str, said: str, wait_s: int, refused: bool) -> None:
    async with sink(mode) as to:
        to.headers = {"Retry-After": "7"}
        port = hook(to, 0.2 if mode == "slow" else 5)
        with pytest.raises(Undelivered, match=said) as failed:
            await port.send(LETTER)
        await port.close()
        assert (failed.value.retry_after_s, failed.value.refused) == (wait_s, refused)
        assert TOKEN not in repr(failed.value) + str(failed.value)
        assert failed.value.__cause__ is None
        assert all("elsewhere" not in one["path"] for one in to.requests)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("999999999999", 3600, 3600),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("", 0, 0),
        (formatdate(NOW_S + 100, usegmt=True), 100, 100),
        (formatdate(NOW_S - 100, usegmt=True), 0, 0),
    ],
    ids=["absurd", "negative", "words", "none", "date", "past"],
)
async def test_how_long_to_wait_is_capped(header: str, least: int, most: int) -> None:
    async with sink("429") as to:
        to.headers = {"Retry-After": header}
        port = Webhook(to.url, Secret(SECRET), clock=FakeClock(NOW_S))
        with pytest.raises(Undelivered) as failed:
            await port.send(LETTER)
        await port.close()
        assert least <= failed.value.retry_after_s <= most


async def test_nobody_there_is_no_crash() -> None:
    port = Webhook(channel_url(f"http://127.0.0.1:1/{TOKEN}"), Secret(SECRET))
    with pytest.raises(Undelivered, match="not reached"):
        await port.send(LETTER)
    await port.close()


async def test_apprise_carries_a_letter_to_a_service() -> None:
    async with sink() as to:
        port = Notifier(to.apprise_url)
        await port.send(LETTER)
        [got] = to.taken
        assert got["json"]["title"] == LETTER.title
        assert got["json"]["message"] == LETTER.body
        assert got["json"]["type"] == "failure"


@pytest.mark.parametrize("mode", ["500", "down", "401", "moved", "429"])
async def test_a_service_that_fails_is_told_without_its_url(
    mode: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with sink(mode) as to:
            port = Notifier(to.apprise_url)
            with pytest.raises(Undelivered, match="did not take it") as failed:
                await port.send(LETTER)
            assert all("elsewhere" not in one["path"] for one in to.requests)
    said = "".join(capfd.readouterr()) + caplog.text + repr(failed.value) + repr(port.__dict__)
    assert TOKEN not in said


async def test_a_service_that_hangs_is_left_behind_and_given_nothing_more() -> None:
    async with sink("slow") as to:
        port = Notifier(to.apprise_url, deadline_s=0.3)
        with pytest.raises(Undelivered, match="no answer within"):
            await port.send(LETTER)
        with pytest.raises(Undelivered, match="still busy"):
            await port.send(LETTER)
        assert len(to.requests) == 1
        to.never.set()
        assert port._busy is not None
        port._busy.join(10)


async def test_a_url_that_apprise_does_not_know_is_refused_unseen() -> None:
    with pytest.raises(Undelivered) as wrong:
        await Notifier(channel_url(f"nonsense://{TOKEN}")).prepare()
    assert "nonsense://***" in str(wrong.value)
    assert TOKEN not in str(wrong.value)


def test_without_apprise_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="need Apprise") as wrong:
        Notifier(channel_url("json://127.0.0.1/x"))
    assert "levmon[alerts]" in wrong.value.hint


def test_a_secret_shows_nowhere() -> None:
    url = channel_url(f"tgram://{TOKEN}/chat")
    assert (str(url), repr(url), f"{url}") == ("tgram://***", "Secret(tgram://***)", "tgram://***")
    assert str(Secret(TOKEN)) == "***"
    for text in (f"not a url {TOKEN}", f"{TOKEN}://x y", ""):
        with pytest.raises(ConfigError) as wrong:
            channel_url(text)
        assert TOKEN not in str(wrong.value)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(url)
    assert json.dumps(str(url)) == '"tgram://***"'
