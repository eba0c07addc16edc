"""What the acting room does against loss, as switches that are all on.

As in monitor.chain.defences: a fault test runs its scenario with everything on, where levmon must behave, and with one
defence off, where the same assertions must fail. Nothing outside tests switches one off.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does."""

    save_before_send: bool = True
    """signed bytes are durable before their first send"""
    already_known: bool = True
    """`already known` says that these very bytes arrived"""
    all_receipts: bool = True
    """receipts of every attempt are looked for, not only of the newest"""
    occupant: bool = True
    """a used nonce is foreign only when the transaction that used it was found and is not ours"""
    nonce_check: bool = True
    """a nonce is given out only where chain and journal agree on it"""
    full_bump: bool = True
    """a replacement offers at least 12.5 % more than any attempt and than the pool's occupant"""
    reserve_first: bool = True
    """the signer is asked only for what the journal has reserved"""
    resume: bool = True
    """what an earlier life of the process left open is carried on"""
    drain: bool = True
    """on shutdown nothing new is armed"""
    no_storm: bool = True
    """a send that was refused for lack of funds is tried once a block and told once"""
    fee_cap: bool = True
    """fees stop at the absolute cap and at the share of the avoided loss"""
    maybe_sent: bool = True
    """a refusal by one endpoint proves nothing about the others"""
    resend: bool = True
    """what no endpoint knows any more is sent again, every block"""
    cancel: bool = True
    """after its deadline a nonce is freed by a transfer of nothing to oneself"""
    rollback: bool = True
    """what left the chain is on its way again"""
    wait_final: bool = True
    """only a finalized block decides the outcome"""
    revert_hold: bool = True
    """three reverts put the position on hold"""
    witnesses: bool = True
    """two endpoints must tell the same of a receipt before it settles anything"""
    canonical: bool = True
    """a receipt counts only while its block is on the chain"""
    check_hash: bool = True
    """an endpoint that answers another hash than that of the bytes is not believed"""
    verify_signature: bool = True
    """sender and every field of signed bytes are decoded and compared before they are saved"""
    one_in_flight: bool = True
    """one nonce in flight per key"""
    gas_margin: bool = True
    """the simulated gas with its margin must fit the gas limit"""
    simulate: bool = True
    """without a passed simulation at the newest block nothing is signed"""
    private_fallback: bool = True
    """what a private relay does not include goes public after its time, where policy allows"""
    private_only: bool = True
    """what may not go public never does"""
    concerns: bool = True
    """what will stand in the way is told before it does"""
    more_gas: bool = True
    """what ran out of gas is tried once more with more of it"""
    recheck: bool = True
    """right before a signature the position is looked at once more"""
    kill_switch: bool = True
    """the kill switch is looked at before each signature and each send"""
    lease: bool = True
    """the lease epoch is looked at before each signature and each send"""
    recovery: bool = True
    """nothing is signed before the journal was reconciled with the chain"""
    limits: bool = True
    """limits are judged in the transaction that reserves"""
    chain_time: bool = True
    """deadlines and windows follow the chain's clock"""
    skew: bool = True
    """a head that is far from the machine's clock is no basis for a signature"""
    finality_memory: bool = True
    """a block on which something was settled may never change"""
    chain_id: bool = True
    """the chain id is asked before each signature"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
