"""The golden files: recorded contracts that read plans are answered from. A miss fails the test that asked."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from monitor.chain import recording
from monitor.chain.recording import NotRecorded as CassetteMiss
from monitor.chain.recording import Recording as Cassette
from monitor.chain.recording import block_of

__all__ = ["GOLDEN", "Cassette", "CassetteMiss", "block_of", "load"]
GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def load(name: str) -> Cassette:
    """The recording `name` of tests/golden."""
    return recording.load(GOLDEN / f"{name}.json.gz")
