"""The README's table of figures, written from what the benches have just measured on this machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BENCHES = ("read", "engine", "mirror")
BEGIN, END = "<!-- figures: begin -->\n", "<!-- figures: end -->\n"


def measure(name: str, options: Sequence[str] = ()) -> dict[str, Any]:
    """One bench in a process of its own; a figure beyond its limit is told in its table. May raise: ValueError."""
    command = [sys.executable, "-m", "monitor.testing.bench", name, "--json", *options]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def page(found: Mapping[str, Mapping[str, Any]], machine: str) -> str:
    """The lines between the markers. `found`: reports by bench."""
    return "\n".join([f"On {machine}:", "", *(line for name in found for line in _table(name, found[name]))])


def _table(name: str, report: Mapping[str, Any]) -> Iterator[str]:
    figures = report["figures"]
    reached = sum(one["reached"] for one in figures if one["goal"] is not None)
    yield f"`scripts/bench {name}`: {reached} of {sum(one['goal'] is not None for one in figures)} goals reached."
    yield ""
    yield "| | figure | measured | goal | beside | floor |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for one in figures:
        unit = f" {one['unit']}" if one["unit"] else ""
        goal = "" if one["goal"] is None else f"{'≥' if one['more_is_better'] else '≤'} {one['goal']:g}{unit}"
        told = f"{one['measured']:,.4g}{unit}"
        measured = told if one["reached"] else f"**{told}**, missed"
        beside, floor = ("" if one[key] is None else f"{one[key]:,.4g}{unit}" for key in ("peer", "floor"))
        yield f"| {one['id']} | {one['what'].replace('|', '/')} | {measured} | {goal} | {beside} | {floor} |"
    yield ""
    for compared in report.get("compared", ()):
        told = ", ".join(_told(key.replace("_", " "), value) for key, value in compared.items())
        yield f"Compared with reading everybody anew: {told}."
        yield ""


def _told(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return f"{name} {value}"
    most = sorted(value.items(), key=lambda one: -one[1])
    return f"{name}: {', '.join(f'{count} {what}' for what, count in most)}"


def machine() -> str:
    """What it was measured on, in words."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"


def write(text: str, path: Path = README) -> None:
    """Put it between the markers. May raise: ValueError where they are missing."""
    whole = path.read_text(encoding="utf-8")
    head, begin, rest = whole.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path.name} has no place for figures")
    path.write_text(f"{head}{BEGIN}\n{text}\n{END}{tail}", encoding="utf-8")
