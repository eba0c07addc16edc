"""The reference pages: made from the program, complete, readable with `levmon docs`, and their blocks are right."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
from pydantic import BaseModel

from monitor.cli import reference
from monitor.cli.app import COMMANDS, app, run
from monitor.cli.docs_command import PAGES
from monitor.core.config import Config
from monitor.signer.config import SignerConfig
from monitor.status.names import METRICS

ALL = {name: (reference.FOLDER / f"{name}.md").read_text() for name in PAGES}


def test_pages_are_what_the_program_says() -> None:
    assert reference.wrong() == [], "run python -m monitor.cli.reference --write"


def test_a_page_that_is_old_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in reference.PAGES:
        (tmp_path / f"{name}.md").write_text(ALL[name])
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    (tmp_path / "metrics.md").write_text(ALL["metrics"].replace("levmon_ready", "levmon_steady"))
    (tmp_path / "errors.md").unlink()
    assert reference.wrong() == ["metrics", "errors"]


def leaves(group: click.Group, path: str = "levmon") -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path} {name}")


def test_every_command_and_flag_has_its_place() -> None:
    found = list(leaves(app))
    assert len(found) > len(COMMANDS)
    for path, command in found:
        [part] = re.findall(rf"^## {re.escape(path)}\n(.*?)(?=^## |\Z)", ALL["commands"], re.MULTILINE | re.DOTALL)
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.opts[-1] in part, path
                assert not isinstance(param.envvar, str) or f"`{param.envvar}`" in ALL["settings"]


def models(top: Any) -> set[Any]:
    """The model, and all that its fields are made of, however nested."""
    known: dict[str, Any] = {}
    todo: list[Any] = [BaseModel]
    while todo:
        one = todo.pop()
        todo += one.__subclasses__()
        known[f"{one.__module__}.{one.__name__}"] = one
    found, todo = set(), [top]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            text = " ".join(repr(hint) for hint in get_type_hints(one, include_extras=True).values())
            todo += [model for name, model in known.items() if re.search(rf"\b{re.escape(name)}\b", text)]
    return found


def test_every_setting_has_its_place() -> None:
    for top, least in ((Config, 14), (SignerConfig, 5)):
        assert len(models(top)) >= least
        for model in models(top):
            for name in model.model_fields:
                assert re.search(rf"`{name}`|[\[.]{name}[\].]", ALL["settings"]), f"{model.__name__}.{name}"


def test_every_metric_code_and_error_has_its_place() -> None:
    for name in METRICS:
        assert f"| `levmon_{name}` |" in ALL["metrics"]
    errors = reference.error_classes()
    assert len(errors) > 30
    for error in errors:
        assert f"| `{error.__name__}` |" in ALL["errors"]
        assert f"| {error.exit_code} |" in ALL["exit-codes"]
        assert (error.__doc__ or "").strip(), f"{error.__name__} says nothing"


@pytest.mark.parametrize("name", PAGES)
def test_docs_shows_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["docs", name]) == 0
    assert capsys.readouterr().out == ALL[name]
    assert run(["docs"]) == 0
    assert f"levmon docs {name}" in capsys.readouterr().out
    assert reference.PAGES.keys() == PAGES.keys() - {"operations"}


def test_blocks_of_the_written_page_are_right() -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", ALL["operations"], re.MULTILINE | re.DOTALL)
    assert {language for language, _ in blocks} == {"sh", "yaml"}
    yaml = importlib.import_module("yaml")
    for language, text in blocks:
        if language == "yaml":
            [scrape] = yaml.safe_load(text)["scrape_configs"]
            assert scrape["static_configs"][0]["targets"] == ["127.0.0.1:9464"]
            continue
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            assert words[0] in {"levmon", "sqlite3"}
            if words[0] == "levmon":
                accepted(words[1:])
    for words in re.findall(r"`levmon ([^`]+)`", ALL["operations"]):
        accepted([word for word in words.split() if word != "SCOPE"])


def accepted(words: list[str]) -> None:
    """By click's own parser, without running anything. May raise: click.UsageError."""
    context = click.Context(app, info_name="levmon", **app.context_settings)
    command = app.get_command(context, words[0])
    assert command is not None, words
    if isinstance(command, click.Group) and len(words) > 1 and words[1] in command.commands:
        command, words = command.commands[words[1]], words[1:]
    command.make_context(command.name, words[1:], parent=context)
