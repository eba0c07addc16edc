"""A rollup's sequencer: what its feed says, what is made of it, and the grace period in words. Boundaries exact."""

from __future__ import annotations

import pytest

from monitor.core.config import parse
from monitor.core.plan import done, run
from monitor.core.types import Answer, Ok, Reverted, Unread
from monitor.oracles.sequencer import RECENT_S, Sequencer, Uptime, read_uptime, remark, state_of
from monitor.pipeline.beside import Beside, Outage, Sources, outage, read_beside, sources, sources_of

FEED, OTHER = "0x371EAD81c9102C9BF4874A9075FFFf170F2Ee389", "0xBCF85224fc0756B9Fa45aA7892530B47e10b6433"
NOW_S = 1_700_000_000


def round_of(status: int, started_at: int) -> Ok:
    return Ok((1, status, started_at, NOW_S, 1))


@pytest.mark.parametrize(
    ("answer", "uptime"),
    [
        (round_of(0, NOW_S - 9), Uptime(FEED, up=True, since_s=NOW_S - 9)),
        (round_of(1, NOW_S - 9), Uptime(FEED, up=False, since_s=NOW_S - 9)),
        (round_of(0, 0), Uptime(FEED)),
        (round_of(2, NOW_S), Uptime(FEED)),
        (Reverted(b"", "no"), Uptime(FEED)),
        (Unread("out of gas"), Uptime(FEED)),
    ],
    ids=["up", "down", "not begun", "neither", "reverted", "unread"],
)
def test_what_a_feed_says(answer: Answer, uptime: Uptime) -> None:
    assert run(read_uptime(FEED), lambda queries: [answer for _ in queries]) == uptime


@pytest.mark.parametrize(
    ("up", "ago_s", "grace_s", "state", "told"),
    [
        (False, 30, 3600, Sequencer.DOWN, "is down, since 30 s"),
        (True, 0, 7200, Sequencer.BACK, "held back for 7201 s more"),
        (True, 7200, 7200, Sequencer.BACK, "held back for 1 s more"),
        (True, 7201, 7200, Sequencer.UP, ""),
        (True, 61, 60, Sequencer.BACK, "the grace period of 60 s is over"),
        (True, RECENT_S, 0, Sequencer.BACK, "nothing holds liquidations back"),
        (True, RECENT_S + 1, 0, Sequencer.UP, ""),
        (True, 5, None, Sequencer.BACK, "is not known"),
        (None, 5, 0, Sequencer.UNKNOWN, "could not be read"),
    ],
)
def test_what_is_made_of_it(up: bool | None, ago_s: int, grace_s: int | None, state: Sequencer, told: str) -> None:
    uptime = Uptime(FEED, up, NOW_S - ago_s)
    assert state_of(uptime, NOW_S, grace_s) is state
    found = remark(uptime, NOW_S, grace_s)
    assert told in found
    assert bool(found) == bool(told)


def test_markets_of_one_chain_are_told_together_and_their_grace_apart() -> None:
    back = Uptime(FEED, up=True, since_s=NOW_S)
    assert outage([("a", Beside()), ("b", Beside())], NOW_S) is None
    assert outage([("a", Beside(sequencer=Uptime(FEED, up=True, since_s=1), grace_s=0))], NOW_S) == Outage(
        Sequencer.UP, ""
    )
    same = outage([("a", Beside(sequencer=back, grace_s=0)), ("b", Beside(sequencer=back, grace_s=0))], NOW_S)
    assert same is not None
    assert same.text == "the rollup's sequencer is back since 0 s; nothing holds liquidations back"
    apart = outage([("a", Beside(sequencer=back, grace_s=0)), ("b", Beside(sequencer=back, grace_s=9))], NOW_S)
    assert apart is not None
    assert apart.state is Sequencer.BACK
    assert "a: the rollup's" in apart.text
    assert "b: the rollup's sequencer is back since 0 s; most liquidations are held back for 10 s more" in apart.text


def test_the_grace_period_is_only_asked_where_there_is_a_sequencer() -> None:
    assert run(read_beside(Sources(), done(7)), lambda queries: [round_of(0, 1) for _ in queries]) == Beside()
    found = run(read_beside(Sources(sequencer=FEED), done(7)), lambda queries: [round_of(0, 1) for _ in queries])
    assert found == Beside({}, Uptime(FEED, up=True, since_s=1), 7)


def test_a_file_may_name_a_feed_and_rollups_have_theirs() -> None:
    market = f'[[markets]]\nname = "m"\nchain = "x"\nprotocol = "aave-v3"\naddress = "{OTHER}"\n'
    [(ref, known)] = sources(parse(f"[chains.x]\nchain_id = 10\n{market}")).items()
    assert known.sequencer == FEED
    assert sources_of([ref], None) == {ref: Sources(sequencer=FEED)}
    named = parse(f'[chains.x]\nchain_id = 10\nsequencer_feed = "{OTHER}"\n{market}')
    assert sources_of([ref], named)[ref].sequencer == OTHER
    [nothing] = sources(parse(f"[chains.x]\nchain_id = 1\n{market}")).values()
    assert nothing.sequencer is None
