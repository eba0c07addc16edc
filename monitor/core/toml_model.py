"""What the tables of levmon.toml are made of: a strict pydantic model, exact numbers, names, checksummed addresses.

Knows the format, and nothing of which tables there are. Imports pydantic, so it is imported where a file is read.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from monitor.core.address import parse_address
from monitor.core.database import database_url
from monitor.core.errors import ConfigError
from monitor.core.types import Address
from monitor.core.units import parse_decimal

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


def lift(parse: Any, *args: Any) -> Any:
    """A ConfigError as the ValueError that pydantic collects, with its hint."""
    try:
        return parse(*args)
    except ConfigError as wrong:
        raise ValueError(f"{wrong.message}\n{wrong.hint}") from None


def _exact(value: object) -> Fraction:
    if isinstance(value, Fraction):
        return value  # from code, not from a file
    if isinstance(value, bool) or not isinstance(value, (int, Decimal, str)):
        raise ValueError("not a number")  # noqa: TRY004  # pydantic collects ValueError, TypeError would escape
    exact: Fraction = lift(parse_decimal, value)
    return exact


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("not an address: write it as text in quotes")  # noqa: TRY004  # see _exact
    return str(lift(parse_address, value))


def _database(value: str) -> str:
    lift(database_url, value, Path())
    return value


Name = Annotated[str, Field(pattern=NAME)]
Exact = Annotated[Fraction, BeforeValidator(_exact)]
ChecksumAddress = Annotated[Address, BeforeValidator(_address)]
Database = Annotated[str, Field(min_length=1, max_length=1000, repr=False), AfterValidator(_database)]
"""A file beside levmon.toml or a server's URL, as `core.database` reads it; it may hold a password."""


class Table(BaseModel):
    """A table of the file: unknown keys are errors, nothing is converted, and no error repeats a value."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )
