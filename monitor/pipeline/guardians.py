"""The guardian as the file describes it, ready to be used: limits in smallest units and wei, rules, paths made whole.

Pure but for paths. Limits in the market's unit become amounts at the price of the moment; they are rounded down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.core.actions import Step
from monitor.core.database import database_url
from monitor.core.errors import ConfigError
from monitor.core.guardian import ANY_UNIT
from monitor.core.guarding import GuardSetup
from monitor.core.liquidations import BUDGET, Token
from monitor.core.types import Address, Health, MarketRef, Unit
from monitor.execution.limits import AssetLimits, SpendLimits
from monitor.health.solve import price_decimals
from monitor.pipeline.beside import Sources
from monitor.policy.rules import PriceLine, Rule
from monitor.policy.selectors import choose
from monitor.signer.config import MAX_AMOUNT

if TYPE_CHECKING:
    from monitor.core.config import Config
    from monitor.core.guardian import GuardianConfig, LimitsConfig, PriceConfig, ProtectConfig

GWEI = 10**9
COIN_WEI = 10**18
PRICE_DECIMALS = 36
"""Of price lines: more than any market's unit has, so that nothing is rounded."""
PURSE = ("repay", "supply")
"""The actions that pay from the purse; the others take the owner's collateral."""


@dataclass(frozen=True, slots=True)
class Guardian:
    """[guardian] of a file at `base`, with its guards by market, and what the file wants read beside each.

    `None` limits: an asset that is not to be touched.
    """

    config: GuardianConfig
    base: Path = field(default_factory=Path)
    guards: Mapping[MarketRef, GuardSetup] = field(default_factory=dict)
    liquidators: Mapping[MarketRef, GuardSetup] = field(default_factory=dict)
    beside: Mapping[MarketRef, Sources] = field(default_factory=dict)

    @property
    def address(self) -> Address:
        return self.config.address

    @property
    def socket(self) -> Path:
        return self.base / self.config.signer

    @property
    def signer_file(self) -> Path:
        return self.base / self.config.signer_config

    @property
    def kill_file(self) -> Path:
        return self.base / self.config.kill_file

    @property
    def journal_url(self) -> str:
        """A database URL as it is, a file as SQLite's."""
        return database_url(self.config.journal, self.base)

    @property
    def max_fee_wei(self) -> int:
        return int(self.config.max_fee_gwei * GWEI)

    @property
    def gas_per_day_wei(self) -> int:
        return int(self.config.gas_per_day * COIN_WEI)

    @property
    def min_reserve_wei(self) -> int:
        return int(self.config.min_reserve * COIN_WEI)

    @property
    def odd_tokens(self) -> frozenset[str]:
        """Tokens whose transfers may differ from what is asked, by symbol or address in lower case."""
        return frozenset(name.lower() for name in self.config.odd_tokens)

    def asset_limits(self, step: Step, unit: Unit) -> AssetLimits | None:
        """The limits of the step's asset in its smallest unit; None where there are none, or no price to tell.

        `unit` is the market's.
        """
        found = self.config.limits_of(step.asset, step.symbol)
        if found is None:
            return None
        limits, in_tokens = found
        if in_tokens:
            return _scaled(limits, Fraction(10**step.decimals))
        if step.price <= 0 or not _counted_in(limits, unit):
            return None
        return _scaled(limits, Fraction(10**unit.decimals * 10**step.decimals, step.price))

    def limits(self, steps: Iterable[Step], unit: Unit) -> dict[Address, AssetLimits]:
        """The limits of every asset that the steps move."""
        found = {}
        for step in steps:
            if step.asset not in found and (limits := self.asset_limits(step, unit)) is not None:
                found[step.asset] = limits
        return found

    def without_limits(self, unit: Unit) -> str:
        """Why values say nothing about a market that counts in `unit`; empty if they do, or there are none."""
        limits = self.config.limits
        if limits is None or _counted_in(limits, unit):
            return ""
        return f"[guardian.limits] are in {limits.unit}, and this market counts in {unit.symbol}"

    def liquidation_limits(self, tokens: Iterable[Token], unit: Unit) -> dict[str, AssetLimits]:
        """What liquidations may pay of these debts, by what it counts under; nothing where there is no opt-in."""
        found = {}
        if (limits := self.config.liquidate) is not None and _counted_in(limits, unit):
            wanted = {name.lower() for name in limits.assets}
            for token in tokens:
                named = not wanted or wanted & {token.asset.lower(), token.symbol.lower()}
                if named and token.price > 0:
                    one = Fraction(10**unit.decimals * 10**token.decimals, token.price)
                    found[BUDGET + token.asset] = _scaled(limits, one)
        return found

    def spend_limits(self, assets: Mapping[Address, AssetLimits]) -> SpendLimits:
        """Everything that bounds the key."""
        return SpendLimits(assets, self.gas_per_day_wei, self.min_reserve_wei)


