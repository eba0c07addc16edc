# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title Liquidator: repays somebody's debt on Aave V3 with a flash loan, for a profit that its owner names beforehand
@notice One instance serves one pool and one owner. It holds nothing between transactions and nobody lends it tokens, so
        that a stolen key finds nothing in it. A liquidation that would bring less than `min_profit` reverts as a whole.
@dev    Why that holds. Only OWNER may begin, so that there is no need of a lock. The callback is accepted only from POOL,
        only with this contract as initiator, only once, and only with the arguments that `liquidate` hashed just
        before. The router gets an allowance for what was seized and nothing else. The profit is what this contract has
        more of the debt asset when the loan is paid back, whatever pool and router say; it goes to OWNER, and nothing
        else stays.
"""

from ethereum.ercs import IERC20

struct Sale:
    tokenIn: address
    tokenOut: address
    fee: uint24
    recipient: address
    amountIn: uint256
    amountOutMinimum: uint256
    sqrtPriceLimitX96: uint160

interface Pool:
    def flashLoanSimple(receiver: address, asset: address, amount: uint256, params: Bytes[128], referral: uint16): nonpayable
    def liquidationCall(collateral: address, debt: address, user: address, cover: uint256, receive_a_token: bool): nonpayable

interface Router:
    def exactInputSingle(params: Sale) -> uint256: payable

event Liquidated:
    user: indexed(address)
    collateral: address
    debt: address
    profit: uint256  # in the debt asset

struct Job:
    user: address
    collateral: address
    router: address
    fee: uint24

OWNER: public(immutable(address))
POOL: public(immutable(address))
_flight: bytes32  # hash of the Job whose flash loan is under way


@deploy
def __init__(pool: address, owner: address):
    POOL = pool
    OWNER = owner


@external
def liquidate(
    user: address,
    collateral: address,
    debt: address,
    cover: uint256,
    min_profit: uint256,
    deadline: uint256,
    router: address,
    fee: uint24,
):
    """@notice Covers up to `cover` of the user's debt; the pool's close factor may make it less, and that is fine."""
    assert msg.sender == OWNER, "OWNER"
    assert block.timestamp <= deadline, "DEADLINE"
    debt_held: uint256 = self._balance(debt)
    collateral_held: uint256 = self._balance(collateral)
    params: Bytes[128] = abi_encode(Job(user=user, collateral=collateral, router=router, fee=fee))
    self._flight = keccak256(params)
    extcall Pool(POOL).flashLoanSimple(self, debt, cover, params, 0)
    after: uint256 = self._balance(debt)
    assert after >= debt_held + min_profit, "PROFIT"
    profit: uint256 = after - debt_held
    assert extcall IERC20(debt).transfer(OWNER, profit, default_return_value=True), "TOKEN"
    assert self._balance(debt) == debt_held, "DEBT_BALANCE"
    assert self._balance(collateral) == collateral_held or collateral == debt, "COLLATERAL_BALANCE"
    log Liquidated(user=user, collateral=collateral, debt=debt, profit=profit)


@external
def executeOperation(asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[128]) -> bool:
    """@notice The pool's flash loan has arrived."""
    assert msg.sender == POOL, "POOL"
    assert initiator == self, "INITIATOR"
    assert self._flight == keccak256(params), "FLIGHT"
    self._flight = empty(bytes32)
    job: Job = abi_decode(params, Job)

    held: uint256 = self._balance(job.collateral)
    self._allow(asset, POOL, amount)
    extcall Pool(POOL).liquidationCall(job.collateral, asset, job.user, amount, False)
    self._disallow(asset, POOL)
    if job.collateral != asset:
        seized: uint256 = self._balance(job.collateral) - held
        self._allow(job.collateral, job.router, seized)
        extcall Router(job.router).exactInputSingle(
            Sale(
                tokenIn=job.collateral,
                tokenOut=asset,
                fee=job.fee,
                recipient=self,
                amountIn=seized,
                amountOutMinimum=0,  # the profit is the judge of the price
                sqrtPriceLimitX96=0,
            )
        )
        self._disallow(job.collateral, job.router)
    self._allow(asset, POOL, amount + premium)
    return True


@view
@internal
def _balance(token: address) -> uint256:
    return staticcall IERC20(token).balanceOf(self)


# Tokens that answer nothing are taken at their word; those that answer false are not.


@internal
def _allow(token: address, spender: address, amount: uint256):
    assert extcall IERC20(token).approve(spender, amount, default_return_value=True), "TOKEN"


@internal
def _disallow(token: address, spender: address):
    """Only where something is left: some tokens refuse an approval of zero."""
    if staticcall IERC20(token).allowance(self, spender) > 0:
        self._allow(token, spender, 0)
