"""Which logs of an Aave V3 market change an account's raw state, and how, to the unit, from 3.0 to 3.7.

Balances are followed for as long as the account's bit for them is set, because only then do they count; the columns
hold nothing else. Exact by logs: scaled balances (ScaledBalanceTokenBase, AToken), stable debts (StableDebtToken,
<= 3.1), the e-mode, a collateral bit that is cleared. Not told by any log, and so read anew: the borrow bit (a first
debt, a debt that is gone) and the balance behind a collateral bit that is set. Rates, indexes, prices and parameters
are not replayed at all: they are read whole at every block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from monitor.core.errors import ProtocolError
from monitor.core.types import Address, BlockRef, Call, Ok, ReadPlan
from monitor.core.units import RAY
from monitor.protocols.aave_v3 import words
from monitor.protocols.aave_v3.lens import PRINCIPAL, RATE, UPDATE
from monitor.protocols.aave_v3.math import ArithmeticReverts, rayDiv, rayMulCeil, rayMulFloor
from monitor.protocols.aave_v3.reading import A_TOKEN, STABLE_TOKEN, VARIABLE_TOKEN, pool_call
from monitor.protocols.aave_v3.records import ZERO, Facts
from monitor.protocols.aave_v3.versions import TABLE, Rules
from monitor.protocols.events import Contradiction, RawLog, Replay, Stage, Watch
from monitor.protocols.ledger import Account

BALANCE_BITS = 128
"""Scaled balances, principals and rates are uint128 or narrower in every version."""
MAX_CATEGORY = 255

MINT = "Mint(address,address,uint256,uint256,uint256)"
BURN = "Burn(address,address,uint256,uint256,uint256)"
TRANSFER = "BalanceTransfer(address,address,uint256,uint256)"
STABLE_MINT = "Mint(address,address,uint256,uint256,uint256,uint256,uint256,uint256)"
STABLE_BURN = "Burn(address,uint256,uint256,uint256,uint256,uint256)"
ENABLED = "ReserveUsedAsCollateralEnabled(address,address)"
DISABLED = "ReserveUsedAsCollateralDisabled(address,address)"
E_MODE = "UserEModeSet(address,uint8)"

EVENTS: Mapping[str, str] = {
    MINT: "458f5fa412d0f69b08dd84872b0215675cc67bc1d5b6fd93300a1c3878b86196",
    BURN: "4cf25bc1d991c17529c25213d3cc0cda295eeaad5f13f361969b12ea48015f90",
    TRANSFER: "4beccb90f994c31aced7a23b5611020728a23d8ec5cddd1a3e9d97b96fda8666",
    STABLE_MINT: "c16f4e4ca34d790de4c656c72fd015c667d688f20be64eea360618545c4c530f",
    STABLE_BURN: "44bd20a79e993bdcc7cbedf54a3b4d19fb78490124b6b90d04fe3242eea579e8",
    ENABLED: "00058a56ea94653cdf4f152d227ace22d4c00ad99e2a43f58cb7d9e3feb295f2",
    DISABLED: "44c58d81365b66dd4b1a7f36c25aa97b8c71c361ee4937adc1a00000227db5dd",
    E_MODE: "d728da875fc88944cbf17638bcbe4af0eedaef63becd1d1c57cc097eb4608d84",
}
"""First topics by signature, without 0x: the logs that change accounts."""

UPHEAVALS: Mapping[str, str] = {
    "Upgraded(address)": "bc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b",
    "AddressSet(bytes32,address,address)": "9ef0e8c8e52743bb38b83b17d9429141d494b8041ca6d616a6c77cebae9cd8b7",
    "AddressSetAsProxy(bytes32,address,address,address)": (
        "3bbd45b5429b385e3fb37ad5cd1cd1435a3c8ec32196c7937597365a3fd3e99c"
    ),
    "PoolUpdated(address,address)": "90affc163f1a2dfedcd36aa02ed992eeeba8100a4014f0b4cdc20ea265a66627",
    "PoolConfiguratorUpdated(address,address)": "8932892569eba59c8382a089d9b732d1f49272878775235761a2a6b0309cd465",
    "PriceOracleUpdated(address,address)": "56b5f80d8cac1479698aa7d01605fd6111e90b15fc4d2b377417f46034876cbd",
    "ReserveInitialized(address,address,address,address,address)": (
        "3a0ca721fc364424566385a1aa271ed508cc2c0949c2272575fb3013a163a45f"
    ),
    "ReserveDropped(address)": "eeec4c06f7adad215cbdb4d2960896c83c26aedce02dde76d36fa28588d62da4",
}
"""Logs after which the market's facts are checked again: other code, other contracts, other reserves."""


