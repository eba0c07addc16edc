"""Whole markets at one block: the ladder of ways to read the raw state of many accounts, best first.

`reader.py` climbs down the ladder, `chunks.py` cuts the work, `lens.py`, `storage.py` and `words.py` are the rungs,
`places.py` proves where contracts keep what the best rung takes from storage. All rungs give the same numbers; they
differ in what they cost and in what they need of an endpoint.
"""
