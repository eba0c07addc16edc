"""Addresses from text that people typed: checksummed, or refused with the reason.

Knows EIP-55 and nothing of chains; names (labels, ENS) are resolved elsewhere. An address with mixed case and a wrong
checksum is refused, because the checksum is there to catch exactly that typo.
"""

from __future__ import annotations

import re

from eth_utils.address import is_checksum_address, to_checksum_address

from monitor.core.errors import ConfigError
from monitor.core.types import Address

_HEX_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")


def looks_like_address(text: str) -> bool:
    """Whether the text can only have been meant as a hex address (right or wrong), not as a label or an ENS name."""
    return text[:2] in ("0x", "0X")


def parse_address(text: str) -> Address:
    """The EIP-55 form; one case throughout is accepted, a wrong checksum is not. May raise: ConfigError."""
    if not _HEX_ADDRESS.fullmatch(text):
        raise ConfigError(f"not an address: {text!r}", hint="an address is 0x and 40 hexadecimal digits")
    digits = text[2:]
    right = to_checksum_address("0x" + digits.lower())
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address("0x" + digits):
        raise ConfigError(
            f"wrong checksum: {text}",
            hint=f"if every digit is right it is written {right}; else copy the address again from its source",
        )
    return Address(right)
