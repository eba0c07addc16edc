"""What `levmon protocols list` says of proofs is what the golden files hold and what was read and compared."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from monitor.cli import app
from monitor.core.registry import protocols
from tests.protocols.cassette import GOLDEN, load
from tests.protocols.samples import samples_of

NAMES = sorted(path.name.removesuffix(".json.gz") for path in GOLDEN.glob("*.json.gz"))


def test_counts_are_those_of_the_golden_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(("protocols", "list", "--json")) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["protocol"] for row in told} == set(protocols())
    counted: Counter[str] = Counter()
    for row in told:
        assert row["proof"]["exact"] == row["proof"]["compared"]
        counted[row["protocol"]] += row["proof"]["compared"]
    held: Counter[str] = Counter()
    for name in NAMES:
        held[load(name).content["protocol"]] += len(load(name).samples)
    assert +counted == held


def test_every_counted_account_was_read_through_its_adapter() -> None:
    for name, protocol in protocols().items():
        files = [load(one) for one in NAMES if load(one).content["protocol"] == name]
        getter = [sample["expected"].get("getUserAccountData", {}) for file in files for sample in file.samples]
        reverting = sum("revert" in told for told in getter if name == "aave-v3")  # these are Unreadable
        if files:
            assert len(samples_of(name)) + reverting == sum(version.recorded for version in protocol.versions)
