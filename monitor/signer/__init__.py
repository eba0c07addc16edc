"""The only process that holds a key: typed intents in over a Unix socket, signed bytes out, or a refusal with a reason.

Knows its own configuration and its own record of what it signed. Believes nothing that it is told: it builds the
calldata itself from templates, and checks targets, recipients, limits, nonces, lease epoch and kill switch at every
request, so that a compromised planner can at most spend the limits on the positions that the limits are for.
"""
