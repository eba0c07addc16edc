"""Options that several commands share, so that they are called, explained and read from the environment alike."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import click

from monitor.chain.port import BlockAt
from monitor.core.errors import ConfigError
from monitor.core.units import parse_decimal

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line, for programs.")

config_option = click.option(
    "-c",
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="LEVMON_CONFIG",
    show_envvar=True,
    help="Configuration file.  [default: ./levmon.toml, if there is one]",
)


class Block(click.ParamType[BlockAt]):
    """latest, safe, finalized, a number, -100 (that many before latest), or a block hash."""

    name = "block"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> BlockAt:
        text = str(value).strip()
        if text in ("latest", "safe", "finalized"):
            return text
        digits = text[1:] if text[:1] == "-" else text
        if digits.isascii() and digits.isdecimal() and len(digits) < 19:
            return int(text)
        if len(text) == 66 and text[:2] == "0x" and all(char in "0123456789abcdefABCDEF" for char in text[2:]):
            return text.lower()
        return self.fail(f"{text!r} is no block: write latest, safe, finalized, a number, -100, or a hash", param, ctx)


class Threshold(click.ParamType[Fraction]):
    """An exact decimal number."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            return parse_decimal(str(value))
        except ConfigError as wrong:
            return self.fail(f"{wrong.message}; {wrong.hint}", param, ctx)


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


chain_option = click.option(
    "--chain",
    "chain",
    metavar="NAME",
    help="The chain of a PROTOCOL:ADDRESS market: its name in the file, or its id.",
)

rpc_option = click.option(
    "--rpc-url",
    "rpc_urls",
    multiple=True,
    metavar="URL",
    help="Endpoint to ask instead of those in the file; no file is needed then. May be repeated.  "
    "[else LEVMON_RPC_<chainId>, else the file, else ETH_RPC_URL]",
)


def source_options(function: F) -> F:
    """Where to read: --config, --market, --chain, --rpc-url."""
    return _all(
        config_option,
        click.option(
            "-m",
            "--market",
            "markets",
            multiple=True,
            envvar="LEVMON_MARKET",
            show_envvar=True,
            metavar="NAME",
            help="A market: its name in the file, a known one (levmon protocols NAME), or PROTOCOL:ADDRESS[/ID]. "
            "May be repeated.",
        ),
        chain_option,
        rpc_option,
    )(function)


def block_option(function: F) -> F:
    """--block."""
    return click.option(
        "-b",
        "--block",
        "block",
        type=Block(),
        default="latest",
        show_default=True,
        help="latest, safe, finalized, a number, -100 (before latest), or a hash.",
    )(function)


def care_options(function: F) -> F:
    """--listen, --listen-public and --log-json of the daemons."""
    return _all(
        click.option(
            "--listen",
            "listen",
            metavar="ADDRESS:PORT",
            envvar="LEVMON_LISTEN",
            show_envvar=True,
            help="Answer /healthz, /readyz and /metrics there, such as 127.0.0.1:9464.",
        ),
        click.option(
            "--listen-public", "listen_public", is_flag=True, help="Let --listen be an address that others reach."
        ),
        click.option("--log-json", "log_json", is_flag=True, help="Say what changes as JSON lines, for a log."),
    )(function)


def level_options(function: F) -> F:
    """--watch, --warn and --critical, which overrule the file."""
    return _all(
        *(
            click.option(
                f"--{name}",
                name,
                type=Threshold(),
                envvar=f"LEVMON_{name.upper()}",
                show_envvar=True,
                help=f"Level {name} is reached when health is below this.  [default: {default}, or the file's]",
            )
            for name, default in (("watch", "2.0"), ("warn", "1.5"), ("critical", "1.1"))
        )
    )(function)
