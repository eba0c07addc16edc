"""signer.toml: which keys there are, and what they may be used for. Strict: unknown keys are errors.

This is the signer's own file, apart from levmon.toml, because whoever can edit levmon.toml must not thereby be able to
widen what gets signed. Everything is forbidden that is not listed here: chains, owners, contracts with their kinds,
assets with their limits. Amounts are integers in the asset's smallest unit, fees in wei. Loosening takes a restart.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from monitor.core import toml_source
from monitor.core.address import parse_address
from monitor.core.errors import ConfigError
from monitor.core.types import Address
from monitor.signer.keys import looks_like_key

SIZE_LIMIT = 1_000_000
MAX_AMOUNT = 2**128 - 2
"""No limit may be so high that it permits what tokens take for infinite."""
COIN = frozenset({"0x0000000000000000000000000000000000000000", "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"})
"""What stands for the chain's own coin elsewhere; here only tokens have limits."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("not an address: write it as text in quotes")  # noqa: TRY004  # pydantic collects ValueError
    try:
        return parse_address(value)
    except ConfigError as wrong:
        raise ValueError(f"{wrong.message}; {wrong.hint}") from None


def _path(value: object) -> object:
    if isinstance(value, str) and looks_like_key(value):
        raise ValueError("a raw key never stands here: put it into a file of mode 600 and name that file")
    return value


