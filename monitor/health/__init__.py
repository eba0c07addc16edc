"""What follows from health: one block later, at other prices, how far liquidation is, and what would help. Pure."""
