"""Counters of market data."""

from collections.abc import Iterator

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector


class TickCounter(Collector):
    """Ticks that were published. Prometheus's own counter takes a lock and three checks for each number."""

    def __init__(self) -> None:
        self.count = 0

    def describe(self) -> Iterator[Metric]:
        """Its name."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Its value now."""
        family = CounterMetricFamily("market_ticks_total", "Ticks that were taken from the engine and published.")
        family.add_metric([], self.count)
        yield family


ticks = TickCounter()
REGISTRY.register(ticks)
gaps = Counter("market_gaps_total", "Gaps in symbols' sequences.")
duplicates = Counter("market_duplicates_total", "Ticks that were seen before and dropped.")
sink_failures = Counter(
    "market_sink_failures_total", "Failures of what takes published ticks: bars, recorder.", ["sink"]
)
impossible_days = Counter("market_impossible_days_total", "Ticks whose trading day was replaced by the calendar's.")
unrecorded = Counter("market_unrecorded_ticks_total", "Ticks that were published and not recorded: the disk lagged.")
history_failures = Counter("market_history_failures_total", "Writes of history that the disk did not take.")
influx_points = Counter("market_influx_points_total", "Ticks and bars that InfluxDB took.")
influx_dropped = Counter("market_influx_dropped_total", "Ticks and bars that were not sent to InfluxDB.")
influx_failures = Counter("market_influx_failures_total", "Requests that InfluxDB did not answer, or with an error.")
upload_failures = Counter("market_upload_failures_total", "Archived files that the bucket did not take.")
