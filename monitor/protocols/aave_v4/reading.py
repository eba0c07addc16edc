"""Reads Aave V4 accounts: which calls, and what their answers mean. Judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from monitor.core.errors import ProtocolError
from monitor.core.plan import values
from monitor.core.types import Address, Answer, BlockRef, Call, MarketRef, Ok, Position, ReadPlan, Rule, Unreadable
from monitor.protocols.aave_v4.math import Facts, HubAsset, LiquidationConfig, Reserve, ReserveFacts, State, Terms
from monitor.protocols.symbols import symbol_calls, symbol_of

ABI = "aave_v4"
REVISION = 1
MOST_RESERVES = 1000
"""More than a spoke has; a list that claims more is not walked."""
RULE = Rule("aave-v4", "1")


def read_facts(market: MarketRef) -> ReadPlan[Facts]:
    """Three rounds. May raise: ProtocolError for a revision whose rules are not known."""
    oracle, revision, count = yield _shared(market.address)
    if values(revision)[0] != REVISION:
        raise ProtocolError(f"{market} is of revision {values(revision)[0]}, whose rules are not known here")
    if values(count)[0] > MOST_RESERVES:
        raise ProtocolError(f"{market} claims {values(count)[0]} reserves")
    found = yield tuple(Call(market.address, f"{ABI}.getReserve", (at,)) for at in range(values(count)[0]))
    listed = [values(answer)[0] for answer in found]
    assets = [one[0] for one in listed]
    texts = yield tuple(call for asset in assets for call in symbol_calls(asset))
    reserves = []
    for at, (asset, hub, asset_id, decimals, *_) in enumerate(listed):
        name = symbol_of(asset, *texts[2 * at : 2 * at + 2])
        key = asset if assets.count(asset) == 1 else f"{asset}/{at}"
        reserves.append(ReserveFacts(at, asset, name, decimals, hub, asset_id, key))
    return Facts(market, values(oracle)[0], tuple(reserves))


def still_true(facts: Facts) -> ReadPlan[bool]:
    """Whether oracle, revision and the number of reserves are the same: a reserve once listed keeps its asset."""
    answers = yield tuple(Call(call.to, call.function, allow_revert=True) for call in _shared(facts.market.address))
    told = [answer.values[0] if isinstance(answer, Ok) else None for answer in answers]
    return told == [facts.oracle, REVISION, len(facts.reserves)]


def source_calls(facts: Facts, reserves: Sequence[ReserveFacts]) -> tuple[Call, ...]:
    """The price source of each."""
    return tuple(Call(facts.oracle, f"{ABI}.getReserveSource", (one.id,), allow_revert=True) for one in reserves)


def spoke_calls(facts: Facts) -> tuple[Call, ...]:
    """What each hub lets this spoke do."""
    return tuple(
        Call(one.hub, f"{ABI}.getSpoke", (one.asset_id, facts.market.address), allow_revert=True)
        for one in facts.reserves
    )


def read_state(facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
    """Two rounds: reserves, prices and what each account has there; then the terms under the keys that they hold."""
    read = _Read(facts, block, {})
    calls = [*read.market_calls(), *(call for owner in owners for call in read.account_calls(owner))]
    read.answers.update(zip(calls, (yield tuple(calls)), strict=True))
    terms = tuple(dict.fromkeys(call for owner in owners for call in read.terms_calls(owner)))
    read.answers.update(zip(terms, (yield terms) if terms else (), strict=True))
    return [read.position(owner) for owner in owners]


class _Unread(Exception):
    """The account cannot be told: the call and its reason."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The answers of one state plan, by call."""

    facts: Facts
    block: BlockRef
    answers: dict[Call, Answer]

    def spoke(self, name: str, *args: object) -> Call:
        return Call(self.facts.market.address, f"{ABI}.{name}", args, allow_revert=True)

    def hub(self, one: ReserveFacts) -> Call:
        return Call(one.hub, f"{ABI}.getAsset", (one.asset_id,), allow_revert=True)

    def price(self, one: ReserveFacts) -> Call:
        return Call(self.facts.oracle, f"{ABI}.getReservePrice", (one.id,), allow_revert=True)

    def market_calls(self) -> list[Call]:
        calls = [self.spoke("getLiquidationConfig")]
        for one in self.facts.reserves:
            calls += [self.spoke("getReserve", one.id), self.hub(one), self.price(one)]
        return list(dict.fromkeys(calls))

    def account_calls(self, owner: Address) -> list[Call]:
        return [
            self.spoke(name, one.id, owner)
            for one in self.facts.reserves
            for name in ("getUserPosition", "getUserReserveStatus")
        ]

    def terms_call(self, one: ReserveFacts, owner: Address) -> Call | None:
        """Only for what is used as collateral: the key of the account, not the newest."""
        status = self.answers[self.spoke("getUserReserveStatus", one.id, owner)]
        held = self.answers[self.spoke("getUserPosition", one.id, owner)]
        if not isinstance(status, Ok) or not isinstance(held, Ok) or not status.values[0]:
            return None
        return self.spoke("getDynamicReserveConfig", one.id, held.values[0][4])

    def terms_calls(self, owner: Address) -> list[Call]:
        return [call for one in self.facts.reserves if (call := self.terms_call(one, owner)) is not None]

    def told(self, call: Call) -> tuple[int, ...]:
        """The struct of an answer. May raise: _Unread."""
        answer = self.answers[call]
        if not isinstance(answer, Ok):
            raise _Unread(f"{call.function.partition('.')[2]}(): {answer.reason}")
        found: tuple[int, ...] = answer.values[0] if isinstance(answer.values[0], tuple) else answer.values
        return found

    def position(self, owner: Address) -> Position | Unreadable:
        name = self.facts.market.position_id(owner)
        try:
            reserves = tuple(one for facts in self.facts.reserves if (one := self._reserve(facts, owner)) is not None)
            config = LiquidationConfig(*self.told(self.spoke("getLiquidationConfig")))
        except _Unread as unread:
            return Unreadable(name, owner, self.block, str(unread))
        prices, errors = self._prices([one.facts for one in reserves])
        return Position(name, owner, self.block, RULE, prices, State(self.facts, config, reserves, errors))

    def _reserve(self, facts: ReserveFacts, owner: Address) -> Reserve | None:
        """None where the account has neither bit nor shares. May raise: _Unread."""
        collateral, borrowing = self.told(self.spoke("getUserReserveStatus", facts.id, owner))
        drawn, premium, offset, supplied, key = self.told(self.spoke("getUserPosition", facts.id, owner))
        if not (collateral or borrowing or drawn or supplied):
            return None
        *_, risk, flags, newest = self.told(self.spoke("getReserve", facts.id))
        call = self.terms_call(facts, owner)
        terms = Terms(key, *self.told(call)) if call is not None else None
        hub = self._hub_asset(facts)
        bits = bool(collateral), bool(borrowing)
        return Reserve(facts, hub, risk, flags, newest, *bits, drawn, premium, offset, supplied, terms)

    def _hub_asset(self, facts: ReserveFacts) -> HubAsset:
        told = self.told(self.hub(facts))
        fields = told[:2] + told[3:12] + told[16:]  # without the decimals and four addresses
        return HubAsset(*fields)

    def _prices(self, used: Sequence[ReserveFacts]) -> tuple[Mapping[str, int], Mapping[str, str]]:
        prices, errors = {}, {}
        for one in used:
            answer = self.answers[self.price(one)]
            if isinstance(answer, Ok):
                prices[one.key] = answer.values[0]
            else:
                errors[one.key] = answer.reason
        return prices, errors


def _shared(spoke: Address) -> tuple[Call, ...]:
    return tuple(Call(spoke, f"{ABI}.{name}") for name in ("ORACLE", "SPOKE_REVISION", "getReserveCount"))
