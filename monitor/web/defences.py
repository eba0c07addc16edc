"""What the dashboard does against hostile requests and hostile texts, as switches that are all on.

As in monitor.chain.defences: a fault test runs its scenario with everything on, and with one defence off, where the
same assertions must fail. Nothing outside tests switches one off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does."""

    hosts: bool = True
    """a request names a host that is ours, so that no other name can be pointed at us"""
    origins: bool = True
    """what another site's page asks for is refused"""
    token: bool = True
    """where there is a token, nothing is shown without it"""
    strict_cookie: bool = True
    """the cookie is for this site alone, and no script reads it"""
    policy: bool = True
    """the browser runs and shows only what we serve as files"""
    escape: bool = True
    """texts are never markup"""
    loopback: bool = True
    """it listens elsewhere only with a token and with TLS in front"""
    scrub: bool = True
    """an unexpected error shows nothing of itself"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
