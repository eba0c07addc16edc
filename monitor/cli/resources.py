"""What the machine must grant before a daemon starts: enough open files, so that it does not fail when it matters."""

from __future__ import annotations

import resource

from monitor.core.errors import ConfigError

FILES = 64
"""the journal, the signer, the terminal, the libraries"""
FILES_PER_ENDPOINT = 16


def require_files(endpoints: int) -> None:
    """Raise the limit as far as is needed and allowed. May raise: ConfigError."""
    wanted = FILES + FILES_PER_ENDPOINT * endpoints
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(
            f"this process may open {hard} files and needs {wanted}", hint=f"ulimit -n {wanted}, or LimitNOFILE="
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
