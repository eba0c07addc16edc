"""Three like borrowers on a running localnet, a guardian's purse, and a levmon.toml that protects two of them.

For `scripts/demo`: `prepare` sets the scene, `liquidate` is the stranger who takes what nobody protects. The guardian's
key is made from a label, as all keys of a local chain are, and is no secret.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from monitor.chain import abi
from monitor.testing import aave_v3, localnet
from monitor.testing.aave_v3_market import AaveMarket
from monitor.testing.devchain import CallReverted, DevChain, account_address, account_key

MARKET, DEBT = "core36", "USDC"
PROTECTED, NEIGHBOUR, GUARDIAN = ("alice", "bob"), "carol", "demo guardian"
DEBT_USD, COLLATERAL_USD = 10_000, 16_500

CONFIG = """\
[chains.local]
chain_id = 31337
rpc = ["{url}"]
finality = 1

[[markets]]
name = "core36"
chain = "local"
protocol = "aave-v3"
address = "{provider}"

[addresses]
{labels}

{positions}
[guardian]                  # whose tokens are used: the most that can be lost is what this purse holds
address = "{guardian}"
armed = true
gas_per_day = 0.5
max_fee_gwei = 50

[guardian.limits]           # in USD
per_action = 20_000
per_position_day = 20_000
per_key_day = 50_000

"""
PROTECT = """\
[[protect]]
market = "core36"
owner = "{owner}"
trigger = 1.1
target = 1.4
observations = 1
actions = ["repay"]

"""


@click.group()
def cli() -> None:
    """The scene of the demo's rescue."""


@cli.command()
@click.option("--port", type=int, required=True)
@click.option("--directory", type=click.Path(path_type=Path), required=True)
def prepare(port: int, directory: Path) -> None:
    """Borrowers, purse, key file and levmon.toml."""
    set_scene(localnet.load(port), directory)


def set_scene(net: localnet.Localnet, directory: Path) -> None:
    """The same for a local chain that is at hand."""
    market = net.markets[MARKET]
    guardian = account_address(GUARDIAN)
    with localnet.at_once(net) as chain:
        owners = {name: borrow(chain, market, name) for name in (*PROTECTED, NEIGHBOUR)}
        chain.rpc("anvil_setBalance", guardian, hex(10**18))
        reserve = market.reserves[DEBT]
        chain.send(market.admin, reserve.asset, "mint(address,uint256)", guardian, 50_000 * 10**reserve.decimals)
    text = CONFIG.format(
        url=net.url,
        provider=market.provider,
        guardian=guardian,
        labels="\n".join(f'{name} = "{owner}"' for name, owner in owners.items()),
        positions="".join(f'[[positions]]\nmarket = "core36"\nowner = "{name}"\n\n' for name in owners),
    )
    directory.mkdir(exist_ok=True)
    (directory / "levmon.toml").write_text(text + "".join(PROTECT.format(owner=name) for name in PROTECTED))
    with os.fdopen(os.open(directory / "guardian.key", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(account_key(GUARDIAN).hex())


def borrow(chain: DevChain, market: AaveMarket, label: str) -> str:
    """A new borrower of 10,000 USD against ETH, with health about 1.36."""
    owner = chain.account(label)
    weth, usdc = market.reserves["WETH"], market.reserves[DEBT]
    collateral = 10**18 * COLLATERAL_USD * 10**8 // aave_v3.price_of(chain, weth.feed)
    chain.send(market.admin, weth.asset, "mint(address,uint256)", owner, collateral)
    chain.send(owner, weth.asset, "approve(address,uint256)", market.pool, collateral)
    chain.send(owner, market.pool, "supply(address,uint256,address,uint16)", weth.asset, collateral, owner, 0)
    amount = DEBT_USD * 10**usdc.decimals
    chain.send(owner, market.pool, "borrow(address,uint256,uint256,uint16,address)", usdc.asset, amount, 2, 0, owner)
    return owner


@cli.command()
@click.option("--port", type=int, required=True)
def liquidate(port: int) -> None:
    """Try to liquidate all three, as any stranger would."""
    net = localnet.load(port)
    market = net.markets[MARKET]
    with localnet.at_once(net) as chain:
        for name in (*PROTECTED, NEIGHBOUR):
            try:
                aave_v3.liquidate(chain, market, "WETH", DEBT, chain.account(name))
            except CallReverted as refused:
                why = abi.revert_reason(refused.data, "aave_v3_pool.liquidationCall")
                click.echo(f"{name}: cannot be liquidated ({why})")
            else:
                click.echo(f"{name}: liquidated")
        chain.mine(2)


if __name__ == "__main__":
    cli()
