"""`levmon protocols`: what levmon knows, and how well each rule version is proven."""

from __future__ import annotations

import json

import click

from monitor.cli.options import json_option


@click.command("protocols")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Which protocols, rule versions and markets levmon knows.

    With NAME (such as aave-v3): its markets by the names that --market accepts, each address with its source.
    `levmon protocols list`: one line for each rule version, with its proof, chains and actions.
    """
    from monitor.core import registry

    if name == "list":
        _list(as_json)
        return
    chosen = registry.protocols() if name is None else {name: registry.protocol(name)}
    if as_json:
        for key, protocol in chosen.items():
            click.echo(json.dumps(_as_dict(key, protocol)))
        return
    for number, (key, protocol) in enumerate(chosen.items()):
        if number:
            click.echo()
        click.echo(click.style(f"{key}  ", bold=True) + protocol.title)
        for version in protocol.versions:
            click.echo(f"  {version.name:<8} {version.proof}")
        if name is None:
            count = len(protocol.deployments)
            told = f"{count} known markets: levmon protocols {key}" if count else "no known markets"
            click.echo(f"  {told}")
    if name is not None:
        helpers = chosen[name].helpers
        click.echo(f"  a purse  {helpers.purse}\n  owner    {helpers.owner}\n")
        for market, deployment in chosen[name].deployments.items():
            where = f"{deployment.address}/{deployment.id}" if deployment.id else deployment.address
            click.echo(f"{market}  (chain {deployment.chain_id})\n  {where}\n  source: {deployment.source}")


def _list(as_json: bool) -> None:
    """What levmon can do for each protocol, and what shows that its numbers are right."""
    from monitor.core import registry

    for key, protocol in registry.protocols().items():
        chains = sorted({deployment.chain_id for deployment in protocol.deployments.values()})
        actions = sorted({template.kind for template in protocol.templates})
        for version in protocol.versions:
            count = version.recorded
            if as_json:
                row = {"schema": "levmon.proof/1", "protocol": key, "version": version.name, "chains": chains}
                proof = {"compared": count, "exact": count, "how": version.proof}
                click.echo(json.dumps({**row, "actions": actions, "proof": proof}))
                continue
            click.echo(click.style(f"{key} {version.name}", bold=True))
            told = f"{count} of {count} recorded accounts exact" if count else "no recorded account"
            click.echo(f"  proof    {told}; {version.proof}")
            click.echo(f"  chains   {', '.join(map(str, chains)) or 'none by name'}")
            click.echo(f"  actions  {', '.join(actions) or 'none: watched only'}")


def _as_dict(key: str, protocol: object) -> dict[str, object]:
    from monitor.protocols.base import Protocol

    if not isinstance(protocol, Protocol):
        raise TypeError(f"{key} is no Protocol")
    return {
        "schema": "levmon.protocol/1",
        "name": key,
        "title": protocol.title,
        "helpers": {"purse": protocol.helpers.purse, "owner": protocol.helpers.owner},
        "versions": [{"name": v.name, "proof": v.proof} for v in protocol.versions],
        "deployments": [
            {"name": market, "chain_id": d.chain_id, "address": d.address, "id": d.id, "source": d.source}
            for market, d in protocol.deployments.items()
        ],
    }
