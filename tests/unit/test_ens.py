"""ENS names: plain ones by the published hash, all others refused, and a name without an address is an error."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from monitor.chain import ens
from monitor.core.errors import ChainError, ConfigError, WrongChain
from monitor.core.types import Answer, BlockRef, Call, Ok, Query, Reverted
from monitor.pipeline.names import fetch_ens_names

OWNER, RESOLVER, NOBODY = "0x" + "11" * 20, "0x" + "22" * 20, "0x" + "00" * 20
# EIP-137's own example, and a well-known name
HASHES = {
    "foo.eth": "de9b09fd7c5f901e23a3f19fecc54828e9c848539801e86591bd9801b019f84f",
    "vitalik.eth": "ee6c4522aab0003e8d14cd40a6af439055fd2577951148c14b6cea9a53475835",
}


@pytest.mark.parametrize("name", HASHES)
def test_the_hash_is_the_published_one(name: str) -> None:
    assert ens.namehash(name).hex() == HASHES[name]


@pytest.mark.parametrize(
    "name", ["eth", "Foo.eth", "fоо.eth", "a..eth", ".eth", "xn--foo.eth", "a b.eth", "a" * 64 + ".eth"]
)
def test_names_that_could_be_another_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="plain ENS name"):
        ens.namehash(name)


class Ethereum:
    """A chain on which only the registry and one resolver live."""

    def __init__(self, names: dict[str, str], chain_id: int = 1) -> None:
        self.names = {ens.namehash(name): address for name, address in names.items()}
        self.chain_id = chain_id
        self.rounds = 0

    async def block(self, at: str | int = "latest") -> BlockRef:
        return BlockRef(self.chain_id, 1, "0x1", "0x0", 1)

    async def ask(self, queries: Sequence[Query], block: BlockRef) -> list[Answer]:
        self.rounds += 1
        answers: list[Answer] = []
        for query in queries:
            assert isinstance(query, Call)
            node = query.args[0]
            if query.function == "ens.resolver":
                answers.append(Ok((RESOLVER if node in self.names else NOBODY,)))
            else:
                answers.append(Ok((self.names[node],)) if self.names[node] else Reverted(b"", "off-chain"))
        return answers

    async def close(self) -> None:
        """Nothing to release."""


async def test_all_names_travel_together() -> None:
    chain = Ethereum({"foo.eth": OWNER, "vitalik.eth": RESOLVER})
    assert await fetch_ens_names(chain, ["foo.eth", "vitalik.eth"]) == {"foo.eth": OWNER, "vitalik.eth": RESOLVER}
    assert chain.rounds == 2


@pytest.mark.parametrize("address", [NOBODY, ""])
async def test_a_name_without_an_address_is_a_usage_error(address: str) -> None:
    with pytest.raises(ConfigError, match=r"foo\.eth"):
        await fetch_ens_names(Ethereum({"foo.eth": address}), ["foo.eth"])
    with pytest.raises(ConfigError, match="there is no ENS name"):
        await fetch_ens_names(Ethereum({}), ["foo.eth"])


async def test_another_chain_is_not_asked() -> None:
    with pytest.raises(WrongChain) as caught:
        await fetch_ens_names(Ethereum({"foo.eth": OWNER}, chain_id=31337), ["foo.eth"])
    assert isinstance(caught.value, ChainError)
