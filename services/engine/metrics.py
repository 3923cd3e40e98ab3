"""The engine's metrics."""

from prometheus_client import Counter

unreadable = Counter(
    "engine_unreadable_reports_total", "Reports of a gateway that could not be read.", ["gateway", "kind"]
)
withdrawn_ticks = Counter(
    "engine_withdrawn_ticks_total", "Ticks dropped since nobody asks for their symbol any more.", ["gateway"]
)
foreign_ticks = Counter(
    "engine_foreign_ticks_total", "Ticks dropped since another gateway is their symbol's.", ["gateway"]
)
