"""What a command line, a file and the environment together ask of which chain."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from monitor.cli.targets import Wanted, one_position, resolve
from monitor.core.errors import ConfigError

PROVIDER = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
SPARK = "0x02C3eA4e34C0cBd694D2adFa2c690EECbC1793eE"
ME, YOU = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"

FILE = f"""\
[chains.one]
chain_id = 1
rpc = ["http://a.example", "http://b.example", "http://c.example"]
ws = ["ws://a.example"]
quorum = 2
[chains.local]
chain_id = 31337
rpc = ["http://127.0.0.1:8545"]
[[markets]]
name = "core"
chain = "one"
protocol = "aave-v3"
address = "{PROVIDER}"
[[markets]]
name = "spare"
chain = "one"
protocol = "aave-v3"
address = "{SPARK}"
[[markets]]
name = "mine"
chain = "local"
protocol = "aave-v3"
address = "{ME}"
[addresses]
me = "{ME}"
[[positions]]
market = "core"
owner = "me"
warn = 1.7
[[positions]]
market = "core"
owner = "vitalik.eth"
[[positions]]
market = "mine"
owner = "{YOU}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "levmon.toml"
    path.write_text(FILE)
    return path


def shape(wanted: Wanted, env: dict[str, str] | None = None) -> dict[str, dict[str, list[str]]]:
    """Chain -> market -> owners."""
    return {
        chain.name: {market.name: [owner.who for owner in market.owners] for market in chain.markets}
        for chain in resolve(wanted, env or {}).chains
    }


def test_without_words_the_positions_of_the_file(file: Path) -> None:
    assert shape(Wanted(file)) == {"one": {"core": [ME, "vitalik.eth"]}, "local": {"mine": [YOU]}}


def test_markets_without_positions_only_where_all_are_wanted(file: Path) -> None:
    assert list(shape(Wanted(file, every_market=True))["one"]) == ["core", "spare"]


def test_owners_replace_those_of_the_file_and_are_asked_once(file: Path) -> None:
    found = shape(Wanted(file, markets=("core",), owners=("me", ME.lower(), YOU)))
    assert found == {"one": {"core": [ME, YOU]}}


def test_thresholds_of_the_file_hold_for_its_positions_and_flags_win(file: Path) -> None:
    def warn(wanted: Wanted) -> dict[str, Fraction]:
        [chain] = resolve(wanted, {}).chains
        return {owner.name or owner.who: owner.thresholds.warn for owner in chain.markets[0].owners}

    assert warn(Wanted(file, markets=("core",), owners=(ME, YOU))) == {"me": Fraction(17, 10), YOU: Fraction(3, 2)}
    flagged = Wanted(file, markets=("core",), owners=(ME, YOU), warn=Fraction(16, 10))
    assert warn(flagged) == {"me": Fraction(16, 10), YOU: Fraction(16, 10)}
    with pytest.raises(ConfigError, match="out of order"):
        resolve(Wanted(file, warn=Fraction(3)), {})


def test_a_market_of_the_file_by_its_address_keeps_its_name(file: Path) -> None:
    assert shape(Wanted(file, markets=(f"aave-v3:{PROVIDER.lower()}",))) == {"one": {"core": [ME, "vitalik.eth"]}}
    assert shape(Wanted(file, markets=("ethereum/aave-v3/core",), owners=(YOU,))) == {"one": {"core": [YOU]}}


def test_endpoints_by_precedence_and_quorum_only_with_its_own(file: Path) -> None:
    def reach(wanted: Wanted, env: dict[str, str]) -> tuple[list[str], int, int]:
        [chain] = resolve(wanted, env).chains
        return [str(url) for url in chain.urls], chain.quorum, len(chain.ws)

    core = Wanted(file, markets=("core",), owners=(ME,))
    assert reach(core, {}) == (["a.example", "b.example", "c.example"], 2, 1)
    assert reach(core, {"LEVMON_RPC_1": "http://x.example"}) == (["x.example"], 0, 0)
    flag = Wanted(file, markets=("core",), owners=(ME,), rpc_urls=("http://y.example",))
    assert reach(flag, {"LEVMON_RPC_1": "http://x.example"}) == (["y.example"], 0, 0)
    with pytest.raises(ConfigError, match="one chain's"):
        resolve(Wanted(file, rpc_urls=("http://y.example",)), {})


def test_without_a_file_the_chain_is_known_by_name_by_flag_or_by_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {"ETH_RPC_URL": "http://e.example", "LEVMON_RPC_10": "http://ten.example"}

    def reached(**wanted: object) -> tuple[int | None, str]:
        [chain] = resolve(Wanted(owners=(ME,), **wanted), env).chains  # type: ignore[arg-type]
        return chain.chain_id, str(chain.urls[0])

    assert reached(markets=("ethereum/aave-v3/core",)) == (1, "e.example")
    assert reached(markets=("optimism/aave-v3/core",)) == (10, "ten.example")
    assert reached(markets=(f"aave-v3:{PROVIDER}",)) == (None, "e.example")
    assert reached(markets=(f"aave-v3:{PROVIDER}",), chain="optimism") == (10, "ten.example")
    assert reached(markets=(f"eip155:10/aave-v3/{PROVIDER}",)) == (10, "ten.example")


def test_ens_names_need_an_ethereum_endpoint(file: Path) -> None:
    targets = resolve(Wanted(file), {})
    assert targets.ens is not None
    assert targets.ens.chain_id == 1
    local = Wanted(file, markets=("mine",), owners=("vitalik.eth",))
    assert resolve(local, {}).ens is not None
    file.write_text(FILE.replace("chain_id = 1\n", "chain_id = 5\n"))
    with pytest.raises(ConfigError, match="ENS"):
        resolve(local, {})
    found = resolve(local, {"LEVMON_RPC_1": "http://eth.example"}).ens
    assert found is not None
    assert str(found.urls[0]) == "eth.example"


def test_a_position_by_id_by_market_and_owner_or_by_owner() -> None:
    plain = Wanted(markets=("core",))
    assert one_position(ME, plain).owners == (ME,)
    by_market = one_position(f"core/{ME}", Wanted())
    assert (by_market.markets, by_market.owners) == (("core",), (ME,))
    by_id = one_position(f"eip155:1/aave-v3/{PROVIDER}/{ME}", Wanted())
    assert (by_id.markets, by_id.owners) == ((f"eip155:1/aave-v3/{PROVIDER}",), (ME,))
    with pytest.raises(ConfigError, match="already"):
        one_position(f"core/{ME}", plain)
