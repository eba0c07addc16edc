"""[guardian] and [[protect]] of levmon.toml: from whose purse positions are rescued, within which limits, and when.

Amounts are exact decimals for people: values in the market's unit (USD), tokens of an asset, the chain's coin. They
become integers where prices and decimals are known. Nothing here is a secret: keys are the signer's, in its own file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, field_validator

from monitor.core.address import looks_like_address
from monitor.core.toml_model import ChecksumAddress, Database, Exact, Name, Table

Mistake = tuple[tuple[str | int, ...], str, str]
"""Where, what, and how to mend it."""
_RAW_KEY = re.compile(r"\s*(0x)?[0-9a-fA-F]{64}\s*")
_LIMITS = ("per_action", "per_position_day", "per_key_day")

USD = "USD"
ANY_UNIT = "*"
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Fees = Annotated[tuple[Annotated[int, Field(ge=1, lt=1_000_000)], ...], Field(strict=False, min_length=1, max_length=8)]
Action = Literal["repay", "supply", "deleverage", "close"]
BY_GUARD = frozenset({"deleverage", "close"})


class LimitsConfig(Table):
    """The most that may be moved: by one action, for one position and by the key in any 24 hours.

    In [guardian.limits] values in the market's unit for every asset, in [guardian.assets.SYMBOL] tokens. Values are for
    markets that count in `unit` and for no other: 5,000 USD are not 5,000 WETH.
    """

    per_action: Exact
    per_position_day: Exact
    per_key_day: Exact
    unit: Text = USD


class FlashConfig(Table):
    """[guardian.liquidate.flash.MARKET]: our liquidator contract for that market's pool, which the guardian owns.

    `router` is a SwapRouter02 and `quoter` a QuoterV2 of one factory; `fees` are the pools' fee tiers in millionths.
    """

    contract: ChecksumAddress
    router: ChecksumAddress
    quoter: ChecksumAddress
    fees: Fees = (500, 3000)


class LiquidateConfig(LimitsConfig):
    """[guardian.liquidate]: anybody's unhealthy position may be liquidated from the purse, for a profit.

    Its limits are values in the market's unit and count apart from those of rescues. `haircut_bps` is what
    selling the collateral costs, `min_profit` what one liquidation must bring, in the market's unit. `assets`: symbols
    or addresses of debts that may be paid; none is all.
    """

    haircut_bps: Annotated[int, Field(ge=0, le=9_999)] = 100
    min_profit: Exact = Fraction(0)
    assets: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    flash: dict[Name, FlashConfig] = Field(default_factory=dict)


class GuardConfig(Table):
    """[guardian.guards.MARKET]: the guard contract of that market's pool, and the Uniswap V3 that it trades through.

    `router` is a SwapRouter02 and `quoter` a QuoterV2 of one factory; `fees` are the pools' fee tiers in millionths,
    `pairs` other ones for single pairs ("WETH/USDC" = [500]). A trade may become `tolerance_bps` dearer until it is
    included. Nothing is sold while the exchange and the market's oracle are more than `gap_bps` apart.
    """

    contract: ChecksumAddress
    router: ChecksumAddress
    quoter: ChecksumAddress
    fees: Fees = (500, 3000)
    pairs: dict[Annotated[str, Field(pattern=r"^[^/]{1,40}/[^/]{1,40}$")], Fees] = Field(default_factory=dict)
    tolerance_bps: Annotated[int, Field(ge=0, le=1000)] = 50
    gap_bps: Annotated[int, Field(ge=1, le=2000)] = 300


class PriceConfig(Table):
    """A price at which a position is closed: of `asset` (symbol or address), in the market's unit (USD)."""

    asset: Text
    price: Exact


class GuardianConfig(Table):
    """The purse. `signer` is the socket of `levmon signer`, `journal` a file or a database URL, paths beside the file.

    `armed` lets `levmon protect --broadcast` act unattended. `gas_per_day` and `min_reserve` are in the chain's coin.
    `cancel_over_cap`: a cancel may offer an eighth more than `max_fee_gwei`, where it replaces an offer near it.
    `odd_tokens`: symbols or addresses of tokens that may move otherwise than they are asked to.
    `native`: the symbol or address of the coin's wrapped token, at whose price gas is weighed; else W and its symbol.
    """

    address: ChecksumAddress
    signer: Text = "signer.sock"
    signer_config: Text = "signer.toml"
    journal: Database = "levmon.db"
    kill_file: Text = "levmon.kill"
    armed: bool = False
    limits: LimitsConfig | None = None
    assets: dict[Text, LimitsConfig] = Field(default_factory=dict)
    liquidate: LiquidateConfig | None = None
    gas_per_day: Exact = Fraction(1, 20)
    min_reserve: Exact = Fraction(0)
    max_fee_gwei: Exact = Fraction(200)
    cancel_over_cap: bool = True
    native: str = ""
    deadline_s: Annotated[int, Field(ge=10, le=86_400)] = 300
    odd_tokens: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    guards: dict[Name, GuardConfig] = Field(default_factory=dict)

    @field_validator("signer", "signer_config", "journal", "kill_file")
    @classmethod
    def _no_key(cls, value: str) -> str:
        if _RAW_KEY.fullmatch(value):
            raise ValueError("a raw key never stands here\nput it into a keystore and name that in signer.toml")
        return value

    def limits_of(self, asset: str, symbol: str) -> tuple[LimitsConfig, bool] | None:
        """The limits of an asset, and whether they are in tokens; by address first, then by symbol, then USD."""
        for name, limits in self.assets.items():
            if name.lower() == asset.lower():
                return limits, True
        for name, limits in self.assets.items():
            if name == symbol:
                return limits, True
        return (self.limits, False) if self.limits else None


