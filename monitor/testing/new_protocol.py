"""Writes the three files of a new protocol: adapter, ABI and test. Nothing else needs an edit.

The adapter is whole but knows no rule yet, so it calls nobody healthy; the tests fail until it does, and say what to do
next. Must not know: any protocol.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ADAPTER = '''"""@TITLE@: what it lends against what, and what its contract compares.

A market is the contract at one address. Say here which function decides (contract, function, version), how it rounds,
and what moves without an event. What this file must not know: nodes, clocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from monitor.core.plan import values
from monitor.core.types import (
    Address,
    BlockRef,
    Call,
    Health,
    Line,
    MarketRef,
    Ok,
    Position,
    ReadPlan,
    Rule,
    Unit,
    Unknown,
    Unreadable,
)
from monitor.protocols.base import Deployment, Protocol, Truth, Version

ABI = "@MODULE@"
USD = Unit("USD", 18)


@dataclass(frozen=True, slots=True)
class Facts:
    """What does not change: addresses, decimals, symbols."""

    market: MarketRef
    oracle: Address


@dataclass(frozen=True, slots=True)
class State:
    """One account as the contract stores it."""

    facts: Facts
    collateral: int
    debt: int


class @CLASS@(Protocol[Facts, None]):
    """@TITLE@."""

    name = "@NAME@"
    title = "@TITLE@"
    versions: ClassVar[Sequence[Version]] = (Version("1", "not proven"),)
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {}

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        [oracle] = yield [Call(market.address, f"{ABI}.oracle")]
        return Facts(market, values(oracle)[0])

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        [oracle] = yield [Call(facts.market.address, f"{ABI}.oracle")]
        return bool(values(oracle)[0] == facts.oracle)

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        market = facts.market
        price, *answers = yield [
            Call(facts.oracle, f"{ABI}.price", allow_revert=True),
            *(Call(market.address, f"{ABI}.account", (owner,), allow_revert=True) for owner in owners),
        ]
        found: list[Position | Unreadable] = []
        for owner, answer in zip(owners, answers, strict=True):
            failed = next((one.reason for one in (price, answer) if not isinstance(one, Ok)), "")
            if failed:
                found.append(Unreadable(market.position_id(owner), owner, block, failed))
                continue
            state, rule = State(facts, *values(answer)), Rule(self.name, self.versions[0].name)
            prices = {facts.oracle: values(price)[0]}
            found.append(Position(market.position_id(owner), owner, block, rule, prices, state))
        return found

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[None]:
        yield from ()

    def evaluate(self, position: Position, context: None = None, at_s: int | None = None) -> Health:
        why = "the rule of @NAME@ is not written yet"
        return Health(position.id, position.block, Unknown(why), USD, liquidatable=None)

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        getter = f"{ABI}.health"
        answers = yield [Call(facts.market.address, getter, (owner,), allow_revert=True) for owner in owners]
        return [
            Truth(owner, {"health": answer.values[0]}) if isinstance(answer, Ok) else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: None = None) -> list[Line]:
        state: State = position.state
        return [
            Line("collateral", str(state.collateral), source="account(owner)"),
            Line("debt", str(state.debt), source="account(owner)"),
        ]


PROTOCOL = @CLASS@()
'''

TEST = '''"""@TITLE@ against its recorded contract. Each test that fails says what to do next."""

from __future__ import annotations

from functools import cache

from monitor.chain import recording
from monitor.core import registry
from monitor.core.types import Known
from monitor.protocols.base import with_price
from monitor.testing.contract_samples import Sample, samples
from tests.protocols.cassette import GOLDEN

PROTOCOL = registry.protocol("@NAME@")
FILE = GOLDEN / "@NAME@.json.gz"


