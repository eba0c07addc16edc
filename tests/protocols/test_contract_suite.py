"""Every protocol of the registry keeps the contract; see monitor.testing.contract_suite."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from monitor.protocols.compound_v3 import effects
from monitor.protocols.ledger import Account
from monitor.protocols.morpho_blue.replay import MorphoReplay
from monitor.testing.contract_samples import Sample
from monitor.testing.contract_suite import ContractSuite
from tests.protocols import samples


class TestContract(ContractSuite):
    def samples_of(self, name: str) -> Sequence[Sample]:
        return samples.samples_of(name)


def test_a_rescue_that_does_harm_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = effects.principal_of
    monkeypatch.setattr(effects, "principal_of", lambda *args: 3 * exact(*args))
    with pytest.raises(AssertionError, match="compound-v3/repay"):
        TestContract().test_a_rescue_that_is_said_to_be_possible_is("compound-v3")


def test_a_replay_that_changes_the_ledger_itself_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest: Callable[..., None] = MorphoReplay.apply

    def careless(self: MorphoReplay, stage: Any, *args: Any) -> None:
        honest(self, stage, *args)
        stage.ledger.put(0, Account(mode=1))

    monkeypatch.setattr(MorphoReplay, "apply", careless)
    with pytest.raises(AssertionError):
        TestContract().test_what_a_reorganisation_takes_back_leaves_nothing_behind("morpho-blue")
