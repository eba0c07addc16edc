"""Why a signer says no: one word for each rule, and the error that carries it. The errors themselves are in core.

Messages name rules, addresses and amounts, never keys or passwords.
"""

from __future__ import annotations

from enum import StrEnum

from monitor.core.errors import SignerRefused


class Refusal(StrEnum):
    """Which rule said no. Stable text: journals and alerts keep it."""

    MALFORMED = "malformed"
    BUSY = "busy"
    STRANGER = "stranger"
    KILLED = "killed"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_CHAIN = "unknown_chain"
    UNREGISTERED = "unregistered"
    HISTORY = "history"
    KIND = "kind"
    TARGET = "target"
    MARKET = "market"
    OWNER = "owner"
    ARGUMENTS = "arguments"
    ASSET = "asset"
    SPENDER = "spender"
    ROUTER = "router"
    RECIPIENT = "recipient"
    UNLIMITED = "unlimited"
    VALUE = "value"
    LIMIT_ACTION = "limit_action"
    LIMIT_DAY = "limit_day"
    FEE_CAP = "fee_cap"
    FEE_DAY = "fee_day"
    EPOCH = "epoch"
    WATERMARK = "watermark"
    NONCE_GAP = "nonce_gap"
    NONCE_TAKEN = "nonce_taken"
    ACTION_MOVED = "action_moved"
    BACKEND = "backend"
    BACKEND_LIED = "backend_lied"
    INTERNAL = "internal"


PASSING = frozenset({Refusal.BUSY, Refusal.BACKEND, Refusal.INTERNAL})
"""Not about the request: the same one may be answered later."""


class Denied(SignerRefused):
    """The signer says no. `code` is the rule."""

    def __init__(self, code: Refusal, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
