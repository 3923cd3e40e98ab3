"""Counts and times of RPCs, as Prometheus shows them: an order passes here three times.

Prometheus's own counters take a lock and three checks for each number; these are counted by the event loop alone, and
by threads that serve a loop each without a lock: reading them may then miss one that is just being counted.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8)
_BOUNDS = [*(str(float(bound)) for bound in SECONDS), "+Inf"]


class RpcMetric:
    """Metrics of one RPC."""

    __slots__ = ("buckets", "by_code", "seconds")

    def __init__(self) -> None:
        self.by_code: dict[str, int] = {}
        self.buckets = [0] * len(_BOUNDS)
        self.seconds = 0.0

    def ended(self, code: str) -> None:
        """One ended with this gRPC code."""
        self.by_code[code] = self.by_code.get(code, 0) + 1

    def took(self, seconds: float) -> None:
        """A unary one took so long."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class RpcMetrics(Collector):
    """Collect grpc_server_handled_total and grpc_server_handling_seconds."""

    def __init__(self) -> None:
        self._metrics: dict[tuple[str, str], RpcMetric] = {}

    def of(self, grpc_service: str, grpc_method: str) -> RpcMetric:
        """One RPC's, the same for all servers of the process."""
        return self._metrics.setdefault((grpc_service, grpc_method), RpcMetric())

    def describe(self) -> Iterable[Metric]:
        """Their names."""
        return _families()

    def collect(self) -> Iterator[Metric]:
        """Their values now."""
        handled, handling = _families()
        for labels, metric in list(self._metrics.items()):
            for code, count in list(metric.by_code.items()):
                handled.add_metric([*labels, code], count)
            buckets = list(zip(_BOUNDS, accumulate(metric.buckets), strict=True))
            if buckets[-1][1]:
                handling.add_metric(labels, buckets, metric.seconds)
        yield handled
        yield handling


def _families() -> tuple[CounterMetricFamily, HistogramMetricFamily]:
    labels = ["grpc_service", "grpc_method"]
    return (
        CounterMetricFamily("grpc_server_handled_total", "RPCs that ended.", labels=[*labels, "grpc_code"]),
        HistogramMetricFamily("grpc_server_handling_seconds", "How long unary RPCs took.", labels=labels),
    )


rpc_metrics = RpcMetrics()
REGISTRY.register(rpc_metrics)
