"""A contract's source with a switch at every check, so that one contract shows what each of them prevents.

`assert X, "WHY"` becomes `assert (X) or self.off == N, "WHY"`: what X does still happens, its verdict no longer counts.
Statements that are a defence by themselves are only run while their switch is on. Nothing else changes.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from monitor.testing.contracts import ROOT

GUARD = ROOT / "monitor" / "contracts" / "guard.vy"
LIQUIDATOR = ROOT / "monitor" / "contracts" / "liquidator.vy"
# a defence that is no assert: its name, and the one line that is it
STATEMENTS = {
    "spend the id": "self.used[owner][action_id] = True",
    "no more than max_repay": "repay = min(repay, max_repay)",
    "book the day": "self.spent[owner][today] = total",
    "take back the router's allowance": "self._disallow(job.collateral, job.router)",
    "take back the pool's allowance": "self._disallow(collateral, POOL)",
    "take back the debt's allowance": "self._disallow(asset, POOL)",
    "once": "self._flight = empty(bytes32)",
    "give back": "self._give_back(job.collateral, job.owner, pulled - sold)",
}
LIMIT, LIMIT_LINE = (
    "limit by the oracle",
    "most = min(min(most, max_collateral), self._balance(sold_from.aTokenAddress, owner))",
)
LOCK = "@nonreentrant\n"
SWITCH = """

off: uint256


@external
def switch_off(number: uint256):
    self.off = number
"""


def switched(source: Path = GUARD) -> tuple[str, tuple[str, ...]]:
    """The source with switches, and their names; number 1 is the first. A reason used twice is `WHY`, `WHY 2`."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    lines = []
    for line in source.read_text().splitlines():
        indent, code = line[: len(line) - len(line.lstrip())], line.strip()
        if found := re.fullmatch(r'assert (.+), "([A-Z_]+)"', code):
            condition, why = found.groups()
            seen[why] += 1
            names.append(why if seen[why] == 1 else f"{why} {seen[why]}")
            lines.append(f'{indent}assert ({condition}) or self.off == {len(names)}, "{why}"')
            continue
        if code in STATEMENTS.values():
            names.append(next(name for name, statement in STATEMENTS.items() if statement == code))
            lines += [f"{indent}if self.off != {len(names)}:", f"{indent}    {code}"]
            continue
        if code == LIMIT_LINE:
            names.append(LIMIT)
            lines += [f"{indent}if self.off == {len(names)}:", f"{indent}    most = max_value(uint256)"]
        lines.append(line)
    return "\n".join(lines) + SWITCH, tuple(names)


def unlocked() -> str:
    """The guard without its lock."""
    return GUARD.read_text().replace(LOCK, "")
