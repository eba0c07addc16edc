"""What a node means by the text of a send error: a closed set of classes. Pure.

Texts of geth and its forks, Erigon, Nethermind, Besu, Reth and anvil. The order matters: `replacement transaction
underpriced` holds the word of a plain underpriced one and means something else, namely that *other* bytes have the
nonce; only `already known` and its kin prove that these very bytes arrived; `unknown transaction` is none of them. What
no pattern knows is UNKNOWN and proves nothing.
"""

from __future__ import annotations

import re
from enum import StrEnum

from monitor.execution.defences import ALL, Defences
from monitor.execution.port import SendReply


class SendClass(StrEnum):
    """What became of signed bytes at one endpoint."""

    ACCEPTED = "accepted"
    ALREADY_KNOWN = "already known"
    NONCE_TOO_LOW = "nonce too low"
    NONCE_TOO_HIGH = "nonce too high"
    REPLACEMENT_UNDERPRICED = "replacement underpriced"
    UNDERPRICED = "underpriced"
    INSUFFICIENT_FUNDS = "insufficient funds"
    FEE_CAP = "fee cap"
    IN_FLIGHT_LIMIT = "in-flight limit"
    RETRY = "retry later"
    INVALID = "invalid"
    WRONG_HASH = "wrong hash"
    LOST = "no answer"
    UNKNOWN = "unknown"


ARRIVED = frozenset({SendClass.ACCEPTED, SendClass.ALREADY_KNOWN})
"""These very bytes are in a pool."""

_PATTERNS: tuple[tuple[SendClass, str], ...] = (
    # before everything that contains "known": a question for a transaction that nobody knows
    (SendClass.UNKNOWN, r"unknown transaction|transaction (?:is )?unknown|not found"),
    (SendClass.IN_FLIGHT_LIMIT, r"in-?flight transaction limit|gapped-nonce tx from delegated|delegated account"),
    (
        SendClass.REPLACEMENT_UNDERPRICED,
        (
            r"replacement (?:transaction|tx|gas price)?.*(?:underpriced|too low)|could not replace existing|"
            r"feetoolowtocompete|fee too low to compete|replacenotallowed|"
            r"transaction gas price supplied is too low.*same nonce|insufficient fee bump"
        ),
    ),
    (
        SendClass.ALREADY_KNOWN,
        (
            r"already known|already ?imported|known transaction|known_transaction|alreadyknown|"
            r"transaction with the same hash was already|already exists in|tx already in (?:mempool|cache)|"
            r"already in pool|duplicate transaction"
        ),
    ),
    (
        SendClass.NONCE_TOO_HIGH,
        (
            r"nonce too high|nonce_too_high|nonce gap|noncegap|gapped|exceeds? (?:the )?next nonce|"
            r"transaction nonce is too distant|nonce too distant|nonce is too far|"
            r"nonce.*too far in the future|future nonce"
        ),
    ),
    (
        SendClass.NONCE_TOO_LOW,
        (
            r"nonce too low|nonce_too_low|oldnonce|old nonce|nonce below current|nonce is too low|"
            r"(?:tx|transaction) nonce.*(?:less|lower) than|nonce has already been used|below sender account nonce"
        ),
    ),
    (
        SendClass.INSUFFICIENT_FUNDS,
        (
            r"insufficient funds|insufficientfunds|insufficient balance|upfront.?cost.?exceeds.?balance|"
            r"exceeds account balance|not enough (?:funds|balance)|overshot"
        ),
    ),
    (
        SendClass.FEE_CAP,
        (
            r"exceeds the configured cap|tx fee .*exceeds|tx_fee_cap_exceeded|transaction fee cap exceeded|"
            r"priority fee (?:per gas )?higher than max fee|tip.*higher than.*fee cap|tip above fee cap|"
            r"max priority fee.*(?:exceeds|greater than)|invalidmaxpriorityfee"
        ),
    ),
    (
        SendClass.UNDERPRICED,
        (
            r"underpriced|gas_price_too_low|feetoolow\b|fee too low|max fee per gas less than block base fee|"
            r"less than (?:the )?(?:minimum|current) (?:base|gas|block)|below (?:the )?(?:base fee|minimum)|"
            r"min(?:imum)? gas price|effective gas price is below|gas tip cap .* minimum needed|gasprice too low"
        ),
    ),
    (
        SendClass.RETRY,
        (
            r"txpool is full|pool is full|pool limit|too many requests|rate ?limit|limit exceeded|timed? ?out|"
            r"temporarily|try again|syncing|internal error|service unavailable|connection|header not found|overflow"
        ),
    ),
    (
        SendClass.INVALID,
        (
            r"invalid (?:sender|signature|chain id|transaction|rlp)|wrong chain|chain id|intrinsic gas|"
            r"exceeds block gas|gas limit|failed to decode|rlp|typed transaction|not supported|oversized|malformed|"
            r"invalid params|senderisnoteoa"
        ),
    ),
)
_COMPILED = tuple((what, re.compile(pattern)) for what, pattern in _PATTERNS)


def classify_text(message: str) -> SendClass:
    """The class of an error text."""
    text = message.lower()
    return next((what for what, pattern in _COMPILED if pattern.search(text)), SendClass.UNKNOWN)


def classify(reply: SendReply, expected_hash: str, defences: Defences = ALL) -> SendClass:
    """The class of one endpoint's answer to bytes with that hash."""
    if reply.hash is not None:
        same = reply.hash.lower() == expected_hash.lower()
        return SendClass.ACCEPTED if same or not defences.check_hash else SendClass.WRONG_HASH
    if reply.message is None:
        return SendClass.LOST
    return classify_text(reply.message)
