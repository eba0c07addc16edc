// Many view calls in one eth_call where no Multicall3 is deployed: run as creation code, never stored on a chain.
//
// What follows this code is the input:   uint32 room | (address to | uint24 length | bytes data)*
// What it "deploys" is the answer:       0x00 | uint64 gas at start | (uint8 ok | uint24 length | bytes data)* | uint64 gas at end
//
// It answers a prefix of its input and stops early, leaving the rest unanswered, when the next answer has no room
// (a created contract may have 24,576 bytes on Ethereum) or when gas gets short: an eighth of what there was at the start
// is kept, so that a call which ran out of gas, even several frames deep, shows in the gas at the end. The first call is
// always tried. STATICCALL, so that one call cannot change what the next one reads.
object "Deployless" {
    code {
        let started := gas()
        let at := datasize("Deployless")
        let end := sub(codesize(), at)
        codecopy(0, at, end)
        let room := shr(224, mload(0))
        // storing an answer costs 200 gas a byte
        let reserve := add(div(started, 8), mul(200, room))
        let out := and(add(end, 63), not(31))
        let first := add(out, 9)
        let to := first
        // the leading zero keeps a chain from reading 0xef, which may not start a contract
        mstore(out, shl(184, and(started, 0xffffffffffffffff)))
        for { let from := 4 } lt(from, end) { } {
            if and(lt(gas(), reserve), gt(to, first)) { break }
            let length := shr(232, mload(add(from, 20)))
            let ok := staticcall(gas(), shr(96, mload(from)), add(from, 23), length, 0, 0)
            let size := returndatasize()
            if gt(add(to, add(size, 12)), add(out, room)) { break }
            mstore8(to, ok)
            mstore(add(to, 1), shl(232, size))
            returndatacopy(add(to, 4), 0, size)
            to := add(to, add(4, size))
            from := add(from, add(23, length))
        }
        mstore(to, shl(192, gas()))
        return(out, sub(add(to, 8), out))
    }
}
