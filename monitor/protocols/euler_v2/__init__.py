"""Euler V2: vaults that are borrowed from against shares of other vaults, in accounts of the Ethereum Vault Connector.

A market is the vault of the debt; an owner is an account there, and 256 accounts (addresses that differ in the last
byte) may belong to one person. An account is liquidatable when its collateral at the liquidation LTV does not exceed
the debt, equality included. Oracles quote amounts: at the block every number is the vault's own. At later times LTV
ramps are exact, the debt is an upper bound, quotes are taken in proportion, and the growth of collateral shares is left
out, so that health is never told too high. What this file must not know: nodes, clocks, other protocols.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from monitor.core.address import parse_address
from monitor.core.plan import done, values
from monitor.core.types import (
    Address,
    Answer,
    BlockRef,
    Call,
    Gate,
    GateState,
    Health,
    Known,
    Leg,
    Line,
    MarketRef,
    NoDebt,
    Ok,
    Position,
    Price,
    ReadPlan,
    Rule,
    Side,
    Unit,
    Unknown,
    Unread,
    Unreadable,
    Verdict,
)
from monitor.core.units import format_units
from monitor.oracles.chainlink import ZERO, as_price
from monitor.protocols.base import Deployment, Found, Helpers, Protocol, Truth, Version
from monitor.protocols.euler_v2.math import (
    CONFIG_SCALE,
    OP_LIQUIDATE,
    PRICE_DIGITS,
    Collateral,
    Facts,
    Liquidity,
    Ltv,
    Quote,
    Refused,
    State,
    Token,
    check_liquidation,
    collateral_value,
    debt,
    full_value,
    in_cool_off,
    liquidity,
)
from monitor.protocols.symbols import symbol_calls, symbol_of

ABI = "euler_v2"
USD_NUMBER = "0x0000000000000000000000000000000000000348"
"""ISO 4217's 840 as an address."""
ACCOUNTS = 256
"""Addresses that differ in the last byte only are one person's: EVC's sub-accounts."""
GETTER = ("collateralValue", "liabilityValue")


