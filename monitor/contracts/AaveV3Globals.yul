// What is the same for all accounts of an Aave V3 market, in one eth_call of creation code; never stored on a chain.
//
// What follows this code is the input:
//   uint8 form | uint16 n | uint16 m | uint16 k | address pool | address oracle
//   | address[n] reserves, in the pool's order | address[m] what else has a price | uint8[k] e-mode categories
// What it "deploys" is the answer:
//   uint8 0 | uint8 whole | uint8 listed
//   | n times (uint8 ok | uint256 configuration | uint128 liquidity index, its rate, variable borrow index, its rate
//     | uint40 last update | uint16 id)
//   | n + m times (uint8 ok | uint256 price)
//   | k times (uint8 ok | uint16 LTV, threshold, bonus | uint160 price source or collateral bitmap | uint128 bitmap of
//     those with LTV 0 | uint8 isolated)
// `listed`: the pool lists these reserves in this order and no other. `ok`: the getters answered, and within their types.
// `whole`: an eighth of the gas was left in the end, so that no getter, however deep, has failed for want of it.
// `form` tells how a version describes a category: 0 as one struct (<= 3.1), else by parts: terms and collateral (1), LTV
// of 0 (2), isolation (3).
//
// It only calls getters, each by STATICCALL.
object "AaveV3Globals" {
    code {
        // the first `size` bytes of the answer, at 0x200
        function get(contract, selector, argument, size) -> ok {
            mstore(0, selector)
            mstore(0x20, argument)
            ok := staticcall(gas(), contract, 0x1c, 0x24, 0x200, size)
            ok := and(ok, iszero(lt(returndatasize(), size)))
        }
        // LTV, threshold and bonus, which begin there
        function terms(at) -> ok, packed {
            let ltv := mload(at)
            let threshold := mload(add(at, 0x20))
            let bonus := mload(add(at, 0x40))
            ok := iszero(shr(16, or(ltv, or(threshold, bonus))))
            packed := or(shl(32, ltv), or(shl(16, threshold), bonus))
        }
        let began := gas()
        let size := sub(codesize(), datasize("AaveV3Globals"))
        codecopy(0x4000, datasize("AaveV3Globals"), size)
        let head := mload(0x4000)
        let form := byte(0, head)
        let pool := shr(96, mload(0x4007))
        let oracle := shr(96, mload(0x401b))
        let assets := 0x402f
        let keys := add(assets, mul(20, and(shr(232, head), 0xffff)))
        let modes := add(keys, mul(20, and(shr(216, head), 0xffff)))
        let end := add(modes, and(shr(200, head), 0xffff))
        let out := and(add(end, 63), not(31))
        let to := add(out, 3)

        size := add(0x40, mul(0x20, and(shr(232, head), 0xffff)))
        let listed := get(pool, 0xd1946dbc, 0, size)
        listed := and(listed, eq(returndatasize(), size))
        listed := and(listed, and(eq(mload(0x200), 0x20), eq(mload(0x220), and(shr(232, head), 0xffff))))
        size := 0x240
        for { let at := assets } lt(at, keys) { at := add(at, 20) } {
            listed := and(listed, eq(mload(size), shr(96, mload(at))))
            size := add(size, 0x20)
        }
        for { let at := assets } lt(at, keys) { at := add(at, 20) } {
            let ok := get(pool, 0x35ea6a75, shr(96, mload(at)), 480)
            let wide := or(or(mload(0x220), mload(0x240)), or(mload(0x260), mload(0x280)))
            wide := or(shr(128, wide), or(shr(40, mload(0x2c0)), shr(16, mload(0x2e0))))
            mstore8(to, and(ok, iszero(wide)))
            mstore(add(to, 1), mload(0x200))
            mstore(add(to, 33), or(shl(128, mload(0x220)), mload(0x240)))
            mstore(add(to, 65), or(shl(128, mload(0x260)), mload(0x280)))
            mstore(add(to, 97), or(shl(216, mload(0x2c0)), shl(200, mload(0x2e0))))
            to := add(to, 104)
        }
        for { let at := assets } lt(at, modes) { at := add(at, 20) } {
            mstore8(to, get(oracle, 0xb3596f07, shr(96, mload(at)), 0x20))
            mstore(add(to, 1), mload(0x200))
            to := add(to, 33)
        }
        for { let at := modes } lt(at, end) { at := add(at, 1) } {
            let mode := byte(0, mload(at))
            let ok
            let fits
            let packed
            let which
            let zero := 0
            let isolated := 0
            switch form
            case 0 {
                ok := get(pool, 0x6c6f6ae1, mode, 0xa0)
                fits, packed := terms(0x220)
                which := mload(0x280)
                ok := and(and(ok, fits), and(eq(mload(0x200), 0x20), iszero(shr(160, which))))
            }
            default {
                ok := get(pool, 0xb286f467, mode, 0x60)
                fits, packed := terms(0x200)
                ok := and(and(ok, fits), get(pool, 0xb0771dba, mode, 0x20))
                which := mload(0x200)
                if gt(form, 1) {
                    ok := and(ok, get(pool, 0xfd89dee5, mode, 0x20))
                    zero := mload(0x200)
                }
                if gt(form, 2) {
                    ok := and(ok, get(pool, 0x05f68acb, mode, 0x20))
                    isolated := mload(0x200)
                }
                ok := and(ok, iszero(or(shr(128, or(which, zero)), shr(1, isolated))))
            }
            mstore8(to, ok)
            mstore(add(to, 1), or(shl(208, packed), shl(48, which)))
            mstore(add(to, 27), or(shl(128, zero), shl(120, isolated)))
            to := add(to, 44)
        }
        mstore8(out, 0)
        mstore8(add(out, 1), iszero(lt(gas(), shr(3, began))))
        mstore8(add(out, 2), listed)
        return(out, sub(to, out))
    }
}
