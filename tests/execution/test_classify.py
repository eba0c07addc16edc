"""Send errors as real nodes word them: every text has exactly one meaning, and no two meanings share a text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.execution.classify import ARRIVED, SendClass, classify, classify_text
from monitor.execution.port import SendReply

CORPUS: dict[SendClass, tuple[str, ...]] = {
    SendClass.ALREADY_KNOWN: (
        "already known",  # geth, Erigon, bor
        "known transaction: 0x6c7f1e",  # old geth
        "AlreadyKnown",  # Nethermind
        "Known transaction",  # Besu
        "KNOWN_TRANSACTION",
        "transaction already imported",  # anvil, Reth's pool
        "Transaction with the same hash was already imported.",  # OpenEthereum
        "tx already in mempool",  # zkSync, Cosmos chains
    ),
    SendClass.REPLACEMENT_UNDERPRICED: (
        "replacement transaction underpriced",  # geth, anvil, Reth
        "replacement transaction underpriced: new tx gas fee cap 105 <= 100 queued",
        "could not replace existing tx",  # Erigon
        "FeeTooLowToCompete",  # Nethermind
        "ReplacementNotAllowed".replace("Replacement", "Replace"),
        "Replacement transaction underpriced",
    ),
    SendClass.NONCE_TOO_LOW: (
        "nonce too low",
        "nonce too low: next nonce 12, tx nonce 11",  # geth
        "OldNonce, Current nonce: 12, nonce of rejected tx: 11",  # Nethermind
        "Nonce too low",
        "NONCE_TOO_LOW",  # Besu
        "Transaction nonce 11 below sender account nonce 12",  # Besu
    ),
    SendClass.NONCE_TOO_HIGH: (
        "nonce too high: address 0xab, tx: 15 state: 12",  # geth, Arbitrum
        "NonceGap, Future nonce. Expected nonce: 12",  # Nethermind
        "Transaction nonce is too distant from current sender nonce",  # Besu
        "transaction nonce exceeds next nonce",
        "nonce gap too wide",
    ),
    SendClass.INSUFFICIENT_FUNDS: (
        "insufficient funds for gas * price + value: balance 5, tx cost 7, overshot 2",  # geth
        "Insufficient funds for gas * price + value",  # anvil
        "InsufficientFunds, Account balance: 0, cumulative cost: 21000",  # Nethermind
        "Upfront cost exceeds account balance",  # Besu
        "insufficient funds for transfer",
    ),
    SendClass.UNDERPRICED: (
        "transaction underpriced",  # geth
        "transaction underpriced: gas tip cap 0, minimum needed 1",
        "max fee per gas less than block base fee",  # anvil
        "max fee per gas less than block base fee: address 0xab, maxFeePerGas: 1 baseFee: 7",  # Arbitrum
        "FeeTooLow, EffectivePriorityFeePerGas too low 1 < 7",  # Nethermind
        "Gas price below configured minimum gas price",  # Besu
        "GAS_PRICE_TOO_LOW",
    ),
    SendClass.FEE_CAP: (
        "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)",  # geth
        "max priority fee per gas higher than max fee per gas: address 0xab",
        "TX_FEE_CAP_EXCEEDED",  # Besu
        "Transaction fee cap exceeded",
    ),
    SendClass.IN_FLIGHT_LIMIT: (
        "in-flight transaction limit reached for delegated accounts",  # geth
        "gapped-nonce tx from delegated accounts",  # geth
    ),
    SendClass.RETRY: (
        "txpool is full",  # geth, Erigon
        "Too Many Requests",
        "request timed out",
        "limit exceeded",
        "node is syncing, try again later",
    ),
    SendClass.INVALID: (
        "invalid sender",  # geth, wrong chain id or signature
        "invalid chain id for signer: have 1 want 31337",  # anvil
        "intrinsic gas too low",
        "exceeds block gas limit",
        "Failed to decode transaction",  # anvil
        "rlp: expected input list for types.DynamicFeeTx",
        "SenderIsNotEOA",  # Nethermind
    ),
    SendClass.UNKNOWN: (
        "unknown transaction",
        "transaction 0x12 not found",
        "something went wrong",
        "",
    ),
}


@pytest.mark.parametrize(("what", "text"), [(what, text) for what, texts in CORPUS.items() for text in texts])
def test_corpus(what: SendClass, text: str) -> None:
    assert classify_text(text) is what
    assert classify_text(text.upper()) is what
    assert classify_text(f"err: {text}; tx 0x{'ab' * 32}") is what


def test_every_class_of_a_text_is_in_the_corpus() -> None:
    spoken = set(SendClass) - {SendClass.ACCEPTED, SendClass.WRONG_HASH, SendClass.LOST}
    assert set(CORPUS) == spoken


@given(st.text(max_size=200))
def test_any_text_has_a_class_and_none_is_taken_for_arrival_by_chance(text: str) -> None:
    what = classify_text(text)
    assert what is not SendClass.ACCEPTED
    if what in ARRIVED:
        assert any(word in text.lower() for word in ("known", "import", "exists", "already", "duplicate"))


def test_a_hash_is_believed_only_when_it_is_ours() -> None:
    ours = "0x" + "ab" * 32
    assert classify(SendReply("a", hash=ours.upper().replace("X", "x")), ours) is SendClass.ACCEPTED
    assert classify(SendReply("a", hash="0x" + "cd" * 32), ours) is SendClass.WRONG_HASH
    assert classify(SendReply("a", hash="no hash"), ours) is SendClass.WRONG_HASH
    assert classify(SendReply("a"), ours) is SendClass.LOST
