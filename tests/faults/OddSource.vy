# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title A price source with bounds and a cap, for fault tests
@notice Like a Chainlink proxy that is its own aggregator, or like a capped adapter before a dollar feed.
"""

interface Feed:
    def latestAnswer() -> int256: view

FEED: immutable(address)
MIN: immutable(int192)
MAX: immutable(int192)
CAP: immutable(int256)


@deploy
def __init__(feed: address, low: int192, high: int192, cap: int256):
    FEED = feed
    MIN = low
    MAX = high
    CAP = cap


@view
@internal
def _answer() -> int256:
    answer: int256 = staticcall Feed(FEED).latestAnswer()
    if CAP != 0 and answer > CAP:
        return CAP
    if MAX != 0:
        return min(max(answer, convert(MIN, int256)), convert(MAX, int256))
    return answer


@view
@external
def decimals() -> uint8:
    return 8


@view
@external
def latestAnswer() -> int256:
    return self._answer()


@view
@external
def aggregator() -> address:
    assert MAX != 0, "no aggregator"
    return self


@view
@external
def minAnswer() -> int192:
    return MIN


@view
@external
def maxAnswer() -> int192:
    return MAX


@view
@external
def isCapped() -> bool:
    assert CAP != 0, "no cap"
    return staticcall Feed(FEED).latestAnswer() > CAP


@view
@external
def ASSET_TO_USD_AGGREGATOR() -> address:
    assert CAP != 0, "no cap"
    return FEED
