# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title A token as it is, but for one rule that USDT has: an allowance changes only from zero or to zero
@notice Put in the token's place; the token's own code, put elsewhere, does all the work on the same storage.
"""

CODE: constant(address) = 0x00000000000000000000000000000000C0DE0001
APPROVE: constant(bytes4) = 0x095ea7b3
ALLOWANCE: constant(bytes4) = 0xdd62ed3e


@raw_return
@external
@payable
def __default__() -> Bytes[1024]:
    if len(msg.data) == 68 and convert(slice(msg.data, 0, 4), bytes4) == APPROVE:
        spender: bytes32 = convert(slice(msg.data, 4, 32), bytes32)
        amount: uint256 = convert(slice(msg.data, 36, 32), uint256)
        if amount != 0:
            asked: Bytes[68] = concat(ALLOWANCE, convert(msg.sender, bytes32), spender)
            answer: Bytes[32] = raw_call(CODE, asked, max_outsize=32, is_delegate_call=True)
            assert convert(answer, uint256) == 0, "from zero or to zero"
    return raw_call(CODE, msg.data, max_outsize=1024, is_delegate_call=True)
