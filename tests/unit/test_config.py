"""levmon.toml: what is accepted, and that every mistake is told with its line and the fix."""

from __future__ import annotations

import pickle
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from monitor.core import toml_source
from monitor.core.address import parse_address
from monitor.core.config import Config, load, parse
from monitor.core.errors import ConfigError
from monitor.core.secret import RpcUrl, rpc_urls
from monitor.core.thresholds import Thresholds
from monitor.core.types import MarketRef

PROVIDER = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
OWNER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
SECRET = "s3cr3t-key"

RIGHT = f"""\
[chains.local]
chain_id = 31337
rpc = ["http://127.0.0.1:8545"]

[[markets]]
name = "core"
chain = "local"
protocol = "aave-v3"
address = "{PROVIDER}"

[[positions]]
market = "core"
owner = "{OWNER}"
warn = 1.5
critical = 1.1
"""


def problems(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.toml", env or {})
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_file_of_the_issue_is_right() -> None:
    config = parse(RIGHT, env={})
    [market] = config.markets
    [position] = config.positions
    assert config.ref(market) == MarketRef(31337, "aave-v3", PROVIDER)
    assert config.owner(position.owner) == OWNER
    assert config.thresholds(position) == Thresholds(Fraction(2), Fraction(3, 2), Fraction(11, 10))


def test_numbers_are_exact_decimals() -> None:
    config = parse("[levels]\nwatch = 2.3\nwarn = 1.1000000000000000000001\ncritical = 1.1\n", env={})
    levels = config.thresholds()
    assert levels.watch == Fraction(23, 10)
    assert levels.warn - levels.critical == Fraction(1, 10**22)


def test_an_empty_file_is_right_and_has_the_default_levels() -> None:
    assert parse("", env={}).thresholds() == Thresholds(Fraction(2), Fraction(3, 2), Fraction(11, 10))


@pytest.mark.parametrize(
    ("change", "line", "told", "fix"),
    [
        (("chain_id = 31337", "chain_id = 31337\nfinalty = 3"), 3, "chains.local.finalty: unknown key", "'finality'"),
        (("chain_id = 31337", "chain_id = 0"), 2, "chain_id", "raise"),
        (("chain_id = 31337", "chain_id = 9007199254740992"), 2, "chain_id", "lower"),
        (("chain_id = 31337", 'chain_id = "1"'), 2, "chain_id", "without quotes"),
        (("chain_id = 31337", "chain_id = true"), 2, "chain_id", "without quotes"),
        (("chain_id = 31337\n", ""), 1, "chain_id: missing", "add chain_id"),
        (("chain_id = 31337", "chain_id = 31337\nquorum = 2"), 3, "at least 3 endpoints", "add endpoints"),
        (("chain_id = 31337", "chain_id = 31337\nblock_time_s = 0"), 3, "out of range", "seconds"),
        (('"http://127.0.0.1:8545"', f'"ftp://{SECRET}@x/"'), 3, "not a usable URL", "https://host/path"),
        (('name = "core"', 'name = "co re"'), 6, "name", "letters"),
        (('chain = "local"', 'chain = "locl"'), 7, "unknown chain 'locl'", "did you mean 'local'"),
        (('"aave-v3"', '"ave-v3"'), 8, "unknown protocol 'ave-v3'", "did you mean 'aave-v3'"),
        (("address = ", "adress = "), 9, "unknown key", "did you mean 'address'"),
        ((PROVIDER, PROVIDER.replace("2f39d2", "2F39d2")), 9, "wrong checksum", PROVIDER),
        ((PROVIDER, PROVIDER[:-1]), 9, "not an address", "40 hexadecimal digits"),
        (('market = "core"', 'market = "care"'), 12, "unknown market 'care'", "did you mean 'core'"),
        ((f'owner = "{OWNER}"', 'owner = "treasury"'), 13, "unknown owner 'treasury'", "label of [addresses]"),
        ((f'owner = "{OWNER}"', "owner = 5"), 13, "owner", "text in quotes"),
        (("warn = 1.5", "warn = 1.05"), 14, "out of order", "change it"),
        (("warn = 1.5", "warn = 2.5"), 14, "out of order", "change it"),
        (("critical = 1.1", "critical = 0.99"), 15, "out of range", "change it"),
        (("critical = 1.1", "critical = nan"), 15, "not a finite number", "1.5"),
        (("critical = 1.1", "critical = 1e999999999"), 15, "out of range", "1.5"),
        (("critical = 1.1", 'critical = "x"'), 15, "not a number", "1.5"),
        (("critical = 1.1", "critical = true"), 15, "not a number", "1.5"),
        (("[[positions]]", "[positions]"), 11, "positions", "double brackets"),
        (("warn = 1.5", "warn = "), 14, "not valid TOML", "mend the line"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_fix(change: tuple[str, str], line: int, told: str, fix: str) -> None:
    text = RIGHT.replace(*change)
    assert text != RIGHT
    said = problems(text)
    _, at, rest = said.partition(f"x.toml:{line}: ")
    assert at, said
    assert told in rest
    assert fix in rest
    assert SECRET not in said


def test_all_mistakes_are_told_at_once() -> None:
    said = problems(RIGHT.replace("31337", "0").replace("address = ", "adress = "))
    assert "x.toml:2:" in said
    assert said.count("x.toml:9:") == 1
    assert "x.toml:5: markets[1].address: missing" in said


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('[[positions]]\nmarket = "core"\nowner = "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"\n', "same position"),
        (f'[[positions]]\nmarket = "core"\nowner = "me"\n[addresses]\nme = "{OWNER}"\n', "same position"),
        (f'[[markets]]\nname = "core"\nchain = "local"\nprotocol = "aave-v3"\naddress = "{OWNER}"\n', "already there"),
        (
            f'[[markets]]\nname = "b"\nchain = "local"\nprotocol = "aave-v3"\naddress = "{PROVIDER.lower()}"\n',
            "the same market as 'core'",
        ),
        ("[chains.other]\nchain_id = 31337\n", "already chain 'local'"),
    ],
)
def test_nothing_may_be_there_twice(more: str, told: str) -> None:
    said = problems(RIGHT + more)
    assert told in said
    assert int(said.split(":")[1]) > RIGHT.count("\n")


def test_secrets_come_from_the_environment_and_never_show(tmp_path: Path) -> None:
    (tmp_path / "urls.txt").write_text(f"https://b.example/{SECRET}\nhttps://c.example/{SECRET}\n")
    file = tmp_path / "levmon.toml"
    file.write_text(
        RIGHT.replace(
            'rpc = ["http://127.0.0.1:8545"]', 'rpc = ["https://u:${KEY}@a.example/${KEY}"]\nquorum = 2'
        ).replace("quorum", 'rpc_file = "urls.txt"\nquorum')
    )
    config = load(file, {"KEY": SECRET})
    urls = config.chains["local"].rpc
    assert [str(url) for url in urls] == ["a.example", "b.example", "c.example"]
    assert urls[0].reveal() == f"https://u:{SECRET}@a.example/{SECRET}"
    assert SECRET not in f"{config!r} {config} {config.chains!r} {urls!r}"


def test_an_unset_variable_and_a_missing_file_are_mistakes(tmp_path: Path) -> None:
    said = problems(RIGHT.replace("127.0.0.1", "${HOST_OF_NODE}"))
    assert said.startswith("x.toml:3: chains.local.rpc[1]: environment variable HOST_OF_NODE is not set")
    said = problems(RIGHT.replace("chain_id = 31337", 'chain_id = 31337\nrpc_file = "none.txt"'))
    assert said.startswith("x.toml:3: chains.local.rpc_file: cannot read none.txt")
    with pytest.raises(ConfigError, match="cannot read") as caught:
        load(tmp_path / "none.toml")
    assert "config init" in caught.value.hint


def test_a_file_that_is_no_text_or_far_too_large_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "levmon.toml"
    file.write_bytes(b"# fine\n\xff\n")
    with pytest.raises(ConfigError, match="2: not UTF-8"):
        load(file)
    file.write_bytes(b"#" * 4_000_001)
    with pytest.raises(ConfigError, match="larger than"):
        load(file)


def test_a_rpc_url_shows_its_host_only() -> None:
    url = RpcUrl(f"https://user:{SECRET}@node.example:8443/v2/{SECRET}?key={SECRET}")
    assert str(url) == f"{url}" == "node.example:8443"
    assert SECRET not in repr(url)
    with pytest.raises(TypeError):
        pickle.dumps(url)
    for bad in ("", "node.example", "http://", f"http://a b/{SECRET}", f"ws://x/{SECRET}", f"file:///{SECRET}"):
        with pytest.raises(ConfigError) as caught:
            RpcUrl(bad, ("http", "https"))
        assert SECRET not in str(caught.value)


def test_which_endpoint_wins() -> None:
    configured = (RpcUrl("http://file.example"),)
    env = {"LEVMON_RPC_1": "http://one.example, http://two.example", "ETH_RPC_URL": "http://eth.example"}

    def hosts(
        chain_id: int | None, file: tuple[RpcUrl, ...], flag: tuple[str, ...], given: dict[str, str]
    ) -> list[str]:
        return [str(url) for url in rpc_urls(chain_id, file, flag, given)]

    assert hosts(1, configured, ("http://flag.example",), env) == ["flag.example"]
    assert hosts(1, configured, (), env) == ["one.example", "two.example"]
    assert hosts(10, configured, (), env) == ["file.example"]
    assert hosts(10, (), (), env) == ["eth.example"]
    assert hosts(None, (), (), env) == ["eth.example"]
    with pytest.raises(ConfigError, match="no endpoint for chain 10") as caught:
        rpc_urls(10, (), (), {})
    assert "LEVMON_RPC_10" in caught.value.hint
    with pytest.raises(ConfigError, match="LEVMON_RPC_1"):
        rpc_urls(1, (), (), {"LEVMON_RPC_1": "not-a-url"})


@pytest.mark.parametrize("text", [OWNER, OWNER.lower(), "0x" + OWNER[2:].upper()])
def test_addresses_of_one_case_or_with_the_right_checksum(text: str) -> None:
    assert parse_address(text) == OWNER


def test_owners_are_addresses_labels_or_names() -> None:
    config = Config.model_validate({"addresses": {"treasury": OWNER}})
    assert config.owner("treasury") == OWNER
    assert config.owner(OWNER.lower()) == OWNER
    assert config.owner("Vitalik.eth") == "vitalik.eth"
    assert config.label(OWNER) == "treasury"
    for bad in ("nobody", ".eth", "eth.", "0x12"):
        with pytest.raises(ConfigError):
            config.owner(bad)


TOML = '''\
# a comment [not.a.table]
title = "a # in a string"  # and one behind it
[a."b.c"]
key = """
many
lines""" # end
list = [ # inside
  1,
  "two",  [3],
]
inline = { x = 1, "y z" = { deep = true } }
[[rows]]
n = 1
[rows.sub]
m = 2
[[rows]]
n = 3
[[rows.inner]]
k = 4
dotted.key = 5
literal = \'\'\'x\'\'\'
'''


def test_every_key_is_found_on_its_line() -> None:
    tomllib.loads(TOML)
    lines = toml_source.key_lines(TOML)
    assert lines["title",] == 2
    assert lines["a", "b.c", "key"] == 4
    assert lines["a", "b.c", "list"] == 7
    assert lines["a", "b.c", "list", 1] == 9
    assert lines["a", "b.c", "list", 2, 0] == 9
    assert lines["a", "b.c", "inline", "y z", "deep"] == 11
    assert lines["rows", 0, "n"] == 13
    assert lines["rows", 0, "sub", "m"] == 15
    assert lines["rows", 1] == 16
    assert lines["rows", 1, "inner", 0, "k"] == 19
    assert lines["rows", 1, "inner", 0, "dotted", "key"] == 20
    assert lines["rows", 1, "inner", 0, "literal"] == 21
    assert toml_source.line_of(lines, ("rows", 1, "missing")) == 16
    assert toml_source.line_of(lines, ("nothing",)) == 1
