"""What the commands for whole markets share: which market, whose accounts, progress, and how amounts are drawn."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from monitor.cli.options import chain_option, config_option, rpc_option
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.chain.discover import Progress
    from monitor.chain.port import BlockAt
    from monitor.cli.session import Open, Session
    from monitor.core.types import Address, BlockRef, MarketRef, Unit
    from monitor.pipeline.census import Census
    from monitor.protocols.columns import U8
    from monitor.protocols.whole import Whole

BAR = 40
PARTS: tuple[str, ...] = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
EVERY_S = 10.0
F = TypeVar("F", bound=Callable[..., Any])


def whole_options(function: F) -> F:
    """Where to read."""
    for option in reversed((config_option, chain_option, rpc_option)):
        function = option(function)
    return function


def market_options(function: F) -> F:
    """--owners, and where to read."""
    return click.option(
        "--owners",
        "owners_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Only these accounts: one address a line.  [default: all borrowers that the logs name]",
    )(whole_options(function))


@dataclass(frozen=True, slots=True)
class One:
    """The one market that was named, on its chain."""

    session: Session
    chain: Open
    ref: MarketRef
    name: str


@asynccontextmanager
async def one_market(market: str, source: dict[str, Any], at: BlockAt = "latest") -> AsyncIterator[One]:
    """MARKET as typed, opened. May raise: ConfigError, ChainError."""
    from monitor.cli.session import opened
    from monitor.cli.targets import Wanted

    wanted = Wanted(**source, markets=(market,), file_owners=False, every_market=True)
    async with opened(wanted, at) as session:
        chain = session.chains[0]
        ((ref, name),) = chain.markets().items()
        yield One(session, chain, ref, name)


def say(text: str) -> None:
    """Something about the run itself, beside what was asked for."""
    from monitor.core.text import clean

    click.echo(f"levmon: {clean(text, 400)}", err=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Tells how far long work is: a bar with rate and time left on a terminal, a line now and then in a log."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _rate(), TimeRemainingColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda more: bar.update(task, advance=more)
        return
    done, started = 0, time.monotonic()
    told = started

    def tell(more: int) -> None:
        nonlocal done, told
        done += more
        now = time.monotonic()
        if now - told >= EVERY_S and done < total:
            told = now
            left = (now - started) * (total - done) / max(done, 1)
            say(f"{what}: {done:,} of {total:,}, {done / (now - started):,.0f} a second, about {left:,.0f} s left")

    yield tell


def _rate() -> Any:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:,.0f}/s" if task.speed else "")

    return Rate()


def read_owners(path: Path) -> list[Address]:
    """The addresses of a file. May raise: ConfigError, with the line."""
    from monitor.core.address_list import parse_addresses

    try:
        return parse_addresses(path.read_text(encoding="utf-8"), path.name)
    except OSError as broken:
        raise ConfigError(f"{path} cannot be read: {broken.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is no text file") from None


def bar(part: float, whole: float) -> str:
    """A bar as long as its part of the whole; any part of it shows."""
    if part <= 0 or whole <= 0:
        return ""
    eighths = max(1, round(part / whole * BAR * 8))
    return "█" * (eighths // 8) + PARTS[eighths % 8]


def place_dict(census: Census) -> dict[str, Any]:
    """Where and when, for programs."""
    block = census.block
    return {
        "market": census.name,
        "chain_id": census.ref.chain_id,
        "protocol": census.ref.protocol,
        "block": {"number": str(block.number), "hash": block.hash, "timestamp": str(block.timestamp)},
        "accounts": len(census.columns),
        "unread": len(census.unread),
        "read_by": list(census.rungs),
    }


def heading(census: Census) -> Iterator[str]:
    """Where and when, for people."""
    from monitor.chain.chains import chain_info
    from monitor.cli.table import block_line

    yield block_line(chain_info(census.ref.chain_id).name, census.block)
    yield f"{census.name}: {len(census.columns):,} accounts, read by {', '.join(census.rungs) or 'nothing'}"


def shock_text(shocks: Sequence[tuple[str, Fraction]]) -> str:
    """Price moves, in words."""
    from monitor.core.text import clean
    from monitor.policy.levels import decimal

    def one(name: str, change: Fraction) -> str:
        return f"{clean(name, 20)} {'-' if change < 0 else '+'}{decimal(abs(change) * 100)}%"

    return "after " + ", ".join(one(name, change) for name, change in shocks)


async def take(one: One, owners_file: Path | None, at: BlockAt) -> Census:
    """All accounts at one block. May raise: ConfigError, ChainError."""
    from monitor.chain.heads import require_fresh
    from monitor.pipeline import census

    chain = one.chain.chain
    block = one.chain.first or await chain.block(at)
    if at == "latest":
        require_fresh(block, limit_s=one.chain.depth.max_age_s)
    named = read_owners(owners_file) if owners_file else []
    parts = await census.open_whole(chain, one.ref, one.session.memory, block, named)
    owners = census.as_rows(named) if owners_file else await discovered(one, parts[1], block)
    with progress(f"reading {one.name}", len(owners)) as told:
        return await census.take(
            chain, one.ref, one.name, parts, owners, block, progress=told, dropped=lambda drop: say(str(drop))
        )


def money(raw: int | None, unit: Unit) -> str:
    """A sum of money, short: `$12.3M`, `12.3k ETH`; `?` where it is not known. Truncated."""
    if raw is None:
        return "?"
    whole = raw // 10**unit.decimals
    text = f"{whole:,}"
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if whole >= size:
            tenths = whole * 10 // size
            text = f"{tenths // 10:,}.{tenths % 10}{letter}"
            break
    return f"${text}" if unit.symbol == "USD" else f"{text} {unit.symbol[:6]}"


def shown_owner(owner: str) -> str:
    """With its checksum, as people compare it."""
    from monitor.core.address import parse_address

    return parse_address(owner)


async def discovered(one: One, whole: Whole, block: BlockRef) -> U8:
    """Every borrower that the market's logs name up to a block. May raise: ChainError."""
    from monitor.pipeline.borrowers import fetch_borrowers

    with progress(f"looking for borrowers of {one.name}", block.number + 1) as told:
        done = 0

        def tell(now: Progress) -> None:
            nonlocal done
            told(now.done - done if now.done > done else now.done)
            done = now.done

        return await fetch_borrowers(one.chain.chain, one.ref, whole, block, progress=tell)
