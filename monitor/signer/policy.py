"""What a request may be, judged from the signer's configuration alone: no clock, no database, no request before it.

The answer is the transaction to sign and what it takes from the limits; what depends on earlier requests (nonces, days,
epochs) is judged where those are written, in signdb. A compromised planner chooses the intent freely: whatever it
chooses, what comes out here is one of the templates, for a listed contract, with the listed owner as recipient, within
the limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.core.actions import Intent, SignRequest
from monitor.core.types import Address
from monitor.signer.config import AssetConfig, ChainConfig, ContractConfig, SignerConfig
from monitor.signer.defences import ALL, Defences
from monitor.signer.errors import Denied, Refusal
from monitor.signer.templates import Bound, Templates
from monitor.signer.transaction import Transaction

CANCEL = "cancel"
"""Stands for the intent's hash where nothing is intended: a transfer of nothing to oneself."""
LIQUIDATE = "liquidate"
"""The one opt-in that there is."""
_INFINITE = frozenset({2**96 - 1})
_NEARLY_INFINITE = 2**128 - 1


@dataclass(frozen=True, slots=True)
class Draft:
    """A request that the configuration allows: what to sign, and what it takes from the day's limits.

    `amount` of `asset` (0 of none for an approval or a cancel); `cost_wei` is the most that the transaction can cost.
    """

    transaction: Transaction
    sender: Address
    intent_hash: str
    kind: str
    asset: Address
    amount: int
    amount_per_day: int
    cost_per_day_wei: int

    @property
    def cost_wei(self) -> int:
        """The most that the transaction can cost its sender in ether."""
        return self.transaction.cost_wei


def infinite(amount: int) -> bool:
    """Whether some token takes it for "without limit": 2**256-1, Permit2's 2**160-1, UNI's and COMP's 2**96-1."""
    return amount in _INFINITE or amount >= _NEARLY_INFINITE


def judge(request: SignRequest, config: SignerConfig, templates: Templates, defences: Defences = ALL) -> Draft:
    """The transaction of a request. May raise: Denied, which says which rule it breaks."""
    chain = config.chain(request.chain_id)
    if chain is None:
        raise Denied(Refusal.UNKNOWN_CHAIN, f"chain {request.chain_id} is not listed")
    intent = request.intent
    if intent is None:
        draft = _draft(request, chain, request.sender, 0, b"", intent_hash=CANCEL, kind=CANCEL)
    else:
        draft = _intended(request, intent, chain, templates, defences)
    if defences.fee_cap:
        _check_fees(draft, chain)
    return draft


def _draft(
    request: SignRequest,
    chain: ChainConfig,
    to: Address,
    value_wei: int,
    data: bytes,
    *,
    intent_hash: str,
    kind: str,
    spent: tuple[Address, int, int] = ("", 0, 0),
) -> Draft:
    transaction = Transaction(
        chain_id=request.chain_id,
        nonce=request.nonce,
        max_priority_fee_per_gas_wei=request.max_priority_fee_per_gas_wei,
        max_fee_per_gas_wei=request.max_fee_per_gas_wei,
        gas=request.gas,
        to=to,
        value_wei=value_wei,
        data=data,
    )
    return Draft(transaction, request.sender, intent_hash, kind, *spent, chain.max_cost_per_day_wei)


def _intended(
    request: SignRequest, intent: Intent, chain: ChainConfig, templates: Templates, defences: Defences
) -> Draft:
    if intent.chain_id != request.chain_id:
        raise Denied(Refusal.UNKNOWN_CHAIN, "the intent is for another chain")
    bound = templates.get(intent.kind)
    if bound is None:
        raise Denied(Refusal.KIND, "no template of that kind", hint="list third-party templates with their hash")
    data = bound.calldata(intent)
    _check_owner(intent, chain, bound, defences)
    asset = _check_target(intent, chain, bound, defences)
    amount = _check_amount(intent, bound, asset, defences)
    per_day, counted = (asset.per_day, asset.address) if asset else (0, "")
    if asset and bound.template.opt_in:
        # on a line of its own, so that what a keeper spends is never missing for a rescue
        per_day, counted = asset.liquidate_per_day, f"{bound.template.opt_in}:{asset.address}"
    return _draft(
        request,
        chain,
        intent.to,
        intent.value_wei,
        data,
        intent_hash=intent.hash,
        kind=intent.kind,
        spent=(counted if amount else "", amount, per_day),
    )


def _check_owner(intent: Intent, chain: ChainConfig, bound: Bound, defences: Defences) -> None:
    opt_in = bound.template.opt_in
    if defences.opt_in and opt_in and not (opt_in == LIQUIDATE and chain.liquidate):
        raise Denied(Refusal.KIND, f"{intent.kind} needs {opt_in} = true on this chain, which is not there")
    if defences.owners:
        if intent.owner not in chain.owners and not opt_in:
            raise Denied(Refusal.OWNER, f"{intent.owner} is not a listed owner")
        if not intent.position_id.startswith(f"eip155:{chain.chain_id}/") or not intent.position_id.endswith(
            f"/{intent.owner}"
        ):
            raise Denied(Refusal.OWNER, "the position is not one of this owner on this chain")
    recipient = bound.by_role("recipient")
    if defences.recipients and recipient and bound.value(recipient, intent) != intent.owner:
        raise Denied(Refusal.RECIPIENT, "the recipient is not the owner")


