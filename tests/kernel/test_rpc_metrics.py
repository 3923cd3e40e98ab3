"""Metrics of served RPCs, as Prometheus reads them."""

import pytest
from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from services.kernel.rpc.rpc_metrics import SECONDS, rpc_metrics


def samples(method):
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    series = [sample for family in families for sample in family.samples if sample.labels.get("grpc_method") == method]
    return {(s.name, s.labels.get("grpc_code") or s.labels.get("le") or ""): s.value for s in series}


def test_rpcs_are_counted_by_code():
    metric = rpc_metrics.of("redfire.test.v1.CodeService", "Counted")
    for code in ("OK", "OK", "NOT_FOUND"):
        metric.ended(code)
    counted = samples("Counted")
    assert counted == {("grpc_server_handled_total", "OK"): 2, ("grpc_server_handled_total", "NOT_FOUND"): 1}


def test_times_are_counted_up_to_each_bound_and_altogether():
    metric = rpc_metrics.of("redfire.test.v1.TimeService", "Timed")
    for seconds in (0.0001, SECONDS[0], 0.003, 100):
        metric.took(seconds)
    timed = samples("Timed")
    name = "grpc_server_handling_seconds"
    assert [timed[f"{name}_bucket", str(float(bound))] for bound in SECONDS[:4]] == [2, 2, 2, 3]
    assert timed[f"{name}_bucket", "8.0"] == 3
    assert timed[f"{name}_bucket", "+Inf"] == timed[f"{name}_count", ""] == 4
    assert timed[f"{name}_sum", ""] == pytest.approx(100.0036)


def test_one_rpc_of_two_servers_is_counted_as_one():
    rpc_metrics.of("redfire.test.v1.TwiceService", "Twice").ended("OK")
    rpc_metrics.of("redfire.test.v1.TwiceService", "Twice").ended("OK")
    assert samples("Twice") == {("grpc_server_handled_total", "OK"): 2}
