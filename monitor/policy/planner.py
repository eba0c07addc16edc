"""From the wish for a health to the ordered list of plans that reach it, cheapest first, and why the others cannot.

Pure: judges the steps that a protocol offers, each with its smallest sufficient amount, and never invents one. Costs
are upper bounds: gas times the highest fee, and on rollups the L1 data fee, which is an input here because only a node
knows it. What a plan moves counts as cost too, since it leaves the purse for good.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from monitor.core.actions import Intent, Limits, Plan, Step
from monitor.core.types import Address, Health, Known, NoDebt, Position, Unknown
from monitor.core.units import WAD, format_ratio, format_units, mul_div_down, mul_div_up
from monitor.health.amounts import Found, smallest_amount, worst_after
from monitor.protocols.base import Impossible, Protocol, reaches

OPENINGS = 4
"""Each is searched after for all that could follow, while a block or two go by."""
Sort = tuple[str, ...]
RUNGS = 16
"""A position that more actions would not end is not closed in this way."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan may cost, when it may land, and what the purse keeps.

    `l1_gas` comes on top of every step's own gas, where a rollup charges its L1 fee so.
    A plan may land from the second after the position's block until `margin_s` later, and suffices at both ends.
    `native_price` is that of 10**18 wei in the health's unit; without it plans are ranked by what they move alone.
    `least_value`, in the health's unit, is the smallest step worth a transaction. `keep` holds amounts by asset that
    stay in the purse, `most` what one plan may move at most. `kinds` and `assets`, if any are named, are the only ones
    used. `doubts`: by asset, why nothing is to be traded at its price. `rejected`: steps that are not to be tried again
    for now, as `sort_of` names them.
    """

    max_fee_per_gas_wei: int
    l1_data_fee_wei: int = 0
    l1_gas: int = 0
    max_cost_wei: int | None = None
    native_price: int | None = None
    margin_s: int = 60
    least_value: int = 0
    keep: Mapping[Address, int] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    most: Mapping[Address, int] = field(default_factory=dict)
    assets: tuple[Address, ...] = ()
    doubts: Mapping[Address, str] = field(default_factory=dict)
    rejected: frozenset[Sort] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A step that is no plan. `remedy` would make it possible, or larger."""

    key: str
    reason: str
    remedy: Intent | None = None
    owner_must: str = ""
    """What only the position's owner can do about it."""

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`plans` reach the target, each by itself, cheapest first.

    Where none does, `ladder` holds steps that reach it one after another: the first is to be done, and the rest only
    foretold, since rates move with each; of two the first may also make an end of one debt by a close. Where no ladder
    reaches either, `partial` holds what would help, best first.
    All empty with a `note` where nothing is to be done, nothing is known, or nothing helps.
    """

    plans: tuple[Plan, ...] = ()
    ladder: tuple[Plan, ...] = ()
    partial: tuple[Plan, ...] = ()
    refused: tuple[Refusal, ...] = ()
    note: str = ""


def propose(
    protocol: Protocol[Any, Any],
    facts: Any,
    position: Position,
    rescue: Any,
    target: Fraction,
    terms: Terms,
    context: Any = None,
) -> Proposal:
    """Plans to bring the position's health to at least `target`. Nothing here raises: reasons are in the result."""
    now_s = position.block.timestamp
    window_s = (now_s + 1, now_s + max(1, terms.margin_s))
    before = protocol.evaluate(position, context)
    then = [protocol.evaluate(position, context, at_s) for at_s in window_s]
    unknown = next((h.verdict.reason for h in (before, *then) if isinstance(h.verdict, Unknown)), "")
    if unknown:
        return Proposal(note=f"nothing is planned on an unknown health: {unknown}")
    if all(reaches(health, target) for health in then):
        return Proposal(note=f"health {shown(then[-1])} is not below {_decimal(target)}")
    bench = _Bench(protocol, target, terms, window_s, before, context)
    steps = protocol.rescue_steps(facts, position, rescue, window_s[-1])
    enough, short, refused = bench.judge([step for step in steps if not step.closes])
    if enough:
        return Proposal(plans=_ranked(enough, _texts(refused)), refused=refused)
    # an owner's collateral is asked about at one state of the exchange: of it only the last of two rungs is foretold
    rungs = [step for step, _ in short if step.swap is None]
    openings = [pair for pair in short if pair[0].swap is None]
    openings += replace(bench, target=None).judge([step for step in steps if step.closes])[1]
    ladder = bench.ladder(rungs) or bench.two_rungs(
        openings, lambda then: protocol.rescue_steps(facts, then, rescue, window_s[-1])
    )
    if ladder:
        return Proposal(ladder=_with(refused, ladder), refused=refused)
    partial = _with(refused, [bench.plan(step, found) for step, found in short])
    return Proposal(partial=partial, refused=refused, note="" if partial else "no step is possible")


