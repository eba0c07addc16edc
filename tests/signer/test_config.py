"""signer.toml is read strictly: what is not understood is an error with its line, and no value is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.core.errors import ConfigError
from monitor.signer import config
from tests.signer.room import CHAIN, CONFIG, OWNER, POOL, SECRET, STRANGER, USDC


def test_the_whole_file_is_read() -> None:
    read = config.parse(CONFIG)
    chain = read.chain(CHAIN)
    assert chain is not None
    assert read.chain(1) is None
    contract, asset = chain.contract(POOL), chain.asset(USDC)
    assert contract is not None
    assert asset is not None
    assert (contract.kinds, contract.max_value_wei) == (("aave-v3/repay", "aave-v3/supply"), 0)
    assert (asset.per_action, asset.per_day, asset.max_allowance) == (1_000, 5_000, 10_000)
    assert chain.contract(USDC) is None
    assert chain.asset(POOL) is None


MISTAKES = {
    "an unknown key": (CONFIG + "\n[surprise]\nx = 1\n", "surprise: unknown key"),
    "an unknown key inside": (CONFIG.replace("per_day = 300", "per_day = 300\nper_week = 5"), "per_week: unknown key"),
    "a float": (CONFIG.replace("per_day = 300", "per_day = 300.0"), "per_day"),
    "text for a number": (CONFIG.replace("per_day = 300", 'per_day = "300"'), "per_day"),
    "a negative limit": (CONFIG.replace("per_day = 300", "per_day = -1"), "per_day"),
    "an infinite limit": (CONFIG.replace("per_day = 300", f"per_day = {2**128 - 1}"), "per_day"),
    "no limit": (CONFIG.replace("per_day = 300", ""), "per_day: Field required"),
    "a wrong checksum": (CONFIG.replace(OWNER, OWNER.swapcase().replace("0X", "0x")), "wrong checksum"),
    "no address": (CONFIG.replace(f'owners = ["{OWNER}"]', "owners = [5]"), "not an address"),
    "no owners": (CONFIG.replace(f'owners = ["{OWNER}"]', ""), "owners: Field required"),
    "no kinds": (CONFIG.replace('kinds = ["aave-v3/repay"]', "kinds = []"), "kinds"),
    "an asset twice": (CONFIG + f'[[chains.local.assets]]\naddress = "{USDC}"\nper_action = 1\nper_day = 1\n', "twice"),
    "two chains of one id": (CONFIG + CONFIG[CONFIG.index("[chains.local]") :].replace("local", "again"), "chain_id"),
    "no key": (CONFIG.replace("[keys.guardian]", "").replace('key_file = "guardian.key"', ""), "keys: Field required"),
    "two sources of a key": (CONFIG.replace("[keys.guardian]", '[keys.guardian]\naccount = "x"'), "exactly one"),
    "no source of a key": (CONFIG.replace('key_file = "guardian.key"', ""), "exactly one"),
    "a raw key as its file": (CONFIG.replace("guardian.key", SECRET.hex()), "raw key never"),
    "a raw key as an account": (
        CONFIG.replace('key_file = "guardian.key"', f'account = "0x{SECRET.hex()}"'),
        "raw key",
    ),
    "a raw key under a key of its own": (
        CONFIG.replace('key_file = "guardian.key"', f'private_key = "{SECRET.hex()}"'),
        "unknown key",
    ),
    "no TOML": (CONFIG + f"\nkey = {SECRET.hex()}", "not valid TOML"),
    "a hash that is none": (CONFIG + '[[templates]]\nfile = "x"\nsha256 = "12"\n', "sha256"),
    "gas for nothing": (CONFIG.replace("max_gas = 1_000_000", "max_gas = 20_999"), "max_gas"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_without_its_value(mistake: str) -> None:
    text, expected = MISTAKES[mistake]
    assert text != CONFIG
    with pytest.raises(ConfigError, match=expected) as wrong:
        config.parse(text)
    assert SECRET.hex() not in str(wrong.value)
    assert str(wrong.value).startswith("signer.toml:")


def test_the_line_is_right() -> None:
    text = CONFIG.replace("per_day = 300", "per_day = 300\nper_week = 5")
    line = text[: text.index("per_week")].count("\n") + 1
    with pytest.raises(ConfigError, match=f"signer.toml:{line}: chains.local.assets.1.per_week"):
        config.parse(text)


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * 1_000_001)
    (tmp_path / "good").write_text(CONFIG)
    for name in ("missing", "binary", "large"):
        with pytest.raises(ConfigError, match=name):
            config.load(tmp_path / name)
    assert config.load(tmp_path / "good") == config.parse(CONFIG)
    assert STRANGER not in str(config.parse(CONFIG))
