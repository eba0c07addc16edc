"""A real market with a guard, owners who trust it, and everything hostile that it may meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import vyper
from eth_utils.address import to_checksum_address

from monitor.testing import aave_v3, aave_v3_core, aave_v3_origin, guard, uniswap
from monitor.testing.aave_v3_listing import VOLATILE, Listing
from monitor.testing.aave_v3_market import AaveMarket, Contracts, Version
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.artifacts import own_contract
from monitor.testing.codec import decode, encode_args, encode_call, revert_reason
from monitor.testing.devchain import MAX_UINT256, CallReverted, Transaction
from monitor.testing.guard import CLOSE, DELEVERAGE, Consent, GuardSite
from tests.guard.switches import GUARD

HERE = Path(__file__).parent
WAD = 10**18
ODD = Listing("ODD", 18, 10_00000000, 75_00, 80_00, 105_00, 10_00, 10_00, VOLATILE)
PAIRS = (("WETH", "USDC"), ("ODD", "USDC"), ("WETH", "ODD"))
CONSENT = Consent(trigger_wad=12 * WAD // 10, low_wad=12 * WAD // 10, high_wad=16 * WAD // 10)
DONE = "done"
LOCKED = "0x"  # Vyper's lock says nothing
JOB = "(address,address,address,uint256,address,uint24,uint256)"
ACTED = "(uint8,address,uint256,address,uint256,uint256,uint256)"
# every owner stands at a health factor between 1.10 and 1.14, and repaying this brings it to about 1.4
POSITIONS: Mapping[str, tuple[tuple[str, int], tuple[str, int], int]] = {
    "owner": (("WETH", 20 * WAD), ("USDC", 29_000 * 10**6), 14_000 * 10**6),
    "odd collateral": (("ODD", 4_000 * WAD), ("USDC", 29_000 * 10**6), 14_000 * 10**6),
    "odd debt": (("WETH", 20 * WAD), ("ODD", 2_900 * WAD), 1_400 * WAD),
    "one asset": (("USDC", 40_000 * 10**6), ("USDC", 29_000 * 10**6), 14_000 * 10**6),
}


@cache
def code_of(name: str) -> bytes:
    """Init code of a Vyper contract beside this file."""
    return compiled((HERE / f"{name}.vy").read_text())


@cache
def compiled(source: str) -> bytes:
    return bytes.fromhex(vyper.compile_code(source, output_formats=["bytecode"])["bytecode"][2:])


@cache
def slot_of(source: Path, name: str) -> str:
    """Where a contract keeps a variable. A switch comes last, so that it moves nothing."""
    laid_out = vyper.compile_code(source.read_text(), output_formats=["layout"])["layout"]["storage_layout"]
    return hex(laid_out[name]["slot"])


@dataclass(frozen=True)
class Action:
    """One call of deleverage or close, in symbols; `amount` is what is repaid, or may be."""

    owner: str
    collateral: str
    debt: str
    amount: int
    signature: str = DELEVERAGE
    sender: str = ""
    action_id: bytes = b"\x01" * 32
    deadline: int = MAX_UINT256
    max_collateral: int = MAX_UINT256
    router: str = ""
    fee: int = uniswap.FEE


@dataclass
class Scene:
    """`site.guard` is the contract under test. Every position of POSITIONS belongs to the account of that label."""

    chain: AnvilDevChain
    market: AaveMarket
    site: GuardSite
    rogue: str
    guard_code: bytes
    off: int = 0
    """The check that is switched off, by number."""

    def account(self, label: str) -> str:
        return self.chain.account(label)

    def asset(self, symbol: str) -> str:
        return self.market.reserves[symbol].asset

    def balance(self, token: str, holder: str) -> int:
        return int(self.chain.call(token, "balanceOf(address)", "(uint256)", holder)[0])

    def allowance(self, token: str, holder: str, spender: str) -> int:
        return int(self.chain.call(token, "allowance(address,address)", "(uint256)", holder, spender)[0])

    def health(self, label: str) -> int:
        return aave_v3.health_wad(self.chain, self.market, self.account(label))

    def with_guard(self, code: bytes, pool: str = "") -> Scene:
        """The same with a new guard, of this code and for this pool (empty: the market's)."""
        guard = self.chain.deploy(self.market.admin, code, "(address)", [pool or self.market.pool])
        return replace(self, site=replace(self.site, guard=guard), guard_code=code)

    def beside(self, pool: str) -> Scene:
        """A guard of the same code that takes this account for its pool."""
        other = self.with_guard(self.guard_code, self.account(pool))
        return other.without(self.off) if self.off else other

    def without(self, number: int) -> Scene:
        """One check switched off, if the guard has switches."""
        self.send(self.market.admin, self.site.guard, "switch_off(uint256)", number)
        return replace(self, off=number)

    def action(self, label: str = "owner", **changes: Any) -> Action:
        """The keeper's honest deleverage of that owner, changed as said."""
        (collateral, _), (debt, _), repay = POSITIONS[label]
        honest = Action(self.account(label), collateral, debt, repay, sender=self.account("keeper"))
        return replace(replace(honest, router=self.site.exchange.router), **changes)

    def transaction(self, action: Action) -> Transaction:
        args = (
            *(action.owner, action.action_id, action.deadline, self.asset(action.collateral), self.asset(action.debt)),
            *(action.amount, action.max_collateral, action.router, action.fee),
        )
        return Transaction(action.sender, self.site.guard, action.signature, args)

    def run(self, action: Action) -> str:
        return self.outcome(self.transaction(action))

    def close(self, label: str = "owner", **changes: Any) -> str:
        return self.run(self.action(label, **{"signature": CLOSE, "amount": MAX_UINT256, **changes}))

    def deleverage(self, label: str = "owner", **changes: Any) -> str:
        return self.run(self.action(label, **changes))

    def outcome(self, transaction: Transaction) -> str:
        """`done`, or why it was refused."""
        try:
            self.send(transaction.sender, transaction.to, transaction.signature, *transaction.args)
        except CallReverted as refused:
            return refused.reason
        return DONE

    def send(self, sender: str, to: str, signature: str, *args: Any) -> None:
        self.chain.send(sender, to, signature, *args)

    def acted(self) -> tuple[str, bytes, tuple[Any, ...]]:
        """Owner, action id, and the plain fields of the event `Acted` that ends the newest block."""
        newest = hex(self.chain.block_number())
        asked = {"fromBlock": newest, "toBlock": newest, "address": self.site.guard}
        log = self.chain.rpc("eth_getLogs", asked)[-1]
        _, owner, action_id = (bytes.fromhex(topic[2:]) for topic in log["topics"])
        return to_checksum_address(owner[12:]), action_id, decode(ACTED, bytes.fromhex(log["data"][2:]))

    def word(self, name: str) -> bytes:
        """What the guard keeps under this name, of one word."""
        slot = slot_of(GUARD, name)
        return bytes.fromhex(self.chain.rpc("eth_getStorageAt", self.site.guard, slot, "latest")[2:])

    def left_behind(self) -> list[str]:
        """What the guard has of any token, and who may take it: nothing, between transactions."""
        found = []
        for symbol, reserve in self.market.reserves.items():
            if symbol not in {"WETH", "USDC", "ODD", "DAI"}:
                continue
            found += [
                f"balance of {symbol}"
                for token in (reserve.asset, reserve.a_token)
                if self.balance(token, self.site.guard)
            ]
            found += [
                f"allowance of {symbol}"
                for spender in (self.market.pool, self.site.exchange.router, self.rogue)
                if self.allowance(reserve.asset, self.site.guard, spender)
            ]
        return found

    def consent(self, label: str, consent: Consent = CONSENT, collateral: str = "") -> None:
        """The owner's settings, caller, router and approval, for the guard under test."""
        sold = collateral or POSITIONS[label][0][0]
        wanted = replace(consent, collateral=(sold,))
        guard.consent(self.chain, self.market, self.site, self.account(label), self.account("keeper"), wanted)

    def trust_rogue(self, label: str = "owner") -> None:
        """The owner was talked into a bad router."""
        code = guard.code_hash(self.chain, self.rogue)
        self.send(self.account(label), self.site.guard, "set_router(address,bytes32)", self.rogue, code)

    def plan(self, to: str, signature: str, *args: Any, skip: int = 0) -> None:
        """What the rogue does when it is next called (after `skip` more calls)."""
        data = encode_call(signature, args)
        self.send(self.account("stranger"), self.rogue, "plan(address,bytes,uint256)", to, data, skip)

    def inner(self) -> str:
        """What came of the rogue's planned call."""
        if not self.chain.call(self.rogue, "made()", "(bool)")[0]:
            return "never made"
        if self.chain.call(self.rogue, "worked()", "(bool)")[0]:
            return DONE
        return revert_reason(self.chain.call(self.rogue, "answer()", "(bytes)")[0])

    def terms(self, take_bps: int, give_more: int) -> None:
        """Of what is offered the rogue takes this part; of what is asked it gives this much more (or less)."""
        self.send(self.account("stranger"), self.rogue, "set_terms(uint256,int256)", take_bps, give_more)

    def behave(self, manners: int, hook: str = "0x" + "00" * 20) -> None:
        """The bad manners of ODD, bits as in OddToken.vy; the guard is its victim."""
        args = (manners, self.site.guard, hook)
        self.send(self.market.admin, self.asset("ODD"), "behave(uint256,address,address)", *args)

    def job(self, label: str = "owner") -> bytes:
        """Forged arguments of the callback: all that this owner has, for nothing."""
        reserve = self.market.reserves[POSITIONS[label][0][0]]
        values = (self.account(label), reserve.asset, reserve.a_token, 10 * WAD, self.rogue, uniswap.FEE, 2)
        return encode_args(f"({JOB})", [values])

    def price_e8(self, symbol: str) -> int:
        return int(self.chain.call(self.market.oracle, "getAssetPrice(address)", "(uint256)", self.asset(symbol))[0])

    @contextmanager
    def undone(self) -> Iterator[Scene]:
        """Whatever happens inside has not happened afterwards."""
        snapshot = self.chain.snapshot()
        try:
            yield self
        finally:
            self.chain.revert(snapshot)


def build(chain: AnvilDevChain, version: Version) -> Scene:
    """On an empty chain: the market with ODD, pools, the guard, the rogue with money, and every position opened."""
    market = aave_v3.deploy(chain, version)
    market = _list_odd(chain, market)
    site = guard.deploy(chain, market, PAIRS)
    rogue = chain.deploy(chain.account("stranger"), code_of("Rogue"))
    scene = Scene(chain, market, site, rogue, own_contract("guard").code)
    for symbol in ("WETH", "USDC", "ODD"):
        scene.send(market.admin, scene.asset(symbol), "mint(address,uint256)", rogue, 10**27)
    for label, (collateral, debt, _) in POSITIONS.items():
        open_position(scene, label, collateral, debt)
    return scene


def open_position(scene: Scene, label: str, collateral: tuple[str, int], debt: tuple[str, int]) -> None:
    """The lender supplies in the owner's name, the owner borrows."""
    market, owner = scene.market, scene.account(label)
    supply, borrow = "supply(address,uint256,address,uint16)", "borrow(address,uint256,uint256,uint16,address)"
    scene.send(market.lender, market.pool, supply, scene.asset(collateral[0]), collateral[1], owner, 0)
    scene.send(owner, market.pool, borrow, scene.asset(debt[0]), debt[1], 2, 0, owner)
    scene.send(owner, scene.asset(debt[0]), "transfer(address,uint256)", market.lender, debt[1])


def _list_odd(chain: AnvilDevChain, market: AaveMarket) -> AaveMarket:
    """The market with ODD in it, of which the lender has supplied a hundred million."""
    admin = market.admin
    odd = chain.deploy(admin, code_of("OddToken"))
    feed = aave_v3.deploy_feed(chain, admin, "ODD / USD", ODD.price_e8)
    chain.send(admin, market.oracle, "setAssetSources(address[],address[])", [odd], [feed])
    contracts = Contracts(market.provider, market.pool, market.configurator, market.oracle, market.data_provider)
    rooms = {"3.0": aave_v3_core, "3.6": aave_v3_origin}
    rooms[market.version].list_reserves(chain, admin, contracts, [ODD], {"ODD": odd})
    listed = aave_v3._reserves(chain, market.pool, (ODD,), {"ODD": odd}, {"ODD": feed})
    chain.send(admin, odd, "mint(address,uint256)", market.lender, 10**27)
    chain.send(market.lender, odd, "approve(address,uint256)", market.pool, MAX_UINT256)
    chain.send(market.lender, market.pool, "supply(address,uint256,address,uint16)", odd, 10**26, market.lender, 0)
    return replace(market, reserves={**market.reserves, **listed})
