"""Tiny contracts for reading tests, as machine code by hand: what each answers is in its name."""

from __future__ import annotations

from dataclasses import dataclass

from monitor.testing.artifacts import own_contract
from monitor.testing.devchain import DevChain

CODES = {
    "echo": "600436038060046000376000f3",  # its arguments
    "number": "4360005260206000f3",  # of the block
    "time": "4260005260206000f3",  # of the block
    "caller": "3360005260206000f3",
    "hog": "5b600056",  # runs for ever
    "revert": "60006000fd",
    "revert_word": "600160005260206000fd",  # with the number 1 as its data
    "invalid": "fe",
    "short": "60006010f3".replace("60006010", "60106000"),  # 16 bytes where 32 belong
    "big": "61ffff6000f3",  # 65,535 zero bytes
}


def init_code(runtime: str) -> bytes:
    """Creation code for up to 255 bytes of runtime code."""
    return bytes.fromhex(f"60{len(runtime) // 2:02x}80600b6000396000f3{runtime}")


@dataclass(frozen=True)
class Devices:
    """Addresses by name, and a price feed of ours that emits logs."""

    at: dict[str, str]
    feed: str
    owner: str


def deploy(node: DevChain) -> Devices:
    owner = node.account("owner")
    at = {name: node.create(owner, init_code(code)) for name, code in CODES.items()}
    feed = node.deploy(owner, own_contract("PriceFeed").code, "(uint8,string,int256)", (8, "ETH / USD", 2000 * 10**8))
    return Devices(at, feed, owner)
