"""Compiles contracts from the Solidity in npm packages, once, with npm's solc-js: Aave 3.6 and Morpho Blue.

Knows which contracts a market needs and the settings under which they stay below the size limit of a contract. The
output goes to the cache outside the repository: the sources are under the Business Source License and are not ours to
ship. Must not know how a market is put together; that is `aave_v3_origin.py` and `morpho.py`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from monitor.testing.artifacts import (
    Artifact,
    ProvisionFailed,
    artifact_from_json,
    cache_dir,
    locked,
    modules_dir,
    node,
    provision,
)

LIBRARIES = ("BorrowLogic", "ConfiguratorLogic", "FlashLoanLogic", "LiquidationLogic", "PoolLogic", "SupplyLogic")


@dataclass(frozen=True, slots=True)
class Project:
    """What is compiled together: `roots` below `sources` (folders of node_modules), by the npm package `compiler`."""

    name: str
    compiler: str
    sources: str
    roots: tuple[str, ...]
    settings: dict[str, Any] = field(hash=False)


AAVE_3_6 = Project(
    name="aave-3.6",
    compiler="solc",
    sources="@aave-dao/aave-v3-origin/src/contracts",
    roots=(
        "instances/PoolInstance",
        "instances/PoolConfiguratorInstance",
        "instances/ATokenInstance",
        "instances/VariableDebtTokenInstance",
        "misc/AaveOracle",
        "misc/DefaultReserveInterestRateStrategyV2",
        "misc/PriceOracleSentinel",
        "protocol/configuration/PoolAddressesProvider",
        "protocol/configuration/ACLManager",
        "helpers/AaveProtocolDataProvider",
        "mocks/oracle/SequencerOracle",
        *(f"protocol/libraries/logic/{name}" for name in LIBRARIES),
    ),
    settings={
        "optimizer": {"enabled": True, "runs": 200},
        "evmVersion": "shanghai",
        # no metadata hash: the code then does not depend on comments and paths
        "metadata": {"bytecodeHash": "none"},
        "remappings": [
            "openzeppelin-contracts/=@openzeppelin/",
            "openzeppelin-contracts-upgradeable/contracts/=@openzeppelin/contracts-upgradeable/",
            "solidity-utils/=@bgd-labs/solidity-utils/src/",
        ],
    },
)
MORPHO = Project(
    name="morpho-blue-1.0.0",
    compiler="solc-0.8.19",
    sources="@morpho-org/morpho-blue/src",
    roots=("Morpho", "mocks/IrmMock", "mocks/OracleMock"),
    settings={"optimizer": {"enabled": True, "runs": 200}, "metadata": {"bytecodeHash": "none"}},
)
# standard JSON in on stdin, out on stdout; imports are read below node_modules, which is the working directory
_SCRIPT = """
const fs = require('fs'), path = require('path');
const solc = require(path.join(process.cwd(), process.argv[1]));
const read = name => fs.existsSync(name) ? {contents: fs.readFileSync(name, 'utf8')} : {error: 'no file ' + name};
process.stdout.write(solc.compile(fs.readFileSync(0, 'utf8'), {import: read}));
"""
TICK_S = 10


def _job(project: Project, modules: Path) -> str:
    names = (f"{project.sources}/{root}.sol" for root in project.roots)
    sources = {name: (modules / name).read_text() for name in names}
    return json.dumps(
        {
            "language": "Solidity",
            "sources": {name: {"content": text} for name, text in sources.items()},
            "settings": project.settings
            | {"outputSelection": {name: {Path(name).stem: ["evm.bytecode"]} for name in sources}},
        }
    )


def _output_file(project: Project) -> Path:
    """Named after everything that decides the output: the lock (sources, compiler), the roots and the settings."""
    inputs = json.dumps([modules_dir().parent.name, project.compiler, project.roots, project.settings, _SCRIPT])
    return cache_dir() / f"{project.name}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.json"


def _compile(project: Project, modules: Path) -> dict[str, Any]:
    say = f"localnet: compiling {len(project.roots)} contracts of {project.name} with solc (once, up to a minute)"
    print(say, file=sys.stderr, flush=True)
    started = time.monotonic()
    with subprocess.Popen(
        [node(), "-e", _SCRIPT, project.compiler],
        cwd=modules,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        job: bytes | None = _job(project, modules).encode()
        answered: tuple[bytes, bytes] | None = None
        while answered is None:
            try:
                answered = process.communicate(job, timeout=TICK_S)
            except subprocess.TimeoutExpired:
                job = None
                print(f"localnet: compiling, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
            except BaseException:
                process.kill()
                raise
    output, errors = answered
    if process.returncode != 0:
        raise ProvisionFailed(f"solc ended with code {process.returncode}: {errors.decode(errors='replace')[-800:]}")
    answer = json.loads(output)
    if wrong := [e["formattedMessage"] for e in answer.get("errors", []) if e["severity"] == "error"]:
        raise ProvisionFailed("solc refused the sources of " + project.name + ": " + "\n".join(wrong)[:800])
    return {
        Path(file).stem: contract["evm"]["bytecode"]
        for file, contracts in answer["contracts"].items()
        for contract in contracts.values()
        if contract["evm"]["bytecode"]["object"]
    }


def compile_project(project: Project) -> Path:
    """The file with all compiled contracts, written if it is not there yet. May raise ProvisionFailed."""
    target = _output_file(project)
    if target.is_file():
        return target
    modules = provision()
    with locked(target.with_suffix(".lock")):
        if not target.is_file():
            fresh = target.with_suffix(".new")
            fresh.write_text(json.dumps(_compile(project, modules)))
            fresh.replace(target)
    return target


@lru_cache(maxsize=4)
def _compiled(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text()))


def compiled(project: Project, name: str) -> Artifact:
    """A contract of the project, e.g. `PoolInstance`. May raise: ProvisionFailed, KeyError when it is no root."""
    raw = _compiled(compile_project(project))[name]
    return artifact_from_json(name, raw["object"], raw["linkReferences"])


def origin(name: str) -> Artifact:
    """A contract of Aave 3.6."""
    return compiled(AAVE_3_6, name)
