"""The small parts of the chain room: URLs as secrets, headers, agreement, chain names, layouts, the cache, ENS."""

from __future__ import annotations

import copy
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rlp as reference_rlp
from eth_abi.abi import decode, encode
from hypothesis import example, given
from hypothesis import strategies as st

from monitor.chain.aggregate import AGGREGATE3, Item, aggregate3_calldata, read_aggregate3, read_deployless
from monitor.chain.cache import FactsCache, cache_home
from monitor.chain.chains import chain_id_of, chain_info
from monitor.chain.defences import ALL
from monitor.chain.ens import REGISTRY, is_name, name_plan, namehash, resolve
from monitor.chain.headers import HeaderCheck, rlp
from monitor.chain.heads import max_age_s
from monitor.chain.quantity import shown
from monitor.chain.quorum import agree
from monitor.chain.rpc_chain import RpcChain
from monitor.core import plan
from monitor.core.errors import BadAnswer, ConfigError
from monitor.core.secret import RpcUrl
from monitor.core.types import Answer, Call, MarketRef, Ok, Query, Reverted, Unread

OWNER = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045"


class TestRpcUrl:
    @pytest.mark.parametrize(
        ("text", "alias"),
        [
            ("https://mainnet.example/v2/SECRET", "mainnet.example"),
            ("https://user:SECRET@node.example:8545/?key=SECRET#SECRET", "node.example:8545"),
            ("wss://[::1]:8546/SECRET", "[::1]:8546"),
            (" http://127.0.0.1:8545 ", "127.0.0.1:8545"),
        ],
    )
    def test_shows_its_host_only(self, text: str, alias: str) -> None:
        url = RpcUrl(text)
        for shown_as in (str(url), repr(url), f"{url}", f"{url!r}", f"{[url]}", url.alias):
            assert alias in shown_as
            assert "SECRET" not in shown_as
        assert url.reveal() == text.strip()
        assert url == RpcUrl(text)
        assert len({url, RpcUrl(text)}) == 1

    @pytest.mark.parametrize(
        "text", ["", "SECRET", "ftp://SECRET", "http://", "http://a:99999999/SECRET", "http://a b/"]
    )
    def test_what_is_no_url_is_not_repeated(self, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            RpcUrl(text)
        assert "SECRET" not in str(caught.value)

    def test_is_not_written_anywhere(self) -> None:
        url = RpcUrl("http://a/SECRET")
        with pytest.raises(TypeError):
            pickle.dumps(url)
        with pytest.raises(TypeError):
            copy.copy(url)

    def test_a_chain_and_its_parts_show_hosts_only(self) -> None:
        chain = RpcChain(["https://a.example/SECRET", "https://b.example/SECRET"])
        parts = [chain, chain.pool.endpoints, chain.pool.endpoints[0].transport, chain.pool.endpoints[0].transport.url]
        assert "SECRET" not in f"{parts}"

    def test_reading_needs_http_and_a_quorum_needs_three(self) -> None:
        with pytest.raises(ConfigError):
            RpcChain("wss://a.example")
        with pytest.raises(ConfigError):
            RpcChain([])
        for quorum in (2, 3):
            with pytest.raises(ConfigError):
                RpcChain(["http://a.example", "http://b.example"], quorum=quorum)
        with pytest.raises(ConfigError):
            RpcChain(["http://a.example"] * 3, quorum=2)  # the same one three times


@given(st.lists(st.binary(max_size=70), max_size=12))
def test_rlp(items: list[bytes]) -> None:
    assert rlp(items) == reference_rlp.encode(items)


def test_a_check_begins_with_the_first_header_that_passes() -> None:
    unknown = HeaderCheck(None)
    unknown.check({}, "0x00")
    assert unknown.known is None
    HeaderCheck(known=False).check({}, "0x00")
    with pytest.raises(BadAnswer):
        HeaderCheck(known=True).check({}, "0x00")
    HeaderCheck(known=True).check({"fieldOfALaterFork": "0x1"}, "0x00")


class TestAgreement:
    ASKED = Call(OWNER, "erc20.decimals")

    def vote(self, *answers: Answer, needed: int = 2) -> tuple[Answer, int]:
        votes = [(f"host{n}", [answer]) for n, answer in enumerate(answers)]
        (answer,), disputes = agree([self.ASKED], votes, needed)
        return answer, len(disputes)

    def test_enough_agree(self) -> None:
        seven, eight = Ok((7,)), Ok((8,))
        assert self.vote(seven, seven, seven) == (seven, 0)
        assert self.vote(eight, seven, seven) == (seven, 1)
        assert self.vote(Unread("late"), seven, seven) == (seven, 0)

    def test_a_revert_is_a_vote_and_its_bytes_count(self) -> None:
        no = Reverted(b"\x01", "no")
        assert self.vote(no, Reverted(b"\x01", "other words"), Ok((1,))) == (no, 1)
        answer, disputes = self.vote(no, Reverted(b"\x02", "no"))
        assert isinstance(answer, Unread)
        assert disputes == 1

    def test_true_is_not_one(self) -> None:
        answer, _ = self.vote(Ok((True,)), Ok((1,)))
        assert isinstance(answer, Unread)

    def test_too_few_or_a_draw_is_unread_with_everyones_words(self) -> None:
        answer, _ = self.vote(Ok((7,)), Ok((8,)), Unread("late"))
        assert isinstance(answer, Unread)
        for words in ("host0 says 7", "host1 says 8", "host2 says nothing (late)"):
            assert words in answer.reason
        answer, _ = self.vote(Ok((7,)), Ok((7,)), Ok((8,)), Ok((8,)))
        assert isinstance(answer, Unread)
        answer, _ = self.vote(Ok((7,)), Unread("late"), Unread("late"))
        assert isinstance(answer, Unread)
        assert self.vote(Unread("a"), Unread("b")) == (Unread("a"), 0)


def test_chains_by_name_and_id() -> None:
    assert chain_id_of("ethereum") == chain_id_of("Mainnet") == chain_id_of(" 1 ") == 1
    assert chain_id_of("base") == 8453
    assert chain_info(8453).symbol == "ETH"
    assert chain_info(137).explorer.startswith("https://")
    assert chain_info(987654).name == "987654"
    assert (max_age_s(1), max_age_s(42161), max_age_s(31337)) == (60, 60, None)
    for text in ("etherium", "", "-1", "١"):
        with pytest.raises(ConfigError):
            chain_id_of(text)


def test_defences_are_switched_off_by_name() -> None:
    assert ALL.without("caps") != ALL
    assert not ALL.without("caps").caps
    with pytest.raises(ValueError, match="nonsense"):
        ALL.without("nonsense")


def test_foreign_text_is_shown_safely() -> None:
    assert shown("a\x1b[31m\u202e\n") == "a?[31m??"
    assert len(shown("x" * 10_000)) < 80
    assert shown([1]) == "list"


items = st.builds(Item, st.binary(min_size=20, max_size=20), st.binary(max_size=100))
parts = st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=8)


