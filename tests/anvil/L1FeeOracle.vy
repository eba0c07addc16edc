# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title A rollup's fee oracle, for tests: so much per byte
@notice Like the OP stack's GasPriceOracle before and after Fjord, and like Arbitrum's NodeInterface.
"""

PER_BYTE: immutable(uint256)
FJORD: immutable(bool)


@deploy
def __init__(per_byte: uint256, fjord: bool):
    PER_BYTE = per_byte
    FJORD = fjord


@view
@external
def getL1Fee(data: Bytes[4096]) -> uint256:
    return PER_BYTE * len(data)


@view
@external
def getL1FeeUpperBound(size: uint256) -> uint256:
    assert FJORD, "GasPriceOracle: getL1FeeUpperBound only supports Fjord"
    return PER_BYTE * size + 7


@payable
@external
def gasEstimateL1Component(to: address, creation: bool, data: Bytes[4096]) -> (uint64, uint256, uint256):
    return convert(PER_BYTE * len(data), uint64), 1, 1
