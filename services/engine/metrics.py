"""The engine's metrics."""

from prometheus_client import Counter

unreadable = Counter(
    "engine_unreadable_reports_total", "What a gateway said and could not be understood.", ["gateway", "kind"]
)
foreign_ticks = Counter(
    "engine_foreign_ticks_total", "Ticks dropped since another gateway is their symbol's.", ["gateway"]
)
