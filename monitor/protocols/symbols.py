"""How a token's symbol is asked for and shown: a string, or the bytes32 of older tokens. It decides nothing.

Must not know: what a protocol is.
"""

from __future__ import annotations

from monitor.core.types import Address, Answer, Call, Ok

LENGTH = 32


def symbol_calls(token: Address) -> tuple[Call, Call]:
    """Both ways to ask; either may revert."""
    text, word = (Call(token, f"{file}.symbol", allow_revert=True) for file in ("erc20", "erc20_bytes32"))
    return text, word


def symbol_of(token: Address, text: Answer, word: Answer | None = None) -> str:
    """A token's symbol, from the string or the older bytes32; printable and short; its address's head if neither."""
    found = text.values[0] if isinstance(text, Ok) else ""
    if not found.strip() and isinstance(word, Ok):
        found = word.values[0].rstrip(b"\0").decode("utf-8", "replace")
    return "".join(char for char in found if char.isprintable())[:LENGTH].strip() or token[:8]
