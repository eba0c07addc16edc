"""What `protect` and `watch` share: health over time goes into the history of [history], if there is a levmon.toml."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.core.database import database_url
from monitor.core.errors import ChainError

if TYPE_CHECKING:
    from monitor.cli.session import Open
    from monitor.cli.targets import Targets
    from monitor.core.config import Config
    from monitor.history.recorder import Recorder
    from monitor.pipeline.watch import Tick


def history_url(config: Config, path: Path | None) -> str:
    """Where the file says that the history is. May raise: ConfigError."""
    return database_url(config.history.url, (path or Path()).absolute().parent)


class Recording:
    """One daemon's looks on their way into the history; nowhere without a recorder."""

    def __init__(self, recorder: Recorder | None, url: str = "") -> None:
        self._recorder = recorder
        self._url = url
        self._settled: set[int] = set()
        self._settling: dict[int, asyncio.Task[None]] = {}

    def see(self, chain: Open, tick: Tick) -> None:
        """A block's reports, and what left the chain with it. Waits for nothing, and raises nothing."""
        if self._recorder is None:
            return
        if tick.reorg is not None:
            self._recorder.gone(chain.chain_id, tick.reorg.removed)
        task = self._settling.get(chain.chain_id)
        if tick.trouble is None and chain.chain_id not in self._settled and (task is None or task.done()):
            self._settling[chain.chain_id] = asyncio.create_task(self._settle(chain))
        self._recorder.see(tick.snapshot.reports, int(time.time()))

    async def _settle(self, chain: Open) -> None:
        """What an earlier run kept of blocks that left the chain since: the newest that is still there ends it."""
        from monitor.history.rows import HistoryError

        gone = []
        try:
            kept = await asyncio.to_thread(self._newest, chain.chain_id)
            for number, block_hash in kept:
                if (await chain.chain.block(number)).hash == block_hash:
                    break
                gone.append(block_hash)
        except (ChainError, HistoryError):
            return  # looked at again with the next block
        self._settled.add(chain.chain_id)
        if gone and self._recorder is not None:
            self._recorder.gone(chain.chain_id, gone)

    def _newest(self, chain_id: int) -> list[tuple[int, str]]:
        """May raise: HistoryError."""
        from monitor.history.store import HistoryView

        view = HistoryView(self._url)
        try:
            return view.newest_blocks(chain_id)
        finally:
            view.close()

    def close(self) -> None:
        """What was seen is written; what is still asked for is not."""
        for task in self._settling.values():
            task.cancel()
        if self._recorder is not None:
            self._recorder.close()


@contextmanager
def recording(targets: Targets, say: Callable[[str], None]) -> Iterator[Recording]:
    """For as long as a daemon runs. `say` hears where the history cannot be kept. May raise: ConfigError."""
    config = targets.config
    if config is None or not config.history.keep_days:
        yield Recording(None)
        return
    from monitor.history.recorder import Recorder
    from monitor.history.thinning import DAY_S, Age

    url = history_url(config, targets.path)
    age = Age(config.history.full_days * DAY_S, config.history.keep_days * DAY_S)
    kept = Recording(Recorder(url, age, say), url)
    try:
        yield kept
    finally:
        kept.close()
