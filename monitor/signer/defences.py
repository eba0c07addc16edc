"""What the signer does against bad planners, bad backends and bad luck, as switches that are all on.

A test runs its scenario twice: with everything on, and with one defence off, where the same assertions must fail. So a
test that would pass anyway is noticed. Nothing outside tests switches one off: no setting, flag or environment
variable leads here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, slots=True)
class Defences:
    """Each is named after what it does."""

    peer_uid: bool = True
    """only listed users are answered, whatever the file mode of the socket says"""
    socket_mode: bool = True
    """the socket is for its owner only"""
    size_cap: bool = True
    """a request is at most so many bytes, and is not read any further"""
    kill_switch: bool = True
    """no signature leaves while the kill file exists, or cannot be looked for"""
    kinds: bool = True
    """a contract may be called only by the kinds that are listed for it"""
    targets: bool = True
    """only listed contracts are called"""
    markets: bool = True
    """of a contract that holds many markets only the listed ones are used"""
    owners: bool = True
    """only positions of listed owners are acted on"""
    opt_in: bool = True
    """what acts on positions of strangers is signed only where the configuration says so by its name"""
    recipients: bool = True
    """what a template calls recipient is the owner"""
    assets: bool = True
    """only listed assets move"""
    spenders: bool = True
    """only listed contracts are approved"""
    routers: bool = True
    """only listed routers trade"""
    no_unlimited: bool = True
    """no allowance or amount that tokens take for infinite"""
    no_value: bool = True
    """no ether leaves with a call unless the contract's entry allows it"""
    limit_action: bool = True
    """one action moves at most so much of an asset"""
    limit_day: bool = True
    """one key moves at most so much of an asset in any 24 hours"""
    fee_cap: bool = True
    """gas, fee per gas and cost of one transaction have maxima of our own"""
    fee_day: bool = True
    """one key spends at most so much on fees in any 24 hours"""
    epoch: bool = True
    """whoever lost the lease cannot sign any more"""
    registered: bool = True
    """a key with history on the chain but none here signs nothing until someone says from where on"""
    watermark: bool = True
    """never below the highest nonce signed, except again, replaced or cancelled what is listed there"""
    nonce_gap: bool = True
    """never far above the highest nonce signed"""
    one_intent: bool = True
    """one nonce carries one intent"""
    one_nonce: bool = True
    """one action has one nonce"""
    record_first: bool = True
    """what will be signed is on disk before it is signed"""
    same_bytes: bool = True
    """the same request gets the bytes that it got before, also from a backend that never signs alike twice"""
    one_at_a_time: bool = True
    """requests for one key follow one another"""
    check_backend: bool = True
    """what a backend signed is decoded and its sender recovered before it leaves"""
    check_answer: bool = True
    """what a signer answers is decoded and its sender recovered before it is believed"""
    template_hash: bool = True
    """a template from elsewhere is used only if its file has the listed hash"""
    exclusive: bool = True
    """one process has the database"""

    def without(self, name: str) -> Defences:
        """All of these but one. May raise: ValueError when there is no such defence."""
        if name not in {field.name for field in fields(self)}:
            raise ValueError(f"no defence is called {name!r}")
        return replace(self, **{name: False})


ALL = Defences()
