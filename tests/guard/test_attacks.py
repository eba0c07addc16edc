from __future__ import annotations

import pytest

from tests.guard import attacks, attacks_in_flight
from tests.guard.attack_table import ATTACKS, Attack
from tests.guard.scene import DONE, LOCKED, Scene
from tests.guard.switches import switched

pytestmark = pytest.mark.anvil
FILES = {attacks.__name__, attacks_in_flight.__name__}
IN_ORDER = sorted(ATTACKS, key=lambda attack: attack.name)
BY_CHECK = [pytest.param(attack, id=attack.name) for attack in IN_ORDER if attack.check != "lock"]
BY_LOCK = [pytest.param(attack, id=attack.name) for attack in IN_ORDER if attack.check == "lock"]


def test_every_check_of_the_source_has_an_attack() -> None:
    assert set(switched()[1]) == {attack.check for attack in ATTACKS} - {"lock"}
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.run.__module__ for attack in ATTACKS} == FILES


@pytest.mark.parametrize("scene", ["3.0", "3.6"], indirect=True)
@pytest.mark.parametrize("attack", BY_CHECK)
def test_attack_meets_its_check(scene: Scene, attack: Attack) -> None:
    strangers_money = attack.name == "router_eats_what_somebody_left_here"
    assert attack.run(scene) == attack.ends
    assert scene.left_behind() == (["balance of USDC"] if strangers_money else [])


@pytest.mark.parametrize("attack", BY_CHECK)
def test_attack_ends_otherwise_without_its_check(with_switches: Scene, attack: Attack) -> None:
    number = switched()[1].index(attack.check) + 1
    assert attack.run(with_switches.without(number)) != attack.ends


@pytest.mark.parametrize("scene", ["3.0", "3.6"], indirect=True)
@pytest.mark.parametrize("attack", BY_LOCK)
def test_nobody_gets_in_while_a_loan_is_out(scene: Scene, attack: Attack) -> None:
    assert attack.run(scene) == LOCKED
    assert scene.left_behind() == []


@pytest.mark.parametrize("attack", BY_LOCK)
def test_without_the_lock_they_do(without_lock: Scene, attack: Attack) -> None:
    assert attack.run(without_lock) == DONE
