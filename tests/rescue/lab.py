"""A protected position on a real Aave V3 market, and levmon's whole way to a rescue, in this process.

Rules, planner, journal and executor are the real ones; only the key is in this process. Each `look` is what
`levmon protect` does at one head. A block is mined for every transaction, so heads come when the test wants them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from monitor.chain.rpc_chain import RpcChain
from monitor.core.actions import ActionState, Step
from monitor.core.guardian import GuardianConfig, LimitsConfig
from monitor.core.guarding import GuardSetup
from monitor.core.types import MarketRef
from monitor.core.units import WAD
from monitor.execution.port import Passed
from monitor.journal.rows import Action
from monitor.pipeline.acting import Acting, builder
from monitor.pipeline.beside import Sources
from monitor.pipeline.events import Decided, Event, Moved
from monitor.pipeline.guardians import Guardian, Protection
from monitor.pipeline.memory import ShortMemory
from monitor.pipeline.plans import Outlook, options, outlook
from monitor.pipeline.protect import Guard
from monitor.pipeline.snapshot import Depth, snapshot
from monitor.policy.rules import Rule
from monitor.report import Report, Subject
from monitor.signer.templates import builtin
from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.clock import FakeClock
from monitor.testing.codec import encode_call
from monitor.testing.devchain import MAX_UINT256
from monitor.testing.model_port import LocalSigner
from tests.localnet_fixtures import AnvilAave

KEY = LocalSigner("guardian of the rescues", builder(builtin()))
TRIGGER, TARGET = Fraction(6, 5), Fraction(7, 5)
RULE = Rule("first", 1, "*", TRIGGER, TARGET, confirm=1, cooldown_s=0, retry_s=0)
PLENTY = LimitsConfig(per_action=Fraction(400_000), per_position_day=Fraction(500_000), per_key_day=Fraction(1_000_000))


@dataclass
class RescueLab:
    """One position in one market under one rule. `dry`: nothing is journaled or signed."""

    local: AnvilAave
    reader: RpcChain
    folder: Path
    memory: ShortMemory
    rule: Rule = RULE
    actions: tuple[str, ...] = ("repay", "supply")
    assets: tuple[str, ...] = ()
    odd_tokens: tuple[str, ...] = ()
    limits: LimitsConfig = PLENTY
    gas_per_day: Fraction = Fraction(1)
    guards: dict[MarketRef, GuardSetup] = field(default_factory=dict)
    beside: dict[MarketRef, Sources] = field(default_factory=dict)
    dry: bool = False
    owner: str = ""
    journals: int = 0
    seen: Outlook | None = None
    events: list[Event] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    _stack: ExitStack = field(default_factory=ExitStack)
    _guard: Guard | None = None

    # -- the world -----------------------------------------------------------------------------------------------

    @property
    def chain(self) -> AnvilDevChain:
        return self.local.chain

    @property
    def market(self) -> AaveMarket:
        return self.local.market

    @property
    def ref(self) -> MarketRef:
        return MarketRef(self.market.chain_id, "aave-v3", self.market.provider)

    @property
    def position(self) -> str:
        return self.ref.position_id(self.owner)

    def send(self, to: str, signature: str, *args: Any, sender: str = "") -> None:
        self.chain.send(sender or self.market.admin, to, signature, *args)

    def send_first(self, to: str, signature: str, *args: Any, sender: str) -> None:
        """Into the next block, which somebody else mines, before all that offers less."""
        self.chain.rpc("anvil_setBalance", sender, hex(WAD))
        fields = {"from": sender, "to": to, "data": "0x" + encode_call(signature, args).hex()}
        self.chain.rpc("eth_sendTransaction", {**fields, "gas": hex(2_000_000), "gasPrice": hex(200 * 10**9)})

    @contextmanager
    def one_block(self) -> Iterator[None]:
        """All that is sent inside shares a block, the dearest first."""
        self.chain.rpc("evm_setAutomine", False)
        try:
            yield
            self.chain.mine()
        finally:
            self.chain.rpc("evm_setAutomine", True)

    @contextmanager
    def undecided(self) -> Iterator[None]:
        """What is decided inside is not signed before the end."""
        switch = self.guardian.kill_file
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()

    def configure(self, signature: str, *args: Any) -> None:
        """As the market's governance."""
        self.send(self.market.configurator, signature, *args)

    def borrow(self, label: str = "protected", debt_usd: int = 10_000) -> str:
        """A new borrower of USDC against ETH, with health about 1.3."""
        owner = self.chain.account(label)
        weth, usdc = self.market.reserves["WETH"], self.market.reserves["USDC"]
        price = aave_v3.price_of(self.chain, weth.feed)
        collateral = 10**18 * debt_usd * 10**8 * 158 // 100 // price
        self.mint("WETH", owner, collateral)
        self.send(weth.asset, "approve(address,uint256)", self.market.pool, collateral, sender=owner)
        supply = "supply(address,uint256,address,uint16)"
        self.send(self.market.pool, supply, weth.asset, collateral, owner, 0, sender=owner)
        borrow = "borrow(address,uint256,uint256,uint16,address)"
        self.send(self.market.pool, borrow, usdc.asset, debt_usd * 10**6, 2, 0, owner, sender=owner)
        return owner

    def mint(self, symbol: str, to: str, amount: int) -> None:
        self.send(self.market.reserves[symbol].asset, "mint(address,uint256)", to, amount)

    def fill_purse(self, *symbols: str, amount: int = 100_000, allowed: int = MAX_UINT256) -> None:
        """So many tokens of each for the guardian, and the pool's allowance for them."""
        self.chain.rpc("anvil_setBalance", KEY.address, hex(10 * WAD))
        for symbol in symbols:
            reserve = self.market.reserves[symbol]
            self.mint(symbol, KEY.address, amount * 10**reserve.decimals)
            self.allow(symbol, allowed)

    def allow(self, symbol: str, amount: int) -> None:
        """Granted without leaving a trace on the key's nonce, which is levmon's alone."""
        asset, used = self.market.reserves[symbol].asset, self.nonce
        self.send(asset, "approve(address,uint256)", self.market.pool, amount, sender=KEY.address)
        while self.nonce != used:  # anvil at times still writes the block down when it has answered already
            self.chain.rpc("anvil_setNonce", KEY.address, hex(used))
            self.chain.mine(2)

    def price(self, symbol: str) -> int:
        return aave_v3.price_of(self.chain, self.market.reserves[symbol].feed)

    def set_price(self, symbol: str, answer: int) -> None:
        aave_v3.set_price(self.chain, self.market, self.market.reserves[symbol].feed, answer)

    def to_health(self, wanted: Fraction) -> None:
        """Move the price of ETH so that health is about this."""
        self.set_price("WETH", int(self.price("WETH") * wanted / self.health))

    @property
    def health(self) -> Fraction:
        """What the contract says."""
        return Fraction(aave_v3.health_wad(self.chain, self.market, self.owner), WAD)

    @property
    def nonce(self) -> int:
        self.chain.settle()  # a node answers for what it was sent before it mines that
        return int(self.chain.rpc("eth_getTransactionCount", KEY.address, "latest"), 16)

    # -- levmon --------------------------------------------------------------------------------------------------

    @property
    def guardian(self) -> Guardian:
        config = GuardianConfig(
            address=KEY.address,
            limits=self.limits,
            max_fee_gwei=Fraction(50),
            gas_per_day=self.gas_per_day,
            journal=f"levmon{self.journals}.db",
            odd_tokens=self.odd_tokens,
        )
        return Guardian(config, self.folder, self.guards, beside=self.beside)

    @property
    def subject(self) -> Subject:
        return Subject(self.ref, "local", self.owner)

    @property
    def acting(self) -> Acting:
        acting = self.guard.acting
        assert acting is not None
        return acting

    @property
    def guard(self) -> Guard:
        """Made when it is first needed, so that a test may change rule and purse before."""
        if self._guard is None:
            acting = None
            if not self.dry:
                acting = Acting(self.guardian, self.reader, self.memory, finality=1, clock=self.clock, signer=KEY)
                self._stack.enter_context(acting)
            protection = Protection(replace(self.rule), self.actions, self.assets)
            self._guard = Guard(self.guardian, {self.position: protection}, self.reader, acting, self.clock)
        return self._guard

    async def look(self) -> list[Event]:
        """What `levmon protect` does at the newest head; the events of this look alone."""
        found = await self.guard.look(await self.look_only())
        self.events += found
        return found

    async def look_only(self) -> Outlook:
        """The position and the purse at the newest head."""
        self.clock.now = float(self.chain.timestamp())
        depth = Depth(beside=self.beside)
        self.seen = await outlook(
            self.reader, [self.subject], KEY.address, self.memory, depth=depth, guards=self.guards
        )
        return self.seen

    async def looks(self, blocks: int) -> list[Event]:
        """So many blocks, a look at each."""
        found = []
        for _ in range(blocks):
            self.chain.mine()
            found += await self.look()
        return found

    @property
    def report(self) -> Report:
        assert self.seen is not None
        return self.seen.snapshot.reports[0]

    async def everyone(self) -> tuple[Report, ...]:
        """All borrowers of the market."""
        return (await snapshot(self.reader, list(borrowers(self)), self.memory)).reports

    def decisions(self) -> list[Decided]:
        return [event for event in self.events if isinstance(event, Decided)]

    def states(self) -> list[ActionState]:
        """Of every action in the journal, in order."""
        return [action.state for action in self.recorded()]

    def recorded(self) -> list[Action]:
        """Every action in the journal, in the order of their decisions."""
        journal = self.acting.journal
        return [journal.action(record.subject) for record in journal.records() if record.kind == "decision"]

    def whys(self) -> list[str]:
        """What was said of actions that moved."""
        return [event.why for event in self.events if isinstance(event, Moved)]

    def passes(self) -> list[str]:
        """The step of each dry decision, and whether its simulation passed."""
        return [
            f"{decided.plan.intent.kind.rpartition('/')[2]} {decided.plan.symbol}"
            + ("" if isinstance(decided.simulated, Passed) else " fails")
            for decided in self.decisions()
            if decided.plan is not None
        ]

    def forget(self) -> None:
        """levmon as if just started: no decision behind it, and the same journal."""
        self._stack.close()
        self._guard = None
        self.events.clear()

    def start_anew(self, snapshot: str) -> None:
        """The chain as it was then, and a journal that knows nothing of what came after."""
        self.forget()
        self.journals += 1
        self.chain.revert(snapshot)

    def steps(self, key: str) -> list[Step]:
        """What could be done now, by that key."""
        assert self.seen is not None
        return [step for step in options(self.seen, self.report, self.guardian, 1).steps if step.key == key]

    def close(self) -> None:
        self._stack.close()


def borrowers(lab: RescueLab) -> Iterator[Subject]:
    """All of the market, so that its rules can be confirmed."""
    for owner in lab.market.borrowers:
        yield Subject(lab.ref, "local", owner)
