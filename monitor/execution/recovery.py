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


async def judge_finality(journal: Journal, chain: ExecutionChain, seen: BlockRef | None, chain_id: int) -> Hold | None:
    """A hold where a block that was final is not on the chain any more. May raise: ChainError.

    Final is what something was settled on, in any life, and what this process saw to be final (`seen`). The higher one
    stands for the other. An endpoint that does not have the block lags, which proves nothing.
    """
    settled = journal.finality(chain_id)
    known = [one for one in (settled, (seen.number, seen.hash) if seen else None) if one is not None]
    if not known:
        return None
    number, wanted = max(known)
    found = await chain.block_hash(number)
    if found is None or found == wanted:
        return None
    return Hold(f"chain:{chain_id}", f"block {number} was final and has changed: resynchronise")