def _check_target(intent: Intent, chain: ChainConfig, bound: Bound, defences: Defences) -> AssetConfig | None:
    """The asset that the intent is about, if it is about one."""
    names_asset, spender = bound.by_role("asset"), bound.by_role("spender")
    about_amount = bound.by_role("amount") or bound.by_role("spent") or bound.by_role("allowance")
    contract = chain.contract(intent.to)
    asset_address = str(bound.value(names_asset, intent)) if names_asset else intent.to
    if bound.by_role("spent"):
        asset_address = _spent_by(intent, contract)
    asset = chain.asset(asset_address) if names_asset or about_amount else None
    if defences.assets and asset is None and (names_asset or about_amount):
        raise Denied(Refusal.ASSET, f"{asset_address} is not a listed asset")
    received = bound.by_role("received")
    if defences.assets and received and chain.asset(str(bound.value(received, intent))) is None:
        raise Denied(Refusal.ASSET, f"{bound.value(received, intent)} is not a listed asset to receive")
    grants = bound.by_role("allowance") is not None and not names_asset and asset is not None
    if defences.targets and contract is None and not grants:
        raise Denied(Refusal.TARGET, f"{intent.to} is not a listed contract")
    if defences.kinds and contract and intent.kind not in contract.kinds and not grants:
        raise Denied(Refusal.KIND, f"{intent.kind} is not listed for {intent.to}")
    if defences.spenders and spender:
        _check_spender(chain.contract(str(bound.value(spender, intent))), asset_address)
    _check_trade(intent, chain, bound, defences)
    market = bound.market_id(intent)
    if defences.markets and market and (contract is None or market not in contract.markets):
        raise Denied(Refusal.MARKET, f"{market} is not a listed market of {intent.to}")
    most = contract.max_value_wei if contract else 0
    if defences.no_value and intent.value_wei > most:
        raise Denied(Refusal.VALUE, f"{intent.value_wei} wei are more than the {most} that may go along")
    return asset


def _spent_by(intent: Intent, contract: ContractConfig | None) -> Address:
    """The asset that the contract takes, which only the signer's own file says. May raise: Denied."""
    if contract is None:
        raise Denied(Refusal.TARGET, f"{intent.to} is not a listed contract")
    if contract.asset is None:
        hint = "give its entry asset = the token that the contract takes; the chain's own coin cannot be spent so"
        raise Denied(Refusal.ASSET, f"{intent.kind}: the signer's file names no asset for {intent.to}", hint=hint)
    return contract.asset


def _check_spender(contract: ContractConfig | None, asset: Address) -> None:
    """May raise: Denied. A contract that takes one asset is not approved for another."""
    if contract is None:
        raise Denied(Refusal.SPENDER, "the spender is not a listed contract")
    if contract.asset not in (None, asset):
        raise Denied(Refusal.SPENDER, f"the spender takes {contract.asset}, not {asset}")


def _check_trade(intent: Intent, chain: ChainConfig, bound: Bound, defences: Defences) -> None:
    """What is sold for the asset, where, and for at most how much."""
    sold, router, most = (bound.by_role(role) for role in ("collateral", "router", "bound"))
    if defences.assets and sold and chain.asset(str(bound.value(sold, intent))) is None:
        raise Denied(Refusal.ASSET, f"{bound.value(sold, intent)} is not a listed asset")
    if defences.routers and router and bound.value(router, intent) not in chain.routers:
        raise Denied(Refusal.ROUTER, "the router is not a listed one")
    if defences.no_unlimited and most and infinite(int(bound.value(most, intent))):
        raise Denied(Refusal.UNLIMITED, f"{most.name} has no limit")


def _check_amount(intent: Intent, bound: Bound, asset: AssetConfig | None, defences: Defences) -> int:
    """The amount that counts against the day; an allowance moves nothing yet."""
    moved, granted = bound.by_role("amount") or bound.by_role("spent"), bound.by_role("allowance")
    rule = moved or granted
    if rule is None:
        return 0
    amount = bound.value(rule, intent)
    if not isinstance(amount, int):
        raise Denied(Refusal.ARGUMENTS, f"{rule.name} is not an amount")
    if defences.no_unlimited and infinite(amount):
        raise Denied(Refusal.UNLIMITED, "the amount has no limit")
    amount = -(-amount // rule.per)
    if defences.limit_action and asset is not None:
        most = asset.per_action if moved else asset.max_allowance
        if bound.template.opt_in:
            most = asset.liquidate_per_action
        if amount > most:
            raise Denied(Refusal.LIMIT_ACTION, f"{amount} of {asset.address} are more than {most} for one action")
    return amount if moved else 0


def _check_fees(draft: Draft, chain: ChainConfig) -> None:
    transaction = draft.transaction
    for what, asked, most in (
        ("gas", transaction.gas, chain.max_gas),
        ("max fee per gas", transaction.max_fee_per_gas_wei, chain.max_fee_per_gas_wei),
        ("priority fee per gas", transaction.max_priority_fee_per_gas_wei, chain.max_priority_fee_per_gas_wei),
        ("priority fee over max fee", transaction.max_priority_fee_per_gas_wei, transaction.max_fee_per_gas_wei),
        ("cost", transaction.cost_wei, chain.max_cost_wei),
    ):
        if asked > most:
            raise Denied(Refusal.FEE_CAP, f"{what}: {asked} is more than {most}")
