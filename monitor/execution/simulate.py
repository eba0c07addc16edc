"""Whether the very transaction would succeed now: the ladder of simulations, at one pinned block.

eth_simulateV1 first, then eth_call with the sender's balance overridden, then a plain call; a rung that the node does
not have leads to the next. A rung that fails or takes too long ends the ladder: without a passed simulation nothing is
signed.
"""

from __future__ import annotations

from monitor.core.errors import ChainError
from monitor.core.types import Address, BlockRef
from monitor.core.units import BPS, mul_div_up
from monitor.execution.defences import ALL, Defences
from monitor.execution.port import ExecutionChain, NotSimulated, Passed, Rung, Simulated, TxCall, WouldRevert

MORE_GAS = 2
"""What ran out of gas gets so many times as much, once."""
GAS_MARGIN_BPS = 12_000
"""Gas limit over simulated gas: storage refunds come after, and 63/64 are left behind at each call."""


async def simulate(
    chain: ExecutionChain, sender: Address, call: TxCall, gas: int, block: BlockRef, *, defences: Defences = ALL
) -> Simulated:
    """The first rung's answer that is one. Never raises ChainError: what failed is NotSimulated."""
    if not defences.simulate:
        return Passed(None)
    for rung in Rung:
        try:
            outcome = await chain.simulate(sender, call, gas, block, rung)
        except ChainError as error:
            return NotSimulated(error.message)
        if isinstance(outcome, NotSimulated) and outcome.unsupported:
            continue
        if isinstance(outcome, Passed) and outcome.gas is not None and defences.gas_margin:
            needed = mul_div_up(outcome.gas, GAS_MARGIN_BPS, BPS)
            if needed > gas:
                return WouldRevert(f"the gas limit {gas} is below the {needed} that it needs with margin", needed)
        if isinstance(outcome, WouldRevert) and "out of gas" in outcome.reason.lower():
            return WouldRevert(outcome.reason, gas * MORE_GAS)
        return outcome
    return NotSimulated("no endpoint can simulate")
