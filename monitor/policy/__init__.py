"""From health to how loud to be. Pure: no clock, no network, no memory of what was said before."""
