# pragma version 0.4.3
# pragma evm-version shanghai
"""
@title As much of Multicall3 as levmon uses, for tests
@notice The same interface as the contract at 0xcA11...CA11; none of its code.
"""

struct Call3:
    target: address
    allowFailure: bool
    callData: Bytes[512]

struct Result:
    success: bool
    returnData: Bytes[1024]


@payable
@external
def aggregate3(calls: DynArray[Call3, 100]) -> DynArray[Result, 100]:
    results: DynArray[Result, 100] = []
    for one: Call3 in calls:
        success: bool = False
        answer: Bytes[1024] = b""
        success, answer = raw_call(
            one.target, one.callData, max_outsize=1024, revert_on_failure=False
        )
        assert success or one.allowFailure, "Multicall3: call failed"
        results.append(Result(success=success, returnData=answer))
    return results
