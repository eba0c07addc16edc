"""Rows S10, P13, P14, P18 and P19 of the fault matrix, the signer's side: its own record, whatever the journal says."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.core.actions import SignRequest
from monitor.core.errors import ConfigError
from monitor.signer import config as configuration
from monitor.signer import interchange
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.policy import judge
from monitor.signer.signdb import DAY_S, SignDb
from tests.signer.room import (
    CHAIN,
    CONFIG,
    FEE,
    GAS,
    GUARDIAN,
    GWEI,
    NONCE_GAP,
    PER_DAY,
    START_S,
    TEMPLATES,
    USDC,
    WETH,
    approve,
    cancel,
    open_room,
    repay,
    request,
)


def new(path: Path, name: str) -> Path:
    (path / name).mkdir()
    return path / name


class TestNonces:
    async def test_the_same_request_gets_the_same_bytes(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            assert await room.sign(request()) == await room.sign(request())

    async def test_a_higher_fee_replaces_and_a_cancel_cancels(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            first = await room.sign(request())
            second = await room.sign(request(max_fee_per_gas_wei=3 * GWEI))
            third = await room.sign(cancel(0))
            assert len({first.raw, second.raw, third.raw}) == 3
            assert await room.refusal(request(max_fee_per_gas_wei=4 * GWEI)) is None  # whichever is mined decides

    @pytest.mark.parametrize(
        ("asked", "code", "defence"),
        [
            (request(5, repay(1), action_id="b"), Refusal.NONCE_TAKEN, "one_intent"),
            (request(4, repay(1), action_id="b"), Refusal.WATERMARK, "watermark"),
            (cancel(4, action_id="b"), Refusal.WATERMARK, "watermark"),
            (request(6, action_id="a5"), Refusal.ACTION_MOVED, "one_nonce"),
            (request(6 + NONCE_GAP + 1), Refusal.NONCE_GAP, "nonce_gap"),
        ],
    )
    async def test_after_nonce_five(self, tmp_path: Path, asked: SignRequest, code: Refusal, defence: str) -> None:
        with open_room(new(tmp_path, "on")) as room:
            await room.sign(request(5))
            assert await room.refusal(asked) is code
            assert await room.refusal(request(6 + NONCE_GAP)) is None
        with open_room(new(tmp_path, "off"), ALL.without(defence)) as room:
            await room.sign(request(5))
            assert await room.refusal(asked) is None

    async def test_a_refusal_leaves_no_trace(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            assert await room.refusal(request(3, repay(10**6))) is Refusal.LIMIT_ACTION
            assert room.db.watermark(CHAIN, GUARDIAN) == -1
            assert room.db.rows("intents") == room.db.rows("attempts") == []

    async def test_a_cancel_may_fill_a_new_nonce_but_then_it_is_taken(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(cancel(0))
            assert await room.refusal(request(0, action_id="b")) is Refusal.NONCE_TAKEN

    async def test_it_is_all_still_known_after_a_restart(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            first = await room.sign(request(5))
        with open_room(tmp_path, register=False) as room:
            assert await room.refusal(request(4)) is Refusal.WATERMARK
            assert await room.refusal(request(5, repay(1))) is Refusal.NONCE_TAKEN
            assert await room.sign(request(5)) == first


class TestHistory:
    async def test_a_key_that_nobody_registered_signs_nothing(self, tmp_path: Path) -> None:
        with open_room(tmp_path, register=False) as room:
            assert await room.refusal(request()) is Refusal.UNREGISTERED
        (tmp_path / "sign.db").unlink()
        with open_room(tmp_path, ALL.without("registered"), register=False) as room:
            assert await room.refusal(request()) is None

    async def test_a_lost_record_is_noticed_by_the_history_of_the_chain(self, tmp_path: Path) -> None:
        """P19: the chain knows the key, this database does not."""
        with open_room(tmp_path, register=False) as room:
            assert await room.register(latest_nonce=7) is Refusal.HISTORY
            assert await room.refusal(request(7)) is Refusal.UNREGISTERED
            room.db.initialise(CHAIN, GUARDIAN, 7, "by hand", START_S)
            assert await room.register(latest_nonce=7) is None
            assert await room.refusal(request(6)) is Refusal.WATERMARK
            assert await room.refusal(request(7)) is None
        (tmp_path / "sign.db").unlink()
        with open_room(tmp_path, ALL.without("registered"), register=False) as room:
            assert await room.register(latest_nonce=7) is None

    async def test_an_old_copy_is_noticed_when_foreign_nonces_are_not_expected(self, tmp_path: Path) -> None:
        """P18 and P13: with no gap allowed, a nonce that was used elsewhere stops the key until a person looks."""
        with open_room(tmp_path, gap=0) as room:
            await room.sign(request(0))
            assert await room.register(latest_nonce=1) is None
            assert await room.register(latest_nonce=2) is Refusal.HISTORY
            assert await room.refusal(request(2)) is Refusal.NONCE_GAP
            room.db.initialise(CHAIN, GUARDIAN, 2, "by hand", START_S)
            assert await room.refusal(request(2)) is None

    async def test_a_wallet_beside_may_use_a_few_nonces(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(request(0))
            assert await room.register(latest_nonce=1 + NONCE_GAP) is None
            assert await room.register(latest_nonce=2 + NONCE_GAP) is Refusal.HISTORY
            assert await room.refusal(request(1 + NONCE_GAP)) is None

    def test_initialising_never_lowers(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            room.db.initialise(CHAIN, GUARDIAN, 9, "by hand", START_S)
            room.db.initialise(CHAIN, GUARDIAN, 3, "by hand", START_S)
            assert room.db.watermark(CHAIN, GUARDIAN) == 8


class TestEpochs:
    async def scenario(self, path: Path, defences: Defences) -> Refusal | None:
        with open_room(path, defences) as room:
            await room.sign(request(0, epoch=4))
            assert await room.register(epoch=5) is None  # the new holder starts
            return await room.refusal(request(1, epoch=4))  # the old one wakes up

    async def test_who_lost_the_lease_cannot_sign(self, tmp_path: Path) -> None:
        """P14: stopped, overtaken, and going on."""
        assert await self.scenario(new(tmp_path, "on"), ALL) is Refusal.EPOCH
        assert await self.scenario(new(tmp_path, "off"), ALL.without("epoch")) is None

    async def test_not_even_what_it_had_signed_before(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(request(0, epoch=4))
            await room.sign(request(0, epoch=5))
            assert await room.refusal(request(0, epoch=4)) is Refusal.EPOCH
            assert await room.refusal(cancel(0, epoch=4)) is Refusal.EPOCH
            assert await room.register(epoch=4) is Refusal.EPOCH

    async def test_a_restart_does_not_forget(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.register(epoch=9)
        with open_room(tmp_path, register=False) as room:
            assert await room.refusal(request(epoch=8)) is Refusal.EPOCH
            room.db.forget_epoch(GUARDIAN)  # a person says that there is a new journal
            assert await room.refusal(request(epoch=1)) is None


class TestDays:
    async def test_many_small_ones_do_not_add_up_to_more(self, tmp_path: Path) -> None:
        """S10, with each nonce asked for twice: a replacement takes nothing from the limit."""
        with open_room(new(tmp_path, "one")) as room:
            answers = [await room.refusal(request(nonce, repay(1_000))) for nonce in range(7)]
            assert answers == [None] * 5 + [Refusal.LIMIT_DAY] * 2
            assert await room.refusal(request(4, repay(1_000), max_fee_per_gas_wei=3 * GWEI)) is None
            assert await room.refusal(request(5, repay(100, WETH))) is None
        with open_room(new(tmp_path, "two"), ALL.without("limit_day")) as room:
            assert [await room.refusal(request(nonce, repay(1_000))) for nonce in range(7)] == [None] * 7

    async def test_fees_add_up_too_and_of_a_nonce_the_dearest_counts(self, tmp_path: Path) -> None:
        dear = {"gas": 1_000_000, "max_fee_per_gas_wei": 10 * GWEI}
        for name, defences, last in (("on", ALL, Refusal.FEE_DAY), ("off", ALL.without("fee_day"), None)):
            with open_room(new(tmp_path, name), defences) as room:
                for nonce in range(10):
                    assert await room.refusal(request(nonce, repay(1))) is None
                    assert await room.refusal(request(nonce, repay(1), **dear)) is None
                assert await room.refusal(request(10, repay(1))) is last
                assert await room.refusal(request(9, repay(1), gas=400_000)) is None
                assert await room.refusal(cancel(9)) is None

    async def test_approving_takes_nothing_from_the_day(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            for nonce in range(10):
                assert await room.refusal(request(nonce, approve(PER_DAY))) is None
            assert room.db.day(CHAIN, GUARDIAN, START_S).amounts == {}

    async def test_a_day_ends_24_hours_later_and_not_earlier(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            for nonce in range(5):
                await room.sign(request(nonce, repay(1_000)))
            room.clock.now = START_S + DAY_S - 1
            assert await room.refusal(request(5, repay(1))) is Refusal.LIMIT_DAY
            room.clock.now = START_S + DAY_S
            assert await room.refusal(request(5, repay(1))) is None

    async def test_setting_the_clock_back_frees_nothing(self, tmp_path: Path) -> None:
        """P22."""
        with open_room(tmp_path) as room:
            for nonce in range(5):
                await room.sign(request(nonce, repay(1_000)))
            room.clock.now -= 3 * DAY_S
            assert await room.refusal(request(5, repay(1))) is Refusal.LIMIT_DAY

    async def test_a_late_replacement_counts_for_the_day_in_which_it_is_signed(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(request(0, repay(1_000)))
            room.clock.now += 2 * DAY_S
            for nonce in range(1, 6):
                await room.sign(request(nonce, repay(1_000)))
            higher = request(0, repay(1_000), max_fee_per_gas_wei=3 * GWEI)
            assert await room.refusal(higher) is Refusal.LIMIT_DAY

    STEPS = st.lists(
        st.tuples(
            st.integers(0, 12),  # nonce
            st.sampled_from([1, 499, 500, 999, 1_000]),
            st.sampled_from([FEE, 3 * GWEI, 9 * GWEI]),
            st.sampled_from([GAS, 900_000]),
            st.booleans(),  # cancel
            st.sampled_from([0, 0, 60, 3 * 3_600, 9 * 3_600, -3_600]),
        ),
        min_size=1,
        max_size=60,
    )

    @settings(max_examples=150)
    @given(steps=STEPS)
    def test_no_interleaving_passes_a_limit(
        self, steps: list[tuple[int, int, int, int, bool, int]], tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """The sums are kept here a second time, over what was admitted: in no 24 hours more than the limit."""
        assert passed_limits(steps, tmp_path_factory.mktemp("db"), ALL) == []

    @pytest.mark.parametrize("defence", ["limit_day", "fee_day"])
    def test_without_the_limits_one_is_passed(self, defence: str, tmp_path: Path) -> None:
        amount = 1_000 if defence == "limit_day" else 1
        steps = [(nonce, amount, 9 * GWEI, 900_000, False, 60) for nonce in range(13)]
        assert passed_limits(steps, tmp_path, ALL.without(defence)) != []


def passed_limits(
    steps: Iterable[tuple[int, int, int, int, bool, int]], path: Path, defences: Defences
) -> list[tuple[str, int]]:
    rules = configuration.parse(CONFIG)
    now, passed = START_S, []
    amounts: dict[int, tuple[int, int]] = {}
    costs: dict[tuple[int, int], int] = {}
    with closing(SignDb(path / "sign.db", defences)) as db:
        db.register(CHAIN, GUARDIAN, 0, NONCE_GAP, now)
        for nonce, amount, fee, gas, is_cancel, later_s in steps:
            now += later_s
            wanted = request(nonce, repay(amount), max_fee_per_gas_wei=fee, gas=gas)
            draft = judge(cancel(nonce) if is_cancel else wanted, rules, TEMPLATES)
            try:
                admitted = db.admit(draft, wanted.action_id, NONCE_GAP, now)
            except Denied:
                continue
            db.keep(admitted.attempt, b"signed")
            if admitted.raw is None:
                if draft.amount:
                    amounts[nonce] = (max(now, amounts.get(nonce, (now, 0))[0]), draft.amount)
                costs[nonce, draft.cost_wei] = now
            spent = sum(amount for at, amount in amounts.values() if at > now - DAY_S)
            dearest: dict[int, int] = {}
            for (which, cost), at in costs.items():
                if at > now - DAY_S:
                    dearest[which] = max(dearest.get(which, 0), cost)
            if spent > PER_DAY:
                passed.append(("amount", spent))
            if sum(dearest.values()) > rules.chains["local"].max_cost_per_day_wei:
                passed.append(("cost", sum(dearest.values())))
    return passed


class TestFile:
    def test_only_its_owner_can_read_it(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            with open_room(tmp_path):
                modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("sign.db*")}
        finally:
            os.umask(before)
        assert modes == {0o600}

    def test_it_waits_for_the_disk(self, tmp_path: Path) -> None:
        with closing(SignDb(tmp_path / "sign.db")) as db:
            settings = {name: db._one(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "locking_mode")}
        assert settings == {"journal_mode": "wal", "synchronous": 2, "locking_mode": "exclusive"}

    def test_one_process_has_it(self, tmp_path: Path) -> None:
        with closing(SignDb(tmp_path / "sign.db")), pytest.raises(ConfigError, match="another process has"):
            SignDb(tmp_path / "sign.db")
        loose = ALL.without("exclusive")
        with closing(SignDb(tmp_path / "sign.db", loose)), closing(SignDb(tmp_path / "sign.db", loose)):
            pass

    @pytest.mark.parametrize("size", [1, 50, 4_096, 9_000])
    def test_a_damaged_one_is_not_used(self, tmp_path: Path, size: int) -> None:
        with open_room(tmp_path):
            pass
        whole = (tmp_path / "sign.db").read_bytes()
        (tmp_path / "sign.db").write_bytes(bytes(b ^ 0x55 for b in whole[:size]) + whole[size:])
        with pytest.raises(ConfigError, match=r"damaged|cannot use|not a sign database"):
            SignDb(tmp_path / "sign.db")

    def test_a_cut_one_is_not_used(self, tmp_path: Path) -> None:
        with open_room(tmp_path):
            pass
        whole = (tmp_path / "sign.db").read_bytes()
        (tmp_path / "sign.db").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ConfigError, match="damaged"):
            SignDb(tmp_path / "sign.db")

    def test_a_newer_or_a_foreign_one_is_not_used(self, tmp_path: Path) -> None:
        with open_room(tmp_path):
            pass
        for name, statement in (("sign.db", "PRAGMA user_version = 2"), ("other.db", "CREATE TABLE t (a)")):
            with closing(sqlite3.connect(tmp_path / name)) as other:
                other.execute(statement)
            with pytest.raises(ConfigError, match="not a sign database"):
                SignDb(tmp_path / name)

    def test_a_missing_directory_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot open"):
            SignDb(tmp_path / "nowhere" / "sign.db")


class TestInterchange:
    async def test_a_key_moves_with_everything_that_binds_it(self, tmp_path: Path) -> None:
        with open_room(new(tmp_path, "old")) as before:
            signed = await before.sign(request(5, repay(1_000), epoch=3))
            await before.sign(request(6, repay(1_000), epoch=3))
            content = interchange.export(before.db)
        with open_room(new(tmp_path, "new"), register=False) as after:
            interchange.merge(after.db, content, START_S)
            assert await after.refusal(request(4, epoch=3)) is Refusal.WATERMARK
            assert await after.refusal(request(5, epoch=3)) is Refusal.NONCE_TAKEN
            assert await after.refusal(request(7, epoch=2)) is Refusal.EPOCH
            assert await after.refusal(request(7, action_id="a5", epoch=3)) is Refusal.ACTION_MOVED
            assert await after.sign(request(5, repay(1_000), epoch=3)) == signed
            assert after.db.day(CHAIN, GUARDIAN, START_S).amounts == {USDC: 2_000}
            again = interchange.export(after.db)
            interchange.merge(after.db, content, START_S)
            assert interchange.export(after.db) == again

    async def test_importing_never_lowers(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(request(2, epoch=2))
            old = interchange.export(room.db)
            await room.sign(request(9, epoch=7))
            interchange.merge(room.db, old, START_S)
            assert (room.db.watermark(CHAIN, GUARDIAN), room.db.epoch(GUARDIAN)) == (9, 7)

    async def test_records_that_disagree_are_not_merged(self, tmp_path: Path) -> None:
        """P13: the key was used from two places."""
        contents = []
        for amount in (1, 2):
            with open_room(new(tmp_path, str(amount))) as room:
                await room.sign(request(0, repay(amount)))
                contents.append(interchange.export(room.db))
        with open_room(tmp_path / "1", register=False) as room:
            with pytest.raises(ConfigError, match="disagree"):
                interchange.merge(room.db, contents[1], START_S)
            assert interchange.export(room.db) == contents[0]

    @pytest.mark.parametrize(
        "content",
        [b"", b"[]", b"{}", b'{"format": "levmon-sign/2"}', b"[" * 100_000, b'{"format": "levmon-sign/1", "keys": 5}'],
    )
    def test_what_is_no_export_is_refused(self, tmp_path: Path, content: bytes) -> None:
        with open_room(tmp_path) as room, pytest.raises(ConfigError, match="not an export"):
            interchange.merge(room.db, content, START_S)

    async def test_an_attempt_of_no_intent_is_refused(self, tmp_path: Path) -> None:
        with open_room(tmp_path) as room:
            await room.sign(request())
            data = json.loads(interchange.export(room.db))
            data["attempts"][0] |= {"intent": 99, "signing_hash": "00"}
            with pytest.raises(ConfigError, match="disagree"):
                interchange.merge(room.db, json.dumps(data).encode(), START_S)
