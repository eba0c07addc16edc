"""Rows S7, S8, S10, S15 and P26: what may be spent, whoever asks, however often, and whatever a node says."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from monitor.core.actions import ActionState
from monitor.core.types import BlockRef
from monitor.execution.limits import AssetLimits
from monitor.execution.port import Passed, Rung
from monitor.journal.rows import Hold
from monitor.pipeline.guardians import Protection
from monitor.pipeline.protect import Guard
from monitor.policy.rules import Rule, Watch, adopt
from monitor.testing.model_chain import ModelChain
from tests.execution.ports import OddPort
from tests.execution.world import ASSET, GUARDIAN, GWEI, World, rich_limits
from tests.faults.rows import row


@row("S8", "the kill switch: nothing is signed or sent, at once and after a restart, until it is reset", "kill_switch")
def test_kill_switch(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)
    world.plan()
    world.kill.throw("stop")
    world.step(2)
    world.restart()
    world.step(2)
    assert (world.guardian.asked, world.port.public) == ([], [])
    world.kill.reset()
    world.look()
    world.kill.throw("stop")
    world.chain.drop_all()
    sent = len(world.port.public)
    world.step(2)
    assert len(world.port.public) == sent
    world.kill.reset()
    world.finish()
    assert world.effects() == 1
    world.close()


@row("P26", "windows roll over the journal: a restart or midnight gives nothing back", "limits")
def test_windows(folder: Path, off: str | None) -> None:
    limits = rich_limits(assets={ASSET: AssetLimits(per_action=5, per_position_day=8, per_key_day=12)})
    world = World(folder, off=off, limits=limits)
    for name, effect, amount, expected in (
        ("a", 1, 6, "per action"),
        ("b", 1, 5, ""),
        ("c", 2, 5, ""),
        ("d", 3, 3, "per key and day: 13 > 12"),
    ):
        world.plan(name, effect=effect, amount=amount, position=f"p{effect}{name}", valid_until_s=world.now_s + 1000)
        world.restart()
        world.finish()
        done = world.effects(effect)
        assert done == (0 if expected else 1), name
        assert any(expected in text for text in world.alerts())
    world.chain.mine(timestamp=world.now_s + 24 * 3600)
    world.plan("e", effect=4, amount=3)
    world.finish()
    assert (world.state("e"), world.effects(4)) == (ActionState.FINAL_OK, 1)
    world.close()


@row(
    "S8",
    "thrown while a transaction is being prepared: it is looked at again right before the signature",
    "kill_switch",
)
def test_killed_at_the_last_moment(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=OddPort)

    def throw(_: Rung) -> None:
        world.kill.throw("stop")

    world.plan()
    world.port.edit_simulation = throw
    world.look()
    assert (world.guardian.asked, world.port.public) == ([], [])
    world.port.edit_simulation = None
    world.restart()
    world.step(2)
    assert world.guardian.asked == []
    world.kill.reset()
    world.finish()
    assert world.effects() == 1
    world.close()


DAY_S = 24 * 3600


@row(
    "S10",
    "many small rescues, replacements, restarts and reorganisations: no 24 hours pass a limit, counted on the chain",
    "limits",
    limit="each chain has limits of its own, since assets are of one chain",
)
def test_many_small_ones(folder: Path, off: str | None) -> None:
    per_key, gas_per_day = 30, 2 * 10**17
    limits = rich_limits(assets={ASSET: AssetLimits(8, 20, per_key)}, gas_wei_per_day=gas_per_day)
    rng = random.Random("small")
    world = World(folder, off=off, limits=limits)
    world.chain.finality = 8
    for n in range(40):
        until_s = world.now_s + rng.choice((30, 120, 400))
        amount = rng.randint(1, 9)
        world.plan(f"a{n}", effect=rng.randint(1, 12), amount=amount, position=f"p{n}", valid_until_s=until_s)
        world.look()
        ours = rng.random() < 0.7
        world.chain.mine(lambda _, ours=ours: ours)  # type: ignore[misc]
        if rng.random() < 0.1:
            world.chain.mine(timestamp=world.now_s + rng.choice((600, 3600)))
        if rng.random() < 0.1:
            world.chain.reorg(rng.randint(1, 8))
        if rng.random() < 0.1:
            world.restart()
        world.chain.base_fee_wei = rng.choice((1, 1, 5, 20)) * GWEI
    passed_over(world, per_key, gas_per_day)
    assert len(world.chain.included(GUARDIAN)) > 5
    world.close()


def passed_over(world: World, per_key: int, gas_per_day: int) -> None:
    """Over every 24 hours that end with a transaction, by the chain alone."""
    times = {block.ref.number: block.ref.timestamp for block in world.chain.blocks}
    spent = [
        (
            times[receipt.block_number],
            int.from_bytes(one.tx.fields.call.data[36:68], "big") if receipt.ok else 0,
            receipt.gas_used * receipt.price_wei,
        )
        for one, receipt in world.chain.included(GUARDIAN)
    ]
    for end, _, _ in spent:
        inside = [one for one in spent if end - DAY_S < one[0] <= end]
        assert sum(amount for _, amount, _ in inside) <= per_key
        assert sum(gas for _, _, gas in inside) <= gas_per_day


class HostilePort(OddPort):
    """A node that wants us to pay: an absurd tip and base fee, and much gas."""

    def __init__(self, chain: ModelChain, endpoints: int = 1) -> None:
        super().__init__(chain, endpoints)
        self.base_fee_wei: int | None = None

    async def head(self) -> BlockRef:
        head = await super().head()
        return head if self.base_fee_wei is None else replace(head, base_fee=self.base_fee_wei)

    async def tip_wei(self) -> int:
        return 10**18


@row("S15", "an absurd tip, base fee, gas or nonce from a node: our own maxima bound what is signed", "fee_cap")
def test_hostile_node(folder: Path, off: str | None) -> None:
    world = World(folder, off=off, port=HostilePort)
    world.plan(max_fee_per_gas_wei=100 * GWEI)
    world.look()
    [first] = world.guardian.asked
    assert first.max_priority_fee_per_gas_wei <= 50 * GWEI
    assert first.max_fee_per_gas_wei <= 100 * GWEI
    for base_fee in (99 * GWEI, 10**15, 10**18):
        world.port.base_fee_wei = base_fee
        for _ in range(6):
            world.chain.mine(lambda _: False)
            world.look()
    assert max(asked.max_fee_per_gas_wei for asked in world.guardian.asked) <= 100 * GWEI
    assert {asked.nonce for asked in world.guardian.asked} == {0}
    world.port.base_fee_wei = None
    world.finish()
    assert (world.effects(), world.audit()) == (1, [])
    # gas that no plan foresaw is refused, not paid for; a nonce that nobody used is not taken for ours
    world.port.edit_simulation = lambda _: Passed(30_000_000)
    world.plan("b", effect=2)
    world.look()
    assert world.state("b") is ActionState.CLOSED_REJECTED
    world.port.edit_simulation = None
    asked = len(world.guardian.asked)
    world.port.edit_account = lambda account: replace(account, nonce=7, nonce_final=7)
    world.plan("c", effect=3)
    world.step(2)
    assert len(world.guardian.asked) == asked
    assert [hold.scope for hold in world.journal.holds()] == [f"signer:31337:{GUARDIAN}"]
    assert isinstance(world.journal.holds()[0], Hold)
    world.close()


RULE = Rule("first", 1, "*", Fraction(12, 10), Fraction(14, 10))


@row(
    "S7",
    "limits are tightened while an action runs: they hold at once, and it keeps the version it began under",
    "limits",
)
def test_tightened_limits(folder: Path, off: str | None) -> None:
    assets = {ASSET: AssetLimits(per_action=10, per_position_day=100, per_key_day=100)}
    world = World(folder, off=off, limits=rich_limits(assets=assets))
    world.plan("a", amount=9, decision=json.dumps({"rule_version": 1}))
    world.look()
    assets[ASSET] = AssetLimits(per_action=5, per_position_day=100, per_key_day=100)
    for _ in range(3):
        world.chain.mine(lambda _: False)
        world.look()
    assert len(world.guardian.asked) == 1, "a dearer attempt of what is not allowed any more"
    world.plan("b", effect=2, amount=9)
    world.finish()
    assert (world.state("a"), world.effects(1)) == (ActionState.FINAL_OK, 1)
    assert json.loads(world.journal.action("a").draft.decision) == {"rule_version": 1}
    assert (world.state("b"), world.effects(2)) == (ActionState.PLANNED, 0)
    world.close()


def careless_rule(_: Rule, new: Rule) -> Rule:
    """Forgets which version a running action began under."""
    return new


@row(
    "S7",
    "a new version of a rule while an action runs: what it tightens at once, what it loosens afterwards",
    "monitor.policy.rules:tightened",
    careless=careless_rule,
)
def test_new_version_of_a_rule() -> None:
    running = Watch("p", RULE, running=1)
    looser = replace(RULE, version=2, trigger=Fraction(11, 10), target=Fraction(13, 10))
    tighter = replace(RULE, version=3, trigger=Fraction(13, 10), target=Fraction(15, 10))
    kept = adopt(running, looser)
    assert (kept.running, kept.rule.trigger, kept.rule.target) == (1, RULE.trigger, RULE.target)
    assert kept.pending == looser
    raised = adopt(running, tighter)
    assert (raised.running, raised.rule.trigger) == (1, tighter.trigger)
    assert adopt(Watch("p", RULE), looser).rule == looser


class Purse:
    """A guardian that is only named."""


@row(
    "S7",
    "the daemon's rules are read anew while it runs: per position, and what needs a restart is said",
    "monitor.pipeline.protect:adopt",
    careless=lambda watch, _: watch,
)
def test_daemon_adopts_rules() -> None:
    plain = Protection(RULE, ("repay",), ())
    guard = Guard(Purse(), {"p": plain, "q": plain}, Purse(), None)  # type: ignore[arg-type]
    tighter = replace(RULE, version=2, trigger=Fraction(13, 10), target=Fraction(15, 10))
    guard.watches["q"] = replace(guard.watches["q"], running=1)
    said = guard.adopt({"p": replace(plain, rule=tighter), "q": replace(plain, rule=tighter), "new": plain})
    assert guard.watches["p"].rule == tighter
    assert (guard.watches["q"].running, guard.watches["q"].rule.trigger) == (1, tighter.trigger)
    assert guard.watches["q"].pending == tighter
    assert said == ["new is protected only after a restart"]
    assert guard.adopt({"p": replace(plain, actions=("supply",))}) == [
        "p: other actions or assets need a restart",
        "q is not protected in the new file; it stays so until a restart",
    ]
