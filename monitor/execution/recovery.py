"""Start-up is recovery: before anything is signed, what the journal knows is laid beside what the chain knows.

Actions simply go on from their states, since every state can be resumed. What cannot be resumed is a history that the
journal does not have: a nonce used by nobody here (a copied key, a restored backup, a lost database), or a settled
block that is no longer on the chain. Both put a hold on signing, which only a person lifts.
"""

from __future__ import annotations

from monitor.core.types import Address, BlockRef
from monitor.execution.nonce import NonceState, NonceView
from monitor.execution.port import Account, ExecutionChain
from monitor.journal.rows import Hold
from monitor.journal.store import Journal


def judge_nonce(view: NonceView, chain_id: int, address: Address) -> Hold | None:
    """A hold where somebody else used this key."""
    if view.state is NonceState.FOREIGN:
        return Hold(
            f"signer:{chain_id}:{address}",
            f"the chain is at nonce {view.chain}, this journal at {view.journal}: somebody else signs with this key, "
            "or this journal is an old copy",
        )
    return None


def adopt_fresh(journal: Journal, chain_id: int, address: Address, account: Account, at_s: int) -> Hold | None:
    """Take a new key without any history; one with a history needs a person to say that it is accounted for."""
    if account.nonce == 0:
        journal.adopt_signer(chain_id, address, 0, at_s)
        return None
    return Hold(
        f"signer:{chain_id}:{address}",
        f"the key has {account.nonce} transactions on chain and none in this journal: reconcile it first",
    )


async def judge_finality(journal: Journal, chain: ExecutionChain, finalized: BlockRef) -> Hold | None:
    """A hold where a block on which something was settled is not on the chain any more. May raise: ChainError."""
    known = journal.finality(finalized.chain_id)
    if known is None or known[0] > finalized.number:
        return None  # an endpoint whose finality lags; local finality is never lowered
    found = await chain.block_hash(known[0])
    if found is None or found == known[1]:
        return None
    return Hold(f"chain:{finalized.chain_id}", f"block {known[0]} was final and has changed: resynchronise")
