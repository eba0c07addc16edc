"""What `levmon doctor` looks at in [alerts]: whether each channel could be reached. Nothing is sent to anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.cli.findings import Finding

if TYPE_CHECKING:
    from monitor.core.alerting import AlertsConfig, ChannelConfig

WITHIN_S = 5.0


async def channels(alerts: AlertsConfig | None) -> AsyncIterator[Finding]:
    """Each channel of the file, and that there is one."""
    from monitor.alerts.channel import Undelivered
    from monitor.alerts.setup import channels_of
    from monitor.core.errors import ConfigError

    if alerts is None or not alerts.channels:
        mend = "add [[alerts.channels]], so that somebody is told at night; levmon alerts test tries it"
        yield Finding("alerts", "warn", "nobody is told anything", mend)
        return
    for config in alerts.channels:
        name = f"channel {config.name}"
        try:
            [channel] = channels_of(alerts, config.name)
        except ConfigError as wrong:
            yield Finding(name, "bad", wrong.message, wrong.hint, wrong.exit_code)
            continue
        try:
            await channel.port.prepare()
            said = await _reached(config)
        except Undelivered as failed:
            yield Finding(name, "bad", failed.message, "mend its URL, then levmon alerts test", 3)
        else:
            if said:
                yield Finding(name, "warn", said, "see that this machine reaches it, then levmon alerts test")
            else:
                yield Finding(name, "ok", "could be reached; levmon alerts test sends something")
        finally:
            await channel.port.close()


async def _reached(config: ChannelConfig) -> str:
    """Why its host cannot be connected to, as far as its URL names one; never repeats it."""
    if config.url is None or config.secret is None:
        return ""  # Apprise alone knows whom it would ask
    parts = urlsplit(config.url.reveal())
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(WITHIN_S):
            _, writer = await asyncio.open_connection(parts.hostname or "", port)
            writer.close()
            await writer.wait_closed()
    except TimeoutError:
        return f"no connection within {WITHIN_S:.0f} s"
    except OSError as failed:
        return f"not reached ({type(failed).__name__})"
    return ""
