"""The first levmon.toml: from flags or from a few questions to a commented file that `levmon config check` accepts.

URLs are never asked for and never written: they hold keys, so the file names the variable that has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import click

from monitor.core.errors import ConfigError

T = TypeVar("T")

TEMPLATE = """\
# levmon.toml: which positions to watch, and where. `levmon config check` says what is wrong with it.

[chains.{chain}]
chain_id = {chain_id}
{rpc}
# rpc_file = "rpc-urls.txt"  # or from a file, one URL a line
# ws = ["wss://..."]         # new blocks are noticed sooner
# quorum = 2                 # so many of at least 3 endpoints must give the same answer
# block_time_s = 12
# finality = "finalized"     # or "safe", or a number of blocks

[[markets]]
name = "{market}"
chain = "{chain}"
protocol = "{protocol}"
address = "{address}"   # for Aave V3 and its forks: the PoolAddressesProvider
{market_id}
# A level is reached when health is below its threshold; below 1 is always critical.
[levels]
watch = {watch}
warn = {warn}
critical = {critical}

# Names for addresses, to be used as owners.
[addresses]
# treasury = "0x..."

# Each position: an address, an ENS name, or a label; with thresholds of its own if they differ.
{positions}
# Who is told, by Apprise (pip install "levmon[alerts]") or a signed webhook; `levmon alerts test` tries it.
{alerts}
# Rescues need [guardian] and [[protect]]; see the README.
"""

_POSITION = """\
[[positions]]
market = "{market}"
owner = "{owner}"
# warn = 1.6
"""
_NO_POSITION = """\
# [[positions]]
# market = "{market}"
# owner = "treasury"
# warn = 1.6
"""
_CHANNEL = """\
[[alerts.channels]]
name = "first"
url = "${{{variable}}}"
min_severity = "warn"
"""
_NO_CHANNEL = """\
# [[alerts.channels]]
# name = "phone"
# url = "${TELEGRAM_URL}"    # taken from the environment
# min_severity = "warn"      # info, warn, critical
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the file should say. `rpc_env` "": levmon's own variable; `alert_env` "": no channel."""

    market: str
    chain_id: int | None = None
    owners: tuple[str, ...] = ()
    rpc_env: str = ""
    alert_env: str = ""
    watch: str = "2.0"
    warn: str = "1.5"
    critical: str = "1.1"


def written(answers: Answers) -> str:
    """The file. May raise: ConfigError, where it would not be right."""
    import os

    from monitor.chain.chains import chain_info
    from monitor.core import config as configuration
    from monitor.core.deployments import parse_market

    market = parse_market(answers.market)
    chain_id = market.chain_id if market.chain_id is not None else answers.chain_id
    if chain_id is None:
        raise ConfigError("on which chain is that market?", hint="add --chain-id, such as --chain-id 1")
    if answers.chain_id not in (None, chain_id):
        raise ConfigError(f"{answers.market} is on chain {chain_id}", hint="leave --chain-id out")
    name = answers.market.rpartition("/")[2] if market.chain_id is not None else "first"
    name = name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", name) else "first"
    own = own_variable(chain_id)
    text = TEMPLATE.format(
        chain=chain_info(chain_id).name,
        chain_id=chain_id,
        rpc=_rpc(answers.rpc_env, own),
        market=name,
        protocol=market.protocol,
        address=market.address,
        market_id=f'id = "{market.id}"\n' if market.id else "",
        watch=number(answers.watch),
        warn=number(answers.warn),
        critical=number(answers.critical),
        positions="\n".join(_POSITION.format(market=name, owner=owner(one)) for one in answers.owners)
        or _NO_POSITION.format(market=name),
        alerts=_CHANNEL.format(variable=answers.alert_env) if answers.alert_env else _NO_CHANNEL,
    )
    later = {answers.rpc_env: "http://127.0.0.1:1", answers.alert_env: "json://127.0.0.1"}
    configuration.parse(text, env=later | {name: value for name, value in os.environ.items() if value})
    return text


