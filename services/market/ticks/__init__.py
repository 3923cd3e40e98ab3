"""Live ticks: one feed in, a ring per symbol, and every batch fanned out to its subscribers, encoded once."""
