"""Real markets for the bulk readers: their surveys and accounts, and Multicall3's interface where a test wants it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from monitor.chain.aggregate import MULTICALL3
from monitor.chain.port import run
from monitor.chain.rpc_chain import RpcChain
from monitor.core.types import BlockRef, MarketRef
from monitor.protocols.aave_v3 import static
from monitor.protocols.aave_v3.lens import AaveSurvey, read_survey
from monitor.protocols.aave_v3.records import Facts
from monitor.protocols.columns import U8
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.anvil import AnvilDevChain
from monitor.testing.yul import compile_yul


class Known(NamedTuple):
    """A market as levmon finds it at one block."""

    block: BlockRef
    facts: Facts
    survey: AaveSurvey


async def known(chain: RpcChain, market: AaveMarket) -> Known:
    block = await chain.block()
    facts = await run(chain, static.read_static(MarketRef(chain.chain_id, "aave-v3", market.provider)), block)
    return Known(block, facts, await run(chain, read_survey(facts), block))


def rows(addresses: tuple[str, ...] | list[str]) -> U8:
    """(n, 20)"""
    return np.array([list(bytes.fromhex(address[2:])) for address in addresses], np.uint8).reshape(-1, 20)


def place_multicall(chain: AnvilDevChain) -> None:
    made = chain.create(
        chain.account("admin"), bytes.fromhex(compile_yul(Path(__file__).with_name("Aggregate3.yul"))[2:])
    )
    chain.rpc("anvil_setCode", MULTICALL3, "0x" + chain.code(made).hex())
    chain.mine()
