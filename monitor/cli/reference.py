"""The reference pages in monitor/docs, made from what the program itself says: click, pydantic, the errors' classes.

`python -m monitor.cli.reference --write` makes them anew, `--check` says which are not what they should be. What a
page says besides is written here, so that a page is never edited by hand.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import sys
import types
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import click
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import monitor
from monitor.cli.app import COMMANDS, INTERRUPTED, PIPE_CLOSED, UNEXPECTED, USAGE, app
from monitor.core.config import Config
from monitor.core.errors import LevmonError
from monitor.core.secret import RpcUrl, Secret
from monitor.signer.config import SignerConfig
from monitor.status.names import METRICS

FOLDER = Path(monitor.__file__).parent / "docs"
WIDTH = 100
TOLD = "<!-- made by python -m monitor.cli.reference --write -->\n"

EXIT_CODES = {
    0: "All is ok or watch; what was asked for was done.",
    1: "Some position is warn or critical; for `verify`, some number differs; for `keep`, somebody is below 1.",
    USAGE: "Usage or configuration is wrong; nothing was read or sent.",
    3: "None of the above, but some position is unknown, no chain was read, or what was sent has not landed.",
    4: "Refused, or the action failed.",
    UNEXPECTED: "A bug in levmon, a full disk under its output, or an event loop that was blocked for a minute.",
    INTERRUPTED: "Ctrl-C.",
    PIPE_CLOSED: "Whoever read the output has gone.",
}
VARIABLES = {
    "LEVMON_RPC_<chainId>": "Endpoints of that chain, separated by commas; before those of the file.",
    "ETH_RPC_URL": "Endpoints where nothing else names any.",
    "LEVMON_CACHE": "Directory for what is kept between runs.",
    "LEVMON_TRACEBACK": "1: a bug shows its traceback, which may hold values.",
    "NO_COLOR": "Any value: no colours.",
    "COLUMNS": "Width of tables in a pipe.",
}


def page(title: str, lead: str, parts: Iterator[str]) -> str:
    return "\n".join([TOLD + f"# {title}\n", f"{lead}\n", *parts]).rstrip("\n") + "\n"


# -- commands ----------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Every command's --help, as it is printed."""
    root = click.Context(app, info_name="levmon", terminal_width=WIDTH, **app.context_settings)
    return page("Commands", "What `levmon COMMAND --help` says.", _helps(app, root, list(COMMANDS)))


def _helps(group: click.Group, context: click.Context, names: list[str]) -> Iterator[str]:
    for name in names:
        command = group.get_command(context, name)
        if command is None:
            raise LookupError(name)
        inner = click.Context(command, info_name=name, parent=context, terminal_width=WIDTH)
        text = "\n".join(line.rstrip() for line in command.get_help(inner).splitlines())
        yield f"## {inner.command_path}\n\n```text\n{text}\n```\n"
        if isinstance(command, click.Group):
            yield from _helps(command, inner, list(command.commands))


def variables() -> dict[str, str]:
    """Environment variables: those of options, and those that are looked at elsewhere."""
    found = dict(VARIABLES)
    for name in COMMANDS:
        command = app.get_command(click.Context(app), name)
        for param in command.params if command else ():
            if isinstance(param, click.Option) and isinstance(param.envvar, str):
                found[param.envvar] = f"As `{param.opts[-1]}`."
    return dict(sorted(found.items()))


# -- settings ----------------------------------------------------------------------------------------------------------


def settings() -> str:
    """Every key of levmon.toml and signer.toml, with its kind and default."""

    def parts() -> Iterator[str]:
        yield "## levmon.toml\n"
        yield from _tables(Config, "")
        yield "## signer.toml\n"
        yield "`levmon keys init` writes it; only the signer reads it.\n"
        yield from _tables(SignerConfig, "")
        yield "## Environment\n"
        yield "| variable | what it is |\n| --- | --- |"
        for name, told in variables().items():
            yield f"| `{name}` | {told} |"

    lead = "Keys that a file does not know are errors; `levmon config check` names each with its line and the fix."
    return page("Settings", lead, parts())


def _tables(model: type[BaseModel], path: str) -> Iterator[str]:
    rows, inner = [], []
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        nested, many = _nested(_bare(hints[name]))
        if nested is not None:
            at = f"{path}.{name}" if path else name
            inner.append(
                (nested, f"[{at}]" if many is None else many.format(at=at), at if many != MAP else f"{at}.NAME")
            )
        else:
            rows.append(f"| `{name}` | {_kind(field)} | {_default(field)} |")
    if rows:
        doc = inspect.getdoc(model) or ""
        yield doc.replace("\n\n", "\n").strip() + "\n"
        yield "| key | kind | default |\n| --- | --- | --- |"
        yield "\n".join(rows) + "\n"
    for nested, title, at in inner:
        yield f"### {title}\n"
        yield from _tables(nested, at)


