"""What the README says is so: every command is in it, and every block of it runs, parses or exists."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from monitor.cli.app import COMMANDS, app
from monitor.core.config import parse
from monitor.core.errors import LevmonError
from monitor.report import SCHEMA
from monitor.testing import bench_page
from monitor.testing.localnet_cli import cli as localnet

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SCRIPTS = {"scripts/demo", "scripts/test", "scripts/localnet", "scripts/setup"}
FIGURES = (
    "prove",
    "prove_rescues",
    "prove_liquidations",
    "kill_harness",
    "soak",
    "mutate",
    *(f"bench {name}" for name in ("latency", "read", "engine", "mirror", "pages", "page")),
)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def lines(language: str) -> list[str]:
    return [line for text in blocks(language) for line in text.splitlines() if line and not line.startswith("#")]


def test_every_block_has_a_language_that_is_tested() -> None:
    assert {language for language, _ in BLOCKS} == {"sh", "toml", "json", "python"}
    assert README.count("```") == 2 * len(BLOCKS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told_in_the_table(name: str) -> None:
    assert re.search(rf"^\| .*`levmon {name}[ `]", README, re.MULTILINE)


def test_every_configuration_command_is_told() -> None:
    command = app.get_command(click.Context(app), "config")
    assert isinstance(command, click.Group)
    for name in command.commands:
        assert f"`levmon config {name}`" in README


@pytest.mark.parametrize("line", lines("sh"))
def test_every_shell_line_is_one_that_the_commands_accept(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "export":
        assert re.fullmatch(r"[A-Z_0-9]+=\S+", words[1])
        return
    if "|" in words:
        words = words[: words.index("|")]
    if words[0] == "scripts/localnet":
        parse_words(localnet, words[1:])
    if words[0] == "levmon":
        parse_words(app, words[1:])
    elif " ".join(words[:1]).removeprefix("scripts/") in {name.split()[0] for name in FIGURES}:
        options = {word for word in words[1:] if word.startswith("--")}
        script, *command = next(n for n in FIGURES if n.split()[0] == words[0].removeprefix("scripts/")).split()
        told = helped(script, *command)
        assert all(option in told for option in options)
    else:
        assert words[0] in SCRIPTS
        assert (ROOT / words[0]).stat().st_mode & 0o100


def helped(script: str, *command: str) -> str:
    """What a script says of itself, run without its set-up."""
    text = (ROOT / "scripts" / script).read_text()
    module = re.search(r"python (-m \S+|scripts/\S+)", text)
    start = module[1].split() if module else [f"scripts/{script}"]
    done = subprocess.run(
        [sys.executable, *start, *command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def parse_words(group: click.Group, words: list[str]) -> None:
    """Through click's own parser, as far as without running anything. May raise: click.UsageError."""
    context = click.Context(group, info_name="levmon", **group.context_settings)
    command: click.Command = group
    while isinstance(command, click.Group):
        name, words = words[0], words[1:]
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    command.make_context(command.name, list(words), parent=context)


def test_a_line_with_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse_words(app, ["check", "--nonsense"])
    with pytest.raises(click.UsageError):
        parse_words(app, ["whatif", "x", "--shock", "WETH"])


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_configuration_is_right(text: str, tmp_path: Path) -> None:
    (whole,) = (block for block in blocks("toml") if "[chains." in block)
    if text != whole:
        text = whole + text  # a part that is shown apart belongs into the same file
    for name, content in (("telegram.url", "tgram://token/chat"), ("hook.secret", "a secret of some length")):
        (tmp_path / name).write_text(content)
    config = parse(text, env={}, base=tmp_path)
    assert config.positions
    with pytest.raises(LevmonError):
        parse(text + "nonsense = 1\n", env={}, base=tmp_path)


def test_the_configuration_reference_names_every_key() -> None:
    from monitor.core.alerting import AlertsConfig, ChannelConfig
    from monitor.core.config import ChainConfig, Config, MarketConfig, PositionConfig
    from monitor.core.history import HistoryConfig

    for model in (Config, ChainConfig, MarketConfig, PositionConfig, AlertsConfig, ChannelConfig, HistoryConfig):
        for key in model.model_fields:
            assert re.search(rf"`\[*{key}|\[+{key}[.\]]", README), key


@pytest.mark.parametrize("text", blocks("json"))
def test_every_json_block_has_the_fields_of_its_schema(text: str) -> None:
    told = json.loads(text)
    assert told["schema"] == SCHEMA
    assert list(told) == [
        *("schema", "id", "chain_id", "protocol", "market", "owner", "name", "block", "verdict", "health"),
        *(
            "reported",
            "liquidatable",
            "gates",
            "level",
            "collateral",
            "debt",
            "liquidation_prices",
            "input_age_s",
            "errors",
        ),
    ]


@pytest.mark.parametrize("text", blocks("python"))
def test_every_python_block_runs(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(text, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102  # our own README
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert all(line.split()[0] in {"ok", "watch", "warn", "critical"} for line in said)


def test_every_exit_code_is_told() -> None:
    for code in (0, 1, 2, 3, 70, 130):
        assert f"| {code} |" in README


def test_figures_are_written_between_their_marks(tmp_path: Path) -> None:
    figure = {"id": "A1", "what": "much | faster", "measured": 21.5, "unit": "x", "goal": 20, "more_is_better": True}
    missed = {**figure, "id": "A2", "measured": 3.0, "reached": False, "peer": 2.0, "floor": None}
    report = {"figures": [{**figure, "reached": True, "peer": None, "floor": 40.0}, missed]}
    page = tmp_path / "README.md"
    page.write_text(f"before\n{bench_page.BEGIN}old\n{bench_page.END}after\n")
    for _ in range(2):
        bench_page.write(bench_page.page({"read": report}, "2 cores"), page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "1 of 2 goals reached" in text
    assert "| A1 | much / faster | 21.5 x | ≥ 20 x |  | 40 x |" in text
    assert "| A2 | much / faster | **3 x**, missed | ≥ 20 x | 2 x |  |" in text
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        bench_page.write("x", page)


def test_the_page_has_a_place_for_figures() -> None:
    assert README.count(bench_page.BEGIN) == README.count(bench_page.END) == 1
