"""From a decision to a final transaction: limits, simulation, signing, sending, replacing, settling, recovering.

The machine (machine, fees, limits, nonce, classify) is pure: journal row and observation in, transition out, the clock
handed in. The executor does what it says, in the order in which a kill at any moment does no harm. Talks to a chain and
to a signer only through the ports in `port`.
"""
