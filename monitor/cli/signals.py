"""What the operating system says to a command that goes on until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def until_sigterm() -> AsyncIterator[asyncio.Event]:
    """An event that SIGTERM sets."""
    stop = asyncio.Event()
    async with at_signal(signal.SIGTERM, stop.set):
        yield stop


@asynccontextmanager
async def at_signal(number: signal.Signals, work: Callable[[], None]) -> AsyncIterator[None]:
    """Do this in the running loop whenever the signal comes, for as long as the context is open."""
    loop = asyncio.get_running_loop()
    unheard = suppress(NotImplementedError, RuntimeError)  # Windows, or not the main thread: then only Ctrl-C is heard
    with unheard:
        loop.add_signal_handler(number, work)
    try:
        yield
    finally:
        with unheard:
            loop.remove_signal_handler(number)
