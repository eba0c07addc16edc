"""Price sources: what to ask of one, and how far its answer may be trusted. Pure: no I/O, no clock.

The price that decides health is always the protocol's own; what is read here says how old it is and where it bends.
"""
