"""What a token really does when it is moved: balances before and after, measured in a simulation of the transaction.

Tokens that take a fee, pay one out, or change balances by themselves move another amount than they are asked to. Plans
and limits reckon with the amount asked for; so such a token is refused unless its user has said that it is known. A
node without eth_simulateV1 cannot measure; then nothing is said here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monitor.chain import abi
from monitor.chain.jsonrpc import Failure, Reply, Request
from monitor.chain.quantity import parse_data, parse_quantity
from monitor.chain.quorum import most
from monitor.chain.rpc_chain import RpcChain, Send
from monitor.core.errors import BadAnswer, DecodeError, RpcError
from monitor.core.types import Address, BlockRef
from monitor.execution.port import TxCall
from monitor.execution.rpc_chain import PLENTY_WEI, cannot_simulate

Moved = list[tuple[int, int]] | str | None
ODD = "moves otherwise than asked"
"""How the reason begins, after the token's symbol."""


async def fetch_moved(
    chain: RpcChain, sender: Address, call: TxCall, gas: int, block: BlockRef, views: Sequence[tuple[Address, str, Any]]
) -> Moved:
    """Each view (contract, function, arguments) before and after the call; None where the node cannot simulate so.

    Words where the call itself fails: nothing was measured then, and a simulation that passes is another node's.
    May raise: ChainError, also where nodes measure different things of the same block.
    """
    reads = [_fields(sender, to, abi.function(name).encode(args)) for to, name, args in views]
    sent = {**_fields(sender, call.to, call.data), "gas": hex(gas), "value": hex(call.value_wei)}
    calls = {
        "blockStateCalls": [
            {"calls": [*reads, sent, *reads], "stateOverrides": {sender: {"balance": hex(PLENTY_WEI)}}},
        ],
        "validation": False,
    }
    request = Request("eth_simulateV1", (calls, hex(block.number)))

    async def measured(send: Send) -> Moved:
        (reply,) = await send([request])
        return _measured(reply, views)

    if len(chain.pool.endpoints) == 1:
        return await measured(lambda requests: chain.pool.send(requests, need=block.number))
    found, trouble = await chain.ask_each(block, measured, chain.quorum)
    votes = [said for _, said in found if said is not None]
    if not votes and trouble:
        raise trouble[0]
    won = most(votes, repr, chain.quorum)
    if votes and not won:
        raise BadAnswer(f"nodes do not agree about what moves at block {block.number}: {'; '.join(map(str, votes))}")
    return won[0] if won else None


def _measured(reply: Reply, views: Sequence[tuple[Address, str, Any]]) -> Moved:
    """What one node says. May raise: RpcError, BadAnswer."""
    count = len(views)
    if isinstance(reply, Failure):
        if cannot_simulate(reply):
            return None
        raise RpcError(f"nothing could be measured: {reply.message[:160]}", code=reply.code, data=reply.data)
    try:
        results = reply.value[0]["calls"]
        succeeded = [parse_quantity(one["status"], "status") == 1 for one in results]
        if len(results) != 2 * count + 1:
            raise BadAnswer("not every call of the simulation was answered")
        if not succeeded.pop(count):
            return "it fails where it is measured"
        if not all(succeeded):
            raise BadAnswer("a balance could not be read")
        numbers = [
            abi.function(name).decode(parse_data(result["returnData"], "balance"))[0]
            for (_, name, _), result in zip((*views, *views), [*results[:count], *results[-count:]], strict=True)
        ]
    except (TypeError, KeyError, IndexError, DecodeError):
        raise BadAnswer("eth_simulateV1 answered something else than the simulated calls") from None
    return list(zip(numbers[:count], numbers[count:], strict=True))


def _fields(sender: Address, to: Address, data: bytes) -> dict[str, str]:
    return {"from": sender, "to": to, "data": "0x" + data.hex()}


def odd_transfer(asked: int, purse: tuple[int, int], holder: tuple[int, int]) -> str:
    """Why this is no plain transfer to the holder of at most what was asked; empty if it is one."""
    lost, gained = purse[0] - purse[1], holder[1] - holder[0]
    if 0 < lost <= asked and gained == lost:
        return ""
    return f"{ODD}: of {asked} the purse loses {lost}, and {gained} arrive"


def odd_receipt(purse: tuple[int, int], holder: tuple[int, int]) -> str:
    """Why this is no plain transfer from the holder to the purse; empty if it is one."""
    lost, gained = holder[0] - holder[1], purse[1] - purse[0]
    if lost > 0 and gained == lost:
        return ""
    return f"{ODD}: {lost} leave the market, and {gained} arrive in the purse"