def propose_close(
    protocol: Protocol[Any, Any],
    facts: Any,
    position: Position,
    rescue: Any,
    terms: Terms,
    context: Any = None,
) -> Proposal:
    """Plans that end the position: by themselves in `plans`, cheapest first, else one after another in `ladder`.

    Of a ladder the first is to be done and the rest only foretold: each leaves the exchange at another price. Where no
    ladder ends it, `partial` has what could be done, and nothing is worth doing by itself. Nothing here raises.
    """
    now_s = position.block.timestamp
    window_s = (now_s + 1, now_s + max(1, terms.margin_s))
    before = protocol.evaluate(position, context)
    if isinstance(before.verdict, Unknown):
        return Proposal(note=f"nothing is planned on an unknown health: {before.verdict.reason}")
    if isinstance(before.verdict, NoDebt):
        return Proposal(note="there is no debt to close")
    rungs: list[Plan] = []
    refused: list[tuple[Refusal, ...]] = []
    while len(rungs) < RUNGS:
        bench = _Bench(protocol, None, terms, window_s, before, context)
        steps = [step for step in protocol.rescue_steps(facts, position, rescue, window_s[-1]) if step.closes]
        enough, short, why_not = bench.judge(steps)
        refused.append(why_not)
        if enough and not rungs:
            return Proposal(plans=_ranked(enough, _texts(refused[0])), refused=refused[0])
        if enough:
            return Proposal(ladder=_with(refused[0], (*rungs, enough[0])), refused=refused[0])
        if not short:
            break
        step, found = max(short, key=lambda pair: Fraction(pair[1].amount * pair[0].price, 10 ** pair[0].decimals))
        rungs.append(bench.plan(step, found))
        try:
            position = protocol.after(step.position, step.with_amount(found.amount), now_s)
        except Impossible:
            break
        before = protocol.evaluate(position, context)
    # what stands in the way of an end, where a start could be made
    stuck = tuple(dict.fromkeys(refusal for why_not in refused for refusal in why_not))
    return Proposal(partial=_with(stuck, rungs), refused=stuck, note="" if rungs else "no debt can be closed")


def _texts(refused: Sequence[Refusal]) -> tuple[str, ...]:
    return tuple(str(refusal) for refusal in refused)


def _with(refused: Sequence[Refusal], plans: Sequence[Plan]) -> tuple[Plan, ...]:
    return tuple(replace(plan, refused=_texts(refused)) for plan in plans)


