// The raw state of many Aave V3 accounts in one eth_call, by the market's own getters; never stored on a chain.
//
// The input follows as call data or, where this runs as creation code, behind this code:
//   uint32 room | uint32 least | uint32 n | uint8 f | uint16 k | uint8 stable | address pool | uint8 flags | uint8 modes
//   | address[k] token of each bit of a user configuration, 0 where there is none
//   | address[k / 2] stable debt token of each reserve, only if stable is 1 | address[n] accounts
// Where it runs in the pool's place, by state override, it takes configurations and e-modes from its own storage: `flags`
// and `modes` are the slots of these mappings. Elsewhere it asks the pool. A stable debt token that was never minted nor
// burnt (its total supply has no time of last update) is nobody's debt and is not asked of accounts; a supply of 0 would
// not do, for the token sets it to 0 early where roundings have added up.
// The answer:
//   uint32 0 | uint32 done | uint32 entries | uint32 notes | uint64 gas at start | uint64 gas at end   (32 bytes)
//   | n times (the low f bytes of the user configuration | uint8 e-mode) | 32 bytes of anything
//   | entries times uint128 scaled balance, by account and bit
//   | notes times (uint32 account | uint16 what | uint128 | uint128 | uint40)
// A note tells of a stable debt (what = 256 + reserve: principal, rate, last update) or of a getter that failed or
// answered what cannot be (0xffff: the bit; 0xfffe: bits beyond f bytes are set; 0xfffd: e-mode; 0xfffc: configuration).
//
// It answers a prefix of the accounts: before each one `least` gas must be left and after it a quarter of that, so that no
// getter ever fails for want of gas unseen, and the answer never has more than `room` bytes.
object "AaveV3Lens" {
    code {
        // the answer to the call data at 0x1c: selector, then the account at 0x20
        function get(contract, selector) -> ok, value {
            mstore(0, selector)
            ok := staticcall(gas(), contract, 0x1c, 0x24, 0x40, 0x20)
            ok := and(ok, gt(returndatasize(), 31))
            value := mul(ok, mload(0x40))
        }
        // the same of the pool: what its mapping at this slot holds, where it is at hand
        function get_kept(pool, selector, slot) -> ok, value {
            switch eq(pool, address())
            case 0 { ok, value := get(pool, selector) }
            default {
                mstore(0x40, slot)
                ok := 1
                value := sload(keccak256(0x20, 0x40))
            }
        }
        function note(at, row, what, a, b, c) -> next {
            mstore(at, or(or(shl(224, row), shl(208, what)), shl(80, a)))
            mstore(add(at, 22), or(shl(128, b), shl(88, c)))
            next := add(at, 43)
        }
        let began := gas()
        // a power of two by its remainder: all 256 differ modulo 269
        let bit := 1
        for { let n := 0 } lt(n, 256) { n := add(n, 1) } {
            mstore8(add(0x60, mod(bit, 269)), n)
            bit := shl(1, bit)
        }
        let size := calldatasize()
        switch size
        case 0 {
            size := sub(codesize(), datasize("AaveV3Lens"))
            codecopy(0x180, datasize("AaveV3Lens"), size)
        }
        default { calldatacopy(0x180, 0, size) }
        let head := mload(0x180)
        let room := shr(224, head)
        let least := and(shr(192, head), 0xffffffff)
        let count := and(shr(160, head), 0xffffffff)
        let width := byte(12, head)
        let kinds := and(shr(136, head), 0xffff)
        let stable := byte(15, head)
        let pool := shr(96, mload(0x190))
        let flags_slot := byte(4, mload(0x1a0))
        let modes_slot := byte(5, mload(0x1a0))
        let tokens := 0x1a6
        let stables := add(tokens, mul(20, kinds))
        let from := add(stables, mul(mul(10, kinds), stable))

        for { let at := stables } lt(at, from) { at := add(at, 20) } {
            let ok, updated := get(shr(96, mload(at)), 0xe7484890)
            if and(ok, iszero(updated)) { mstore(at, and(mload(at), 0xffffffffffffffffffffffff)) }
        }
        let notes := and(add(add(0x180, size), 63), not(31))
        let noted := notes
        let out := add(notes, 22528)
        let record := add(out, 32)
        let first := add(add(record, mul(count, add(width, 1))), 32)
        let to := first
        let done := 0
        for { } lt(done, count) { done := add(done, 1) } {
            if or(lt(gas(), least), gt(sub(noted, notes), 16384)) { break }
            let to_before := to
            let noted_before := noted
            mstore(0x20, shr(96, mload(from)))
            let ok, flags := get_kept(pool, 0x4417a583, flags_slot)
            if iszero(ok) { noted := note(noted, done, 0xfffc, 0, 0, 0) }
            if shr(mul(8, width), flags) { noted := note(noted, done, 0xfffe, 0, 0, 0) }
            let value
            ok, value := get_kept(pool, 0xeddf1b79, modes_slot)
            if or(iszero(ok), gt(value, 255)) { noted := note(noted, done, 0xfffd, 0, 0, 0) }
            mstore(record, shl(sub(256, mul(8, width)), flags))
            mstore8(add(record, width), value)
            for { } flags { } {
                bit := and(flags, sub(0, flags))
                flags := xor(flags, bit)
                let kind := byte(0, mload(add(0x60, mod(bit, 269))))
                if iszero(lt(kind, kinds)) { break }
                let token := shr(96, mload(add(tokens, mul(20, kind))))
                if iszero(token) { continue }
                ok, value := get(token, 0x1da24f3e)
                if or(iszero(ok), shr(128, value)) { noted := note(noted, done, 0xffff, kind, 0, 0) }
                mstore(to, shl(128, value))
                to := add(to, 16)
                if and(stable, iszero(and(kind, 1))) {
                    token := shr(96, mload(add(stables, mul(10, kind))))
                    if iszero(token) { continue }
                    ok, value := get(token, 0xc634dfaa)
                    if iszero(value) {
                        if iszero(ok) { noted := note(noted, done, 0xffff, kind, 0, 0) }
                        continue
                    }
                    let ok_rate, rate := get(token, 0xe78c9b3b)
                    let ok_time, time := get(token, 0x79ce6b8c)
                    if or(iszero(and(ok_rate, ok_time)), or(or(shr(128, value), shr(128, rate)), shr(40, time))) {
                        noted := note(noted, done, 0xffff, kind, 0, 0)
                        continue
                    }
                    noted := note(noted, done, add(256, shr(1, kind)), value, rate, time)
                }
            }
            if or(lt(gas(), shr(2, least)), gt(add(sub(to, out), sub(noted, notes)), room)) {
                to := to_before
                noted := noted_before
                break
            }
            record := add(record, add(width, 1))
            from := add(from, 20)
        }
        let entries := shr(4, sub(to, first))
        for { let at := 0 } lt(at, sub(noted, notes)) { at := add(at, 32) } {
            mstore(add(to, at), mload(add(notes, at)))
        }
        head := or(shl(192, done), or(shl(160, entries), shl(128, div(sub(noted, notes), 43))))
        mstore(out, or(head, or(shl(64, and(began, 0xffffffffffffffff)), and(gas(), 0xffffffffffffffff))))
        return(out, add(sub(to, out), sub(noted, notes)))
    }
}