class EulerV2(Protocol[Facts, None]):
    """Euler V2. No deployment is named: a market is any of a thousand vaults, EVC and factory only lead to them."""

    name = "euler-v2"
    title = "Euler V2"
    helpers = Helpers(
        "repay, or deposit for the account, which counts only in a vault that the owner has enabled as collateral",
        "the same, enable a collateral, or let an operator act for the account (setAccountOperator of the EVC)",
    )
    versions: ClassVar[Sequence[Version]] = (
        Version("evk-5b98b42", "recorded contracts: liquidity, every checkLiquidation and its amounts equal", 65),
    )
    facts_type = Facts
    deployments: ClassVar[Mapping[str, Deployment]] = {}

    def static(self, market: MarketRef, block: BlockRef) -> ReadPlan[Facts]:
        names = ("EVC", "asset", "oracle", "unitOfAccount", "LTVList")
        answers = yield tuple(Call(market.address, f"{ABI}.{name}") for name in names)
        evc, asset, oracle, unit, listed = (values(answer)[0] for answer in answers)
        tokens = (asset, *listed, *([] if int(unit, 16) < 1000 else [unit]))
        texts = yield tuple(
            call
            for token in tokens
            for call in (*symbol_calls(token), Call(token, "erc20.decimals", allow_revert=True))
        )
        told = [_token(token, *texts[3 * at : 3 * at + 3]) for at, token in enumerate(tokens)]
        number = "USD" if unit == USD_NUMBER else f"unit {int(unit, 16)}"
        base = told[-1] if len(tokens) > 1 + len(listed) else Token(unit, number, 18)
        collaterals = tuple(told[1 : 1 + len(listed)])
        return Facts(market, evc, told[0], oracle, unit, base.symbol, base.decimals, collaterals)

    def recheck(self, facts: Facts, block: BlockRef) -> ReadPlan[bool]:
        """Whether asset, oracle and unit are the same, and no collateral was added. All else is state."""
        names = ("asset", "oracle", "unitOfAccount", "LTVList")
        answers = yield tuple(Call(facts.market.address, f"{ABI}.{name}", allow_revert=True) for name in names)
        mine = [facts.asset.address, facts.oracle, facts.unit, tuple(one.address for one in facts.collaterals)]
        return [answer.values[0] if isinstance(answer, Ok) else None for answer in answers] == mine

    def state(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Position | Unreadable]]:
        """Three rounds: accounts, balances of what they have enabled, quotes of those very amounts."""
        reader = _Reader(facts, block)
        yield from reader.ask([call for owner in owners for call in reader.account_calls(owner)])
        yield from reader.ask([call for owner in owners for call in reader.balance_calls(owner)])
        yield from reader.ask([call for owner in owners for call in reader.quote_calls(owner)])
        return [reader.position(owner) for owner in owners]

    def context(self, facts: Facts, block: BlockRef) -> ReadPlan[None]:
        return done(None)

    def evaluate(self, position: Position, context: None = None, at_s: int | None = None) -> Health:
        state: State = position.state
        now_s = position.block.timestamp if at_s is None else at_s
        unit = Unit(state.facts.unit_symbol, state.facts.unit_decimals)
        gates = _gates(state, now_s)
        try:
            found = liquidity(state, position.prices, now_s)
            legs = _legs(state, position.prices, now_s)
        except Refused as refused:
            gates = (*gates, Gate("price", GateState.SHUT, f"the contract itself reverts: {refused.message}"))
            verdict: Verdict = Unknown(gates[-1].detail) if state.owed else NoDebt()
            return Health(position.id, position.block, verdict, unit, {}, gates, liquidatable=False)
        verdict = Known(found.collateral, found.liability + 1) if found.liability else NoDebt()
        return Health(
            position_id=position.id,
            block=position.block,
            verdict=verdict,
            unit=unit,
            reported=_reported(state, position),
            gates=gates,
            liquidatable=_liquidatable(state, position.prices, now_s, found),
            legs=legs,
            collateral=sum(leg.value for leg in legs if leg.side is Side.COLLATERAL),
            debt=found.liability,
            notes=tuple(_notes(state, now_s, found)),
        )

    def find_positions(self, facts: Facts, owner: Address, block: BlockRef) -> ReadPlan[list[Found | Unreadable]]:
        """Those of the person's 256 accounts that let this vault control them, which every debt to it needs.

        One round, and the same one for all vaults of a connector.
        """
        first = int(owner, 16) & ~0xFF
        accounts = [parse_address(f"0x{first | (number ^ int(owner, 16)) & 0xFF:040x}") for number in range(ACCOUNTS)]
        answers = yield tuple(
            Call(facts.evc, f"{ABI}.getControllers", (account,), allow_revert=True) for account in accounts
        )
        found: list[Found | Unreadable] = [
            Found(facts.market, account, f"sub-account {number}" if number else "")
            for number, (account, answer) in enumerate(zip(accounts, answers, strict=True))
            if isinstance(answer, Ok) and facts.market.address in answer.values[0]
        ]
        failed = [answer.reason for answer in answers if not isinstance(answer, Ok)]
        if failed:
            reason = f"{len(failed)} of {ACCOUNTS} sub-accounts could not be read: {failed[0]}"
            found.append(Unreadable(facts.market.position_id(owner), owner, block, reason))
        return found or [Found(facts.market, owner)]

    def truth(self, facts: Facts, owners: Sequence[Address], block: BlockRef) -> ReadPlan[list[Truth]]:
        answers = yield tuple(
            Call(facts.market.address, f"{ABI}.accountLiquidity", (owner, True), allow_revert=True) for owner in owners
        )
        return [
            Truth(owner, dict(zip(GETTER, answer.values, strict=True)))
            if isinstance(answer, Ok)
            else Truth(owner, {}, answer.reason)
            for owner, answer in zip(owners, answers, strict=True)
        ]

    def explain(self, position: Position, context: None = None) -> list[Line]:
        state: State = position.state
        facts, now_s = state.facts, position.block.timestamp
        verdict, unit = self.evaluate(position).verdict, state.facts.unit_symbol
        lines = [Line("owed", str(state.owed), "in 2^-31 of the smallest unit", "vault.debtOfExact(account)")]
        if not isinstance(verdict, Known):
            return lines
        for one in state.collaterals:
            ltv, value = one.ltv.at(now_s), collateral_value(one, position.prices, now_s)
            lines.append(
                Line(
                    f"{one.token.symbol} counts",
                    f"{format_units(value, facts.unit_decimals)} {unit}",
                    f"floor({full_value(one, position.prices)} × {ltv} / {CONFIG_SCALE})",
                    f"oracle.getQuote({one.balance}, {one.token.symbol}, unit), vault.LTVFull({one.token.symbol})",
                )
            )
        due = debt(state, now_s)
        liability = verdict.denominator - 1
        lines.append(
            Line(
                "debt",
                f"{format_units(liability, facts.unit_decimals)} {unit}",
                f"ceil({state.owed} / 2^31) = {due}, quoted",
                f"oracle.getQuote({due}, {facts.asset.symbol}, unit)",
            )
        )
        health = f"{verdict.numerator} / {verdict.denominator}"
        return [*lines, Line("health", health, "collateral / (debt + 1), since equality is liquidatable")]

    def prices(self, facts: Facts, positions: Sequence[Position], context: None, block: BlockRef) -> list[Price]:
        used = {token: price for position in positions for token, price in position.prices.items()}
        places = facts.unit_decimals + PRICE_DIGITS
        return [
            as_price(one.address, used[one.address], places, facts.unit_symbol, None)
            for one in (facts.asset, *facts.collaterals)
            if one.address in used
        ]

    def price_keys(self, position: Position) -> Mapping[str, str]:
        symbols = self.symbols(position.state.facts)
        return {token: symbols[token] for token in position.prices}

    def symbols(self, facts: Facts) -> Mapping[str, str]:
        return {one.address: one.symbol for one in (*facts.collaterals, facts.asset)}

    def parameters(self, position: Position) -> Any:
        state: State = position.state
        ltvs = tuple((one.token.address, one.ltv) for one in state.collaterals)
        return state.facts.oracle, ltvs, state.max_discount, state.cool_off_s, state.hook_target, state.hooked_ops


