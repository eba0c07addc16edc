# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title Guard: sells collateral to repay debt on Aave V3, only within what each position's owner wrote here
@notice One instance serves one pool. It has no administrator, cannot be upgraded and holds nothing between transactions.
        An owner allows it to move aTokens (Aave's own approval), writes settings, and names callers and routers.
        Whoever calls, also with a stolen key, can only: act while health is under the owner's trigger; leave health
        inside the owner's band, or one debt at zero; sell collateral for at most the oracle's value of the debt repaid
        plus the owner's slippage; repay no more in a day than the owner's cap. What is left over goes to the owner.
@dev    Why that holds.
        Entry: every setting is keyed by msg.sender, so nobody writes another's. No setting means no: trigger, cap and
        routers begin at zero. An action id is spent before anything but reads.
        Callback: accepted only from POOL, only with this contract as initiator, only once, and only with the arguments
        that `_act` hashed just before. All other writing functions share one lock.
        Money: the owner's aTokens are the only source, and at most `most` of them, which the oracle's prices bound. The
        premium and the trade must fit into that. A router gets an allowance for what was pulled and nothing else, and
        must be a contract of the very code that the owner named. A proxy's code says nothing about what it does: name
        none.
        After: balances of this contract are what they were, no allowance is left, and health is asked of the pool.
        The oracle is the pool's own and is looked up at each call. Who can move it can liquidate the owner anyway.
"""

from ethereum.ercs import IERC20

struct ReserveData:
    configuration: uint256
    liquidityIndex: uint128
    currentLiquidityRate: uint128
    variableBorrowIndex: uint128
    currentVariableBorrowRate: uint128
    currentStableBorrowRate: uint128
    lastUpdateTimestamp: uint40
    id: uint16
    aTokenAddress: address
    stableDebtTokenAddress: address
    variableDebtTokenAddress: address
    interestRateStrategyAddress: address
    accruedToTreasury: uint128
    unbacked: uint128
    isolationModeTotalDebt: uint128

struct AccountData:
    totalCollateralBase: uint256
    totalDebtBase: uint256
    availableBorrowsBase: uint256
    currentLiquidationThreshold: uint256
    ltv: uint256
    healthFactor: uint256

struct Swap:
    tokenIn: address
    tokenOut: address
    fee: uint24
    recipient: address
    amountOut: uint256
    amountInMaximum: uint256
    sqrtPriceLimitX96: uint160

interface Pool:
    def ADDRESSES_PROVIDER() -> address: view
    def getReserveData(asset: address) -> ReserveData: view
    def getUserAccountData(user: address) -> AccountData: view
    def flashLoanSimple(receiver: address, asset: address, amount: uint256, params: Bytes[224], referral: uint16): nonpayable
    def repay(asset: address, amount: uint256, mode: uint256, owner: address) -> uint256: nonpayable
    def withdraw(asset: address, amount: uint256, to: address) -> uint256: nonpayable
    def supply(asset: address, amount: uint256, owner: address, referral: uint16): nonpayable

interface Provider:
    def getPriceOracle() -> address: view

interface Oracle:
    def getAssetPrice(asset: address) -> uint256: view

interface Router:
    def exactOutputSingle(params: Swap) -> uint256: payable

event Configured:
    owner: indexed(address)
    settings: Settings

event CallerSet:
    owner: indexed(address)
    caller: indexed(address)
    allowed: bool

event RouterSet:
    owner: indexed(address)
    router: indexed(address)
    code_hash: bytes32

event Acted:
    owner: indexed(address)
    action_id: indexed(bytes32)
    kind: uint8
    debt: address
    repaid: uint256
    collateral: address
    sold: uint256
    health_before: uint256
    health_after: uint256

struct Settings:
    trigger: uint256           # deleverage only while health (wad) is under it
    close_below: uint256       # close only while health (wad) is under it: 0 never, the highest number always
    low: uint256               # after a deleverage: low <= health <= high
    high: uint256
    max_slippage_bps: uint256  # of the repaid debt's value, the flash loan's premium included
    daily_cap: uint256         # debt repaid today and yesterday (UTC days), in the oracle's base unit
    paused: bool

struct Job:
    owner: address
    collateral: address
    a_token: address
    most: uint256              # collateral that may be pulled
    router: address
    fee: uint24
    mode: uint256              # of the debt's interest, as the pool numbers them

DELEVERAGE: public(constant(uint8)) = 1
CLOSE: public(constant(uint8)) = 2
WHOLE_BPS: constant(uint256) = 10_000
SLIPPAGE_LIMIT_BPS: constant(uint256) = 1_000
DAY_S: constant(uint256) = 86_400
STABLE_RATE: constant(uint256) = 1  # up to 3.1
VARIABLE_RATE: constant(uint256) = 2

POOL: public(immutable(address))
settings: public(HashMap[address, Settings])
is_caller: public(HashMap[address, HashMap[address, bool]])
router_code_hash: public(HashMap[address, HashMap[address, bytes32]])
spent: public(HashMap[address, HashMap[uint256, uint256]])
used: public(HashMap[address, HashMap[bytes32, bool]])
_flight: bytes32  # hash of the Job whose flash loan is under way
_sold: uint256    # collateral that the last flash loan cost


@deploy
def __init__(pool: address):
    POOL = pool


@nonreentrant
@external
def configure(
    trigger: uint256, close_below: uint256, low: uint256, high: uint256, max_slippage_bps: uint256, daily_cap: uint256
):
    """@notice The caller's own settings; see Settings for units. A pause stays as it is."""
    assert trigger <= low and low <= high, "ORDER"
    assert max_slippage_bps <= SLIPPAGE_LIMIT_BPS, "SLIPPAGE_LIMIT"
    self.settings[msg.sender] = Settings(
        trigger=trigger,
        close_below=close_below,
        low=low,
        high=high,
        max_slippage_bps=max_slippage_bps,
        daily_cap=daily_cap,
        paused=self.settings[msg.sender].paused,
    )
    log Configured(owner=msg.sender, settings=self.settings[msg.sender])


@nonreentrant
@external
def set_paused(paused: bool):
    """@notice While paused nobody acts for the caller's positions, nor does the caller."""
    self.settings[msg.sender].paused = paused
    log Configured(owner=msg.sender, settings=self.settings[msg.sender])


@nonreentrant
@external
def set_caller(caller: address, allowed: bool):
    """@notice Whether `caller` may act for the caller's positions, within the settings."""
    self.is_caller[msg.sender][caller] = allowed
    log CallerSet(owner=msg.sender, caller=caller, allowed=allowed)


@nonreentrant
@external
def set_router(router: address, code_hash: bytes32):
    """@notice A router (Uniswap SwapRouter02) to trade through while its code has this hash; zero: never."""
    self.router_code_hash[msg.sender][router] = code_hash
    log RouterSet(owner=msg.sender, router=router, code_hash=code_hash)


@nonreentrant
@external
def deleverage(
    owner: address,
    action_id: bytes32,
    deadline: uint256,
    collateral: address,
    debt: address,
    repay: uint256,
    max_collateral: uint256,
    router: address,
    fee: uint24,
):
    """@notice Repays exactly `repay` of a debt (see _debt_of) with collateral, and leaves health inside the owner's band."""
    before: uint256 = self._health(owner)
    assert before < self.settings[owner].trigger, "TRIGGER"
    token: address = empty(address)
    mode: uint256 = 0
    token, mode = self._debt_of(owner, debt)
    sold: uint256 = self._act(owner, action_id, deadline, collateral, debt, mode, repay, max_collateral, router, fee)
    after: uint256 = self._health(owner)
    assert after >= self.settings[owner].low, "BAND_LOW"
    assert after <= self.settings[owner].high, "BAND_HIGH"
    log Acted(
        owner=owner,
        action_id=action_id,
        kind=DELEVERAGE,
        debt=debt,
        repaid=repay,
        collateral=collateral,
        sold=sold,
        health_before=before,
        health_after=after,
    )


@nonreentrant
@external
def close(
    owner: address,
    action_id: bytes32,
    deadline: uint256,
    collateral: address,
    debt: address,
    max_repay: uint256,
    max_collateral: uint256,
    router: address,
    fee: uint24,
):
    """
    @notice Repays all of a debt (see _debt_of) with collateral, or `max_repay` of it where that is less, and leaves
            health no lower than it was.
    @dev    `max_repay` bounds what one signature can move: who signs cannot know what the debt will be. In parts, since
            one deposit may not cover a debt that several do.
    """
    before: uint256 = self._health(owner)
    assert before < self.settings[owner].close_below, "CLOSE_BELOW"
    token: address = empty(address)
    mode: uint256 = 0
    token, mode = self._debt_of(owner, debt)
    owed: uint256 = self._balance(token, owner)
    repay: uint256 = owed
    repay = min(repay, max_repay)
    sold: uint256 = self._act(owner, action_id, deadline, collateral, debt, mode, repay, max_collateral, router, fee)
    assert repay < owed or self._balance(token, owner) == 0, "DEBT_LEFT"
    after: uint256 = self._health(owner)
    assert after >= before, "WORSE"
    log Acted(
        owner=owner,
        action_id=action_id,
        kind=CLOSE,
        debt=debt,
        repaid=repay,
        collateral=collateral,
        sold=sold,
        health_before=before,
        health_after=after,
    )


@internal
def _act(
    owner: address,
    action_id: bytes32,
    deadline: uint256,
    collateral: address,
    debt: address,
    mode: uint256,
    repay: uint256,
    max_collateral: uint256,
    router: address,
    fee: uint24,
) -> uint256:
    """The checks that every action shares, the flash loan, and what must be so after it. Answers what was sold."""
    assert msg.sender == owner or self.is_caller[owner][msg.sender], "CALLER"
    assert not self.settings[owner].paused, "PAUSED"
    assert block.timestamp <= deadline, "DEADLINE"
    assert not self.used[owner][action_id], "USED"
    self.used[owner][action_id] = True
    if collateral != debt:
        code_hash: bytes32 = self.router_code_hash[owner][router]
        assert code_hash != empty(bytes32), "ROUTER"
        assert router.codehash == code_hash, "ROUTER_CODE"
    assert repay > 0, "NOTHING"
    sold_from: ReserveData = staticcall Pool(POOL).getReserveData(collateral)
    owed: ReserveData = staticcall Pool(POOL).getReserveData(debt)
    oracle: Oracle = Oracle(staticcall Provider(staticcall Pool(POOL).ADDRESSES_PROVIDER()).getPriceOracle())
    debt_price: uint256 = staticcall oracle.getAssetPrice(debt)
    collateral_price: uint256 = staticcall oracle.getAssetPrice(collateral)
    assert debt_price > 0 and collateral_price > 0, "PRICE"
    self._spend(owner, self._ceil_div(repay * debt_price, self._unit(owed)))
    most: uint256 = (
        repay * debt_price * (WHOLE_BPS + self.settings[owner].max_slippage_bps) * self._unit(sold_from)
        // (WHOLE_BPS * self._unit(owed) * collateral_price)
    )
    most = min(min(most, max_collateral), self._balance(sold_from.aTokenAddress, owner))
    assert self._balance(debt, owed.aTokenAddress) >= repay, "FLASH_SOURCE"

    debt_held: uint256 = self._balance(debt, self)
    collateral_held: uint256 = self._balance(collateral, self)
    params: Bytes[224] = abi_encode(
        Job(
            owner=owner,
            collateral=collateral,
            a_token=sold_from.aTokenAddress,
            most=most,
            router=router,
            fee=fee,
            mode=mode,
        )
    )
    self._flight = keccak256(params)
    extcall Pool(POOL).flashLoanSimple(self, debt, repay, params, 0)
    assert self._balance(debt, self) == debt_held, "DEBT_BALANCE"
    assert self._balance(collateral, self) == collateral_held, "COLLATERAL_BALANCE"
    assert self._balance(sold_from.aTokenAddress, self) == 0, "ATOKEN_BALANCE"
    assert self._allowed(debt, POOL) == 0, "ALLOWANCE"
    assert self._allowed(collateral, POOL) == 0, "ALLOWANCE"
    assert self._allowed(collateral, router) == 0, "ALLOWANCE"
    return self._sold


@external
def executeOperation(asset: address, amount: uint256, premium: uint256, initiator: address, params: Bytes[224]) -> bool:
    """@notice The pool's flash loan has arrived. Not behind the lock, which the action in flight holds."""
    assert msg.sender == POOL, "POOL"
    assert initiator == self, "INITIATOR"
    assert self._flight == keccak256(params), "FLIGHT"
    self._flight = empty(bytes32)
    job: Job = abi_decode(params, Job)

    self._allow(asset, POOL, amount)
    assert extcall Pool(POOL).repay(asset, amount, job.mode, job.owner) == amount, "REPAID"

    needed: uint256 = amount + premium
    held: uint256 = self._balance(job.collateral, self)
    extcall IERC20(job.a_token).transferFrom(job.owner, self, job.most)
    # all of it: what another sent here in aTokens goes to the owner, rather than stay
    extcall Pool(POOL).withdraw(job.collateral, max_value(uint256), self)
    pulled: uint256 = self._balance(job.collateral, self) - held
    sold: uint256 = needed
    if job.collateral != asset:
        sold = self._trade(job, asset, needed, min(pulled, job.most))
    assert sold <= min(pulled, job.most), "SLIPPAGE"
    self._sold = sold
    self._give_back(job.collateral, job.owner, pulled - sold)
    self._allow(asset, POOL, needed)
    return True


@internal
def _trade(job: Job, bought: address, amount: uint256, most: uint256) -> uint256:
    """Buys at least `amount` for at most `most` of the collateral. Answers what it cost."""
    held: uint256 = self._balance(bought, self)
    sold_held: uint256 = self._balance(job.collateral, self)
    self._allow(job.collateral, job.router, most)
    extcall Router(job.router).exactOutputSingle(
        Swap(
            tokenIn=job.collateral,
            tokenOut=bought,
            fee=job.fee,
            recipient=self,
            amountOut=amount,
            amountInMaximum=most,
            sqrtPriceLimitX96=0,
        )
    )
    self._disallow(job.collateral, job.router)
    assert self._balance(bought, self) >= held + amount, "BOUGHT"
    return sold_held - self._balance(job.collateral, self)


@internal
def _give_back(collateral: address, owner: address, amount: uint256):
    """Into the position if the pool takes it (not frozen, under its cap, not too little), else into the wallet."""
    if amount == 0:
        return
    self._allow(collateral, POOL, amount)
    taken: bool = raw_call(
        POOL,
        abi_encode(collateral, amount, owner, convert(0, uint16), method_id=method_id("supply(address,uint256,address,uint16)")),
        revert_on_failure=False,
    )
    if not taken:
        self._disallow(collateral, POOL)
        assert extcall IERC20(collateral).transfer(owner, amount, default_return_value=True), "TOKEN"


@internal
def _spend(owner: address, worth: uint256):
    """Books `worth` on today. Two days count, so that no 24 hours see more than the cap."""
    today: uint256 = block.timestamp // DAY_S
    total: uint256 = self.spent[owner][today] + worth
    assert total + self.spent[owner][today - 1] <= self.settings[owner].daily_cap, "CAP"
    self.spent[owner][today] = total


@view
@external
def allowed_today(owner: address) -> uint256:
    """@notice Debt that may still be repaid now, in the oracle's base unit."""
    today: uint256 = block.timestamp // DAY_S
    total: uint256 = self.spent[owner][today] + self.spent[owner][today - 1]
    cap: uint256 = self.settings[owner].daily_cap
    return cap - min(cap, total)


@view
@external
def code_hash_of(contract: address) -> bytes32:
    """@notice What `set_router` has to be given, and what a router's code is now."""
    return contract.codehash


@view
@internal
def _debt_of(owner: address, asset: address) -> (address, uint256):
    """The debt token that one action repays, and its mode: the variable one, or where nothing is owed in it the stable."""
    reserve: ReserveData = staticcall Pool(POOL).getReserveData(asset)
    token: address = reserve.stableDebtTokenAddress
    if token == empty(address) or self._balance(reserve.variableDebtTokenAddress, owner) > 0:
        return reserve.variableDebtTokenAddress, VARIABLE_RATE
    return token, STABLE_RATE


@view
@internal
def _health(owner: address) -> uint256:
    return (staticcall Pool(POOL).getUserAccountData(owner)).healthFactor


@pure
@internal
def _unit(reserve: ReserveData) -> uint256:
    """One whole token; Aave keeps the decimals in bits 48 to 55 of the configuration."""
    return 10 ** ((reserve.configuration >> 48) & 255)


@pure
@internal
def _ceil_div(a: uint256, b: uint256) -> uint256:
    return (a + b - 1) // b


@view
@internal
def _balance(token: address, holder: address) -> uint256:
    return staticcall IERC20(token).balanceOf(holder)


@view
@internal
def _allowed(token: address, spender: address) -> uint256:
    return staticcall IERC20(token).allowance(self, spender)


# Tokens that answer nothing are taken at their word; those that answer false are not.


@internal
def _allow(token: address, spender: address, amount: uint256):
    assert extcall IERC20(token).approve(spender, amount, default_return_value=True), "TOKEN"


@internal
def _disallow(token: address, spender: address):
    """Only where something is left: some tokens refuse an approval of zero."""
    if self._allowed(token, spender) > 0:
        self._allow(token, spender, 0)
