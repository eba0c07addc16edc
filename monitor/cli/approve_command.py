"""`levmon approve`: a bounded ERC-20 allowance from the purse to a market, by journal and signer like a rescue."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import Threshold, json_option, source_options
from monitor.cli.sending import Wish, broadcast_options, go_on, simulated
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.cli.guarding import Prospect
    from monitor.core.actions import Intent, Step
    from monitor.pipeline.plans import Options

NO_TARGET = Fraction(2)


@click.command("approve")
@click.argument("position", metavar="POSITION")
@click.argument("asset")
@click.option(
    "--amount", type=Threshold(), help="How many tokens.  [default: what the limits let the key move in a day]"
)
@broadcast_options
@source_options
@json_option
def command(
    position: str,
    asset: str,
    amount: Fraction | None,
    broadcast: bool,
    until: str,
    within: float,
    as_json: bool,
    **source: Any,
) -> int:
    """Let the market of a position take a bounded amount of one of the purse's tokens.

    ASSET is a symbol or an address. The allowance is never unlimited: at most what the limits of [guardian] let the key
    move in a day. Without --broadcast nothing is signed. A token that demands it gets an approval of 0 first.

    Exits as act does; 0 also when the allowance is large enough already.
    """
    from monitor.cli.guarding import with_position

    wanted = with_position(position, source)
    return asyncio.run(_approve(wanted, asset, amount, Wish(broadcast, until, within, as_json)))


async def _approve(wanted: Any, asset: str, amount: Fraction | None, how: Wish) -> int:
    from monitor.cli.guarding import guardian_for, look
    from monitor.cli.session import opened
    from monitor.core.units import format_units
    from monitor.pipeline import plans
    from monitor.pipeline.acting import approval_of

    async with opened(wanted) as session:
        guardian = guardian_for(session.targets, None)
        found = await look(session, guardian, NO_TARGET)
        intent, step = _intent(found, asset, amount)
        block = found.report.block
        if intent is None or block is None:
            click.echo(
                _told(how.as_json, found, step, None, "nothing to approve: it may take all that can be used already")
            )
            return 0
        raw = int(intent.args["amount"])
        text = f"approve {format_units(raw, step.decimals)} {step.symbol} to {intent.args['spender']}"
        about = {"symbol": step.symbol, "decimals": step.decimals, "allowance": str(raw)}
        valid_until_s = block.timestamp + plans.window_s(block, guardian.config.deadline_s)
        drafts = [approval_of(intent, guardian, block, about, valid_until_s)]
        passes, simulation = await simulated(found, drafts[0])
        if not passes and await _after_zero(found, intent):
            # as USDT does it: an allowance may only be changed from zero or to zero
            zero = replace(intent, position_id=_place(step, "zero"), args={**intent.args, "amount": 0})
            drafts.insert(0, approval_of(zero, guardian, block, {**about, "allowance": "0"}, valid_until_s))
            passes, simulation = True, "it would succeed after an approval of 0, which this token demands first"
        click.echo(_told(how.as_json, found, step, intent, f"{text}\nsimulated at block {block.number}: {simulation}"))
        return await go_on(session, found, drafts, how, passes=passes)


async def _after_zero(found: Prospect, intent: Intent) -> bool:
    """Whether the grant would succeed after one of zero: nothing is taken back that could not be granted again."""
    from monitor.execution.port import Passed
    from monitor.pipeline.acting import APPROVE_GAS, ExecutionView, own_calls

    block = found.report.block
    if block is None or not intent.args["amount"]:
        return False
    build = own_calls()
    calls = [build(replace(intent, args={**intent.args, "amount": 0})), build(intent)]
    view = ExecutionView(found.chain.chain)
    return isinstance(await view.simulate_in_order(found.guardian.address, calls, APPROVE_GAS, block), Passed)


def _place(step: Step, *more: str) -> str:
    """An id of its own, so that a rescue of the position need not wait until the approval is final."""
    return "/".join((f"eip155:{step.intent.chain_id}/allowance/{step.asset}", *more, step.intent.owner))


def _intent(found: Prospect, asset: str, amount: Fraction | None) -> tuple[Intent | None, Step]:
    """What to grant, None where nothing is missing. May raise: ConfigError."""
    from monitor.pipeline import plans

    choice = plans.options(found.seen, found.report, found.guardian, 1)
    if choice.why_none:
        raise ConfigError(f"no approval can be made: {choice.why_none}")
    steps = [step for step in choice.steps if asset.lower() in (step.asset.lower(), step.symbol.lower())]
    if not steps:
        known = ", ".join(dict.fromkeys(step.symbol for step in choice.steps))
        raise ConfigError(f"{asset!r} is no asset of this market", hint=f"it has {known}")
    step = next((one for one in steps if one.remedy is not None), steps[0])
    most = _per_key_day(found, choice, step)
    if step.remedy is None:
        return None, step
    wanted = most if amount is None else int(amount * 10**step.decimals)
    if not 0 < wanted <= most:
        raise ConfigError("more than the limits let the key move in a day, or nothing", hint="lower --amount")
    return replace(step.remedy, position_id=_place(step), args={**step.remedy.args, "amount": wanted}), step


def _per_key_day(found: Prospect, choice: Options, step: Step) -> int:
    """What rescues and liquidations together may move of it in a day. May raise: ConfigError."""
    from monitor.core.liquidations import Token
    from monitor.signer.config import MAX_AMOUNT

    health = found.report.health
    token = Token(step.asset, step.symbol, step.decimals, step.price)
    liquidations = found.guardian.liquidation_limits([token], health.unit) if health else {}
    known = [one for one in (choice.limits.get(step.asset), *liquidations.values()) if one is not None]
    if not known:
        raise ConfigError(f"no limits are set for {step.symbol}", hint="add [guardian.limits] to levmon.toml")
    return min(sum(one.per_key_day for one in known), MAX_AMOUNT)


def _told(as_json: bool, found: Prospect, step: Step, intent: Intent | None, text: str) -> str:
    if not as_json:
        return text
    told = {
        "schema": "levmon.approval/1",
        "position": found.report.id,
        "asset": step.asset,
        "symbol": step.symbol,
        "spender": None if intent is None else str(intent.args["spender"]),
        "amount_raw": None if intent is None else str(intent.args["amount"]),
        "said": text,
    }
    return json.dumps(told, separators=(",", ":"))