class ProtectConfig(Table):
    """When to act on which positions, and how far. Exactly one of `owner` and `selector`; `market` with an owner.

    `selector` is a pattern over position ids, such as `eip155:1/*`. An action starts when health was below `trigger`
    in so many `observations` in a row, or below `hard_trigger` once. `assets`: symbols or addresses; none is all. Where
    a price jumps beyond belief between two blocks, `suspect_oracle` says whether to hold, or to repay all the same.
    `deleverage` and `close` need a guard; at the price of `stop_loss` or under it, and of `take_profit` or over it, the
    position is closed.
    """

    name: Name | None = None
    market: str | None = None
    owner: str | None = None
    selector: Text | None = None
    trigger: Exact
    target: Exact
    hard_trigger: Exact = Fraction(0)
    actions: Annotated[tuple[Action, ...], Field(strict=False, min_length=1)] = ("repay", "supply")
    assets: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    observations: Annotated[int, Field(ge=1, le=1000)] = 2
    suspect_oracle: Literal["hold", "repay"] = "hold"
    cooldown_s: Annotated[int, Field(ge=0, le=10_000_000)] = 600
    retry_s: Annotated[int, Field(ge=0, le=10_000_000)] = 60
    stop_loss: PriceConfig | None = None
    take_profit: PriceConfig | None = None

    @property
    def version(self) -> int:
        """A number that changes with what the rule says, so that an action can keep the version it started under."""
        return int.from_bytes(hashlib.sha256(repr(self).encode()).digest()[:6])


def check(guardian: GuardianConfig | None, rules: tuple[ProtectConfig, ...]) -> Iterator[Mistake]:
    """What no single field can know, but for names of markets and owners."""
    if guardian is not None:
        yield from _check_guardian(guardian)
    if rules and guardian is None:
        yield (("protect", 0), "nobody to protect with", "add [guardian] with the purse's address and its limits")
    names: set[str] = set()
    for index, rule in enumerate(rules):
        path = ("protect", index)
        if rule.name is not None and rule.name in names:
            yield ((*path, "name"), f"a rule {rule.name!r} is already there", "give it another name")
        names.add(rule.name or "")
        yield from _check_rule(rule, path)
        if BY_GUARD & set(rule.actions) and guardian is not None and not guardian.guards:
            yield (
                (*path, "actions"),
                "nothing to do that with",
                "add [guardian.guards.MARKET] with the guard contract",
            )


def _check_guardian(guardian: GuardianConfig) -> Iterator[Mistake]:
    tables: list[tuple[tuple[str | int, ...], LimitsConfig]] = []
    if guardian.limits:
        tables.append((("guardian", "limits"), guardian.limits))
    if guardian.liquidate:
        tables.append((("guardian", "liquidate"), guardian.liquidate))
        if guardian.liquidate.min_profit < 0:
            yield (("guardian", "liquidate", "min_profit"), "below 0", "write what a liquidation must bring, or 0")
    for path, limits in (*tables, *((("guardian", "assets", name), one) for name, one in guardian.assets.items())):
        values = [getattr(limits, name) for name in _LIMITS]
        if min(values) < 0:
            yield (path, "a limit is below 0", "write 0 for nothing at all")
        elif values != sorted(values):
            yield (path, "per_action <= per_position_day <= per_key_day must hold", "put them in order")
    if guardian.armed and not guardian.limits and not guardian.assets:
        yield (("guardian", "armed"), "armed without limits", "add [guardian.limits] or [guardian.assets.SYMBOL]")
    for name in ("gas_per_day", "min_reserve", "max_fee_gwei"):
        value = getattr(guardian, name)
        if value < 0 or (value == 0 and name == "max_fee_gwei"):
            yield (("guardian", name), "out of range", "write a positive number")
    for name, limits in guardian.assets.items():
        if limits.unit != USD:
            yield (("guardian", "assets", name, "unit"), "these limits are in tokens", "remove the unit")
        if name.startswith("0x") and not looks_like_address(name):
            yield (("guardian", "assets", name), "neither a symbol nor an address", "an address has 40 hex digits")


def _check_rule(rule: ProtectConfig, path: tuple[str | int, ...]) -> Iterator[Mistake]:
    if (rule.owner is None) == (rule.selector is None):
        yield (path, "whose positions?", 'give owner = "0x..." with a market, or selector = "..."')
    if rule.owner is not None and rule.market is None:
        yield ((*path, "owner"), "in which market?", 'add market = "..." to this table')
    if not 1 < rule.trigger < rule.target:
        yield ((*path, "trigger"), "1 < trigger < target must hold", "lower the trigger or raise the target")
    if not 0 <= rule.hard_trigger <= rule.trigger:
        yield ((*path, "hard_trigger"), "the hard trigger lies between 0 and the trigger", "lower it")
    for name in ("stop_loss", "take_profit"):
        line = getattr(rule, name)
        if line is not None and line.price <= 0:
            yield ((*path, name), "a price is above 0", "write a positive number")
        if line is not None and "close" not in rule.actions:
            yield ((*path, name), "closing is not among the actions", 'add "close" to actions')
    if not rule.actions:
        yield ((*path, "actions"), "nothing may be done", 'write actions = ["repay", "supply"]')
