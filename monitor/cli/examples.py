"""What to type, for every command: shown under its --help, and parsed by the tests."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "check": ("levmon check", "levmon check --market ethereum/aave-v3/core vitalik.eth --json"),
    "watch": ("levmon watch", "levmon watch --log-json --listen 127.0.0.1:9464"),
    "serve": ("levmon serve",),
    "tui": ("levmon tui",),
    "explain": ("levmon explain core/treasury",),
    "whatif": ("levmon whatif core/treasury --shock WETH=-20% --days 7",),
    "verify": ("levmon verify --market core", "levmon verify core/treasury --record seen.json"),
    "discover": ("levmon discover core --out owners.txt",),
    "scan": ("levmon scan core --owners owners.txt --below 1.05 --top 50", "levmon scan core --shock WETH=-30%"),
    "market": ("levmon market core",),
    "keep": ("levmon keep core --near 1.05 --json", "levmon keep core --liquidate"),
    "plan": ("levmon plan core/treasury", "levmon plan core/treasury --target 1.6"),
    "act": ("levmon act core/treasury", "levmon act core/treasury --broadcast"),
    "liquidate": ("levmon liquidate core/0x000000000000000000000000000000000000dEaD",),
    "protect": ("levmon protect", "levmon protect --broadcast --listen 127.0.0.1:9464"),
    "rehearse": ("levmon rehearse",),
    "approve": ("levmon approve core/treasury USDC", "levmon approve core/treasury USDC --broadcast"),
    "guard": ("levmon guard core/treasury",),
    "alerts": ("levmon alerts test --channel phone", "levmon alerts list"),
    "history": ("levmon history core/treasury", "levmon history core/treasury --plot --hours 48"),
    "export": ("levmon export history --out health.parquet", "levmon export actions --out actions.csv"),
    "keys": ("levmon keys", "levmon keys init --account keeper"),
    "signer": ("levmon signer",),
    "kill": ("levmon kill",),
    "resume": ("levmon resume",),
    "doctor": ("levmon doctor", "levmon doctor --json"),
    "protocols": ("levmon protocols aave-v3",),
    "config": ("levmon config init", "levmon config check"),
    "ops": ("levmon ops systemd", "levmon ops grafana"),
    "docs": ("levmon docs", "levmon docs settings"),
    "completion": (
        'eval "$(levmon completion bash)"',
        "levmon completion fish > ~/.config/fish/completions/levmon.fish",
    ),
}


def epilog(name: str) -> str | None:
    """For click, which keeps lines as they are after its mark; None where there are none."""
    lines = EXAMPLES.get(name)
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines) if lines else None
