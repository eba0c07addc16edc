"""What it takes to run levmon as a service, as texts in the package: units, an image, a dashboard, alert rules.

Nothing here runs. The names of metrics in them are held against what the daemons export by the tests.
"""

from __future__ import annotations

from importlib.resources import files

FILES = {
    "systemd": "levmon.service",
    "systemd-signer": "levmon-signer.service",
    "dockerfile": "Dockerfile",
    "grafana": "grafana.json",
    "prometheus": "prometheus-rules.yml",
}
"""By what it is for, the file that it is."""


def text(name: str) -> str:
    """One of FILES. May raise: KeyError."""
    return files("monitor.ops").joinpath(FILES[name]).read_text(encoding="utf-8")
