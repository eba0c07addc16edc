"""A development chain whose answers can be built on: what was answered for is really over.

anvil clears its pool by sender and nonce after it has answered. Whoever then undoes the block and sends the same nonce
once more may find the new transaction thrown away as the old one.
"""

from __future__ import annotations

from typing import Any

import pytest

from monitor.testing.anvil import AnvilDevChain
from monitor.testing.devchain import DevChainError
from tests.localnet_fixtures import AnvilAave

pytestmark = pytest.mark.anvil
LATE = 3


def slow_pool(chain: AnvilDevChain, patch: pytest.MonkeyPatch, late: int = LATE) -> list[str]:
    """From now on the pool is cleared only when it has been asked about so many times. The methods asked for."""
    asked: list[str] = []
    real = chain.rpc

    def rpc(method: str, *params: Any) -> Any:
        asked.append(method)
        answer = real(method, *params)
        if method == "eth_getTransactionByHash" and asked.count(method) <= late:
            return {**answer, "blockNumber": None}
        if method == "txpool_status" and asked.count(method) <= late:
            return {**answer, "pending": "0x1"}
        return answer

    patch.setattr(chain, "rpc", rpc)
    return asked


def test_a_transaction_is_waited_for_until_it_has_left_the_pool(
    anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = anvil_aave.chain
    asked = slow_pool(chain, monkeypatch)
    chain.send_data(chain.account("sender"), chain.account("receiver"), b"")
    sent, *waited = asked
    assert (sent, set(waited)) == ("eth_sendTransactionSync", {"eth_getTransactionByHash"})
    assert len(waited) > LATE  # the real pool may be late too


def test_nothing_is_undone_while_the_pool_holds_what_was_mined(
    anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = anvil_aave.chain
    snapshot = chain.snapshot()
    asked = slow_pool(chain, monkeypatch)
    chain.revert(snapshot)
    mines, *waited, reverted = asked
    assert (mines, set(waited), reverted) == ("anvil_getAutomine", {"txpool_status"}, "evm_revert")
    assert len(waited) > LATE


def test_a_pool_that_is_never_cleared_is_an_error(anvil_aave: AnvilAave, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = anvil_aave.chain
    slow_pool(chain, monkeypatch, late=10**9)
    with pytest.raises(DevChainError, match="keeps it in its pool"):
        chain.send_data(chain.account("sender"), chain.account("receiver"), b"")