Name = Annotated[str, Field(pattern=_NAME)]
ChecksumAddress = Annotated[Address, BeforeValidator(_address)]
MarketId = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Amount = Annotated[int, Field(ge=0, le=MAX_AMOUNT)]
Text = Annotated[str, BeforeValidator(_path), Field(min_length=1, max_length=1000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class KeyConfig(_Model):
    """One key: an `account` of Foundry or ape, a `keystore`, a `key_file` with the raw key, or `environment = true`.

    `nonce_gap`: how far above the highest nonce signed here a request may be; it is skipped when the key is also used
    elsewhere. 0: not at all, so that a foreign transaction stops the key until someone runs `adopt`.
    """

    account: Text | None = None
    keystore: Text | None = None
    key_file: Text | None = None
    environment: bool = False
    password_file: Text | None = None
    address: ChecksumAddress | None = None
    nonce_gap: Annotated[int, Field(ge=0, le=10_000)] = 16

    @model_validator(mode="after")
    def _one_source(self) -> KeyConfig:
        if [self.account, self.keystore, self.key_file, self.environment or None].count(None) != 3:
            raise ValueError("give exactly one of account, keystore, key_file, environment")
        return self


class ContractConfig(_Model):
    """One contract that may be called, by which kinds of intent, with at most how much ether (none unless said).

    `markets`: the ids of those that may be used, where one contract holds many. `asset`: the one token that it takes,
    where calls do not name it (Venus, Compound V2); without it no such call is signed. Never the chain's own coin.
    """

    address: ChecksumAddress
    kinds: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    markets: Annotated[tuple[MarketId, ...], Field(strict=False)] = ()
    asset: ChecksumAddress | None = None
    max_value_wei: Amount = 0

    @model_validator(mode="after")
    def _token(self) -> ContractConfig:
        if self.asset in COIN:
            raise ValueError("asset must be a token: the chain's own coin cannot be spent")
        if self.asset is not None and self.max_value_wei:
            raise ValueError("a contract that takes one token takes no ether along: leave out max_value_wei or asset")
        return self


class AssetConfig(_Model):
    """One token: the most that one action and one key in any 24 hours may move, and the most that may be approved."""

    address: ChecksumAddress
    per_action: Amount
    per_day: Amount
    max_allowance: Amount = 0
    liquidate_per_action: Amount = 0
    liquidate_per_day: Amount = 0


class ChainConfig(_Model):
    """One chain: whose positions, which contracts and assets, and what a transaction and a key's day may cost.

    `liquidate`: anybody's position may be liquidated, by the listed contracts, for and with the listed assets, and
    within the assets' own limits for that, which count apart from the others.
    `routers`: exchanges that a contract may be told to trade through; they are never called themselves.
    """

    chain_id: Annotated[int, Field(ge=1, lt=2**53)]
    owners: Annotated[tuple[ChecksumAddress, ...], Field(strict=False)]
    max_gas: Annotated[int, Field(ge=21_000, le=2**63)]
    max_fee_per_gas_wei: Amount
    max_priority_fee_per_gas_wei: Amount
    max_cost_wei: Amount
    max_cost_per_day_wei: Amount
    liquidate: bool = False
    contracts: Annotated[tuple[ContractConfig, ...], Field(strict=False)] = ()
    assets: Annotated[tuple[AssetConfig, ...], Field(strict=False)] = ()
    routers: Annotated[tuple[ChecksumAddress, ...], Field(strict=False)] = ()

    def contract(self, address: Address) -> ContractConfig | None:
        """The entry of a contract, if it has one."""
        return next((one for one in self.contracts if one.address == address), None)

    def asset(self, address: Address) -> AssetConfig | None:
        """The entry of a token, if it has one."""
        return next((one for one in self.assets if one.address == address), None)


class TemplateConfig(_Model):
    """A template of another distribution: its file, and the sha256 of the file that was looked at."""

    file: Text
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]


class SignerConfig(_Model):
    """A whole signer.toml. Paths are relative to the file. `allowed_uids`: who may ask; none listed: the same user."""

    socket: Text
    database: Text
    kill_file: Text
    armed_file: Text | None = None
    armed_for_s: Annotated[int, Field(ge=1, le=10_000_000)] = 300
    allowed_uids: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**32)], ...], Field(strict=False)] = ()
    keys: Annotated[dict[Name, KeyConfig], Field(min_length=1)]
    chains: Annotated[dict[Name, ChainConfig], Field(min_length=1)]
    templates: Annotated[tuple[TemplateConfig, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _nothing_twice(self) -> SignerConfig:
        ids = [chain.chain_id for chain in self.chains.values()]
        if len(set(ids)) != len(ids):
            raise ValueError("two tables of [chains] have one chain_id")
        for chain in self.chains.values():
            for what in (chain.contracts, chain.assets):
                places = [one.address for one in what]
                if len(set(places)) != len(places):
                    raise ValueError(f"chain {chain.chain_id} lists one address twice")
            for contract in chain.contracts:
                if contract.asset is not None and chain.asset(contract.asset) is None:
                    raise ValueError(f"{contract.address} takes {contract.asset}, which has no entry among the assets")
        return self

    def chain(self, chain_id: int) -> ChainConfig | None:
        """The chain of that id, if it is listed."""
        return next((one for one in self.chains.values() if one.chain_id == chain_id), None)


def load(path: Path) -> SignerConfig:
    """Read and check a file. May raise: ConfigError, which names every mistake with its line."""
    try:
        raw = path.read_bytes()[: SIZE_LIMIT + 1]
    except OSError as failed:
        raise ConfigError(
            f"cannot read {path}: {failed.strerror}", hint="name the signer's file with --config"
        ) from None
    if len(raw) > SIZE_LIMIT:
        raise ConfigError(f"{path} is larger than {SIZE_LIMIT} bytes", hint="this is another kind of file")
    try:
        return parse(raw.decode(), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text", hint="save the file as UTF-8") from None


def parse(text: str, name: str = "signer.toml") -> SignerConfig:
    """Check the text of a signer.toml. May raise: ConfigError with every mistake."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as wrong:
        found = re.search(r"at line (\d+)", str(wrong))
        raise ConfigError(f"{name}:{found[1] if found else 1}: not valid TOML", hint="mend the line") from None
    try:
        return SignerConfig.model_validate(document)
    except ValidationError as wrong:
        raise ConfigError(_told(wrong, text, name), hint="see monitor/signer/config.py for every key") from None


def _told(wrong: ValidationError, text: str, name: str) -> str:
    """Each mistake with its line. Values are not repeated: a key could have been pasted where a path belongs."""
    lines = toml_source.key_lines(text)
    told = []
    for error in wrong.errors(include_url=False, include_input=False, include_context=False):
        path = tuple(part for part in error["loc"] if isinstance(part, int) or re.fullmatch(_NAME, part))
        where = ".".join(str(part) for part in path) or "file"
        what = "unknown key" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
        told.append(f"{name}:{toml_source.line_of(lines, path)}: {where}: {what}")
    return "\n".join(told)
