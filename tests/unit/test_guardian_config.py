"""[guardian] and [[protect]]: what is accepted, what becomes of it, and mistakes told with line and fix."""

from __future__ import annotations

from argparse import Namespace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import pytest

from monitor.cli.guarding import stranger
from monitor.core.config import parse
from monitor.core.errors import ConfigError
from monitor.core.liquidations import Token
from monitor.core.types import BlockRef, Health, Leg, NoDebt, Side, Unit
from monitor.pipeline.guardians import Guardian, line_prices, protection_of, protections

PROVIDER = "0x2f39d218133AFaB8F2B819B1066c7E434Ad94E9e"
OWNER = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
RIGHT = f"""\
[chains.local]
chain_id = 31337
[[markets]]
name = "core"
chain = "local"
protocol = "aave-v3"
address = "{PROVIDER}"
[guardian]
address = "{OWNER}"
armed = true
gas_per_day = 0.05
max_fee_gwei = 12.5
[guardian.limits]
per_action = 10
per_position_day = 20
per_key_day = 30
[[protect]]
name = "mine"
market = "core"
owner = "{OWNER}"
trigger = 1.1
target = 1.4
"""


def test_what_is_right_becomes_rules_and_wei() -> None:
    config = parse(RIGHT + '[[protect]]\nname = "all"\nselector = "eip155:*"\ntrigger = 1.2\ntarget = 1.5\n')
    assert config.guardian is not None
    guardian = Guardian(config.guardian, Path("base"))
    assert guardian.max_fee_wei == 12_500_000_000
    assert guardian.gas_per_day_wei == 5 * 10**16
    assert guardian.socket == Path("base/signer.sock")
    assert guardian.journal_url.startswith("sqlite:////")
    rules = protections(config)
    mine = protection_of(rules, config.ref(config.markets[0]).position_id(OWNER))
    assert mine is not None
    assert mine.rule.target == Fraction(7, 5)
    other = protection_of(rules, f"eip155:31337/aave-v3/{PROVIDER}/{PROVIDER}")
    assert other is not None
    assert other.name == "all"
    assert protection_of(rules[:1], "eip155:1/aave-v3/x/y") is None


def test_the_version_of_a_rule_changes_with_what_it_says() -> None:
    [one], [same], [other] = (
        parse(text).protect for text in (RIGHT, RIGHT, RIGHT.replace("target = 1.4", "target = 1.5"))
    )
    assert one.version == same.version != other.version


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("armed = true", "aremd = true", 10, "did you mean 'armed'"),
        ("per_action = 10", "per_action = 25", 13, "per_action <= per_position_day"),
        ("per_action = 10", "per_actoin = 10", 14, "did you mean 'per_action'"),
        ("trigger = 1.1", "trigger = 1.6", 21, "1 < trigger < target"),
        ("trigger = 1.1", "triger = 1.1", 21, "did you mean 'trigger'"),
        ('market = "core"\nowner', 'market = "cor"\nowner', 19, "did you mean 'core'"),
        ("max_fee_gwei = 12.5", "max_fee_gwei = 0", 12, "out of range"),
        (f'owner = "{OWNER}"\n', "", 17, "whose positions?"),
        ("armed = true", f'journal = "{"ab" * 32}"', 10, "a raw key never stands here"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_fix(old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(RIGHT.replace(old, new, 1))
    assert f"levmon.toml:{line}:" in str(wrong.value)
    assert what in str(wrong.value)
    assert "ab" * 32 not in str(wrong.value)


def test_rules_need_a_guardian_and_an_armed_one_needs_limits() -> None:
    start, end = RIGHT.index("[guardian]"), RIGHT.index("[[protect]]")
    with pytest.raises(ConfigError, match="nobody to protect with"):
        parse(RIGHT[:start] + RIGHT[end:])
    limits = RIGHT.index("[guardian.limits]")
    with pytest.raises(ConfigError, match="armed without limits"):
        parse(RIGHT[:limits] + RIGHT[end:])


def test_a_purse_that_is_only_looked_at_has_no_limits() -> None:
    guardian = stranger("0x" + "11" * 20)
    assert guardian.config.limits is not None
    assert guardian.config.limits.per_action >= 10**12
    assert not guardian.config.armed


def test_price_lines_read_a_price_with_the_decimals_that_its_market_gives_it() -> None:
    """Aave's have the unit's; Morpho's as many as make whole tokens of it."""
    block, asset = BlockRef(1, 1, "", "", 1), "0x" + "11" * 20
    leg = Leg(Side.COLLATERAL, asset, "WETH", 18, 10**18, 2_000 * 10**24, 24, 2_000 * 10**6, 0)
    health = Health("p", block, NoDebt(), Unit("USDC", 6), legs=(leg,))
    found = line_prices({asset: 2_000 * 10**24, "other": 3 * 10**6}, {asset: "WETH"}, health)
    assert (found[asset], found["WETH"], found["other"]) == (2_000 * 10**36, 2_000 * 10**36, 3 * 10**36)


def test_values_hold_in_markets_that_count_in_their_unit_and_in_no_other() -> None:
    config = parse(RIGHT.replace("[guardian.limits]", '[guardian.limits]\nunit = "USDC"')).guardian
    assert config is not None
    guardian, token = Guardian(config, Path()), Token(PROVIDER, "WETH", 18, 2_000 * 10**6)
    step = cast(Any, Namespace(asset=PROVIDER, symbol="WETH", decimals=18, price=token.price))
    assert guardian.limits([step], Unit("USDC", 6))[PROVIDER].per_action == 5 * 10**15
    assert guardian.limits([step], Unit("USD", 8)) == {}
    assert "are in USDC, and this market counts in WETH" in guardian.without_limits(Unit("WETH", 18))
    looked_on = stranger(OWNER)
    assert set(looked_on.limits([step], Unit("WETH", 18))) == {PROVIDER}
    assert looked_on.liquidation_limits([token], Unit("WETH", 18)) != {}
    in_tokens = RIGHT.replace("[guardian.limits]", '[guardian.assets.WETH]\nunit = "USDC"')
    with pytest.raises(ConfigError, match="these limits are in tokens"):
        parse(in_tokens)
