"""Counters of market data."""

from prometheus_client import Counter

ticks = Counter("market_ticks_total", "Ticks that were taken from the engine and published.")
gaps = Counter("market_gaps_total", "Gaps in symbols' sequences.")
duplicates = Counter("market_duplicates_total", "Ticks that were seen before and dropped.")
sink_failures = Counter(
    "market_sink_failures_total", "Failures of what takes published ticks: bars, recorder.", ["sink"]
)
impossible_days = Counter("market_impossible_days_total", "Ticks whose trading day was replaced by the calendar's.")
unrecorded = Counter("market_unrecorded_ticks_total", "Ticks that were published and not recorded: the disk lagged.")
history_failures = Counter("market_history_failures_total", "Writes of history that the disk did not take.")