# -- reading -----------------------------------------------------------------------------------------------------------


def _token(address: Address, text: Answer, word: Answer, decimals: Answer) -> Token:
    """Texts may fail; decimals are for people only, since oracles quote raw amounts."""
    return Token(address, symbol_of(address, text, word), decimals.values[0] if isinstance(decimals, Ok) else 18)


class _Unread(Exception):
    """One account cannot be told: the call and its reason."""


@dataclass(frozen=True, slots=True)
class _Reader:
    """The answers of one state plan, by call."""

    facts: Facts
    block: BlockRef
    answers: dict[Call, Answer] = field(default_factory=dict)

    def ask(self, calls: Sequence[Call]) -> ReadPlan[None]:
        fresh = tuple(call for call in dict.fromkeys(calls) if call not in self.answers)
        if fresh:
            self.answers.update(zip(fresh, (yield fresh), strict=True))

    def vault(self, name: str, *args: Any) -> Call:
        return Call(self.facts.market.address, f"{ABI}.{name}", args, allow_revert=True)

    def evc(self, name: str, owner: Address) -> Call:
        return Call(self.facts.evc, f"{ABI}.{name}", (owner,), allow_revert=True)

    def quote(self, amount: int, token: Address) -> Call:
        return Call(self.facts.oracle, f"{ABI}.getQuote", (amount, token, self.facts.unit), allow_revert=True)

    def account_calls(self, owner: Address) -> list[Call]:
        shared = ("interestRate", "maxLiquidationDiscount", "liquidationCoolOffTime", "hookConfig")
        own = ("getControllers", "getCollaterals", "getLastAccountStatusCheckTimestamp")
        calls = [self.vault(name) for name in shared]
        return [*calls, self.vault("debtOfExact", owner), *(self.evc(name, owner) for name in own)]

    def balance_calls(self, owner: Address) -> list[Call]:
        calls = []
        for token in self._enabled(owner):
            calls += [self.vault("LTVFull", token.address), self._balance(token, owner)]
        return calls

    def quote_calls(self, owner: Address) -> list[Call]:
        calls = [call for token in self._enabled(owner) if (call := self._collateral_quote(token, owner)) is not None]
        if (call := self._debt_quote(owner)) is not None:
            calls.append(call)
        return calls

    def _enabled(self, owner: Address) -> list[Token]:
        """What the account has enabled and the vault knows, in the account's order."""
        answer = self.answers[self.evc("getCollaterals", owner)]
        known = {one.address: one for one in self.facts.collaterals}
        return [known[token] for token in answer.values[0] if token in known] if isinstance(answer, Ok) else []

    def _balance(self, token: Token, owner: Address) -> Call:
        return Call(token.address, f"{ABI}.balanceOf", (owner,), allow_revert=True)

    def _collateral_quote(self, token: Token, owner: Address) -> Call | None:
        answer = self.answers[self._balance(token, owner)]
        balance = answer.values[0] if isinstance(answer, Ok) else 0
        return self.quote(balance, token.address) if balance else None

    def _debt_quote(self, owner: Address) -> Call | None:
        answer = self.answers[self.vault("debtOfExact", owner)]
        due = -(-answer.values[0] >> 31) if isinstance(answer, Ok) else 0
        in_unit = self.facts.asset.address == self.facts.unit
        return self.quote(due, self.facts.asset.address) if due and not in_unit else None

    def told(self, call: Call) -> tuple[Any, ...]:
        """May raise: _Unread."""
        answer = self.answers[call]
        if not isinstance(answer, Ok):
            raise _Unread(f"{call.function.partition('.')[2]}(): {answer.reason}")
        return answer.values

    def position(self, owner: Address) -> Position | Unreadable:
        name = self.facts.market.position_id(owner)
        try:
            state = self._state(owner)
        except _Unread as unread:
            return Unreadable(name, owner, self.block, str(unread))
        quotes = [*(one.quote for one in state.collaterals), state.debt_quote]
        prices = {one.token.address: one.price for one in quotes if one.amount and not one.error}
        return Position(name, owner, self.block, Rule(EulerV2.name, EulerV2.versions[0].name), prices, state)

    def _state(self, owner: Address) -> State:
        (owed,) = self.told(self.vault("debtOfExact", owner))
        (controllers,) = self.told(self.evc("getControllers", owner))
        self.told(self.evc("getCollaterals", owner))
        collaterals = []
        for token in self._enabled(owner):
            ltv = Ltv(*self.told(self.vault("LTVFull", token.address)))
            (balance,) = self.told(self._balance(token, owner))
            if ltv.recognized:
                collaterals.append(Collateral(ltv, self._quoted(token, balance, self._collateral_quote(token, owner))))
        (rate,) = self.told(self.vault("interestRate"))
        (discount,) = self.told(self.vault("maxLiquidationDiscount"))
        (cool_off_s,) = self.told(self.vault("liquidationCoolOffTime"))
        (checked_s,) = self.told(self.evc("getLastAccountStatusCheckTimestamp", owner))
        return State(
            self.facts,
            self.block.timestamp,
            controllers == (self.facts.market.address,),
            owed,
            rate,
            tuple(collaterals),
            self._quoted(self.facts.asset, -(-owed >> 31), self._debt_quote(owner)),
            discount,
            cool_off_s,
            checked_s,
            *self.told(self.vault("hookConfig")),
        )

    def _quoted(self, token: Token, amount: int, call: Call | None) -> Quote:
        if call is None:
            return Quote(token, amount, 0)
        answer = self.answers[call]
        if isinstance(answer, Unread):
            raise _Unread(f"getQuote({token.symbol}): {answer.reason}")
        if isinstance(answer, Ok):
            return Quote(token, amount, answer.values[0])
        return Quote(token, amount, 0, f"getQuote({token.symbol}): {answer.reason}")


