from __future__ import annotations

import pytest

from monitor.core.address_list import parse_addresses
from monitor.core.errors import ConfigError

ONE, TWO = "0xd8dA6BF26964aF9D7eEd9e03E53415D37aA96045", "0x00000000000000000000000000000000000000AA"


def test_one_a_line_in_any_plain_case_with_comments_each_once() -> None:
    text = f"# borrowers\n{ONE.lower()}\n\n  {TWO.lower()}  # a friend\r\n{ONE}\n"
    assert parse_addresses(text, "list.txt") == [ONE, TWO]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{ONE}\n{ONE.replace('d8dA', 'D8dA')}\n", "list.txt, line 2: wrong checksum"),
        (f"\n# a comment\n{ONE[:-1]}", "list.txt, line 3: not an address"),
        (f"{ONE} {TWO}", "list.txt, line 1: not an address"),
        ("# nobody\n\n", "list.txt has no address in it"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_addresses(text, "list.txt")
    assert refused.value.message.startswith(message)
