"""I12: on chain an action's id is used once, and a deleverage ends where its owner wants it or not at all.

Random actions by a caller whom the owner trusts, with the ids and amounts of somebody who lost his database.
What is checked is read from the chain; the guard's refusals are only counted.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from monitor.testing import aave_v3
from monitor.testing.guard import CLOSE
from tests.guard.scene import CONSENT, DONE, Scene
from tests.guard.switches import switched

pytestmark = pytest.mark.anvil
ACTIONS = 40
IDS = [bytes([n]) * 32 for n in range(1, 13)]
LABELS = ("owner", "one asset")


def replay(scene: Scene, seed: int) -> Counter[str]:
    """Random actions, and what must hold after each; how they ended."""
    dice, used, ends = random.Random(seed), set(), Counter[str]()
    for _ in range(ACTIONS):
        label = dice.choice(LABELS)
        into_danger(scene, label, dice)
        action_id, amount = dice.choice(IDS), dice.randrange(500, 22_000) * 10**6
        changes = {"signature": CLOSE} if dice.random() < 0.05 else {}
        end = scene.run(scene.action(label, action_id=action_id, amount=amount, **changes))
        ends[end] += 1
        if end == DONE:
            owner, told_id, (kind, *_, health_after) = scene.acted()
            assert told_id == action_id
            assert (owner, action_id) not in used, "an id was used twice"
            used.add((owner, action_id))
            assert health_after == scene.health(label)
            if kind == 1:
                assert CONSENT.low_wad <= health_after <= CONSENT.high_wad, "outside of what its owner wants"
        assert scene.left_behind() == []
    return ends


def into_danger(scene: Scene, label: str, dice: random.Random) -> None:
    """Borrow more, until health is under the trigger."""
    market, owner = scene.market, scene.account(label)
    _, debt, available, *_ = aave_v3.account_data(scene.chain, market, owner)
    wanted = CONSENT.trigger_wad * dice.randrange(90, 99) // 100
    more = debt * (scene.health(label) - wanted) // wanted if debt else available
    if (amount := min(more, available) * 99 // 100 // 100) > 10**6:
        borrow = "borrow(address,uint256,uint256,uint16,address)"
        scene.send(owner, market.pool, borrow, scene.asset("USDC"), amount, 2, 0, owner)


@pytest.mark.parametrize("scene", ["3.0", "3.6"], indirect=True)
def test_ids_are_used_once_and_health_ends_within_the_band(scene: Scene) -> None:
    ends = replay(scene, 1)
    assert ends.keys() >= {DONE, "USED", "BAND_LOW", "BAND_HIGH"}, ends


@pytest.mark.parametrize("check", ["spend the id", "BAND_LOW", "BAND_HIGH"])
def test_without_its_check_the_guard_lets_it_happen(with_switches: Scene, check: str) -> None:
    careless = with_switches.without(switched()[1].index(check) + 1)
    with pytest.raises(AssertionError, match=r"used twice|outside of what"):
        replay(careless, 1)