MAP = "[{at}.NAME]"


def _nested(annotation: Any) -> tuple[type[BaseModel] | None, str | None]:
    """The model inside, and how its table is written where there may be many."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, None
    arguments = get_args(annotation)
    models = [one for one in map(_bare, arguments) if isinstance(one, type) and issubclass(one, BaseModel)]
    if not models:
        return None, None
    origin = get_origin(annotation)
    return models[0], MAP if origin is dict else "[[{at}]]" if origin is tuple else None


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _kind(field: FieldInfo) -> str:
    words = _word(field.annotation, field.metadata)
    bounds = [
        f"{text} {getattr(one, name)}"
        for one in field.metadata
        for name, text in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))
        if getattr(one, name, None) is not None
    ]
    return ", ".join([words, *bounds])


def _word(annotation: Any, metadata: Any = ()) -> str:
    checks = [
        one.func.__name__ for one in metadata if isinstance(one, BeforeValidator) and hasattr(one.func, "__name__")
    ]
    if "_address" in checks:
        return "address"
    if hasattr(annotation, "__metadata__"):
        return _word(get_args(annotation)[0], annotation.__metadata__)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_word(one, metadata) for one in arguments if one is not type(None)))
    if origin is Literal:
        return " or ".join(f'"{one}"' for one in arguments)
    if origin is tuple:
        return "URLs" if arguments[0] is RpcUrl else f"list of {_word(arguments[0])}"
    if origin is dict:
        return f"table of {_word(arguments[1])}"
    plain = {Fraction: "number", Decimal: "number", int: "whole number", bool: "true or false", str: "text"}
    return plain.get(annotation, "text that never shows" if annotation is Secret else str(annotation))


def _default(field: FieldInfo) -> str:
    from monitor.policy.levels import decimal

    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "must be given"
    if isinstance(value, Fraction):
        return decimal(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return "none" if value in (None, "", {}) else f"`{value}`"


# -- the others --------------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric of /metrics."""

    def parts() -> Iterator[str]:
        yield "| metric | kind | labels | of | what it says |\n| --- | --- | --- | --- | --- |"
        for name, about in METRICS.items():
            labels = ", ".join(f"`{label}`" for label in about.labels)
            yield f"| `levmon_{name}` | {about.kind} | {labels} | {', '.join(about.of)} | {about.help} |"

    lead = (
        "What `watch`, `protect` and `keep` answer to `--listen` at `/metrics`, beside `process_...` of Prometheus'\n"
        "own client. What is unknown or too old is absent, and its gauge of being unknown is 1. `levmon ops grafana`\n"
        "and `levmon ops prometheus` print a dashboard and alert rules over these."
    )
    return page("Metrics", lead, parts())


def exit_codes() -> str:
    """What the exit code of a command means."""

    def parts() -> Iterator[str]:
        yield "| code | meaning |\n| --- | --- |"
        for code, told in EXIT_CODES.items():
            yield f"| {code} | {told} |"

    return page("Exit codes", "Unknown is never 0. A daemon ends with the code of what it saw last.", parts())


def error_classes() -> list[type[LevmonError]]:
    """All of the package, whichever room they live in."""
    for module in pkgutil.walk_packages(monitor.__path__, "monitor."):
        if not module.name.startswith("monitor.testing") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: set[type[LevmonError]] = set()
    todo: list[type[LevmonError]] = [LevmonError]
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        if one.__module__.startswith("monitor.") and not one.__module__.startswith("monitor.testing"):
            found.add(one)
    return sorted(found, key=lambda one: (one.__name__, one.__module__))


def errors() -> str:
    """Every error that levmon raises on purpose."""

    def parts() -> Iterator[str]:
        yield "| error | of | exit code | a retry may help | what it says |\n| --- | --- | ---: | --- | --- |"
        for one in error_classes():
            doc = " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split()).replace("|", "/")
            base = one.__mro__[1].__name__
            yield f"| `{one.__name__}` | `{base}` | {one.exit_code} | {'yes' if one.retryable else 'no'} | {doc} |"

    lead = (
        "All are `monitor.LevmonError`. On standard error stand the message and, below it, what to do next; programs\n"
        "find both as `message` and `hint`."
    )
    return page("Errors", lead, parts())


PAGES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "metrics": metrics,
    "exit-codes": exit_codes,
    "errors": errors,
}


def wrong() -> list[str]:
    """The pages that are not what they should be."""
    return [
        name
        for name, make in PAGES.items()
        if not (file := FOLDER / f"{name}.md").exists() or file.read_text() != make()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="make the pages anew")
    parser.add_argument("--check", action="store_true", help="say which are not what they should be")
    if parser.parse_args().write:
        for name, make in PAGES.items():
            (FOLDER / f"{name}.md").write_text(make())
    found = wrong()
    for name in found:
        click.echo(f"monitor/docs/{name}.md: run python -m monitor.cli.reference --write", err=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
