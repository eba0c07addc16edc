from __future__ import annotations

import numpy as np

from monitor.chain.bulk.keccak import entry_keys
from monitor.chain.bulk.places import key


def test_places_of_mapping_entries_are_those_of_one_by_one() -> None:
    random = np.random.default_rng(7)
    owners = random.integers(0, 256, (200, 20), dtype=np.uint8)
    slots = np.concatenate([np.arange(100), random.integers(0, 2**62, 100)])
    keys = entry_keys(owners, slots)
    for row in range(200):
        assert keys[row].tobytes() == key(owners[row].tobytes(), int(slots[row]))
    assert entry_keys(owners[:0], slots[:0]).shape == (0, 32)
