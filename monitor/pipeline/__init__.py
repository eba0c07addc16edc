"""Wiring: from a chain and a list of positions to reports, one block hash per snapshot.

    market.py     one market at one block, as a read plan: cached facts re-checked, cold facts read, state, context
    confirm.py    which rule version a market follows, shown on its own borrowers
    memory.py     what is remembered of markets, in the process and on disk
    snapshot.py   many markets and owners of a chain at one block; a failing chain means unknown, never absence
    names.py      owners by ENS name
    watch.py      a snapshot per head
    verify.py     recomputed numbers beside the contract's own
    guardians.py  the guardian and its rules as the file says them, in integers
    plans.py      positions and the guardian's purse at one block, and what could be done
    acting.py     journal, signer, kill switch and executor tied together
    carry.py      one action followed to where it comes to rest
    protect.py    the loop: rules, decisions, plans, one step of the executor a head
    signer_setup.py  a signer.toml that allows what levmon.toml protects

Nothing here decides: health comes from protocols, levels from policy.
"""
