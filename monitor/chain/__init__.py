"""Everything that touches a node: transport, endpoint pool, heads, the reader that answers read plans, ABI codec."""
