"""Emulation of what venues do not do themselves: stops, groups, leases, self-trade prevention."""
