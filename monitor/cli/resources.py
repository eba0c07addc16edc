"""What the machine must grant before a daemon starts: open files and memory, so that it does not fail when it matters.

Where memory runs out all the same the process ends, and its next life carries on: nobody goes on without it.
"""

from __future__ import annotations

import resource

from monitor.core.errors import ConfigError

FILES = 64
"""the journal, the signer, the terminal, the libraries"""
FILES_PER_ENDPOINT = 16
MEMORY_MIB = 1024
"""of addresses: a quarter of it is libraries, and threads and big answers reserve more than they use"""


def require_machine(endpoints: int) -> None:
    """All of it. May raise: ConfigError."""
    require_files(endpoints)
    require_memory()


def require_memory() -> None:
    """Raise the limit on addresses (ulimit -v) as far as is needed and allowed. May raise: ConfigError."""
    wanted = MEMORY_MIB * 2**20
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise ConfigError(
            f"this process may have {hard >> 20} MiB and needs {MEMORY_MIB}",
            hint=f"ulimit -v {MEMORY_MIB * 1024}, or LimitAS=; to bound what it really uses: MemoryMax=",
        )
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


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