def _counted_in(limits: LimitsConfig, unit: Unit) -> bool:
    return limits.unit in (unit.symbol, ANY_UNIT)


def _scaled(limits: LimitsConfig, unit: Fraction) -> AssetLimits:
    """No limit is so high that it permits what tokens take for infinite."""
    amounts = (limits.per_action, limits.per_position_day, limits.per_key_day)
    return AssetLimits(*(min(int(amount * unit), MAX_AMOUNT) for amount in amounts))


@dataclass(frozen=True, slots=True)
class Protection:
    """One [[protect]] as a rule of policy, and what may be done by it: kinds without the protocol, assets by name."""

    rule: Rule
    actions: tuple[str, ...]
    assets: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.rule.name

    @property
    def selector(self) -> str:
        return self.rule.selector

    def kinds(self, protocol: str) -> tuple[str, ...]:
        return tuple(f"{protocol}/{action}" for action in self.actions)


ANY = Protection(Rule("by hand", 0, "*", Fraction(2), Fraction(3)), (*PURSE, "deleverage", "close"), ())
"""What is allowed where no [[protect]] speaks of the position: a person asks."""


def guards(config: Config) -> dict[MarketRef, GuardSetup]:
    """The guard contracts of a file by market."""
    named = {market.name: config.ref(market) for market in config.markets}
    found = {}
    for name, guard in config.guardian.guards.items() if config.guardian else ():
        pairs = tuple((*pair.split("/"), fees) for pair, fees in guard.pairs.items())
        found[named[name]] = GuardSetup(
            contract=guard.contract,
            router=guard.router,
            quoter=guard.quoter,
            fees=guard.fees,
            pairs=pairs,  # type: ignore[arg-type]  # the file's pattern has one slash
            tolerance_bps=guard.tolerance_bps,
            gap_bps=guard.gap_bps,
        )
    return found


def liquidators(config: Config) -> dict[MarketRef, GuardSetup]:
    """The liquidator contracts of a file by market."""
    named = {market.name: config.ref(market) for market in config.markets}
    found = config.guardian.liquidate.flash if config.guardian and config.guardian.liquidate else {}
    return {named[name]: GuardSetup(one.contract, one.router, one.quoter, one.fees) for name, one in found.items()}


def protections(config: Config) -> tuple[Protection, ...]:
    """All [[protect]] of a file, in order. May raise: ConfigError."""
    return tuple(_protection(config, entry, index) for index, entry in enumerate(config.protect))


def _protection(config: Config, entry: ProtectConfig, index: int) -> Protection:
    selector = entry.selector or ""
    if entry.owner is not None:
        market = next(one for one in config.markets if one.name == entry.market)
        owner = config.owner(entry.owner)
        if "." in owner:
            raise ConfigError(
                f"protect[{index + 1}]: an ENS name is not protected",
                hint="write the 0x address: a name may come to mean somebody else",
            )
        selector = config.ref(market).position_id(owner)
    rule = Rule(
        name=entry.name or f"protect[{index + 1}]",
        version=entry.version,
        selector=selector,
        trigger=entry.trigger,
        target=entry.target,
        hard_trigger=entry.hard_trigger,
        confirm=entry.observations,
        cooldown_s=entry.cooldown_s,
        retry_s=entry.retry_s,
        trust_jumps=entry.suspect_oracle == "repay",
        levels=config.thresholds(),
        stop_loss=_line(entry.stop_loss, above=False),
        take_profit=_line(entry.take_profit, above=True),
    )
    return Protection(rule.checked(), tuple(entry.actions), tuple(entry.assets))


def _line(price: PriceConfig | None, *, above: bool) -> PriceLine | None:
    if price is None:
        return None
    return PriceLine(price.asset, int(price.price * 10**PRICE_DECIMALS), above, decimals=PRICE_DECIMALS)


def line_prices(prices: Mapping[str, int], symbols: Mapping[str, str], health: Health) -> dict[str, int]:
    """Prices as price lines have them, by key and by symbol; a symbol that two keys share tells nothing."""
    scaled = {key: price * 10**PRICE_DECIMALS // 10 ** price_decimals(health, key) for key, price in prices.items()}
    names = [symbols[key] for key in prices if key in symbols]
    by_symbol = {symbols[key]: scaled[key] for key in prices if key in symbols and names.count(symbols[key]) == 1}
    return by_symbol | scaled


def protection_of(all_of_them: Iterable[Protection], position_id: str) -> Protection | None:
    """Which protection applies to a position: the most exact one."""
    return choose(all_of_them, position_id)