def _rpc(variable: str, own: str) -> str:
    if variable and variable != own:
        return f'rpc = ["${{{variable}}}"]   # taken from the environment; several: the next is asked when one fails'
    return (
        f"# The endpoint is taken from {own}, else from ETH_RPC_URL; or several of them from here:\n"
        '# rpc = ["${FIRST_URL}", "${SECOND_URL}"]  # the next is asked when one fails'
    )


def own_variable(chain_id: int) -> str:
    """The variable that levmon looks at by itself."""
    return f"LEVMON_RPC_{chain_id}"


def next_steps(answers: Answers, path: str, chain_id: int) -> str:
    """What to type after the file was written."""
    import os

    variable = answers.rpc_env or own_variable(chain_id)
    steps = [] if os.environ.get(variable) else [f"export {variable}=https://your-endpoint.example/key"]
    if answers.alert_env and not os.environ.get(answers.alert_env):
        steps.append(f"export {answers.alert_env}=...")
    if not answers.owners:
        steps.append(f"put your positions into {path}, then: levmon config check")
    elsewhere = "" if path == "levmon.toml" else f" --config {path}"
    return "\n".join(f"  {step}" for step in (*steps, f"levmon check{elsewhere}"))


# -- what may be answered ----------------------------------------------------------------------------------------------


def owner(text: str) -> str:
    """A checksummed address or an ENS name. May raise: ConfigError."""
    from monitor.core.address import looks_like_address, parse_address

    text = text.strip()
    if looks_like_address(text):
        return parse_address(text)
    if re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+", text):
        return text
    raise ConfigError(f"{text[:80]!r} is no owner", hint="write a 0x address or an ENS name such as vitalik.eth")


def variable(text: str) -> str:
    """The name of an environment variable. May raise: ConfigError, which does not repeat it: it may be a URL."""
    if text and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text.strip()):
        raise ConfigError(
            "that is no variable's name",
            hint="write the name, such as LEVMON_RPC_1; a URL holds a key and stays outside",
        )
    return text.strip()


def number(text: str) -> str:
    """An exact decimal above 1. May raise: ConfigError."""
    from monitor.core.units import parse_decimal

    if parse_decimal(text) <= 1:
        raise ConfigError(f"{text} is not above 1", hint="below 1 a position is always critical")
    return text.strip()


def known_market(text: str) -> str:
    """May raise: ConfigError."""
    from monitor.core.deployments import parse_market

    parse_market(text.strip())
    return text.strip()


# -- asking ------------------------------------------------------------------------------------------------------------


def interview(given: Answers) -> Answers:
    """The same, asked one by one; what was given is offered. Wrong answers are asked again."""
    from monitor.core.deployments import parse_market

    click.echo("A few questions; Enter takes what is in brackets. Nothing is sent anywhere.")
    market = _ask("Market (a name of `levmon protocols`, or PROTOCOL:ADDRESS)", given.market, known_market)
    chain_id = parse_market(market).chain_id
    if chain_id is None:
        chain_id = int(_ask("Its chain's id", str(given.chain_id or 1), _chain_id))
    owners: list[str] = list(given.owners)
    while True:
        more = "Another owner, or Enter" if owners else "Whose position (0x address or ENS name), or Enter for none yet"
        one = _ask(more, "", lambda text: owner(text) if text else "")
        if not one:
            break
        owners.append(one)
    rpc_env = _ask("Variable with your endpoint's URL", given.rpc_env or own_variable(chain_id), variable)
    levels = [
        _ask(f"Level {name} below", was, number)
        for name, was in (("watch", given.watch), ("warn", given.warn), ("critical", given.critical))
    ]
    alert_env = _ask("Variable with an alert channel's URL, or Enter for none", given.alert_env, variable)
    named = chain_id if parse_market(market).chain_id is None else None
    return Answers(market, named, tuple(owners), rpc_env, alert_env, *levels)


def _chain_id(text: str) -> str:
    from monitor.chain.chains import chain_id_of

    return str(chain_id_of(text))


def _ask(what: str, default: str, taken: Callable[[str], T]) -> T:
    def checked(text: str) -> T:
        try:
            return taken(text)
        except ConfigError as wrong:
            raise click.UsageError(f"{wrong.message}: {wrong.hint}") from None

    found: T = click.prompt(what, default=default, show_default=bool(default), value_proc=checked)
    return found
