"""Acting's port over JSON-RPC, on the reader's endpoints: who must agree is decided here, what it means is not.

Signed bytes go to every endpoint; receipts and simulations are asked of every endpoint and counted. What only informs
(fees, pool) is asked of one. Every request carries the endpoint's own question for the chain id, so that nothing is
ever sent to, or believed of, a chain that is not ours.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from monitor.chain.endpoint import Endpoint
from monitor.chain.jsonrpc import Failure, Reply, Request, Result
from monitor.chain.pool import Pool
from monitor.chain.quantity import parse_data, parse_hash, parse_quantity
from monitor.chain.quorum import most
from monitor.chain.replies import Kind, kind
from monitor.chain.rpc_chain import RpcChain, Send
from monitor.core.errors import BadAnswer, ChainError, RpcError, StateMissing, WrongChain
from monitor.core.types import Address, BlockRef
from monitor.execution.port import (
    Account,
    NotSimulated,
    Occupant,
    Passed,
    RawLog,
    Receipt,
    Rung,
    SendReply,
    Simulated,
    TxCall,
    WouldRevert,
)

FINALITY_DEPTH = 64
USUAL_TIP_WEI = 10**9
PLENTY_WEI = 2**128
STATE_BLOCKS = 120
"""How far back nodes without an archive answer for states."""


class RpcExecutionChain:
    """ExecutionChain over a reader. `relay`: endpoints of a private relay, apart from the others."""

    def __init__(self, chain: RpcChain, *, depth: int = FINALITY_DEPTH, relay: Pool | None = None) -> None:
        self._chain = chain
        self._depth = depth
        self._relay = relay
        self._final: BlockRef | None = None

    @property
    def endpoints(self) -> int:
        return len(self._chain.pool.endpoints)

    async def _one(self, method: str, *params: Any, need: int | None = None) -> Any:
        """The result of one question, from whoever answers. May raise: ChainError."""
        (reply,) = await self._chain.pool.send([Request(method, params)], need=need)
        return _result(reply, method)

    async def _everybody(self, requests: Sequence[Request]) -> list[list[Reply] | ChainError]:
        """Each endpoint's replies, or why it has none."""
        pool = self._chain.pool

        async def ask(endpoint: Endpoint) -> list[Reply] | ChainError:
            try:
                return (await endpoint.ask(requests, pool.chain_id))[1]
            except ChainError as error:
                return error

        return list(await asyncio.gather(*map(ask, pool.endpoints)))

    # -- blocks and accounts -------------------------------------------------------------------------------------

    async def chain_id(self) -> int:
        return parse_quantity(await self._one("eth_chainId"), "chain id")

    async def head(self) -> BlockRef:
        return await self._chain.block("latest")

    async def finalized(self) -> BlockRef:
        """The tag, or the block at the depth; what was final once stays so, whoever answers now."""
        try:
            found = await self._chain.block("finalized")
        except (RpcError, BadAnswer, StateMissing):
            head = await self._chain.block("latest")
            found = await self._chain.block(max(head.number - self._depth, 0))
        self._final = never_lower(self._final, found)
        return self._final

    async def block_hash(self, number: int) -> str | None:
        block = _block(await self._one("eth_getBlockByNumber", hex(number), False))
        return parse_hash(block.get("hash"), "block hash") if block else None

    async def account(self, address: Address, head: BlockRef, finalized: BlockRef) -> Account:
        pin = {"blockHash": head.hash}
        asked = [
            Request("eth_getTransactionCount", (address, pin), group=1),
            Request("eth_getBalance", (address, pin), group=1),
            Request("eth_getCode", (address, pin), group=1),
        ]
        nonce, balance, code = await self._chain.pool.send(asked, need=head.number)
        return Account(
            parse_quantity(_result(nonce, "nonce"), "nonce"),
            await self._nonce_at(address, finalized),
            parse_quantity(_result(balance, "balance"), "balance"),
            bool(parse_data(_result(code, "code"), "code")),
        )

    async def _nonce_at(self, address: Address, block: BlockRef) -> int:
        """0 where no node has the state any more: then nothing is concluded from finality."""
        try:
            found = await self._one("eth_getTransactionCount", address, {"blockHash": block.hash})
        except StateMissing:
            return 0
        return parse_quantity(found, "nonce")

    # -- transactions --------------------------------------------------------------------------------------------

    async def receipts(self, hashes: Sequence[str]) -> Mapping[str, Receipt]:
        answers = await self._everybody([Request("eth_getTransactionReceipt", (one,)) for one in hashes])
        told: dict[str, Counter[Receipt]] = {one: Counter() for one in hashes}
        heard = [replies for replies in answers if not isinstance(replies, ChainError)]
        if not heard:
            raise next(error for error in answers if isinstance(error, ChainError))
        for replies in heard:
            for one, reply in zip(hashes, replies, strict=True):
                if isinstance(reply, Result) and reply.value is not None:
                    with suppress(BadAnswer):  # it counts for nothing, and the others go on
                        told[one][_receipt(reply.value, one)] += 1
        return {one: _judged(votes) for one, votes in told.items() if votes}

    async def known(self, hashes: Sequence[str]) -> frozenset[str]:
        answers = await self._everybody([Request("eth_getTransactionByHash", (one,)) for one in hashes])
        found = set()
        for replies in answers:
            if isinstance(replies, ChainError):
                continue
            for one, reply in zip(hashes, replies, strict=True):
                value = reply.value if isinstance(reply, Result) else None
                if isinstance(value, dict) and value.get("hash") == one:
                    found.add(one)
        return frozenset(found)

    async def occupant(self, sender: Address, nonce: int) -> Occupant | None:
        """Found by halving: the block in which the sender's nonce passed this one, then its transactions."""
        high = (await self.head()).number
        low = max(high - STATE_BLOCKS, 0)
        try:
            if await self._count(sender, high) <= nonce or await self._count(sender, low) > nonce:
                return None
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if await self._count(sender, middle) > nonce else (middle, high)
        except StateMissing:
            return None
        block = _block(await self._one("eth_getBlockByNumber", hex(high), True))
        for one in block.get("transactions", []):
            if one["from"].lower() == sender.lower() and parse_quantity(one["nonce"], "nonce") == nonce:
                data = parse_data(one["input"], "input")
                value = parse_quantity(one["value"], "value")
                return Occupant(parse_hash(one["hash"], "hash"), TxCall(_address(one["to"]), data, value))
        return None

    async def _count(self, sender: Address, number: int) -> int:
        return parse_quantity(await self._one("eth_getTransactionCount", sender, hex(number)), "nonce")

    async def pooled_fees(self, sender: Address, nonce: int) -> tuple[int, int] | None:
        (reply,) = await self._chain.pool.send([Request("txpool_contentFrom", (sender,))])
        if not isinstance(reply, Result) or not isinstance(reply.value, dict):
            return None
        for part in ("pending", "queued"):
            one = (reply.value.get(part) or {}).get(str(nonce))
            if isinstance(one, dict) and "maxFeePerGas" in one:
                fee, tip = one["maxFeePerGas"], one["maxPriorityFeePerGas"]
                return parse_quantity(fee, "max fee"), parse_quantity(tip, "tip")
        return None

    async def tip_wei(self) -> int:
        """What the node suggests; a usual one where it does not. The fee policy bounds it."""
        (reply,) = await self._chain.pool.send([Request("eth_maxPriorityFeePerGas")])
        return parse_quantity(reply.value, "tip") if isinstance(reply, Result) else USUAL_TIP_WEI

    async def send_raw(self, raw: bytes, *, private: bool = False) -> Sequence[SendReply]:
        if private and self._relay is None:
            return []
        pool = self._relay if private and self._relay is not None else self._chain.pool
        request = Request("eth_sendRawTransaction", ("0x" + raw.hex(),))

        async def send(endpoint: Endpoint) -> SendReply:
            try:
                (_, (reply,)) = await endpoint.ask([request], self._chain.pool.chain_id)
            except WrongChain:
                return SendReply(endpoint.alias, message="wrong chain")
            except ChainError:
                return SendReply(endpoint.alias)
            if isinstance(reply, Failure):
                return SendReply(endpoint.alias, message=reply.message, code=reply.code)
            return SendReply(endpoint.alias, hash=reply.value if isinstance(reply.value, str) else "no hash")

        return list(await asyncio.gather(*map(send, pool.endpoints)))

    # -- simulation ----------------------------------------------------------------------------------------------

    async def simulate(self, sender: Address, call: TxCall, gas: int, block: BlockRef, rung: Rung) -> Simulated:
        """Where there are several endpoints, each climbs on from this rung to the first that it has."""
        rungs = list(Rung)[list(Rung).index(rung) :] if self.endpoints > 1 else [rung]

        async def simulated(send: Send) -> Simulated:
            found: Simulated = NotSimulated("no rung is left", unsupported=True)
            for one in rungs:
                (reply,) = await send([_simulation(sender, [call], gas, block, one)])
                found = _found(reply, one, [call])
                if not isinstance(found, NotSimulated) or not found.unsupported:
                    break
            return found

        return await self._most(simulated, block)

    async def simulate_in_order(self, sender: Address, calls: Sequence[TxCall], gas: int, block: BlockRef) -> Simulated:
        """Whether all of these would succeed, one after the other in one block; the answer is that of the last.

        Only nodes with eth_simulateV1 can tell. May raise: ChainError.
        """

        async def simulated(send: Send) -> Simulated:
            (reply,) = await send([_simulation(sender, calls, gas, block, Rung.SIMULATE_V1)])
            return _found(reply, Rung.SIMULATE_V1, calls)

        return await self._most(simulated, block)

    async def _most(self, simulated: Callable[[Send], Coroutine[Any, Any, Simulated]], block: BlockRef) -> Simulated:
        """What most endpoints say, of those that can simulate; where they are divided, nothing. May raise: ChainError.

        The most gas of those that pass counts.
        """
        chain = self._chain
        if self.endpoints == 1:
            return await simulated(lambda requests: chain.pool.send(requests, need=block.number))
        found, trouble = await chain.ask_each(block, simulated, chain.quorum)
        votes = [vote for vote in found if not isinstance(vote[1], NotSimulated)]
        if not found:
            raise trouble[0]
        if not votes:
            return next((said for _, said in found if not cast(NotSimulated, said).unsupported), found[0][1])
        won = [said for _, said in most(votes, lambda vote: isinstance(vote[1], Passed), chain.quorum)]
        if not won:
            said = ", ".join(f"{who} says that it {_told(what)}" for who, what in votes)
            return NotSimulated(f"nodes do not agree about block {block.number}: {said}")
        return max(won, key=lambda one: (one.gas if isinstance(one, Passed) else None) or 0)