@cache
def recorded() -> tuple[Sample, ...]:
    assert FILE.exists(), (
        "1. make abis/@MODULE@.json and the reads of monitor/protocols/@MODULE@ the contract's own, then write what it "
        "answers, with owners on both sides of the line: "
        "levmon verify --market @NAME@:0xMARKET 0xOWNER 0xOWNER --chain 1 --rpc-url URL "
        "--record tests/golden/@NAME@.json.gz"
    )
    return tuple(samples(recording.load(FILE)))


def contract_samples() -> list[Sample]:
    """For the contract suite, tests/protocols/test_contract_suite.py."""
    return list(recorded())


def test_recorded_answers_are_exact() -> None:
    told = recording.load(FILE).samples if FILE.exists() else []
    assert len(recorded()) == len(told) > 0, "2. write evaluate(): `reported` is what truth() reads, to the unit"


def test_both_sides_of_the_line_are_recorded() -> None:
    verdicts = [PROTOCOL.evaluate(one.position).verdict for one in recorded()]
    sides = {verdict.unhealthy for verdict in verdicts if isinstance(verdict, Known)}
    assert sides == {True, False}, "3. record healthy and unhealthy accounts"


def test_health_turns_where_the_contract_says() -> None:
    for one in recorded():
        for key, price in one.position.prices.items():
            around = [with_price(one.position, key, near) for near in (price - 1, price, price + 1)]
            verdicts = [PROTOCOL.evaluate(position).verdict for position in around]
            assert all(isinstance(verdict, Known) for verdict in verdicts), "4. judge one unit of price around as well"


def test_versions_say_how_they_are_proven() -> None:
    assert all(version.proof != "not proven" for version in PROTOCOL.versions), "5. say in `versions` how it is proven"


def test_deployments_have_a_source() -> None:
    assert PROTOCOL.deployments, "6. name the deployments, each with the public source of its address"
'''

FUNCTIONS = (
    ("oracle", (), ("address",)),
    ("price", (), ("uint256",)),
    ("account", ("address",), ("uint256", "uint256")),
    ("health", ("address",), ("uint256",)),
)


def files(name: str) -> dict[str, str]:
    """The three files by their place. May raise: ValueError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise ValueError(f"{name!r} is no name: small letters and digits, parts joined by '-'")
    module, title = name.replace("-", "_"), name.replace("-", " ").title()
    texts = {
        f"monitor/protocols/{module}.py": ADAPTER,
        f"abis/{module}.json": _abi(),
        f"tests/protocols/test_{module}.py": TEST,
    }
    parts = {"@NAME@": name, "@MODULE@": module, "@TITLE@": title, "@CLASS@": title.replace(" ", "")}
    for mark, part in parts.items():
        texts = {place: text.replace(mark, part) for place, text in texts.items()}
    return texts


def _abi() -> str:
    rows = (
        {
            "type": "function",
            "name": name,
            "stateMutability": "view",
            "inputs": [{"name": "owner", "type": kind} for kind in inputs],
            "outputs": [{"name": "", "type": kind} for kind in outputs],
        }
        for name, inputs, outputs in FUNCTIONS
    )
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


def write(name: str, root: Path) -> list[Path]:
    """Write them under `root`, all or none; touch nothing that is there. May raise: ValueError, FileExistsError."""
    texts = {root / place: text for place, text in files(name).items()}
    package = root / "monitor" / "protocols" / name.replace("-", "_")
    for path in (*texts, package):
        if path.exists():
            raise FileExistsError(f"{path.relative_to(root)} is there already")
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return list(texts)


def main() -> int:
    """`scripts/new_protocol NAME`."""
    parser = argparse.ArgumentParser(prog="scripts/new_protocol", description="Write the files of a new protocol.")
    parser.add_argument("name", help="as --market will call it, such as aave-v3")
    asked = parser.parse_args()
    root = Path(__file__).parents[2]
    try:
        written = write(asked.name, root)
    except (ValueError, FileExistsError) as wrong:
        print(wrong, file=sys.stderr)
        return 2
    print(*(path.relative_to(root) for path in written), sep="\n")
    print(f"then: scripts/test {written[-1].relative_to(root)} tells what to do")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
