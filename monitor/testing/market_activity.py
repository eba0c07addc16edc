"""What people do in a market, drawn at random and mined in blocks: every kind of event that changes an account.

Some of what is tried fails, as in life; `kinds` counts what was mined with success. The same seed does the same on the
same chain. Who only wants to follow a market needs nothing from here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Self

from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket, Reserve
from monitor.testing.aave_v3_people import BORROW, DAY_S, SUPPLY
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.codec import encode_call
from monitor.testing.devchain import MAX_UINT256, CallReverted, Transaction

GAS = 3_000_000
STABLE, VARIABLE = 1, 2
JUMPS_S = (1, 12, 3_600, 30 * DAY_S)
REPAY = "repay(address,uint256,uint256,address)"
REPAY_WITH_A_TOKENS = "repayWithATokens(address,uint256,uint256)"
WITHDRAW = "withdraw(address,uint256,address)"
COLLATERAL = "setUserUseReserveAsCollateral(address,bool)"
Drawn = Sequence[Transaction]


def mine(chain: AnvilDevChain, steps: Sequence[Transaction], gas: int = GAS) -> list[bool]:
    """One block with these transactions in it, while blocks are mined by hand; which of them succeeded."""
    sent = [
        chain.rpc(
            "eth_sendTransaction",
            {
                "from": step.sender,
                "to": step.to,
                "data": "0x" + encode_call(step.signature, step.args).hex(),
                "gas": hex(gas),
                "gasPrice": "0x0",
            },
        )
        for step in steps
    ]
    chain.mine()
    receipts = chain.rpc_batch("eth_getTransactionReceipt", [(name,) for name in sent]) if sent else []
    if None in receipts:
        raise AssertionError("a transaction was left out of its block")
    return [receipt["status"] == "0x1" for receipt in receipts]


def repayments(chain: AnvilDevChain, market: AaveMarket, owners: Iterable[str], amount: int = 3) -> Drawn:
    """The lender repays a little of one variable debt of each owner."""
    steps = []
    for owner in owners:
        (bitmap,) = chain.call(market.pool, "getUserConfiguration(address)", "(uint256)", owner)
        reserve = next(one for one in market.reserves.values() if bitmap >> 2 * one.id & 1)
        steps.append(Transaction(market.lender, market.pool, REPAY, (reserve.asset, amount, VARIABLE, owner)))
    return steps


class Activity:
    """Borrowers and newcomers at work on one market. A context manager: within it blocks are mined by this only."""

    def __init__(self, chain: AnvilDevChain, market: AaveMarket, seed: int = 1, newcomers: int = 6) -> None:
        self.kinds: Counter[str] = Counter()
        self._chain, self._market = chain, market
        self._random = Random(f"activity {market.version} {seed}")
        self._newcomers = [chain.account(f"newcomer {seed} {n}") for n in range(newcomers)]
        self._people = [*market.borrowers, market.lender, *self._newcomers]
        self._reserves = list(market.reserves.values())
        self._actions: list[tuple[str, Callable[[], Drawn], int]] = [
            ("supply", self._supply, 4),
            ("withdraw", self._withdraw, 3),
            ("borrow", self._borrow, 4),
            ("repay", self._repay, 4),
            ("repay with aTokens", self._repay_with_a_tokens, 2),
            ("transfer", self._transfer, 3),
            ("liquidate", self._liquidate, 3),
            ("collateral", self._toggle, 2),
            ("e-mode", self._e_mode, 2),
            ("swap rate", self._swap_rate, 2 if market.version == "3.0" else 0),
            ("treasury", self._treasury, 1),
            ("price", self._price, 1),
            ("parameter", self._parameter, 1),
        ]

    def __enter__(self) -> Self:
        self._chain.rpc("evm_setAutomine", False)
        self._provide()
        return self

    def __exit__(self, *_: object) -> None:
        self._chain.rpc("evm_setAutomine", True)

    def _provide(self) -> None:
        """Everyone can pay for everything."""
        market = self._market
        steps = []
        for reserve in self._reserves:
            for holder in self._people:
                amount = 10**6 * 10**reserve.decimals
                steps.append(Transaction(market.admin, reserve.asset, "mint(address,uint256)", (holder, amount)))
                steps.append(Transaction(holder, reserve.asset, "approve(address,uint256)", (market.pool, MAX_UINT256)))
        for start in range(0, len(steps), 200):
            self._mine([("", step) for step in steps[start : start + 200]])

    def block(self, most: int = 4) -> None:
        """One block with up to `most` acts in it, some seconds or some weeks after the last."""
        weights = [weight for _, _, weight in self._actions]
        acts = self._random.choices(self._actions, weights, k=self._random.randint(0, most))
        self._chain.set_next_timestamp(self._chain.timestamp() + self._random.choices(JUMPS_S, (6, 6, 2, 1))[0])
        self._mine([(kind, step) for kind, draw, _ in acts for step in draw()])

    def _mine(self, steps: Sequence[tuple[str, Transaction]]) -> None:
        landed = mine(self._chain, [step for _, step in steps])
        self.kinds.update(kind for (kind, _), good in zip(steps, landed, strict=True) if kind and good)

    # -- what may be done ---------------------------------------------------------------------------------------------

    def _who(self) -> str:
        return self._random.choice(self._people)

    def _reserve(self) -> Reserve:
        return self._random.choice(self._reserves)

    def _balance(self, token: str, owner: str) -> int:
        (balance,) = self._chain.call(token, "balanceOf(address)", "(uint256)", owner)
        return int(balance)

    def _held(self, owner: str) -> Reserve:
        """A reserve that the owner has supplied; any, where there is none."""
        held = [reserve for reserve in self._reserves if self._balance(reserve.a_token, owner)]
        return self._random.choice(held or self._reserves)

    def _owed(self, owner: str) -> tuple[Reserve, int]:
        """A reserve and mode in which the owner has debt; any, where there is none."""
        found = [(reserve, VARIABLE) for reserve in self._reserves if self._balance(reserve.v_token, owner)]
        found += [(r, STABLE) for r in self._reserves if r.s_token and self._balance(r.s_token, owner)]
        return self._random.choice(found or [(self._reserves[0], VARIABLE)])

    def _part(self, amount: int) -> int:
        """All of it, about all, a part, or a single unit."""
        return self._random.choice((MAX_UINT256, amount, amount // 2, max(amount - 1, 1), 1 + amount // 7, 1))

    def _pool(self, sender: str, signature: str, *args: object) -> Drawn:
        return [Transaction(sender, self._market.pool, signature, args)]

    def _supply(self) -> Drawn:
        reserve, owner = self._reserve(), self._who()
        amount = 10 ** (reserve.decimals - 2) * self._random.randint(1, 20_000) + self._random.randint(0, 99)
        return self._pool(self._who(), SUPPLY, reserve.asset, amount, owner, 0)

    def _withdraw(self) -> Drawn:
        owner = self._who()
        reserve = self._held(owner)
        amount = self._part(self._balance(reserve.a_token, owner))
        return self._pool(owner, WITHDRAW, reserve.asset, amount, owner)

    def _borrow(self) -> Drawn:
        owner = self._random.choice((*self._newcomers, self._market.lender, self._who()))
        reserve = self._reserve()
        if not self._balance(reserve.a_token, owner) and self._random.random() < 0.7:
            backing = self._random.choice([r for r in self._reserves if r is not reserve])
            steps = self._pool(owner, SUPPLY, backing.asset, 10**4 * 10**backing.decimals, owner, 0)
        else:
            steps = []
        mode = STABLE if self._market.version == "3.0" and self._random.random() < 0.4 else VARIABLE
        amount = 10**reserve.decimals // self._random.choice((1, 7, 100)) + self._random.randint(1, 99)
        return [*steps, *self._pool(owner, BORROW, reserve.asset, amount, mode, 0, owner)]

    def _repay(self) -> Drawn:
        owner = self._who()
        reserve, mode = self._owed(owner)
        debt = self._balance(reserve.v_token if mode == VARIABLE else reserve.s_token or "", owner)
        # the most of all is for oneself only; what is due goes up until the block
        amount = self._part(debt)
        payer = owner if amount == MAX_UINT256 else self._who()
        return self._pool(payer, REPAY, reserve.asset, amount, mode, owner)

    def _repay_with_a_tokens(self) -> Drawn:
        owner = self._who()
        reserve, mode = self._owed(owner)
        amount = self._part(self._balance(reserve.a_token, owner))
        supply = self._pool(owner, SUPPLY, reserve.asset, 10**reserve.decimals, owner, 0)
        return [*supply, *self._pool(owner, REPAY_WITH_A_TOKENS, reserve.asset, amount, mode)]

    def _transfer(self) -> Drawn:
        owner, receiver = self._who(), self._who()
        reserve = self._held(owner)
        balance = self._balance(reserve.a_token, owner)
        amount = self._random.choice((balance, balance // 2, 1 + balance // 9, 1))
        return [Transaction(owner, reserve.a_token, "transfer(address,uint256)", (receiver, amount))]

    def _liquidate(self) -> Drawn:
        """Of whoever can be; where nobody can, a price falls instead."""
        market, chain = self._market, self._chain
        for owner in self._random.sample(market.borrowers, len(market.borrowers)):
            if aave_v3.health_wad(chain, market, owner) >= 10**18:
                continue
            for _ in range(4):
                collateral, (debt, _) = self._held(owner), self._owed(owner)
                args = (collateral.asset, debt.asset, owner, MAX_UINT256, self._random.random() < 0.5)
                call = aave_v3.LIQUIDATION_CALL
                try:
                    chain.call(market.pool, call, "()", *args, sender=market.liquidator)
                except CallReverted:
                    continue
                return self._pool(market.liquidator, call, *args)
        return self._move(self._reserve(), self._random.randint(80, 97))

    def _toggle(self) -> Drawn:
        owner = self._who()
        reserve = self._held(owner)
        (bitmap,) = self._chain.call(self._market.pool, "getUserConfiguration(address)", "(uint256)", owner)
        return self._pool(owner, COLLATERAL, reserve.asset, not bitmap >> 2 * reserve.id + 1 & 1)

    def _e_mode(self) -> Drawn:
        return self._pool(self._who(), "setUserEMode(uint8)", self._random.randint(0, 2))

    def _swap_rate(self) -> Drawn:
        owner = self._who()
        reserve, mode = self._owed(owner)
        return self._pool(owner, "swapBorrowRateMode(address,uint256)", reserve.asset, mode)

    def _treasury(self) -> Drawn:
        assets = [reserve.asset for reserve in self._reserves]
        return self._pool(self._market.admin, "mintToTreasury(address[])", assets)

    def _price(self) -> Drawn:
        return self._move(self._reserve(), self._random.randint(95, 106))

    def _move(self, reserve: Reserve, percent: int) -> Drawn:
        answer = aave_v3.price_of(self._chain, reserve.feed) * percent // 100
        return [Transaction(self._market.admin, reserve.feed, "setAnswer(int256)", (answer,))]

    def _parameter(self) -> Drawn:
        reserve = self._reserve()
        terms = (reserve.asset, 50_00, self._random.randint(55_00, 70_00), 107_00)
        signature = "configureReserveAsCollateral(address,uint256,uint256,uint256)"
        return [Transaction(self._market.admin, self._market.configurator, signature, terms)]
