"""What is shipped to run levmon as a service: every metric in it is exported, with the labels that it is asked for."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from monitor import ops
from monitor.chain.endpoint import EndpointState
from monitor.cli import app
from monitor.cli.ops_command import NAMES
from monitor.core.actions import ActionState
from monitor.status.names import METRICS

DASHBOARD = json.loads(ops.text("grafana"))
yaml: Any = importlib.import_module("yaml")
RULES = yaml.safe_load(ops.text("prometheus"))["groups"][0]["rules"]
OURS = {f"levmon_{name}": about for name, about in METRICS.items()}
OF_SCRAPE = {"instance", "job"}
OF_PROCESS = {"process_resident_memory_bytes", "process_open_fds"}


def queries() -> list[tuple[str, str]]:
    """Each question, and the words that show its labels."""
    shown = [(target["expr"], target["legendFormat"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return shown + [(rule["expr"], json.dumps(rule["annotations"])) for rule in RULES]


@pytest.mark.parametrize(("expr", "words"), queries())
def test_every_question_is_about_what_is_exported(expr: str, words: str) -> None:
    names = re.findall(r"\b(?:levmon|process)_\w+", expr)
    assert names
    assert set(names) <= OURS.keys() | OF_PROCESS
    labels = OF_SCRAPE.union(*(OURS[name].labels for name in names if name in OURS))
    asked = set(re.findall(r"[{,]\s*(\w+)\s*=", expr))
    for listed in re.findall(r"\b(?:by|on) \(([^)]*)\)", expr):
        asked |= {one.strip() for one in listed.split(",")}
    asked |= set(re.findall(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}", words))
    assert asked <= labels | {"value"}
    for state in re.findall(r'state=~?"([^"]+)"', expr):
        known = {*EndpointState, *ActionState}
        assert set(state.split("|")) <= known
    for name in names:
        if name in OURS and OURS[name].kind == "counter":
            assert re.search(rf"(rate|increase)\({name}\[", expr), "a counter alone says nothing"


def test_every_metric_is_asked_for() -> None:
    asked = {name for expr, _ in queries() for name in re.findall(r"levmon_\w+", expr)}
    assert asked == OURS.keys()


def test_a_slip_would_be_noticed() -> None:
    for wrong in ("levmon_helth", 'levmon_ready{chain="x"}', "levmon_blocks_skipped_total"):
        with pytest.raises(AssertionError):
            test_every_question_is_about_what_is_exported(wrong, "")


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) > 10
    for rule in RULES:
        assert rule["annotations"].keys() == {"summary", "mend"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}


def test_panels_have_a_place_each() -> None:
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        taken = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not taken & cells
        assert at["x"] + at["w"] <= 24
        cells |= taken
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("name", ops.FILES)
def test_each_is_printed_as_it_is(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["ops", name]) == 0
    assert capsys.readouterr().out == ops.text(name)
    assert tuple(ops.FILES) == NAMES


def test_units_start_commands_that_exist() -> None:
    for name in ("systemd", "systemd-signer"):
        [line] = re.findall(r"^ExecStart=/opt/levmon/bin/levmon (.*)$", ops.text(name), re.MULTILINE)
        assert line.split()[0] in app.COMMANDS
    image = ops.text("dockerfile")
    assert "USER 10001:10001" in image
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE):
        assert all((Path(__file__).resolve().parents[2] / one).exists() for one in copied.split())


def checked(tool: str, *args: str) -> str:
    """What the tool says of its files, or "" where this machine does not have it."""
    found = shutil.which(tool)
    if found is None:
        return ""
    done = subprocess.run([found, *args], capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_their_own_tools_find_nothing_wrong(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(ops.text("prometheus"))
    assert checked("promtool", "check", "rules", str(rules)) == ""
    for name in ("systemd", "systemd-signer"):
        unit = tmp_path / ops.FILES[name]
        unit.write_text(re.sub(r"/opt/levmon/bin/levmon", sys.executable, ops.text(name)))
        said = checked("systemd-analyze", "verify", "--man=no", str(unit))
        assert "Unknown" not in said
        assert "Failed to parse" not in said
