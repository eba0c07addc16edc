"""Compiles the Vyper sources in monitor/contracts into abis/*.json.

Knows the one place where source and artifact differ on purpose: Vyper gives a `@raw_return` function the ABI type
`bytes`, but what its caller decodes is the type the function really answers, which is written here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
_ROUND = (("roundId", "uint80"), ("answer", "int256"), ("startedAt", "uint256"), ("updatedAt", "uint256"))
RAW_RETURNS = {
    "latestAnswer": (("", "int256"),),
    "latestRoundData": (*_ROUND, ("answeredInRound", "uint80")),
    "getRoundData": (*_ROUND, ("answeredInRound", "uint80")),
}


def compile_contract(source: Path) -> dict[str, Any]:
    """`{"abi": [...], "bytecode": "0x..."}`. May raise subprocess.CalledProcessError."""
    vyper = Path(sys.executable).with_name("vyper")
    done = subprocess.run(
        [str(vyper), "--no-bytecode-metadata", "-f", "abi,bytecode", source.name],
        cwd=source.parent,
        capture_output=True,
        check=True,
        text=True,
    )
    abi_line, bytecode = done.stdout.strip().splitlines()
    interface = json.loads(abi_line)
    for entry in interface:
        if outputs := RAW_RETURNS.get(entry.get("name", "")):
            entry["outputs"] = [{"name": name, "type": kind} for name, kind in outputs]
    return {"abi": interface, "bytecode": bytecode}


def artifact_text(artifact: dict[str, Any]) -> str:
    """How an artifact is written: one ABI entry a line, so that a change reads well in a diff."""
    entries = ",\n  ".join(json.dumps(entry) for entry in artifact["abi"])
    return f'{{"abi": [\n  {entries}\n],\n"bytecode": "{artifact["bytecode"]}"}}\n'


def write_artifacts() -> list[Path]:
    written = []
    for source in sorted((ROOT / "monitor" / "contracts").glob("*.vy")):
        target = ROOT / "abis" / f"{source.stem}.json"
        target.write_text(artifact_text(compile_contract(source)))
        written.append(target)
    return written
