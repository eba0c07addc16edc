"""`levmon export`: tables of the history and the journal as files that other programs read; a whole file or none."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from monitor.cli.options import config_option
from monitor.core.errors import ConfigError

if TYPE_CHECKING:
    from monitor.core.config import Config

TABLES = ("history", "actions", "attempts", "decisions", "alerts")
FORMATS = ("parquet", "csv", "jsonl")
AT_ONCE = 10_000

Rows = Iterator[dict[str, Any]]
Columns = Mapping[str, type]


@click.command("export")
@click.argument("table", type=click.Choice(TABLES))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: what the file's name ends with.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@config_option
def command(table: str, form: str | None, out: Path, config_file: Path | None) -> None:
    """Write a TABLE of the history or the journal to a file, for DuckDB, pandas or a spreadsheet. Asks no node.

    Integers of the chain are text in it, so that no reader rounds them. May be run beside the daemons.
    """
    from monitor.cli.guarding import config_of

    form = form or out.suffix.removeprefix(".")
    if form not in FORMATS:
        raise ConfigError(f"no format is called {form!r}", hint=f"give --format {'|'.join(FORMATS)}")
    config, path = config_of(config_file)
    columns, rows = _read(table, config, path)
    count = 0

    def counted() -> Rows:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    try:
        with _whole(out) as part:
            {"parquet": _parquet, "csv": _csv, "jsonl": _jsonl}[form](part, columns, counted())
    except OSError as failed:
        raise ConfigError(f"cannot write {out}: {failed.strerror}", hint="choose another place with --out") from None
    click.echo(f"wrote {out}: {count} row{'' if count == 1 else 's'}")


def _read(table: str, config: Config, path: Path) -> tuple[Columns, Rows]:
    """May raise: ConfigError, HistoryError, JournalUnfit."""
    if table == "history":
        from monitor.cli.recording import history_url
        from monitor.history.reading import COLUMNS, everything
        from monitor.history.store import HistoryView

        return COLUMNS, everything(HistoryView(history_url(config, path)))
    from sqlalchemy import Integer

    from monitor.cli.guarding import kept_journal
    from monitor.journal.view import TABLES as KEPT
    from monitor.journal.view import JournalView

    whole, names = KEPT[table]
    columns = {name: int if isinstance(whole.c[name].type, Integer) else str for name in names}
    return columns, JournalView(kept_journal(config, path)).everything(table)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A file beside it that takes its place once it is complete and on disk. May raise: OSError."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        part.touch(mode=0o600)
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(out)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _jsonl(part: Path, _: Columns, rows: Rows) -> None:
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


def _csv(part: Path, columns: Columns, rows: Rows) -> None:
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _parquet(part: Path, columns: Columns, rows: Rows) -> None:
    """May raise: ConfigError, where pyarrow is missing."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise ConfigError("pyarrow is missing", hint='pip install "levmon[export]", or --format csv') from None

    kinds = {int: pa.int64(), bool: pa.bool_(), str: pa.string()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while batch := list(islice(rows, AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(batch, schema))