# -- judging -----------------------------------------------------------------------------------------------------------


def _gates(state: State, now_s: int) -> tuple[Gate, ...]:
    until_s = state.checked_s + state.cool_off_s
    cooling = Gate("cool-off", GateState.OPEN)
    if in_cool_off(state, now_s):
        cooling = Gate("cool-off", GateState.SHUT, f"until {until_s}")
    if not state.hooked_ops & OP_LIQUIDATE:
        return cooling, Gate("liquidate", GateState.OPEN)
    if state.hook_target == ZERO:
        return cooling, Gate("liquidate", GateState.SHUT, "disabled")
    return cooling, Gate("liquidate", GateState.UNKNOWN, f"{state.hook_target} is asked first")


def _liquidatable(state: State, prices: Mapping[Address, int], now_s: int, found: Liquidity) -> bool | None:
    """Whether liquidate moves anything of some collateral; None where a hook decides. A call of zeros moves nothing."""
    hooked = bool(state.hooked_ops & OP_LIQUIDATE)
    if not found.violated or (hooked and state.hook_target == ZERO):
        return False
    for one in state.collaterals:
        try:
            outcome = check_liquidation(state, prices, now_s, one.token.address)
        except Refused:
            continue
        if outcome.any:
            return None if hooked else True
    return False


