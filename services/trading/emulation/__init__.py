"""What trading does with orders that venues do not do themselves: stops, groups, leases, self-trade prevention."""
