"""What a running daemon answers to whoever looks after it: alive, ready and why not, and numbers for Prometheus.

Knows what was seen last and how old that is; must not decide, read a chain or change anything but the row by which a
journal proves that it commits. `routes.routes` are plain aiohttp routes, so that `serve` can mount them beside its own;
`server.listening` serves them alone, on loopback unless told plainly otherwise.
"""
