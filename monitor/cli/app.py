"""The command tree, and the one place where whatever goes wrong becomes a message and an exit code.

Commands are named here with their one-line help and imported when they are called: `levmon --help` loads none of the
chain's libraries. This is one of the four supervision points, and so may catch everything.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from monitor.cli.examples import epilog
from monitor.core.errors import LevmonError

USAGE = 2
UNEXPECTED = 70
INTERRUPTED = 130
PIPE_CLOSED = 141

COMMANDS = {
    "check": "Health of positions now, or at a block.",
    "watch": "Health of positions at every new block.",
    "serve": "The same in the browser, live, and as a JSON API.",
    "tui": "The same as a view for the terminal, sorted, filtered and asked.",
    "explain": "Each number of a position, with its formula and the call it came from.",
    "whatif": "Health after price moves and time.",
    "verify": "Recompute, and compare with the contract's own numbers.",
    "discover": "Everybody who has ever borrowed in a market, from its logs.",
    "scan": "Everybody in a market who is near liquidation, now or after price moves.",
    "market": "A market's totals, its debt by distance to liquidation, and what falls when.",
    "keep": "Follow a whole market block by block; for keepers, liquidate.",
    "plan": "What would bring a position to a health: amounts, costs, and why not otherwise.",
    "act": "Do the best plan for one position; signs nothing without --broadcast.",
    "liquidate": "Pay debt of an unhealthy position for its collateral, if that brings a profit.",
    "protect": "Watch, decide and rescue, block by block; dry unless armed.",
    "rehearse": "Shock every protected position on a fork, and see whether its rescue lands.",
    "approve": "Let a market take a bounded amount of the purse's tokens.",
    "guard": "What a position's owner allows the guard, and the transactions that allow more.",
    "alerts": "Try the channels that alerts go to; see what was told.",
    "history": "Decisions, actions and transactions, from the journal; health over time.",
    "export": "The history and the journal as parquet, CSV or JSON lines.",
    "keys": "What the signer holds: nonces, balances, limits; set it up.",
    "signer": "Run the process that holds the keys.",
    "kill": "Stop all signing and sending at once.",
    "resume": "Allow it again.",
    "doctor": "Check configuration, endpoints and markets; say how to mend them.",
    "protocols": "Which protocols, rule versions and markets levmon knows.",
    "config": "Write, show or check levmon.toml.",
    "docs": "Show the reference pages that are shipped with it.",
    "completion": "Print tab completion for a shell.",
    "ops": "Print a service unit, a Dockerfile, a dashboard or alert rules.",
}

EPILOG = """\
Exit codes: 1 some position is warn or worse; else 3 some is unknown; else 0. 2 usage or configuration; 4 refused
or failed to act; 70 a bug.

Tab completion: eval "$(levmon completion bash)"  (or zsh, fish)
"""


class PipeClosed(Exception):
    """Whoever read our output has gone; not an error of ours."""


class Commands(click.Group):
    """Finds a command's module by its name when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"monitor.cli.{cmd_name}_command")
        command: click.Command = module.command
        command.epilog = command.epilog or epilog(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as closed:
            raise PipeClosed from closed  # click would exit with 1, which means "some position is warn or worse"


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"levmon {version('levmon')}")
    ctx.exit()


@click.command(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
def app() -> None:
    """Exact health of leveraged positions on EVM chains, and rescues that are bounded and sent once."""


def main() -> None:
    """Run and exit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that knows no ellipsis must not end a watch
    sys.exit(run(sys.argv[1:]))


def run(args: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    try:
        result = app.main(args=list(args), prog_name="levmon", standalone_mode=False)
        sys.stdout.flush()
    except (PipeClosed, BrokenPipeError):
        # the interpreter flushes once more at exit, and would complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as failed:
        from monitor.cli.screen import FULL

        if failed.errno not in FULL:
            tell_bug()
            return UNEXPECTED
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # as above
        click.echo(f"levmon: not all of the output could be written: {failed.strerror}", err=True)
        return UNEXPECTED
    except click.ClickException as wrong:
        wrong.show()
        return USAGE
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except LevmonError as failed:
        tell(failed)
        return failed.exit_code
    except Exception:  # noqa: BLE001  # supervision point: nothing unexpected may look like a verdict
        tell_bug()
        return UNEXPECTED
    return result if isinstance(result, int) else 0


def tell(failed: LevmonError) -> None:
    """An error for people, on standard error."""
    click.echo(f"levmon: {failed}", err=True)


def tell_bug() -> None:
    """An unexpected exception: where it happened, without values, which could be secret."""
    kind, error, trace = sys.exc_info()
    if kind is None or error is None:
        return
    frames = traceback.extract_tb(trace)[-4:]
    where = " < ".join(f"{os.path.basename(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames))  # noqa: PTH119
    click.echo(f"levmon: unexpected {kind.__name__} at {where}", err=True)
    if os.environ.get("LEVMON_TRACEBACK"):
        traceback.print_exc()
    else:
        click.echo("  this is a bug: run again with LEVMON_TRACEBACK=1 and report what it prints", err=True)
