"""What `levmon doctor` tries at each endpoint beside its head: what levmon does sooner, surer or only with it.

An endpoint that cannot do something is no mistake: where nothing in the file needs it, it is only told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from monitor.cli.findings import Finding

if TYPE_CHECKING:
    from monitor.chain.jsonrpc import Reply
    from monitor.chain.rpc_chain import RpcChain
    from monitor.core.secret import RpcUrl
    from monitor.core.types import BlockRef

NOBODY = "0x000000000000000000000000000000000000dEaD"
ANSWER = "0x" + f"{42:064x}"
_CODE = "0x602a60005260206000f3"
"""returns 42"""
LOGS = 1000
OLD = 10_000
WITHIN_S = 10.0


async def abilities(name: str, chain: RpcChain, block: BlockRef, *, acts: bool) -> AsyncIterator[Finding]:
    """`acts`: whether the file has a guardian."""
    from monitor.chain.jsonrpc import Request, Result

    async def tried(method: str, *params: Any) -> Reply | str:
        """May not raise: what fails is told."""
        from monitor.core.errors import ChainError

        try:
            [reply] = await chain.pool.send([Request(method, params)], critical=False)
        except ChainError as failed:
            return failed.message
        return reply

    simulated = await tried("eth_simulateV1", {"blockStateCalls": [{"calls": []}]}, "latest")
    if isinstance(simulated, Result):
        yield Finding(f"{name}, eth_simulateV1", "ok", "answers: transfers are measured before a signature")
    elif acts:
        mend = "add an endpoint that has it: without it a token that takes a fee is noticed only afterwards"
        yield Finding(f"{name}, eth_simulateV1", "warn", _said(simulated), mend)
    else:
        yield Finding(f"{name}, eth_simulateV1", "ok", f"is not there, and only acting uses it ({_said(simulated)})")

    overridden = await tried("eth_call", {"to": NOBODY, "data": "0x"}, "latest", {NOBODY: {"code": _CODE}})
    can = isinstance(overridden, Result) and overridden.value == ANSWER
    told = "work: whole markets are read in one call" if can else "do not: whole markets are read by Multicall3"
    yield Finding(f"{name}, state overrides", "ok", told)

    first = max(block.number - LOGS + 1, 0)
    asked = {"fromBlock": hex(first), "toBlock": hex(block.number), "address": NOBODY}
    logs = await tried("eth_getLogs", asked)
    if isinstance(logs, Result) and isinstance(logs.value, list):
        yield Finding(f"{name}, logs", "ok", f"of {block.number - first + 1} blocks at once")
    else:
        mend = "discover and keep ask in smaller pieces, slowly; --owners FILE does without, or take another endpoint"
        yield Finding(f"{name}, logs", "warn", _said(logs), mend)

    old = max(block.number - OLD, 0)
    state = await tried("eth_getBalance", NOBODY, hex(old))
    has = isinstance(state, Result)
    told = f"has the state of block {old}" if has else f"has no state of block {old}: --block reaches less far back"
    yield Finding(f"{name}, archive", "ok", told)


def _said(reply: Reply | str) -> str:
    from monitor.chain.jsonrpc import Failure
    from monitor.core.text import clean

    if isinstance(reply, Failure):
        return f"it says: {clean(reply.message, 120)}"
    return clean(reply, 160) if isinstance(reply, str) else "it answers something else"


def quorum(chain: str, wanted: int, answering: int) -> Finding:
    """Whether as many endpoints answer as must agree."""
    if wanted < 2:
        return Finding(f"quorum on {chain}", "ok", "is off: one endpoint's word is taken")
    if answering < wanted:
        mend = "mend or add endpoints, or lower the quorum: until then every position is unknown"
        return Finding(f"quorum on {chain}", "bad", f"{answering} endpoints answer and {wanted} must agree", mend, 3)
    spare = answering - wanted
    if not spare:
        mend = "add an endpoint: the next one that fails makes every position unknown"
        return Finding(f"quorum on {chain}", "warn", f"all {answering} endpoints that answer must agree", mend)
    return Finding(f"quorum on {chain}", "ok", f"{wanted} of {answering} must agree")


async def websocket(url: RpcUrl) -> Finding:
    """Whether new heads can be subscribed to. Nothing is waited for but the answer to that."""
    import aiohttp

    from monitor.chain.jsonrpc import parse
    from monitor.chain.websocket import SUBSCRIBE
    from monitor.core.errors import BadAnswer

    name = f"websocket {url}"
    mend = "check its URL; until then new blocks are asked for, a little later"
    try:
        async with (
            asyncio.timeout(WITHIN_S),
            aiohttp.ClientSession(trust_env=False) as session,
            session.ws_connect(url.reveal(), max_msg_size=1 << 20) as socket,
        ):
            await socket.send_str(SUBSCRIBE)
            answer = parse((await socket.receive_str()).encode())
    except TimeoutError:
        return Finding(name, "warn", f"no answer within {WITHIN_S:.0f} s", mend)
    except (aiohttp.ClientError, OSError, TypeError, ValueError, BadAnswer) as failed:
        # the kind alone: the text of such errors repeats the URL
        return Finding(name, "warn", f"not reached ({type(failed).__name__})", mend)
    if isinstance(answer, dict) and "result" in answer:
        return Finding(name, "ok", "new heads can be subscribed to")
    return Finding(name, "warn", f"does not subscribe: {json.dumps(answer)[:120]}", mend)
