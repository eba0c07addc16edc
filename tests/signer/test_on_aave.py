"""What the signer signs does on real Aave contracts what its templates say: approve, repay and supply for another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.core.actions import Intent, SignRequest
from monitor.signer.backend import LocalKeys
from monitor.signer.errors import Refusal
from monitor.signer.keys import SecretKey
from monitor.signer.protocol import Register, Sign, SignedAnswer
from monitor.testing import aave_v3
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import account_key
from monitor.testing.py_evm import EthTesterDevChain
from tests.localnet_fixtures import EthTesterAave
from tests.signer.room import CONFIG, GUARDIAN, GWEI, OWNER, POOL, USDC, Room, open_room

pytestmark = pytest.mark.slow
AMOUNT = 1_000 * 10**6
GAS = 900_000


def include(chain: EthTesterDevChain, raw: bytes) -> None:
    """Into the next block, exactly as it is; it must succeed."""
    evm: Any = chain.tester.backend.chain
    _, _, computation = evm.apply_transaction(evm.get_transaction_builder().decode(raw))
    chain._seal()
    assert not computation.is_error, bytes(computation.output).hex()


def balance(chain: EthTesterDevChain, token: str, holder: str) -> int:
    return int(chain.call(token, "balanceOf(address)", "(uint256)", holder)[0])


def borrower_of(chain: EthTesterDevChain, market: AaveMarket, symbol: str) -> str:
    """The first with a good deal of variable debt in that asset."""
    v_token = market.reserves[symbol].v_token
    return next(user for user in market.borrowers if balance(chain, v_token, user) > 2 * AMOUNT)


def text_for(local: EthTesterAave, guardian: str, owner: str, asset: str) -> str:
    text = CONFIG.replace("31337", str(local.chain.chain_id)).replace(GUARDIAN, guardian).replace(OWNER, owner)
    text = (
        text.replace(POOL, local.market.pool)
        .replace(USDC, asset)
        .replace("per_action = 1_000", f"per_action = {AMOUNT}")
    )
    return (
        text.replace("per_action = 1000", f"per_action = {AMOUNT}")
        .replace("= 5000", f"= {2 * AMOUNT}")
        .replace("= 10000", f"= {2 * AMOUNT}")
    )


async def signed(room: Room, guardian: str, nonce: int, intent: Intent) -> bytes:
    asked = SignRequest(f"a{nonce}", 1, intent.chain_id, guardian, nonce, intent, GAS, 3 * GWEI, GWEI)
    answer = await room.ask(Sign(asked))
    assert isinstance(answer, SignedAnswer), answer
    return answer.raw


@pytest.mark.parametrize("ethtester_aave", ["3.0", "3.6"], indirect=True)
async def test_a_guardian_repays_and_adds_collateral(ethtester_aave: EthTesterAave, tmp_path: Path) -> None:
    chain, market = ethtester_aave.chain, ethtester_aave.market
    usdc = market.reserves["USDC"]
    key = SecretKey(account_key("purse"))
    guardian = chain.account("purse")
    assert guardian == key.address
    chain.send(market.admin, usdc.asset, "mint(address,uint256)", guardian, 2 * AMOUNT)
    owner = borrower_of(chain, market, "USDC")
    debt, supplied = balance(chain, usdc.v_token, owner), balance(chain, usdc.a_token, owner)
    health = aave_v3.health_wad(chain, market, owner)

    def intent(kind: str, to: str, **args: int | str) -> Intent:
        position = f"eip155:{chain.chain_id}/aave-v3/{market.provider}/{owner}"
        return Intent(kind, chain.chain_id, position, owner, to, args)

    text = text_for(ethtester_aave, guardian, owner, usdc.asset)
    with open_room(tmp_path, backend=LocalKeys({guardian: key}), text=text, register=False) as room:
        assert await room.refusal(Register(chain.chain_id, guardian, 1, 0)) is None
        approve = intent("erc20/approve", usdc.asset, spender=market.pool, amount=2 * AMOUNT)
        repay = intent("aave-v3/repay", market.pool, asset=usdc.asset, amount=AMOUNT)
        supply = intent("aave-v3/supply", market.pool, asset=usdc.asset, amount=AMOUNT)
        for nonce, one in enumerate((approve, repay, supply)):
            include(chain, await signed(room, guardian, nonce, one))
        beyond = SignRequest("more", 1, chain.chain_id, guardian, 3, supply, GAS, 3 * GWEI, GWEI)
        assert await room.refusal(beyond) is Refusal.LIMIT_DAY

    assert balance(chain, usdc.asset, guardian) == 0
    interest = debt // 10**6  # a few seconds of it, and the contracts' rounding
    assert debt - AMOUNT <= balance(chain, usdc.v_token, owner) <= debt - AMOUNT + interest
    assert abs(balance(chain, usdc.a_token, owner) - supplied - AMOUNT) <= supplied // 10**6 + 2
    assert aave_v3.health_wad(chain, market, owner) > health