def _simulation(sender: Address, calls: Sequence[TxCall], gas: int, block: BlockRef, rung: Rung) -> Request:
    """The question of that rung; only eth_simulateV1 takes more than one call."""
    fields = [_call_fields(sender, call, gas) for call in calls]
    if rung is Rung.SIMULATE_V1:
        asked = {"blockStateCalls": [{"calls": fields, "stateOverrides": _rich(sender)}], "validation": False}
        return Request("eth_simulateV1", (asked, hex(block.number)))
    pin = {"blockHash": block.hash}
    return Request("eth_call", (fields[0], pin, _rich(sender)) if rung is Rung.OVERRIDE else (fields[0], pin))


def _found(reply: Reply, rung: Rung, asked: Sequence[TxCall]) -> Simulated:
    """May raise: BadAnswer."""
    if isinstance(reply, Failure):
        return _failed(reply)
    if rung is Rung.SIMULATE_V1:
        return _simulated(reply.value, asked)
    if asked[0].code and (error := _error_code(reply.value)):
        return WouldRevert(error)
    return Passed(None)


def _error_code(answer: Any) -> str:
    """What is wrong with the answer of a call whose 0 means success; empty if nothing. May raise: BadAnswer."""
    word = parse_data(answer, "what the call answers")
    if len(word) != 32:
        return "it answers no error code: this is not the contract that was meant"
    return f"it answers error {int.from_bytes(word, 'big')} without a revert" if any(word) else ""