def _reported(state: State, position: Position) -> dict[str, int]:
    """accountLiquidity(account, true) at the block; nothing where it reverts."""
    if not state.controlled:
        return {}
    try:
        found = liquidity(state, position.prices, position.block.timestamp)
    except Refused:
        return {}
    return dict(zip(GETTER, (found.collateral, found.liability), strict=True))


def _legs(state: State, prices: Mapping[Address, int], now_s: int) -> tuple[Leg, ...]:
    facts, places = state.facts, state.facts.unit_decimals + PRICE_DIGITS
    legs = []
    for one in state.collaterals:
        if one.balance and (price := prices.get(one.token.address)) is not None:
            token = one.token.address, one.token.symbol, one.token.decimals
            value, ltv = full_value(one, prices), one.ltv.at(now_s)
            legs.append(Leg(Side.COLLATERAL, *token, one.balance, price, places, value, ltv, enabled=ltv > 0))
    due = debt(state, now_s)
    if due:
        price = prices.get(facts.asset.address, 10 ** (facts.unit_decimals + PRICE_DIGITS))
        value = liquidity(state, prices, now_s).liability
        token = facts.asset.address, facts.asset.symbol, facts.asset.decimals
        legs.append(Leg(Side.DEBT, *token, due, price, places, value, CONFIG_SCALE))
    return tuple(legs)


def _notes(state: State, now_s: int, found: Liquidity) -> list[str]:
    said = []
    for one in state.collaterals:
        ltv = one.ltv.at(now_s)
        if ltv > one.ltv.liquidation:
            said.append(
                f"{one.token.symbol}: the liquidation LTV falls from {ltv} to {one.ltv.liquidation} bps "
                f"until {one.ltv.target_s}"
            )
    if debt(state, now_s) and not found.liability:
        said.append("the debt is worth less than the oracle can say, and cannot be liquidated")
    return said


PROTOCOL = EulerV2()
