"""Market data: instruments, ticks, bars, their history and indicators."""