def _told(said: Simulated) -> str:
    return "succeeds" if isinstance(said, Passed) else f"fails ({said.reason})" if said.reason else "fails"


def _call_fields(sender: Address, call: TxCall, gas: int) -> dict[str, str]:
    data, value = "0x" + call.data.hex(), hex(call.value_wei)
    return {"from": sender, "to": call.to, "data": data, "value": value, "gas": hex(gas)}


def _rich(sender: Address) -> dict[str, dict[str, str]]:
    """A sender's balance is not what a simulation is to find out."""
    return {sender: {"balance": hex(PLENTY_WEI)}}


def never_lower(known: BlockRef | None, found: BlockRef) -> BlockRef:
    """Of what was final before and what is said to be now, the higher."""
    return known if known is not None and known.number >= found.number else found


def _result(reply: Reply, what: str) -> Any:
    if isinstance(reply, Result):
        return reply.value
    if kind(reply) is Kind.STATE_MISSING:
        raise StateMissing(f"{what}: {reply.message[:120]}")
    raise RpcError(f"{what}: {reply.message[:200]}", code=reply.code, data=reply.data)


def _block(value: Any) -> dict[str, Any]:
    """Empty where the node knows none. May raise: BadAnswer."""
    if value is not None and not isinstance(value, dict):
        raise BadAnswer("something else than a block came where one was asked for")
    return value or {}


