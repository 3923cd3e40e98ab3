"""Metrics of trading."""

from prometheus_client import Counter, Gauge, Histogram

from services.kernel.rpc.rpc_metrics import SECONDS

orders = Counter("orders_total", "Orders that were accepted.")
trades = Counter("trades_total", "Trades that were booked.")
refused = Counter("orders_refused_total", "Orders that were refused before they were one.", ["reason"])
external = Counter("trading_external_total", "Orders and trades at venues that are not ours.", ["gateway", "kind"])
unreadable = Counter(
    "trading_unreadable_reports_total", "Reports of venues that cannot be booked.", ["gateway", "kind"]
)
busted = Counter("trading_busted_trades_total", "Trades that venues took back.", ["gateway"])
uncertain = Counter("trading_uncertain_orders_total", "Orders whose outcome was not known.", ["gateway"])
adjusted = Counter("trading_position_adjustments_total", "Positions taken over from gateways.", ["gateway"])
differences = Gauge("trading_position_differences", "Positions of a venue that the books do not have.", ["gateway"])
processing = Histogram("order_processing_seconds", "From an order's request until it is durable.", buckets=SECONDS)