class TestLayouts:
    @given(st.lists(items, max_size=8))
    def test_the_question_of_aggregate3_is_the_abi_s(self, items: list[Item]) -> None:
        calls = [(item.to, True, item.data) for item in items]
        assert aggregate3_calldata(items) == AGGREGATE3 + encode(["(address,bool,bytes)[]"], [calls])

    @given(parts)
    def test_its_answer_as_well(self, parts: list[tuple[bool, bytes]]) -> None:
        data = encode(["(bool,bytes)[]"], [parts])
        assert read_aggregate3(data, len(parts)).parts == tuple(parts)
        for wrong in (data[:-1], data + bytes(32), data[1:], b""):
            with pytest.raises(BadAnswer):
                read_aggregate3(wrong, len(parts))
        with pytest.raises(BadAnswer):
            read_aggregate3(data, len(parts) + 1)

    @given(parts, st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
    @example([(False, b"\0")], b"", 193, 1)
    def test_any_bytes_are_read_as_the_abi_reads_them_or_refused(
        self, parts: list[tuple[bool, bytes]], rubbish: bytes, at: int, byte: int
    ) -> None:
        data = bytearray(encode(["(bool,bytes)[]"], [parts]))
        data[at % len(data)] = byte
        for changed in (bytes(data), rubbish):
            try:
                read = read_aggregate3(changed, len(parts))
            except BadAnswer:
                continue
            assert decode(["(bool,bytes)[]"], changed, strict=False)[0] == read.parts

    @given(parts, st.integers(0, 10**6), st.integers(0, 10**6))
    def test_deployless(self, parts: list[tuple[bool, bytes]], started: int, left: int) -> None:
        body = b"".join(bytes([ok]) + len(data).to_bytes(3, "big") + data for ok, data in parts)
        outcome = read_deployless(bytes(1) + started.to_bytes(8, "big") + body + left.to_bytes(8, "big"), 8)
        assert outcome.parts == tuple(parts)
        assert outcome.starved == (left < started / 8)

    @given(st.binary(max_size=200))
    def test_deployless_rubbish(self, data: bytes) -> None:
        try:
            assert len(read_deployless(data, 3).parts) <= 3
        except BadAnswer:
            return


@dataclass(frozen=True)
class Facts:
    """As a protocol has them: integers, text, tuples, nested."""

    pool: str
    big: int
    reserves: tuple[tuple[str, int], ...]
    note: str | None = None


@dataclass(frozen=True)
class OtherFacts:
    """The same file would fit, but it is another type."""

    pool: str
    big: int
    reserves: tuple[tuple[str, int], ...]
    note: str | None = None
    more: int = 0


MARKET = MarketRef(1, "aave-v3", OWNER)
FACTS = Facts("0xpool", 2**255, (("WETH", 18), ("USDC", 6)))


class TestCache:
    def test_round_trip(self, tmp_path: Path) -> None:
        cache = FactsCache(tmp_path)
        assert cache.load(MARKET, Facts) is None
        cache.store(MARKET, Facts, FACTS)
        assert cache.load(MARKET, Facts) == FACTS
        kind: Any = tuple[Facts, int | None]
        cache.store(MARKET, kind, (FACTS, 3))
        assert cache.load(MARKET, kind) == (FACTS, 3)
        assert [path.suffix for path in (tmp_path / "facts").iterdir()] == [".json"]

    def test_markets_do_not_mix(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache = FactsCache(tmp_path)
        cache.store(MARKET, Facts, FACTS)
        for other in (
            MarketRef(10, "aave-v3", OWNER),
            MarketRef(1, "spark", OWNER),
            MarketRef(1, "aave-v3", REGISTRY),
            MarketRef(1, "aave-v3", OWNER, "0x01"),
        ):
            assert cache.load(other, Facts) is None
            # not even when someone puts the file there
            cache.path(other).write_bytes(cache.path(MARKET).read_bytes())
            assert cache.load(other, Facts) is None
            assert "another market" in caplog.text

    def test_another_shape_is_another_version(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        cache = FactsCache(tmp_path)
        cache.store(MARKET, Facts, FACTS)
        assert cache.load(MARKET, OtherFacts) is None
        assert "another version" in caplog.text

    def test_every_cut_and_every_changed_byte_is_noticed(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        cache = FactsCache(tmp_path)
        cache.store(MARKET, Facts, FACTS)
        path = cache.path(MARKET)
        whole = path.read_bytes()
        spoilt = [whole[:n] for n in range(0, len(whole), 7)]
        spoilt += [whole[:n] + b"7" + whole[n + 1 :] for n in range(len(whole)) if whole[n : n + 1] != b"7"]
        for text in (*spoilt, b"[" * 100_000, b"\xff\xfe", b"null"):
            path.write_bytes(text)
            caplog.clear()
            assert cache.load(MARKET, Facts) is None, text
            assert caplog.records, text

    def test_what_cannot_be_read_or_written_is_said(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        (tmp_path / "facts").write_text("a file where the directory should be")
        cache = FactsCache(tmp_path)
        with caplog.at_level(logging.WARNING):
            cache.store(MARKET, Facts, FACTS)
        assert "not kept" in caplog.text
        assert cache.load(MARKET, Facts) is None
        assert "ignored" in caplog.text

    def test_where_it_lives(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("LEVMON_CACHE", raising=False)
        assert cache_home() == tmp_path / "levmon"
        monkeypatch.setenv("LEVMON_CACHE", str(tmp_path / "own"))
        assert cache_home() == tmp_path / "own"


RESOLVER = "0x231b0Ee14048e9dCcD1d247744d114a4EB5E8E63"
NOBODY = "0x" + "00" * 20


FOUND = Ok((OWNER,))


class TestEns:
    def look_up(self, resolver: Answer, address: Answer = FOUND) -> str:
        def answer(queries: Any) -> list[Answer]:
            (query,) = queries
            assert query.args == (namehash("vitalik.eth"),)
            return [resolver if query.to == REGISTRY else address]

        return plan.run(name_plan("vitalik.eth"), answer)

    def test_namehash_is_the_published_one(self) -> None:
        assert namehash("vitalik.eth").hex() == "ee6c4522aab0003e8d14cd40a6af439055fd2577951148c14b6cea9a53475835"

    def test_found(self) -> None:
        assert self.look_up(Ok((RESOLVER,))) == OWNER

    @pytest.mark.parametrize("found", [Ok((NOBODY,)), Reverted(b"", "no"), Unread("no data")])
    def test_not_found(self, found: Answer) -> None:
        with pytest.raises(ConfigError):
            self.look_up(found)
        with pytest.raises(ConfigError):
            self.look_up(Ok((RESOLVER,)), found)

    @pytest.mark.parametrize("name", ["a..eth", "ViTalik.ETH", "vital\u200bik.eth", "x y.eth", "_\u0430bc.eth"])
    def test_no_name(self, name: str) -> None:
        with pytest.raises(ConfigError):
            namehash(name)

    async def test_without_a_chain(self) -> None:
        with pytest.raises(ConfigError, match="needs an Ethereum endpoint"):
            await resolve("vitalik.eth", None)

    def test_what_looks_like_a_name(self) -> None:
        assert is_name("vitalik.eth")
        assert not is_name("0x1.eth"[:3])
        assert not is_name(OWNER)


def test_queries_read_well() -> None:
    query: Query = Call(OWNER, "erc20.balanceOf", (OWNER,))
    assert str(query) == f"erc20.balanceOf({OWNER}) at {OWNER}"
