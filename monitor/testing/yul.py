"""Compiles the Yul sources in monitor/contracts into abis/*.json with the solc that the npm lock pins.

The artifacts are what levmon ships; a test compiles the sources again and compares. Knows one compiler call, and that
the machine code must run on chains which have had no fork since Istanbul.
"""

from __future__ import annotations

import json
from pathlib import Path

from monitor.testing.artifacts import node, provision, run_tool

ROOT = Path(__file__).resolve().parent.parent.parent
CONTRACTS = ROOT / "monitor" / "contracts"
ARTIFACTS = {
    CONTRACTS / "Deployless.yul": ROOT / "abis" / "deployless.json",
    CONTRACTS / "AaveV3Globals.yul": ROOT / "abis" / "aave_v3_globals.json",
    CONTRACTS / "AaveV3Lens.yul": ROOT / "abis" / "aave_v3_lens.json",
}
_SCRIPT = "process.stdout.write(require('solc').compile(require('fs').readFileSync(0, 'utf8')))"


def compile_yul(source: Path) -> str:
    """Creation code in hex of the outermost object. May raise: ProvisionFailed, ValueError when solc refuses it."""
    job = {
        "language": "Yul",
        "sources": {source.name: {"content": source.read_text()}},
        "settings": {
            "evmVersion": "istanbul",
            "optimizer": {"enabled": True, "details": {"yul": True}},
            "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
        },
    }
    answer = json.loads(run_tool([node(), "-e", _SCRIPT], cwd=provision().parent, stdin=json.dumps(job).encode()))
    errors = [e["formattedMessage"] for e in answer.get("errors", ()) if e["severity"] == "error"]
    if errors:
        raise ValueError("\n".join(errors))
    (contract, *_) = answer["contracts"][source.name].values()
    return "0x" + str(contract["evm"]["bytecode"]["object"])


def artifact_text(bytecode: str) -> str:
    return json.dumps({"abi": [], "bytecode": bytecode}) + "\n"


def write_artifacts() -> list[Path]:
    """May raise: as compile_yul."""
    for source, target in ARTIFACTS.items():
        target.write_text(artifact_text(compile_yul(source)))
    return list(ARTIFACTS.values())
