"""[history] of levmon.toml: where health over time is kept, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from monitor.core.toml_model import Database, Table

DEFAULT_URL = "sqlite:///levmon-history.db"


class HistoryConfig(Table):
    """`url`: a file beside this one, or a PostgreSQL URL. Every row for `full_days`, then the worst of each hour.

    With `keep_days` 0 nothing is kept.
    """

    url: Database = DEFAULT_URL
    full_days: Annotated[int, Field(ge=1, le=3650)] = 7
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 90
