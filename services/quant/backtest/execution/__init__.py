"""Which orders of a run are filled, at which price, and what a trade costs."""
