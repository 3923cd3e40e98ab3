"""Results that follow from a run: days, statistics, round trips, diagnostics, look-ahead."""
