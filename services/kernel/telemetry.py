"""What operators see: metrics (Prometheus), spans (OpenTelemetry), and log lines (JSON)."""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import REGISTRY, Counter, Gauge, Histogram

from services.kernel.call import current_call
from services.kernel.version import VERSION

SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8)

handled = Counter("grpc_server_handled_total", "RPCs that ended.", ["grpc_service", "grpc_method", "grpc_code"])
handling = Histogram(
    "grpc_server_handling_seconds", "How long unary RPCs took.", ["grpc_service", "grpc_method"], buckets=SECONDS
)
streams = Gauge("grpc_server_streams", "Streams that are open.", ["grpc_service", "grpc_method"])
service_info = Gauge("service_info", "Which version of a service runs here.", ["service", "version"])
service_up = Gauge("service_up", "Whether a service is ready.", ["service"])
loop_lag = Histogram("event_loop_lag_seconds", "How late the event loop is.", buckets=SECONDS)

audit_log = logging.getLogger("redfire.audit")


class Tracing:
    """Own spans with parent-based sampling; without a collector there are none and they cost nothing."""

    def __init__(self, endpoint: str, sample_ratio: float) -> None:
        self.provider: TracerProvider | None = None
        self._propagator = TraceContextTextMapPropagator()
        if not endpoint:
            return
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        resource = Resource.create({"service.name": "redfire", "service.version": VERSION})
        self.provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(sample_ratio)))
        # Small batches: serialising 512 spans holds the interpreter for 20 ms.
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
        self.provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64))
        self._tracer = self.provider.get_tracer("redfire")

    def start(self, method: str, traceparent: str) -> trace.Span | None:
        """A span for an RPC under its caller's, or None when nothing is traced."""
        if self.provider is None:
            return None
        parent = self._propagator.extract({"traceparent": traceparent})
        return self._tracer.start_span(method.lstrip("/"), context=parent, kind=trace.SpanKind.SERVER)

    @staticmethod
    def end(span: trace.Span, code: str) -> None:
        """End an RPC's span with its status code."""
        span.set_attribute("rpc.grpc.status_code", code)
        span.end()

    @staticmethod
    def traceparent(span: trace.Span) -> str:
        """The span as the parent of what follows (W3C)."""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def close(self) -> None:
        """Send what is left."""
        if self.provider is not None:
            self.provider.shutdown()


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the call it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "version": VERSION,
        }
        if record.name.startswith("services."):
            line["service"] = record.name.split(".")[1]
        if call := current_call.get():
            caller = call.identity.user_id or call.identity.service
            line |= {"request_id": call.request_id, "trace_id": call.trace_id, "rpc": call.method, "caller": caller}
        if isinstance(extra := getattr(record, "fields", None), dict):
            line |= extra
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainFormatter(logging.Formatter):
    """A line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without tracebacks: these are in the log file."""
        return f"{time.strftime('%H:%M:%S')} {record.levelname.lower():7} {record.name}: {record.getMessage()}"


def set_up_logging(level: str, file: Path | None, terminal_level: str = "") -> None:
    """Log JSON lines to `file` (bounded) and warnings to the terminal, or JSON to standard error without a file."""
    from logging.handlers import RotatingFileHandler

    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    terminal = logging.StreamHandler(sys.stderr)
    if file is None:
        terminal.setFormatter(JsonFormatter())
    else:
        terminal.setFormatter(PlainFormatter())
        terminal.setLevel(terminal_level or "WARNING")
        written = RotatingFileHandler(file, maxBytes=50_000_000, backupCount=3, encoding="utf-8")
        written.setFormatter(JsonFormatter())
        root.addHandler(written)
    root.addHandler(terminal)
    root.setLevel("WARNING")
    # gRPC would quote headers that are no UTF-8, whatever secret they hold, each time with a traceback.
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_not_about_encoding)
    for name in ("services", "redfire"):
        logging.getLogger(name).setLevel(level)


def _is_not_about_encoding(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Invalid encoding")


def total(name: str) -> float:
    """A counter's sum over all labels, 0 when nobody counts it."""
    metrics = REGISTRY.restricted_registry([name]).collect()
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.name == name)
