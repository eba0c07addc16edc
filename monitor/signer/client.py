"""The executor's end of the signer's socket. Believes nothing: what comes back is checked byte for byte.

It builds the transaction itself from the same request and the same templates; a signer that changed a field, or signed
with another key, is caught here before anything is journaled or sent. One connection per request: no state to go stale.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from monitor.core.actions import Signed, SignRequest
from monitor.core.errors import SignerUnavailable, WrongSignature
from monitor.core.types import Address
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import PASSING, Denied, Refusal
from monitor.signer.protocol import (
    LINE_LIMIT,
    Answer,
    Done,
    Kill,
    Malformed,
    Refused,
    Register,
    Request,
    Sign,
    SignedAnswer,
    Status,
    StatusAnswer,
    read_answer,
    write_request,
)
from monitor.signer.templates import Templates
from monitor.signer.transaction import Transaction, verify

DEADLINE_S = 30.0
"""More than a signer gives its own backend, so that its reason arrives."""


class SignerClient:
    """Asks the signer at a socket. Any number of requests may be under way."""

    def __init__(
        self, path: Path, templates: Templates, *, deadline_s: float = DEADLINE_S, defences: Defences = ALL
    ) -> None:
        self._path, self._templates = path, templates
        self._deadline_s, self._defences = deadline_s, defences

    async def sign(self, request: SignRequest) -> Signed:
        """The signed bytes of exactly what was asked for. Asking again gives the same bytes.

        May raise: Denied (asking again cannot help), SignerUnavailable (asking again is safe), WrongSignature.
        """
        transaction = transaction_of(request, self._templates)
        answer = await self._ask(Sign(request))
        if not isinstance(answer, SignedAnswer):
            raise _unfit(answer)
        if not self._defences.check_answer:
            return Signed(answer.raw, answer.hash)
        signed = verify(transaction, request.sender, answer.raw)
        if signed.hash != answer.hash:
            raise WrongSignature("the signer names another hash than its bytes have")
        return signed

    async def register(self, chain_id: int, sender: Address, epoch: int, latest_nonce: int) -> None:
        """Say what the chain knows of a key, before the first request and after each restart; fences lower epochs off.

        May raise: Denied (`history`: the signer's record does not cover the chain's), SignerUnavailable.
        """
        answer = await self._ask(Register(chain_id, sender, epoch, latest_nonce))
        if not isinstance(answer, Done):
            raise _unfit(answer)

    async def status(self) -> StatusAnswer:
        """Which keys there are, and whether the kill switch is on. May raise: SignerUnavailable, Denied."""
        answer = await self._ask(Status())
        if not isinstance(answer, StatusAnswer):
            raise _unfit(answer)
        return answer

    async def kill(self) -> None:
        """Turn the kill switch on. May raise: SignerUnavailable, Denied."""
        answer = await self._ask(Kill())
        if not isinstance(answer, Done):
            raise _unfit(answer)

    async def _ask(self, request: Request) -> Answer:
        line = write_request(request)
        if len(line) > LINE_LIMIT:
            raise Denied(Refusal.MALFORMED, f"the request is longer than {LINE_LIMIT} bytes")
        try:
            async with asyncio.timeout(self._deadline_s):
                return read_answer(await self._exchange(line))
        except TimeoutError:
            raise SignerUnavailable(
                f"the signer did not answer within {self._deadline_s} s", hint="asking again gives the same bytes"
            ) from None
        except (OSError, asyncio.IncompleteReadError) as failed:
            raise SignerUnavailable(
                f"no signer at {self._path}: {type(failed).__name__}", hint="start it: python -m monitor.signer"
            ) from None
        except (Malformed, asyncio.LimitOverrunError) as wrong:
            raise WrongSignature(f"the signer's answer is malformed: {wrong}") from None

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LINE_LIMIT)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil(b"\n")
        finally:
            writer.close()


def transaction_of(request: SignRequest, templates: Templates) -> Transaction:
    """What a request must come back as. May raise: Denied when no template knows the intent."""
    intent = request.intent
    data = b""
    if intent is not None:
        bound = templates.get(intent.kind)
        if bound is None:
            raise Denied(Refusal.KIND, f"no template {intent.kind}")
        data = bound.calldata(intent)
    return Transaction(
        chain_id=request.chain_id,
        nonce=request.nonce,
        max_priority_fee_per_gas_wei=request.max_priority_fee_per_gas_wei,
        max_fee_per_gas_wei=request.max_fee_per_gas_wei,
        gas=request.gas,
        to=request.sender if intent is None else intent.to,
        value_wei=0 if intent is None else intent.value_wei,
        data=data,
    )


def _unfit(answer: Answer) -> Denied | WrongSignature | SignerUnavailable:
    if isinstance(answer, Refused):
        if answer.code in PASSING:
            return SignerUnavailable(answer.reason, hint=answer.hint)
        return Denied(answer.code, answer.reason, hint=answer.hint)
    return WrongSignature("the signer answered another question")