def _address(value: Any) -> Address:
    from eth_utils.address import to_checksum_address

    return to_checksum_address(value) if isinstance(value, str) else ""


def _receipt(value: Any, asked: str) -> Receipt:
    """May raise: BadAnswer, when it is of another transaction or lacks a field."""
    if not isinstance(value, dict) or value.get("transactionHash") != asked:
        raise BadAnswer("a receipt of another transaction came than was asked for")
    used = parse_quantity(value.get("gasUsed"), "gasUsed")
    price = parse_quantity(value.get("effectiveGasPrice"), "effectiveGasPrice")
    extra = parse_quantity(value["l1Fee"], "l1Fee") if value.get("l1Fee") else 0
    return Receipt(
        asked,
        parse_quantity(value.get("blockNumber"), "blockNumber"),
        parse_hash(value.get("blockHash"), "blockHash"),
        parse_quantity(value.get("status"), "status") == 1,
        used,
        used * price + extra,
        logs=tuple(map(_log, value.get("logs") or ())),
    )


def _log(value: Any) -> RawLog:
    """May raise: BadAnswer."""
    if not isinstance(value, dict) or not isinstance(value.get("topics"), list):
        raise BadAnswer("a receipt has a log that is none")
    topics = tuple(parse_data(topic, "topic") for topic in value["topics"])
    return RawLog(_address(value.get("address")), topics, parse_data(value.get("data"), "data"))


def _judged(votes: Counter[Receipt]) -> Receipt:
    """The receipt that most endpoints tell, with how many, and whether any tells another."""
    receipt, count = votes.most_common(1)[0]
    return replace(receipt, witnesses=count, disputed=len(votes) > 1)


def _failed(reply: Failure) -> Simulated:
    what = kind(reply)
    if what in {Kind.REVERTED, Kind.OUT_OF_GAS}:
        return WouldRevert(f"{reply.message[:160]} {reply.data[:74]}".strip())
    return NotSimulated(reply.message[:160], cannot_simulate(reply))


def cannot_simulate(reply: Failure) -> bool:
    """Whether the node lacks this way of simulating, whatever is to be simulated."""
    return reply.code in {-32601, -32602} or "not supported" in reply.message.lower()


def _simulated(value: Any, asked: Sequence[TxCall]) -> Simulated:
    """eth_simulateV1's answer to these calls: the first that fails, else the last. May raise: BadAnswer."""
    try:
        calls = value[0]["calls"]
        if len(calls) != len(asked):
            raise BadAnswer(f"eth_simulateV1 answered {len(calls)} calls of {len(asked)}")
        for call, meant in zip(calls, asked, strict=True):
            if parse_quantity(call["status"], "status") != 1:
                said = str((call.get("error") or {}).get("message", "no reason"))
                return WouldRevert(f"{said[:160]} {str(call.get('returnData') or '').removesuffix('0x')[:74]}".strip())
            if meant.code and (error := _error_code(call["returnData"])):
                return WouldRevert(error)
        return Passed(parse_quantity(calls[-1]["gasUsed"], "gasUsed"))
    except (TypeError, KeyError, IndexError, ValueError):
        raise BadAnswer("eth_simulateV1 answered something else than simulated calls") from None
