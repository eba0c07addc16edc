"""Rows T22 and O22 where they are decided: in the guard, on a real exchange and a real pool."""

from __future__ import annotations

import pytest

from tests.faults.rows import row
from tests.guard import attacks
from tests.guard.scene import Scene
from tests.guard.switches import LIMIT, switched

pytestmark = pytest.mark.anvil


def chosen(scene: Scene, with_switches: Scene, off: str | None) -> Scene:
    return scene if off is None else with_switches.without(switched()[1].index(off) + 1)


@row("T22", "a trade that was sandwiched reverts by the protocol's own oracle, and nothing has moved", LIMIT)
def test_sandwiched(scene: Scene, with_switches: Scene, off: str | None) -> None:
    at = chosen(scene, with_switches, off)
    held = at.balance(at.market.reserves["USDC"].v_token, at.account("owner"))
    assert attacks.sandwiched(at) == "STF"
    assert at.balance(at.market.reserves["USDC"].v_token, at.account("owner")) - held < held // 10**6


@row("T22", "a router takes at most the owner's slippage, whatever the caller allows", LIMIT)
def test_no_minimum(scene: Scene, with_switches: Scene, off: str | None) -> None:
    at = chosen(scene, with_switches, off)
    assert attacks.greedy_router_and_no_minimum(at) == "kept within the limit"


@row("T22", "a trade that waited beyond its deadline reverts", "DEADLINE")
def test_too_late(scene: Scene, with_switches: Scene, off: str | None) -> None:
    assert attacks.too_late(chosen(scene, with_switches, off)) == "DEADLINE"


@row("O22", "a pool with too little to lend is told apart, before anything is borrowed", "FLASH_SOURCE")
def test_flash_source_empty(scene: Scene, with_switches: Scene, off: str | None) -> None:
    assert attacks.nothing_to_borrow(chosen(scene, with_switches, off)) == "FLASH_SOURCE"


@row("O22", "an exchange drained of its money cannot make the position pay more than its slippage", LIMIT)
def test_exchange_drained(scene: Scene, with_switches: Scene, off: str | None) -> None:
    assert attacks.drained(chosen(scene, with_switches, off)) == "STF"


@row("O22", "a router whose code is not the one the owner named gets nothing", "ROUTER_CODE")
def test_router_compromised(scene: Scene, with_switches: Scene, off: str | None) -> None:
    assert attacks.router_with_other_code(chosen(scene, with_switches, off)) == "ROUTER_CODE"
