"""What people are told: alerts from the journal's outbox as text, and the channels that carry them off the machine.

Knows the journal and the channels; must not know chains' state, rules or keys. Only sends: nothing here listens, and no
answer of a channel is ever read as a command.
"""
