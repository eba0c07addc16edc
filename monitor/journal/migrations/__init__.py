"""The journal's schema from any version to the newest, by alembic, inside the caller's transaction.

The first revision makes a new journal whole; each later one changes what an older journal lacks, and nothing where it
is there already. Journals from before alembic have their version in `meta`, and are taken up where they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

FOLDER = Path(__file__).parent
VERSIONS = (FOLDER / "versions",)
HEAD = "3"
"""The newest revision; kept here so that opening a journal that has it need not load alembic."""


def upgrade(connection: Connection, versions: Sequence[Path] = VERSIONS, *, stamp: str = "") -> None:
    """Bring the schema to the newest of these versions. `stamp`: the revision that it has without saying so."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    for name, value in (
        ("script_location", str(FOLDER)),
        ("path_separator", "os"),
        ("version_locations", os.pathsep.join(map(str, versions))),
    ):
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes["connection"] = connection
    if stamp:
        command.stamp(config, stamp)
    command.upgrade(config, "head")
