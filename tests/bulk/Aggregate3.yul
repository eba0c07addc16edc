// aggregate3 as Multicall3 has it, for any number of calls; none of its code. Written to be placed at its address.
object "Aggregate3" {
    code {
        datacopy(0, dataoffset("runtime"), datasize("runtime"))
        return(0, datasize("runtime"))
    }
    object "runtime" {
        code {
            let calls := add(36, calldataload(4))
            let count := calldataload(sub(calls, 32))
            mstore(0, 32)
            mstore(32, count)
            let to := add(64, mul(32, count))
            for { let n := 0 } lt(n, count) { n := add(n, 1) } {
                mstore(add(64, mul(32, n)), sub(to, 64))
                let call3 := add(calls, calldataload(add(calls, mul(32, n))))
                let data := add(call3, calldataload(add(call3, 64)))
                let size := calldataload(data)
                calldatacopy(to, add(data, 32), size)
                let ok := call(gas(), calldataload(call3), 0, to, size, 0, 0)
                if iszero(or(ok, calldataload(add(call3, 32)))) { revert(0, 0) }
                size := returndatasize()
                mstore(to, ok)
                mstore(add(to, 32), 64)
                mstore(add(to, 64), size)
                mstore(add(add(to, 96), size), 0)
                returndatacopy(add(to, 96), 0, size)
                to := add(add(to, 96), and(add(size, 31), not(31)))
            }
            return(0, to)
        }
    }
}
