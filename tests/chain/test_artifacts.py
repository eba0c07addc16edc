from __future__ import annotations

import gzip
import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from monitor.testing import artifacts, in_process, solc
from monitor.testing.contracts import ROOT, artifact_text, compile_contract
from monitor.testing.devchain import CallReverted
from monitor.testing.py_evm import EthTesterDevChain


@pytest.mark.parametrize("name", ["PriceFeed", "guard", "liquidator"])
def test_artifact_is_what_its_source_compiles_to(name: str) -> None:
    compiled = compile_contract(ROOT / "monitor" / "contracts" / f"{name}.vy")
    assert (ROOT / "abis" / f"{name}.json").read_text() == artifact_text(compiled)


def test_lock_is_complete_and_names_no_registry() -> None:
    lock = json.loads((artifacts.NPM / "package-lock.json").read_text())
    wanted = json.loads((artifacts.NPM / "package.json").read_text())["dependencies"]
    root = lock["packages"].pop("")
    assert root["dependencies"] == wanted
    for name, entry in lock["packages"].items():
        assert entry["integrity"].startswith("sha512-"), name
        assert "resolved" not in entry, name
        assert not entry.get("hasInstallScript"), name
    assert all(re.fullmatch(r"(npm:solc@)?[0-9.]+", version) for version in wanted.values())


def test_many_may_provision_at_once() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: artifacts.provision(), range(4)))
    assert found == {artifacts.modules_dir()}
    assert not found.pop().is_relative_to(ROOT)


@pytest.mark.parametrize("path", ["protocol/pool/Pool", "protocol/pool/PoolConfigurator"])
def test_linking_fills_every_placeholder(path: str) -> None:
    piece = artifacts.core_v3(path)
    names = {name for name, _ in piece.links}
    assert names
    code = piece.linked(dict.fromkeys(names, "0x" + "ab" * 20))
    assert len(code) == len(piece.code)
    assert all(code[start : start + 20] == b"\xab" * 20 for _, start in piece.links)
    with pytest.raises(KeyError):
        piece.linked({})


def test_every_contract_of_3_6_fits_under_the_size_limit() -> None:
    for root in solc.AAVE_3_6.roots:
        assert 0 < len(solc.origin(Path(root).name).code) < 24_576, root


def test_cache_stays_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVMON_CACHE", str(tmp_path / "x"))
    assert artifacts.cache_dir() == tmp_path / "x"
    monkeypatch.delenv("LEVMON_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "y"))
    assert artifacts.cache_dir() == tmp_path / "y" / "levmon"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x1f\x8b not gzip", id="not gzip"),
        pytest.param(gzip.compress(b"{}", mtime=0)[:-9] + bytes(9), id="broken gzip"),
        pytest.param(gzip.compress(b"{}", mtime=0), id="another file"),
        pytest.param(None, id="missing"),
    ],
)
def test_a_damaged_or_missing_kept_chain_is_not_used(tmp_path: Path, damage: bytes | None) -> None:
    file = tmp_path / "kept.json.gz"
    if damage is not None:
        file.write_bytes(damage)
    assert in_process._read(file) is None


def test_price_feed_keeps_rounds_and_fails_on_demand() -> None:
    chain = EthTesterDevChain()
    admin = chain.account("admin")
    code = artifacts.own_contract("PriceFeed").code
    feed = chain.deploy(admin, code, "(uint8,string,int256)", [8, "A / USD", -5])
    words = "(uint80,int256,uint256,uint256,uint80)"
    born = chain.timestamp()
    assert chain.call(feed, "latestRoundData()", words) == (1, -5, born, born, 1)
    assert chain.call(feed, "description()", "(string)") == ("A / USD",)
    assert chain.call(feed, "decimals()", "(uint8)") == (8,)
    chain.send(admin, feed, "setAnswer(int256)", 2**255 - 1)
    assert chain.call(feed, "latestAnswer()", "(int256)") == (2**255 - 1,)
    assert chain.call(feed, "latestRound()", "(uint256)") == (2,)
    assert chain.call(feed, "getRoundData(uint80)", words, 1) == (1, -5, born, born, 1)
    with pytest.raises(CallReverted, match="No data present"):
        chain.call(feed, "getRoundData(uint80)", words, 9)
    chain.send(admin, feed, "setFault(uint256)", 1)
    with pytest.raises(CallReverted, match="feed reverts"):
        chain.call(feed, "latestRoundData()", words)
    chain.send(admin, feed, "setFault(uint256)", 2)
    assert chain.call_data(feed, bytes.fromhex("feaf968c")) == bytes(15) + b"\x00"
    with pytest.raises(CallReverted, match="unknown fault"):
        chain.send(admin, feed, "setFault(uint256)", 3)
