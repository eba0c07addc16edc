"""The model chain is held to anvil: the same signed bytes, the same blocks, the same answers by class.

Where anvil differs from geth, the model keeps to geth; these are all the differences, and each is asserted here:
  - a replacement that offers 5 % more: geth refuses it, anvil takes it;
  - a max fee below the base fee: geth's pool takes it and lets it wait, anvil refuses it;
  - bytes that were replaced behind a gap and come again: geth refuses them, anvil says that it knows them;
  - transactions that fall out in a reorganisation: geth puts them back into the pool, anvil drops them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from monitor.execution.classify import SendClass, classify_text
from monitor.execution.port import TxCall
from monitor.execution.transaction import DynamicFee, cancel_call
from monitor.testing.anvil import AnvilDevChain, AnvilProcess
from monitor.testing.devchain import DevChainError
from monitor.testing.model_chain import ModelChain, TxRejected
from monitor.testing.model_port import CONTRACT, LocalSigner

GWEI = 10**9
KEY = LocalSigner()


class Both:
    """One model and one anvil, brought to the same state."""

    def __init__(self, node: AnvilDevChain) -> None:
        self.node = node
        self.model = ModelChain()
        self.node.rpc("anvil_setBalance", KEY.address, hex(10**24))
        self.mine()

    def send(
        self, *, nonce: int, fee: int, tip: int, gas: int = 60_000, data: bytes = b"", chain: int = 31337
    ) -> tuple[SendClass, SendClass]:
        """What the model and what anvil say to the same bytes."""
        call = TxCall(CONTRACT, data) if data else cancel_call(KEY.address)
        raw = KEY.bytes_for(DynamicFee(chain, nonce, tip, fee, gas, call))
        return self.send_raw(raw)

    def send_raw(self, raw: bytes) -> tuple[SendClass, SendClass]:
        try:
            self.model.send(raw)
            model = SendClass.ACCEPTED
        except TxRejected as rejected:
            model = classify_text(rejected.message)
        try:
            self.node.rpc("eth_sendRawTransaction", "0x" + raw.hex())
            node = SendClass.ACCEPTED
        except DevChainError as rejected:
            node = classify_text(str(rejected))
        return model, node

    def mine(self) -> None:
        self.node.rpc("anvil_setNextBlockBaseFeePerGas", hex(self.model.base_fee_wei))
        self.node.rpc("evm_mine")
        self.model.mine()

    def state(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Nonce and number of included transactions, by the model and by anvil."""
        nonce = int(self.node.rpc("eth_getTransactionCount", KEY.address, "latest"), 16)
        return (self.model.nonce(KEY.address), len(self.model.included(KEY.address))), (nonce, self.included())

    def included(self) -> int:
        head = int(self.node.rpc("eth_blockNumber"), 16)
        blocks = [self.node.rpc("eth_getBlockByNumber", hex(number), False) for number in range(head + 1)]
        return sum(len(block["transactions"]) for block in blocks)


@pytest.fixture
def both() -> Iterator[Both]:
    with AnvilProcess(flags=("--no-mining", "--order", "fees")) as anvil:
        node = anvil.chain()
        try:
            yield Both(node)
        finally:
            node.close()


@pytest.mark.anvil
class TestAgainstAnvil:
    def test_the_same_bytes_have_the_same_fate(self, both: Both) -> None:
        """Random transactions of one key, within the part of the rules that both share."""
        rng = random.Random(20261123)
        fees: dict[int, int] = {}
        seen: set[SendClass] = set()
        for n in range(150):
            nonce = both.model.nonce(KEY.address) + rng.choice((-1, 0, 0, 0, 1, 2))
            if nonce < 0:
                continue
            fee = rng.choice((4, 4, 5, 8, 12)) * GWEI
            if nonce in fees and fees[nonce] < fee < fees[nonce] * 125 // 100:
                continue
            model, node = both.send(nonce=nonce, fee=fee, tip=fee // 4, data=n.to_bytes(2, "big"))
            assert model is node
            seen.add(model)
            if model is SendClass.ACCEPTED:
                fees[nonce] = fee
            if rng.random() < 0.25:
                both.mine()
                assert both.state()[0] == both.state()[1]
        both.mine()
        assert both.state()[0] == both.state()[1]
        assert {SendClass.ACCEPTED, SendClass.NONCE_TOO_LOW, SendClass.REPLACEMENT_UNDERPRICED} <= seen

    def test_refusals_have_the_same_class(self, both: Both) -> None:
        raw = KEY.bytes_for(DynamicFee(31337, 0, GWEI, 4 * GWEI, 21_000, cancel_call(KEY.address)))
        assert both.send_raw(raw) == (SendClass.ACCEPTED, SendClass.ACCEPTED)
        assert both.send_raw(raw) == (SendClass.ALREADY_KNOWN, SendClass.ALREADY_KNOWN)
        assert both.send(nonce=0, fee=3 * GWEI, tip=GWEI) == (SendClass.REPLACEMENT_UNDERPRICED,) * 2
        assert both.send(nonce=1, fee=2 * GWEI, tip=GWEI, gas=20_000) == (SendClass.INVALID,) * 2
        assert both.send(nonce=1, fee=2 * GWEI, tip=GWEI, chain=1) == (SendClass.INVALID,) * 2
        assert both.send(nonce=1, fee=2 * GWEI, tip=3 * GWEI) == (SendClass.FEE_CAP,) * 2
        assert both.send(nonce=1, fee=10**21, tip=GWEI) == (SendClass.INSUFFICIENT_FUNDS,) * 2
        both.mine()
        assert both.send(nonce=0, fee=9 * GWEI, tip=GWEI) == (SendClass.NONCE_TOO_LOW,) * 2
        assert both.state() == ((1, 1), (1, 1))

    def test_known_differences(self, both: Both) -> None:
        assert both.send(nonce=0, fee=100 * GWEI, tip=100 * GWEI) == (SendClass.ACCEPTED,) * 2
        five_percent = both.send(nonce=0, fee=105 * GWEI, tip=105 * GWEI)
        assert five_percent == (SendClass.REPLACEMENT_UNDERPRICED, SendClass.ACCEPTED)
        assert both.send(nonce=0, fee=200 * GWEI, tip=200 * GWEI) == (SendClass.ACCEPTED,) * 2
        assert both.send(nonce=5, fee=4 * GWEI, tip=GWEI) == (SendClass.ACCEPTED,) * 2
        assert both.send(nonce=5, fee=8 * GWEI, tip=2 * GWEI) == (SendClass.ACCEPTED,) * 2
        replaced = both.send(nonce=5, fee=4 * GWEI, tip=GWEI)
        assert replaced == (SendClass.REPLACEMENT_UNDERPRICED, SendClass.ALREADY_KNOWN)
        assert both.send(nonce=1, fee=GWEI // 2, tip=1) == (SendClass.ACCEPTED, SendClass.UNDERPRICED)
        both.mine()
        both.model.reorg(1)
        both.node.rpc("anvil_reorg", 1, [])
        assert len(both.model.pool) == 3
        assert both.node.rpc("txpool_status")["pending"] == "0x0"
