"""Every protocol of the registry keeps the contract; see monitor.testing.contract_suite."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.testing.contract_samples import Sample
from monitor.testing.contract_suite import ContractSuite
from tests.protocols import samples


class TestContract(ContractSuite):
    def samples_of(self, name: str) -> Sequence[Sample]:
        return samples.samples_of(name)
