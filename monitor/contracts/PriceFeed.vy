# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title A price feed for local chains and tests
@notice Answers like a Chainlink AggregatorV3 without a phase or an aggregator behind it.
@dev    Anyone may set anything: never deploy this where money is. Faults are part of the surface,
        because a monitor has to be shown a feed that reverts and a feed that answers too few bytes.
"""

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256

struct Round:
    answer: int256
    startedAt: uint256
    updatedAt: uint256

NO_FAULT: constant(uint256) = 0
REVERT: constant(uint256) = 1
SHORT_ANSWER: constant(uint256) = 2

DECIMALS: immutable(uint8)
description: public(String[64])
version: public(constant(uint256)) = 4
fault: public(uint256)
_latest: uint80
_rounds: HashMap[uint80, Round]


@deploy
def __init__(decimals_: uint8, description_: String[64], answer: int256):
    DECIMALS = decimals_
    self.description = description_
    self._store(1, answer, block.timestamp, block.timestamp)


@internal
def _store(round_id: uint80, answer: int256, started_at: uint256, updated_at: uint256):
    self._latest = round_id
    self._rounds[round_id] = Round(answer=answer, startedAt=started_at, updatedAt=updated_at)
    log AnswerUpdated(current=answer, roundId=convert(round_id, uint256), updatedAt=updated_at)


@view
@internal
def _answer(data: Bytes[160]) -> Bytes[160]:
    assert self.fault != REVERT, "feed reverts"
    if self.fault == SHORT_ANSWER:
        return slice(data, 0, 16)
    return data


@view
@internal
def _round(round_id: uint80) -> Bytes[160]:
    r: Round = self._rounds[round_id]
    return self._answer(abi_encode(round_id, r.answer, r.startedAt, r.updatedAt, round_id))


@view
@external
def decimals() -> uint8:
    return DECIMALS


@raw_return
@view
@external
def latestAnswer() -> Bytes[160]:
    return self._answer(abi_encode(self._rounds[self._latest].answer))


@raw_return
@view
@external
def latestRoundData() -> Bytes[160]:
    return self._round(self._latest)


@raw_return
@view
@external
def getRoundData(roundId: uint80) -> Bytes[160]:
    assert self._rounds[roundId].updatedAt != 0, "No data present"
    return self._round(roundId)


@view
@external
def latestTimestamp() -> uint256:
    return self._rounds[self._latest].updatedAt


@view
@external
def latestRound() -> uint256:
    return convert(self._latest, uint256)


@external
def setAnswer(answer: int256):
    """@notice The next round, started and updated now."""
    self._store(self._latest + 1, answer, block.timestamp, block.timestamp)


@external
def setRound(roundId: uint80, answer: int256, startedAt: uint256, updatedAt: uint256):
    """@notice Any round at all, also an old, a future or an empty one; it becomes the latest."""
    self._store(roundId, answer, startedAt, updatedAt)


@external
def setFault(fault: uint256):
    """@notice 0 healthy, 1 every price read reverts, 2 every price read answers 16 bytes."""
    assert fault <= SHORT_ANSWER, "unknown fault"
    self.fault = fault
