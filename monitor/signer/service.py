"""One request, one answer: the order in which a signature comes to be. Knows no sockets.

Kill switch, lease epoch, policy, record on disk, signature, check of the signature, once more kill switch and epoch:
whatever changed while a slow backend was signing, nothing leaves that may not leave now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from monitor.core.actions import Signed, SignRequest
from monitor.core.errors import SigningError, WrongSignature
from monitor.core.types import Address
from monitor.signer.backend import RemoteSigner
from monitor.signer.config import SignerConfig
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.killswitch import KillSwitch
from monitor.signer.policy import Draft, judge
from monitor.signer.protocol import (
    Answer,
    Done,
    Kill,
    Refused,
    Register,
    Request,
    Sign,
    SignedAnswer,
    Status,
    StatusAnswer,
)
from monitor.signer.signdb import Admitted, SignDb
from monitor.signer.templates import Templates
from monitor.signer.transaction import verify

log = logging.getLogger("monitor.signer")
BACKEND_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What was configured: the limits, the templates, and each key's nonce gap."""

    config: SignerConfig
    templates: Templates
    nonce_gaps: Mapping[Address, int]


class Signer:
    """The rules in their order, over a backend that has the keys."""

    def __init__(
        self,
        rules: Rules,
        backend: RemoteSigner,
        db: SignDb,
        kill: KillSwitch,
        *,
        now_s: Callable[[], int],
        defences: Defences = ALL,
        backend_deadline_s: float = BACKEND_DEADLINE_S,
    ) -> None:
        self._rules, self._backend, self._db = rules, backend, db
        self._kill, self._now_s, self._defences = kill, now_s, defences
        self._backend_deadline_s = backend_deadline_s
        self._locks: defaultdict[Address, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def answer(self, request: Request) -> Answer:
        """The answer to one request. May raise: sqlite3.Error, after which nothing may be signed any more."""
        try:
            match request:
                case Sign(wanted):
                    signed = await self._sign(wanted)
                    return SignedAnswer(signed.raw, signed.hash)
                case Register():
                    self._register(request)
                    return Done()
                case Status():
                    return StatusAnswer(tuple(sorted(self._backend.addresses)), bool(self._kill.reason()))
                case Kill():
                    self.kill()
                    return Done()
        except Denied as no:
            log.warning("refused %s: %s", no.code.value, no.message)
            return Refused(no.code, no.message, no.hint)

    def kill(self) -> None:
        """Turn the kill switch on. May raise: Denied when the file cannot be made."""
        try:
            self._kill.turn_on()
        except OSError as failed:
            raise Denied(Refusal.INTERNAL, f"cannot make the kill file: {failed.strerror}") from None
        log.warning("the kill switch was turned on")

    def _register(self, request: Register) -> None:
        self._check_key(request.sender)
        if self._rules.config.chain(request.chain_id) is None:
            raise Denied(Refusal.UNKNOWN_CHAIN, f"chain {request.chain_id} is not listed")
        self._db.fence(request.sender, request.epoch)
        gap = self._rules.nonce_gaps.get(request.sender, 0)
        self._db.register(request.chain_id, request.sender, request.latest_nonce, gap, self._now_s())

    async def _sign(self, request: SignRequest) -> Signed:
        self._check_key(request.sender)
        if not self._defences.one_at_a_time:
            return await self._sign_now(request)
        async with self._locks[request.sender]:
            return await self._sign_now(request)

    async def _sign_now(self, request: SignRequest) -> Signed:
        self._check_kill_switch()
        self._db.fence(request.sender, request.epoch)
        draft = judge(request, self._rules.config, self._rules.templates, self._defences)
        if self._defences.record_first:
            signed = await self._completed(draft, self._admit(request, draft))
        else:
            signed = await self._ask_backend(draft)
            self._db.keep(self._admit(request, draft).attempt, signed.raw)
        self._check_kill_switch()  # again: the backend may have taken its time
        self._db.fence(request.sender, request.epoch)
        log.info("signed %s nonce %d of %s: %s", draft.kind, request.nonce, request.sender, signed.hash)
        return signed

    def _admit(self, request: SignRequest, draft: Draft) -> Admitted:
        gap = self._rules.nonce_gaps.get(request.sender, 0)
        return self._db.admit(draft, request.action_id, gap, self._now_s())

    async def _completed(self, draft: Draft, admitted: Admitted) -> Signed:
        if admitted.raw is not None:
            return self._checked(draft, admitted.raw)
        signed = await self._ask_backend(draft)
        kept = self._db.keep(admitted.attempt, signed.raw)
        return signed if kept == signed.raw else self._checked(draft, kept)

    async def _ask_backend(self, draft: Draft) -> Signed:
        """Signed bytes that are what they should be. May raise: Denied."""
        try:
            async with asyncio.timeout(self._backend_deadline_s):
                raw = await self._backend.sign(draft.transaction, draft.sender)
        except TimeoutError:
            raise Denied(Refusal.BACKEND, "the key's backend did not answer in time") from None
        except SigningError as failed:
            raise Denied(Refusal.BACKEND, f"the key's backend: {failed.message}") from None
        return self._checked(draft, raw)

    def _checked(self, draft: Draft, raw: bytes) -> Signed:
        if not self._defences.check_backend:
            return Signed(raw, "0x" + "00" * 32)
        try:
            return verify(draft.transaction, draft.sender, raw)
        except WrongSignature as lied:
            raise Denied(Refusal.BACKEND_LIED, f"the key's backend lied: {lied.message}") from None

    def _check_key(self, sender: Address) -> None:
        if sender not in self._backend.addresses:
            raise Denied(Refusal.UNKNOWN_KEY, f"no key of {sender} here")

    def _check_kill_switch(self) -> None:
        reason = self._kill.reason() if self._defences.kill_switch else ""
        if reason:
            raise Denied(Refusal.KILLED, reason, hint="remove the file by hand to go on")
