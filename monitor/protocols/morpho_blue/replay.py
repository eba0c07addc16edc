"""Which logs of Morpho change a borrower's raw state in one market, and how: all of them tell shares and collateral.

Kinds: 0 is the borrow shares, 1 the collateral. Every change of either has an event with the exact number, so that a
followed account is never read anew; one that nobody has seen yet is read when it first borrows. The market's totals,
its rate and its price are not replayed here: they are read whole at every block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from monitor.core.types import BlockRef
from monitor.protocols.events import Contradiction, RawLog, Replay, Stage, Watch
from monitor.protocols.ledger import Account
from monitor.protocols.morpho_blue.math import Facts

DEBT, COLLATERAL = 0, 1
BALANCE_BITS = 128
BORROW = "Borrow(bytes32,address,address,address,uint256,uint256)"
REPAY = "Repay(bytes32,address,address,uint256,uint256)"
SUPPLY_COLLATERAL = "SupplyCollateral(bytes32,address,address,uint256)"
WITHDRAW_COLLATERAL = "WithdrawCollateral(bytes32,address,address,address,uint256)"
LIQUIDATE = "Liquidate(bytes32,address,address,uint256,uint256,uint256,uint256,uint256)"
EVENTS: Mapping[str, str] = {
    BORROW: "570954540bed6b1304a87dfe815a5eda4a648f7097a16240dcd85c9b5fd42a43",
    REPAY: "52acb05cebbd3cd39715469f22afbf5a17496295ef3bc9bb5944056c63ccaa09",
    SUPPLY_COLLATERAL: "a3b9472a1399e17e123f3c2e6586c23e504184d504de59cdaa2b375e880c6184",
    WITHDRAW_COLLATERAL: "e80ebd7cc9223d7382aab2e0d1d6155c65651f83d53c8b9b06901d167e321142",
    LIQUIDATE: "a4946ede45d0c6f06a0f5ce92c9ad3b4751452d2fe0e25010783bcab57a67e41",
}
"""First topics by signature, without 0x: IMorpho's EventsLib of 1.0.0."""


class MorphoReplay(Replay):
    """The logs of one market of the singleton, whose other markets do not matter."""

    def __init__(self, facts: Facts) -> None:
        self._id = facts.market_id
        self.watch = Watch((facts.market.address,), tuple(bytes.fromhex(topic) for topic in EVENTS.values()))
        self._handlers: dict[bytes, Callable[[Stage, RawLog], None]] = {
            bytes.fromhex(EVENTS[signature]): handler
            for signature, handler in (
                (BORROW, self._borrowed),
                (REPAY, self._repaid),
                (SUPPLY_COLLATERAL, self._supplied),
                (WITHDRAW_COLLATERAL, self._withdrawn),
                (LIQUIDATE, self._liquidated),
            )
        }

    def apply(self, stage: Stage, logs: Sequence[RawLog], block: BlockRef) -> None:
        mine = [log for log in logs if log.topics[1:2] == (self._id,)]
        stage.look_up({topic[12:] for log in mine for topic in log.topics[2:]})
        for log in mine:
            handler = self._handlers.get(log.topics[0])
            if handler is not None:
                handler(stage, log)

    def trim(self, account: Account) -> None:
        """Nothing: both balances always count."""

    def _borrowed(self, stage: Stage, log: RawLog) -> None:
        """Borrow(id, caller, onBehalf, receiver, assets, shares): caller is a word of the data."""
        owner = log.account(2)
        if not stage.follows(owner):
            stage.spoil(owner)  # a borrower whom nobody has seen yet
            return
        self._move(stage, owner, DEBT, log.word(2))

    def _repaid(self, stage: Stage, log: RawLog) -> None:
        """Repay(id, caller, onBehalf, assets, shares)."""
        self._move(stage, log.account(3), DEBT, -log.word(1))

    def _supplied(self, stage: Stage, log: RawLog) -> None:
        """SupplyCollateral(id, caller, onBehalf, assets)."""
        self._move(stage, log.account(3), COLLATERAL, log.word(0))

    def _withdrawn(self, stage: Stage, log: RawLog) -> None:
        """WithdrawCollateral(id, caller, onBehalf, receiver, assets): caller is a word of the data."""
        self._move(stage, log.account(2), COLLATERAL, -log.word(1))

    def _liquidated(self, stage: Stage, log: RawLog) -> None:
        """Liquidate(id, caller, borrower, repaid assets and shares, seized, bad debt in assets and shares)."""
        owner = log.account(3)
        self._move(stage, owner, DEBT, -log.word(1) - log.word(4))
        self._move(stage, owner, COLLATERAL, -log.word(2))

    @staticmethod
    def _move(stage: Stage, owner: bytes, kind: int, by: int) -> None:
        account = stage.account(owner)
        if account is None:
            return
        amount = account.balances.get(kind, 0) + by
        if not 0 <= amount < 1 << BALANCE_BITS:
            raise Contradiction(f"balance {kind} of 0x{owner.hex()} would be {amount}")
        if amount:
            account.balances[kind] = amount
        else:
            account.balances.pop(kind, None)
