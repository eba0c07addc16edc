# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title A token with the bad manners of real ones, each switched on by a test
@notice Fee on transfer, no return value, false where it means no, a hook, allowances that do not go away.
"""

interface Hook:
    def poke(): nonpayable

flag Manners:
    FEE              # one percent of every transfer is lost
    SILENT           # answers nothing
    FALSE_TRANSFER   # `victim` may not send, and is told by false
    FALSE_APPROVE    # `victim` may not approve, and is told by false
    STICKY           # an allowance is not used up
    DEAF             # an approval of zero changes nothing
    STRICT           # an approval must be taken back before another is given
    NO_ZERO          # an approval of zero reverts

name: public(String[8])
symbol: public(String[8])
decimals: public(uint8)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
manners: public(Manners)
victim: public(address)
hook: public(address)


@deploy
def __init__():
    self.name = "Odd"
    self.symbol = "ODD"
    self.decimals = 18


@external
def behave(manners: Manners, victim: address, hook: address):
    self.manners = manners
    self.victim = victim
    self.hook = hook


@external
def mint(to: address, amount: uint256):
    self.balanceOf[to] += amount
    self.totalSupply += amount


@internal
def _move(sender: address, to: address, amount: uint256):
    self.balanceOf[sender] -= amount
    lost: uint256 = amount // 100 if Manners.FEE in self.manners else 0
    self.balanceOf[to] += amount - lost
    if self.hook != empty(address):
        extcall Hook(self.hook).poke()


@view
@internal
def _answer(yes: bool) -> Bytes[32]:
    return b"" if Manners.SILENT in self.manners else abi_encode(yes)


@raw_return
@external
def transfer(to: address, amount: uint256) -> Bytes[32]:
    if msg.sender == self.victim and Manners.FALSE_TRANSFER in self.manners:
        return self._answer(False)
    self._move(msg.sender, to, amount)
    return self._answer(True)


@raw_return
@external
def transferFrom(sender: address, to: address, amount: uint256) -> Bytes[32]:
    assert self.allowance[sender][msg.sender] >= amount, "allowance"
    if Manners.STICKY not in self.manners:
        self.allowance[sender][msg.sender] -= amount
    self._move(sender, to, amount)
    return self._answer(True)


@raw_return
@external
def approve(spender: address, amount: uint256) -> Bytes[32]:
    if msg.sender == self.victim and Manners.FALSE_APPROVE in self.manners:
        return self._answer(False)
    assert amount == 0 or self.allowance[msg.sender][spender] == 0 or Manners.STRICT not in self.manners, "strict"
    assert amount > 0 or Manners.NO_ZERO not in self.manners, "no zero"
    if amount > 0 or Manners.DEAF not in self.manners:
        self.allowance[msg.sender][spender] = amount
    return self._answer(True)
