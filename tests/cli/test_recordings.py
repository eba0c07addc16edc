"""Verifications on real contracts kept in a file, and done again from it; whatever is changed in there is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.testing import morpho
from monitor.testing.anvil import AnvilProcess
from tests.cli.conftest import Levmon, find_every_touch
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil


def test_aave_v3_replays_without_a_chain(levmon: Levmon, local: AnvilAave, home: Path) -> None:
    owners = local.market.borrowers[:2]
    assert levmon("verify", *owners, "--record", "aave.json.gz").lines[-1] == "2 of 2 exact"
    assert levmon("verify", *owners, "--record", "aave.json").lines[-1] == "2 of 2 exact"
    (home / "levmon.toml").unlink()
    for name in ("aave.json", "aave.json.gz"):
        ran = levmon("verify", "--replay", name)
        assert ran.code == 0, ran.err
        assert ran.lines[-1] == "2 of 2 exact"
    assert "0x6080" not in (home / "aave.json").read_text(), "no code"
    find_every_touch(levmon, home / "aave.json")


def test_replay_takes_nothing_beside_its_file(levmon: Levmon, home: Path) -> None:
    (home / "none.json").write_text('{"schema": "levmon.vectors/1", "calls": [], "samples": []}')
    assert levmon("verify", "0x" + "11" * 20, "--replay", "none.json").code == 2
    assert levmon("verify", "--replay", "none.json").code == 3, "nothing compared is not good"
    assert levmon("verify", "--replay", "missing.json").code == 2
    (home / "none.json").write_text("{}")
    assert levmon("verify", "--replay", "none.json").code == 2


def test_recorded_verifications_replay_and_a_touched_answer_is_found(levmon: Levmon, home: Path) -> None:
    with AnvilProcess() as process:
        local = process.chain()
        market = morpho.deploy(local)
        owners = [local.account(f"morpho borrower {n}") for n in range(3)]
        for owner in owners:
            morpho.borrow(local, market, owner, 10**19, 10_000 * 10**6)
        where = ("--market", f"morpho-blue:{market.morpho}/{market.id}", "--rpc-url", process.url)
        ran = levmon("verify", *owners, *where, "--record", "morpho.json")
        local.close()
    assert ran.lines[-1] == "3 of 3 exact", ran.err
    assert levmon("verify", "--replay", "morpho.json").lines[-1] == "3 of 3 exact"
    find_every_touch(levmon, home / "morpho.json")
