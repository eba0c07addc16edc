"""What follows from health: now and one block later, at other prices, and how far away liquidation is. Pure."""
