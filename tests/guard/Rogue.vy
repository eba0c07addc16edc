# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title Everything hostile that the guard may meet: a router, a token's hook, an oracle, all at the test's command
@notice A planned call is made once, at a swap or poke, and what came of it is kept.
"""

from ethereum.ercs import IERC20

struct Swap:
    tokenIn: address
    tokenOut: address
    fee: uint24
    recipient: address
    amountOut: uint256
    amountInMaximum: uint256
    sqrtPriceLimitX96: uint160

struct Sale:
    tokenIn: address
    tokenOut: address
    fee: uint24
    recipient: address
    amountIn: uint256
    amountOutMinimum: uint256
    sqrtPriceLimitX96: uint160

interface Oracle:
    def getAssetPrice(asset: address) -> uint256: view

MAX_DATA: constant(uint256) = 1024

take_bps: public(uint256)   # of what is offered
give_more: public(int256)   # beyond what is asked
target: public(address)
data: Bytes[MAX_DATA]
skip: uint256               # pokes to let pass before the planned call
made: public(bool)
worked: public(bool)
answer: public(Bytes[MAX_DATA])
oracle: public(address)
is_free: public(HashMap[address, bool])  # assets that cost nothing here


@external
def set_terms(take_bps: uint256, give_more: int256):
    self.take_bps = take_bps
    self.give_more = give_more


@external
def plan(target: address, data: Bytes[MAX_DATA], skip: uint256):
    self.target = target
    self.data = data
    self.skip = skip
    self.made = False


@external
def poke():
    self._poke()


@internal
def _poke():
    if self.skip > 0:
        self.skip -= 1
    elif self.target != empty(address) and not self.made:
        self.made = True
        self.worked, self.answer = raw_call(
            self.target, self.data, max_outsize=MAX_DATA, revert_on_failure=False
        )


@internal
def _trade(sold: address, most: uint256, bought: address, to: address, asked: uint256) -> uint256:
    self._poke()
    taken: uint256 = most * self.take_bps // 10_000
    given: int256 = convert(asked, int256) + self.give_more
    if taken > 0:
        extcall IERC20(sold).transferFrom(msg.sender, self, taken, default_return_value=True)
    if given > 0:
        extcall IERC20(bought).transfer(to, convert(given, uint256), default_return_value=True)
    return taken


@external
def exactOutputSingle(params: Swap) -> uint256:
    return self._trade(params.tokenIn, params.amountInMaximum, params.tokenOut, params.recipient, params.amountOut)


@external
def exactInputSingle(params: Sale) -> uint256:
    return self._trade(params.tokenIn, params.amountIn, params.tokenOut, params.recipient, params.amountOutMinimum)


@external
def be_oracle(oracle: address, free: address):
    self.oracle = oracle
    self.is_free[free] = True


@view
@external
def getAssetPrice(asset: address) -> uint256:
    return 0 if self.is_free[asset] else staticcall Oracle(self.oracle).getAssetPrice(asset)
