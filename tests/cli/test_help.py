"""What --help and the shell are told: an example for every command, each one that the command accepts."""

from __future__ import annotations

import shlex
import subprocess

import click
import pytest

from monitor.cli.app import COMMANDS, app, run
from monitor.cli.completion_command import SHELLS
from monitor.cli.examples import EXAMPLES


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_examples_that_it_accepts(name: str) -> None:
    context = click.Context(app, info_name="levmon", **app.context_settings)
    command = app.get_command(context, name)
    assert command is not None
    shown = command.get_help(click.Context(command, info_name=name, parent=context))
    for line in EXAMPLES[name]:
        assert line in shown
        words = shlex.split(line)
        if words[0] != "levmon":
            continue
        words = words[1 : words.index(">")] if ">" in words else words[1:]
        found, under = command, context
        while isinstance(found, click.Group) and len(words) > 1:
            words = words[1:]
            inner = found.get_command(under, words[0])
            assert inner is not None
            found = inner
        found.make_context(found.name, words[1:], parent=under)


def test_no_example_is_of_a_command_that_is_gone() -> None:
    assert EXAMPLES.keys() <= COMMANDS.keys()


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_for_that_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    told = capsys.readouterr().out
    assert f"{shell}_complete" in told
    if shell == "bash":
        assert subprocess.run(["bash", "-n"], input=told, text=True, check=False).returncode == 0
