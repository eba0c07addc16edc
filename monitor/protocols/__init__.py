"""One file (or small package) per protocol: its reads, its exact integer rule, its oddities. Pure: no I/O, no clock.

Every module here that does not start with an underscore, `base` aside, must export exactly one `PROTOCOL`.
"""
