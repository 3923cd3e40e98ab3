"""What is counted of trading."""

from prometheus_client import Counter, Histogram

from services.kernel.telemetry import SECONDS

orders = Counter("orders_total", "Orders that were accepted.")
trades = Counter("trades_total", "Trades that were booked.")
refused = Counter("orders_refused_total", "Orders that were refused before they were one.", ["reason"])
processing = Histogram("order_processing_seconds", "From an order's request until it is durable.", buckets=SECONDS)
