"""The journal: what was decided, signed, sent and seen, durable before anything leaves the machine.

Knows SQL and nothing of chains, signers or protocols. The signed bytes of an attempt are here before their first send,
a state change and its alert are one commit, and records are chained by hash, so that a kill at any moment leaves a
history from which every action goes on. Reading it needs no lock; writing it needs the lease.
"""