def _ranked(plans: Sequence[Plan], reasons: tuple[str, ...]) -> tuple[Plan, ...]:
    count = len(plans)
    return tuple(replace(p, why=f"{p.why}; {_place(n, count)}", refused=reasons) for n, p in enumerate(plans))


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every step of one proposal is measured with. `target` None: the debt is to end."""

    protocol: Protocol[Any, Any]
    target: Fraction | None
    terms: Terms
    window_s: tuple[int, int]
    before: Health
    context: Any

    def judge(self, steps: Sequence[Step]) -> tuple[list[Plan], list[tuple[Step, Found]], tuple[Refusal, ...]]:
        """Plans that reach the target, cheapest first; steps that help without reaching it, best first; refusals."""
        enough: list[tuple[Fraction, Plan]] = []
        short: list[tuple[Fraction, Step, Found]] = []
        refused: list[Refusal] = []
        for step in steps:
            found, bounded, why = self.try_step(step)
            if why:
                refused.append(Refusal(step.key, why, step.remedy, step.owner_must))
            elif found.reaches:
                enough.append((self.price_of(bounded, found.amount), self.plan(bounded, found)))
            elif self.target is None:
                short.append((Fraction(0), bounded, found))
            else:
                reason = f"all of {bounded.limited_by} reaches only {shown(found.health)}"
                refused.append(Refusal(step.key, reason, step.remedy))
                if found.health and (gain := _gain(self.before, found.health)):
                    short.append((gain, bounded, found))
        enough.sort(key=lambda pair: pair[0])
        short.sort(key=lambda triple: triple[0], reverse=True)
        return [plan for _, plan in enough], [(step, found) for _, step, found in short], tuple(refused)

    def ladder(self, steps: Sequence[Step]) -> list[Plan]:
        """The best step in full, then the best of the rest from there, until the target is reached; empty if it is not.

        Only steps on different assets, since they share what the purse holds.
        """
        plans: list[Plan] = []
        rest, bench = list(steps), self
        while rest:
            enough, short, _ = bench.judge(rest)
            if enough:
                return [*plans, enough[0]] if plans else []
            if not short:
                return []
            step, found = short[0]
            plans.append(bench.plan(step, found))
            last_s = self.window_s[-1]
            position = self.protocol.after(step.position, step.with_amount(found.amount), last_s)
            rest = [replace(other, position=position) for other, _ in short[1:] if other.asset != step.asset]
            before = self.protocol.evaluate(position, self.context, last_s)
            bench = replace(bench, window_s=(last_s, last_s), before=before)
        return []

    def two_rungs(
        self, openings: Sequence[tuple[Step, Found]], steps_from: Callable[[Position], Sequence[Step]]
    ) -> list[Plan]:
        """An opening in full, after which the owner's collateral leads to the target; the first such, else nothing.

        An opening pays from the purse, or makes an end of one debt as a close does, if the owner lets it. What helps
        most comes first; only so many are tried. What comes after it is planned anew when it has happened.
        """
        now_s, tries = self.window_s[0] - 1, OPENINGS
        gains = [(_gain(self.before, found.health), step, found) for step, found in openings if found.health]
        for gain, step, opening in sorted(gains, key=lambda triple: triple[0], reverse=True):
            if not gain or not tries:
                break
            try:
                position = self.protocol.after(step.position, step.with_amount(opening.amount), now_s)
            except Impossible:
                continue
            bench = replace(self, before=self.protocol.evaluate(position, self.context))
            after = [last for last in steps_from(position) if last.swap is not None and not last.closes]
            tries -= any(not last.refused for last in after)
            enough, _, _ = bench.judge(after)
            if enough:
                opened = replace(self, target=None) if step.closes else self
                return [opened.plan(step, opening), enough[0]]
        return []

    def try_step(self, step: Step) -> tuple[Found, Step, str]:
        """What the step can do, the step within the purse's limits, and why it is out of the question if it is."""
        nothing = Found(0, None, reaches=False)
        if step.refused:
            return nothing, step, step.refused
        if self.terms.kinds and step.intent.kind not in self.terms.kinds:
            return nothing, step, "this kind of step is not allowed here"
        if self.terms.assets and step.asset not in self.terms.assets:
            return nothing, step, "this asset is not to be used here"
        if sort_of(self.protocol, step.intent, step.asset) in self.terms.rejected:
            return nothing, step, "it was rejected right before its signature"
        if why := untrusted(self.protocol, step.intent, self.terms.doubts):
            return nothing, step, why
        if (cost := self.cost_wei(step)) > (self.terms.max_cost_wei if self.terms.max_cost_wei is not None else cost):
            return nothing, step, f"may cost {cost} wei, more than the {self.terms.max_cost_wei} allowed"
        kept = self.terms.keep.get(step.asset, 0)
        if step.swap is None and (spare := step.purse - kept) < step.most:
            step = replace(step, most=spare, limited_by="what the purse may spend")
        if (limit := self.terms.most.get(step.asset, step.most)) < step.most:
            step = replace(step, most=limit, limited_by="what the limits allow")
        if step.most < max(step.least, floor := self.least(step)):
            most = format_units(max(step.most, 0), step.decimals)
            least = format_units(max(step.least, floor), step.decimals)
            return nothing, step, f"{step.limited_by} allows {most} {step.symbol}, the smallest step is {least}"
        found, why = self.search(step, floor)
        return found, step, why

    def search(self, step: Step, floor: int) -> tuple[Found, str]:
        """The amount for the target, or all for an end, and why it is out of the question if it is."""
        if self.target is None:
            found = self.all_of_it(step)
            return found, found.why
        if step.swap and (why := step.swap.outside(self.target)):
            return Found(0, None, reaches=False), f"a target of {_decimal(self.target)} is {why}"
        found = smallest_amount(self.protocol, step, self.target, self.window_s, self.context, floor)
        if step.swap and found.health and (why := step.swap.outside(_ratio(found.health))):
            return found, f"it leads to a health of {shown(found.health)}, {why}"
        return found, found.why

    def all_of_it(self, step: Step) -> Found:
        """As much of a debt as the step can pay, whenever it lands."""
        try:
            worst = worst_after(self.protocol, step, step.most, self.window_s, self.context)
        except Impossible as impossible:
            return Found(0, None, reaches=False, why=str(impossible))
        return Found(step.most, worst, reaches=isinstance(worst.verdict, NoDebt))

    def least(self, step: Step) -> int:
        """The smallest amount worth a transaction; all of a smaller debt is worth one too."""
        if not self.terms.least_value or not step.price:
            return 0
        floor = mul_div_up(self.terms.least_value, 10**step.decimals, step.price)
        return min(floor, step.most) if step.limited_by == "the debt" else floor

    def cost_wei(self, step: Step) -> int:
        return (step.gas + self.terms.l1_gas) * self.terms.max_fee_per_gas_wei + self.terms.l1_data_fee_wei

    def loss_avoided_wei(self, position: Position) -> int:
        """All that liquidators would take, in wei; 0 without a price for the chain's coin."""
        if not self.terms.native_price:
            return 0
        return mul_div_down(self.protocol.liquidation_loss(position), WAD, self.terms.native_price)

    def price_of(self, step: Step, amount: int) -> Fraction:
        """What it takes in all, in the health's unit, for comparing only."""
        return step.loss(amount) + Fraction(self.cost_wei(step) * (self.terms.native_price or 0), WAD)

    def plan(self, step: Step, found: Found) -> Plan:
        """The plan to do the found amount of the step."""
        if found.health is None:
            raise AssertionError("a step without a result is no plan")
        intent, cost = step.with_amount(found.amount), self.cost_wei(step)
        return Plan(
            key=intent.hash[:16],
            position_id=step.position.id,
            block=step.position.block,
            intent=intent,
            asset=step.asset,
            symbol=step.symbol,
            amount=found.amount,
            decimals=step.decimals,
            before=self.before,
            expected=found.health,
            why=self._why(step, found),
            limits=Limits(
                step.gas + self.terms.l1_gas,
                self.terms.max_fee_per_gas_wei,
                cost,
                self.window_s[-1],
                self.terms.l1_data_fee_wei,
            ),
            loss_avoided_wei=self.loss_avoided_wei(step.position),
        )

    def _why(self, step: Step, found: Found) -> str:
        unit = self.before.unit
        worth = format_units(found.amount * step.price // 10**step.decimals, unit.decimals)
        text = f"{step.intent.kind} {format_units(found.amount, step.decimals)} {step.symbol} ({worth} {unit.symbol})"
        if step.swap is not None:
            most = format_units(step.swap.limit(found.amount), step.swap.decimals)
            text += f" for at most {most} {step.swap.symbol}"
            text += f", a loss of {format_units(int(step.loss(found.amount)), unit.decimals)} {unit.symbol}"
        text += f": health {shown(self.before)} to {shown(found.health)}"
        text += f", target {_decimal(self.target)}" if self.target is not None else ""
        if self.target is None:
            text += ", which ends it" if found.reaches else f", as much as {step.limited_by} lets it"
        elif not found.reaches:
            text += f", which all of {step.limited_by} does not reach"
        elif self.terms.least_value and found.amount == self.least(step):
            text += ", by the smallest step allowed"
        return f"{text}; costs at most {format_units(self.cost_wei(step), 18)} of the chain's coin"


def sort_of(protocol: Protocol[Any, Any], intent: Intent, asset: Address) -> Sort:
    """What fails together: everything that the purse does with an asset, and each trade by itself."""
    trade = protocol.trades(intent)
    return (intent.kind, *trade) if trade else (asset,)


def untrusted(protocol: Protocol[Any, Any], intent: Intent, doubts: Mapping[Address, str]) -> str:
    """Why the intent's trade is not to be made at prices in doubt; empty if they are not, or it trades nothing."""
    found = [doubts[asset] for asset in protocol.trades(intent) if asset in doubts]
    return f"nothing is sold while a price is in doubt: {'; '.join(found)}" if found else ""


def shown(health: Health | None) -> str:
    """A health for people, never rounded up."""
    if health is None or isinstance(health.verdict, Unknown):
        return "unknown"
    if isinstance(health.verdict, Known):
        return format_ratio(health.verdict.numerator, health.verdict.denominator, 4)
    return "without debt"


def _ratio(health: Health) -> Fraction | None:
    """Health as a number; None without debt."""
    verdict = health.verdict
    return Fraction(verdict.numerator, verdict.denominator) if isinstance(verdict, Known) else None


def _gain(before: Health, expected: Health) -> Fraction:
    """By how much health rises; 0 if it does not or nothing can be said."""
    if isinstance(before.verdict, Known) and isinstance(expected.verdict, Known):
        old = Fraction(before.verdict.numerator, before.verdict.denominator)
        return max(Fraction(expected.verdict.numerator, expected.verdict.denominator) - old, Fraction(0))
    return Fraction(isinstance(expected.verdict, NoDebt))


def _place(number: int, count: int) -> str:
    if count == 1:
        return "the only step that reaches it"
    return f"the cheapest of {count}" if number == 0 else f"number {number + 1} of {count} by cost"


def _decimal(value: Fraction) -> str:
    return format_ratio(value.numerator, value.denominator, 18).rstrip("0").rstrip(".")
