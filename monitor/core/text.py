"""Text that came from a chain or a node made harmless for terminals, logs and tables.

A token can call itself anything: terminal escapes, right-to-left overrides, a megabyte of combining marks. Every sink
shows `clean(text)`; the address, not the symbol, is the identity. Markup of a renderer is the renderer's business.
"""

from __future__ import annotations

import unicodedata

SYMBOL_LIMIT = 16
REASON_LIMIT = 300


def clean(text: str, limit: int = SYMBOL_LIMIT) -> str:
    """Printable text of at most `limit` characters; everything invisible or reordering is shown as its code point."""
    parts: list[str] = []
    used = 0
    for char in text[: limit + 1]:
        part = char if _harmless(char) else f"\\u{{{ord(char):x}}}"
        if used + len(part) > limit:
            return "".join(parts) + "…"
        parts.append(part)
        used += len(part)
    return "".join(parts)


def _harmless(char: str) -> bool:
    # isprintable() is False for controls, format characters (bidi, zero width), separators but the space, surrogates,
    # private use and unassigned code points; marks that stack on their neighbours are printable and not wanted either.
    return char.isprintable() and not unicodedata.category(char).startswith("M")