def read_replay(facts: Facts) -> ReadPlan[AaveReplay]:
    """The market's replay: its tokens are asked for in one round. May raise: CallFailed, ProtocolError."""
    configurator = Call(facts.market.address, "aave_v3_provider.getPoolConfigurator")
    calls = [pool_call(facts, "getReserveData", reserve.asset) for reserve in facts.reserves]
    found, *answers = yield (configurator, *calls)
    data: dict[int, tuple[Any, ...]] = {}
    for reserve, answer in zip(facts.reserves, answers, strict=True):
        if isinstance(answer, Ok):
            data[reserve.id] = answer.values[0]
        elif reserve.id >= 0:
            raise ProtocolError(f"{reserve.symbol}: {answer.reason}")
    if not isinstance(found, Ok):
        raise ProtocolError(f"{configurator}: {found.reason}")
    return AaveReplay(facts, found.values[0], data)


class AaveReplay(Replay):
    """The logs of one market under the rules of its facts."""

    def __init__(self, facts: Facts, configurator: Address, reserves: Mapping[int, tuple[Any, ...]]) -> None:
        """`reserves`: getReserveData's struct by reserve id."""
        self._rules = TABLE[facts.version]
        self._kinds: dict[bytes, int] = {}
        self._stable: dict[bytes, int] = {}
        self._untold: set[int] = set()
        tokens: list[Address] = []
        for number, data in reserves.items():
            variable, supplied, stable = data[VARIABLE_TOKEN], data[A_TOKEN], data[STABLE_TOKEN]
            self._kinds[_bytes(variable)] = 2 * number
            self._kinds[_bytes(supplied)] = 2 * number + 1
            tokens += [variable, supplied]
            if self._rules.stable_debt and stable != ZERO:
                self._stable[_bytes(stable)] = number
                tokens.append(stable)
            if _discounts(self._rules, data[0][0]):
                self._untold.add(2 * number)
        self._collateral = {_bytes(reserve.asset): 2 * reserve.id + 1 for reserve in facts.reserves if reserve.id >= 0}
        self._pool = _bytes(facts.pool)
        topics = tuple(bytes.fromhex(topic) for topic in (*EVENTS.values(), *UPHEAVALS.values()))
        self.watch = Watch((facts.pool, facts.market.address, configurator, *tokens), topics)
        self._handlers: dict[bytes, Callable[[Stage, RawLog, BlockRef], None]] = {
            bytes.fromhex(EVENTS[signature]): handler
            for signature, handler in (
                (MINT, self._mint),
                (BURN, self._burn),
                (TRANSFER, self._transfer),
                (STABLE_MINT, self._stable_mint),
                (STABLE_BURN, self._stable_burn),
                (ENABLED, self._enabled),
                (DISABLED, self._disabled),
                (E_MODE, self._e_mode),
            )
        }
        self._upheavals = {bytes.fromhex(topic): signature for signature, topic in UPHEAVALS.items()}

    def apply(self, stage: Stage, logs: Sequence[RawLog], block: BlockRef) -> None:
        stage.look_up({topic[12:] for log in logs for topic in log.topics[1:]})
        for log in logs:
            topic = log.topics[0] if log.topics else b""
            handler = self._handlers.get(topic)
            if handler is not None:
                try:
                    handler(stage, log, block)
                except ArithmeticReverts as impossible:
                    raise Contradiction(f"log {log.index}: {impossible}") from None
            elif topic in self._upheavals:
                stage.recheck = self._upheavals[topic].partition("(")[0]

    def trim(self, account: Account) -> None:
        for kind in list(account.balances):
            bit = kind if kind < PRINCIPAL else 2 * (kind % (PRINCIPAL // 2))
            if not account.flags >> bit & 1:
                del account.balances[kind]

    # -- scaled balances: ScaledBalanceTokenBase ----------------------------------------------------------------------

    def _mint(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """Mint(caller, onBehalfOf, value, balanceIncrease, index); also what is left of a burn after more interest."""
        kind = self._kinds.get(log.address)
        if kind is not None:
            self._moved(stage, log.account(2), kind, log.word(0) - log.word(1), log.word(2))

    def _burn(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """Burn(from, target, value, balanceIncrease, index)."""
        kind = self._kinds.get(log.address)
        if kind is not None:
            self._moved(stage, log.account(1), kind, -log.word(0) - log.word(1), log.word(2))

    def _moved(self, stage: Stage, owner: bytes, kind: int, net: int, index: int) -> None:
        """A balance has grown by `net` in tokens beside its interest, at `index`."""
        if net == 0:
            return  # interest that was told, on a transfer
        debt = kind % 2 == 0
        account = stage.account(owner)
        if account is None:
            if debt and not stage.follows(owner):
                stage.spoil(owner)  # a borrower whom nobody has seen yet
            return
        if not account.flags >> kind & 1 or kind in self._untold:
            if debt:
                stage.spoil(owner)
            return  # supplied, but no collateral
        after = scaled_after(self._rules, account.balances.get(kind, 0), net, index, debt=debt)
        self._hold(stage, owner, kind, after)
        if debt and after == 0:
            stage.spoil(owner)  # whether the borrow bit went with it is told by nothing

    def _transfer(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """BalanceTransfer(from, to, value, index) of an aToken; its value is scaled in every version."""
        kind = self._kinds.get(log.address)
        if kind is None:
            return
        for owner, amount in ((log.account(1), -log.word(0)), (log.account(2), log.word(0))):
            account = stage.account(owner)
            if account is not None and account.flags >> kind & 1:
                self._hold(stage, owner, kind, account.balances.get(kind, 0) + amount)

    @staticmethod
    def _hold(stage: Stage, owner: bytes, kind: int, amount: int) -> None:
        if not 0 <= amount < 1 << BALANCE_BITS:
            raise Contradiction(f"balance {kind} of 0x{owner.hex()} would be {amount}")
        balances = stage.accounts[owner].balances
        if amount:
            balances[kind] = amount
        else:
            balances.pop(kind, None)

    # -- stable debts: StableDebtToken, <= 3.1 -------------------------------------------------------------------------

    def _stable_mint(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """Mint(user, onBehalfOf, amount, currentBalance, balanceIncrease, newRate, ...); amount has the interest."""
        principal = log.word(1) - log.word(2) + log.word(0)
        self._stable_debt(stage, log, log.account(2), principal, log.word(3), block)

    def _stable_burn(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """Burn(from, amount, currentBalance, balanceIncrease, ...); amount is without the interest, the rate stays."""
        principal = log.word(1) - log.word(2) - log.word(0)
        self._stable_debt(stage, log, log.account(1), principal, None, block)

    def _stable_debt(
        self, stage: Stage, log: RawLog, owner: bytes, principal: int, rate: int | None, block: BlockRef
    ) -> None:
        number = self._stable.get(log.address)
        if number is None:
            return
        account = stage.account(owner)
        if account is None:
            if not stage.follows(owner):
                stage.spoil(owner)
            return
        if principal == 0 or not account.flags >> 2 * number & 1:
            stage.spoil(owner)
            return
        self._hold(stage, owner, PRINCIPAL + number, principal)
        self._hold(stage, owner, UPDATE + number, block.timestamp)
        if rate is not None:
            self._hold(stage, owner, RATE + number, rate)

    # -- bits and categories: the pool ---------------------------------------------------------------------------------

    def _enabled(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """ReserveUsedAsCollateralEnabled(reserve, user): the balance behind it was not followed."""
        owner = log.account(2)
        if log.address == self._pool and stage.account(owner) is not None:
            stage.spoil(owner)

    def _disabled(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """ReserveUsedAsCollateralDisabled(reserve, user)."""
        owner = log.account(2)
        account = stage.account(owner) if log.address == self._pool else None
        if account is None:
            return
        kind = self._collateral.get(log.account(1))
        if kind is None:
            stage.spoil(owner)
            return
        account.flags &= ~(1 << kind)
        account.balances.pop(kind, None)

    def _e_mode(self, stage: Stage, log: RawLog, block: BlockRef) -> None:
        """UserEModeSet(user, categoryId)."""
        account = stage.account(log.account(1)) if log.address == self._pool else None
        if account is not None:
            if log.word(0) > MAX_CATEGORY:
                raise Contradiction(f"there is no e-mode category {log.word(0)}")
            account.mode = log.word(0)


def scaled_after(rules: Rules, scaled: int, net: int, index: int, *, debt: bool) -> int:
    """A scaled balance after `net` tokens were minted (burnt, if negative) at `index`; negative if it cannot be.

    <= 3.4: `ScaledBalanceTokenBase` moves `rayDiv(amount, index)`. >= 3.5: events tell differences of balances that
    TokenMath has rounded, up for debt and down for supplies, and just one scaled balance has the rounded one.
    """
    if index < RAY:
        raise Contradiction("an index is below one")
    if not rules.directed_rounding:
        return scaled + (rayDiv(net, index) if net > 0 else -rayDiv(-net, index))
    if debt:
        return (rayMulCeil(scaled, index) + net) * RAY // index
    return -(-(rayMulFloor(scaled, index) + net) * RAY // index)


def _discounts(rules: Rules, configuration: int) -> bool:
    """Whether holders' debts also shrink by discounts, which logs do not tell (GHO, 3.1 to 3.3)."""
    return rules.grace_periods and not rules.taylor_interest and not words.virtual_accounting(configuration)


def _bytes(address: Address) -> bytes:
    return bytes.fromhex(address[2:])
