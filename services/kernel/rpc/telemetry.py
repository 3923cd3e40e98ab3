"""Telemetry: metrics (Prometheus), spans (OpenTelemetry), and log lines (JSON)."""

import asyncio
import json
import logging
import sys
import time
from functools import lru_cache
from json.encoder import encode_basestring as _quoted
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY, Gauge, Histogram

from services.kernel.printable import escaped_json, printable
from services.kernel.rpc.call import current_call
from services.kernel.rpc.rpc_metrics import SECONDS
from services.kernel.version import VERSION

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

streams = Gauge("grpc_server_streams", "Streams that are open.", ["grpc_service", "grpc_method"])
service_info = Gauge("service_info", "Which version of a service runs here.", ["service", "version"])
service_up = Gauge("service_up", "Whether a service is ready.", ["service"])
loop_lag = Histogram("event_loop_lag_seconds", "How late the event loop is.", buckets=SECONDS)

# How long lines of the event loop wait for others.
GATHERED_S = 0.01


class Tracing:
    """Own spans with parent-based sampling; without a collector there are none and they cost nothing."""

    def __init__(self, endpoint: str, sample_ratio: float) -> None:
        self.provider: TracerProvider | None = None
        if not endpoint:
            return
        # Imported only here: it takes a while, and most have no collector.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Small batches: serialising 512 spans holds the interpreter for 20 ms.
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=True)
        self.export(BatchSpanProcessor(exporter, max_export_batch_size=64), sample_ratio)

    def export(self, processor: "SpanProcessor", sample_ratio: float = 1.0) -> None:
        """Give spans to a processor from now on: those of sampled callers, and this share of those without one."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": "redfire", "service.version": VERSION})
        provider = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(sample_ratio)))
        provider.add_span_processor(processor)
        self._propagator, self._kind = TraceContextTextMapPropagator(), SpanKind.SERVER
        self._tracer = provider.get_tracer("redfire")
        self.provider = provider

    def start(self, method: str, traceparent: str) -> "Span | None":
        """A span for an RPC under its caller's, or None when nothing is traced."""
        if self.provider is None:
            return None
        parent = self._propagator.extract({"traceparent": traceparent})
        return self._tracer.start_span(method.lstrip("/"), context=parent, kind=self._kind)

    @staticmethod
    def end(span: "Span", code: str) -> None:
        """End an RPC's span with its status code."""
        span.set_attribute("rpc.grpc.status_code", code)
        span.end()

    @staticmethod
    def traceparent(span: "Span") -> str:
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
            "time": f"{_second(int(record.created))}.{int(record.msecs):03d}Z",
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
        # Most values are texts; an order's line has nine of them.
        parts = [
            f"{_quoted(key)}: {_quoted(value) if type(value) is str else _json(value)}" for key, value in line.items()
        ]
        return escaped_json("{" + ", ".join(parts) + "}")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


@lru_cache(4)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class LogFile(RotatingFileHandler):
    """A bounded log file. What the event loop logs within 10 ms is written with one write; warnings at once.

    A write releases the GIL, and another thread may hold it for longer than the write takes.
    """

    def __init__(self, file: Path, size: int, kept: int) -> None:
        # Bytes of the system that are no UTF-8 come as surrogates: they must not take along the lines beside them.
        super().__init__(file, maxBytes=size, backupCount=kept, encoding="utf-8", errors="backslashreplace")
        self._left = size - (file.stat().st_size if file.exists() else 0)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, now or with those that follow it."""
        try:
            first = not self._lines
            self._lines.append(self.format(record))
            if not first and record.levelno < logging.WARNING:
                return
            try:
                loop = asyncio.get_running_loop() if record.levelno < logging.WARNING else None
            except RuntimeError:
                loop = None
            if loop is None:
                self.flush()
            else:
                loop.call_later(GATHERED_S, self.flush)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            if self._lines and self.stream is not None:
                text = "".join([line + "\n" for line in self._lines])
                self._lines.clear()
                if len(text) > self._left:
                    self.doRollover()
                    self._left = self.maxBytes
                self._left -= len(text)
                self.stream.write(text)
            super().flush()
        except OSError as error:
            sys.stderr.write(f"the log file cannot be written: {error}\n")
        finally:
            self.release()

    def close(self) -> None:
        """Write what waits, and close."""
        self.flush()
        super().close()


class PlainFormatter(logging.Formatter):
    """A line for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without tracebacks: these are in the log file. A message of several lines is one, with escapes."""
        message = printable(record.getMessage())
        return f"{time.strftime('%H:%M:%S')} {record.levelname.lower():7} {record.name}: {message}"


def set_up_logging(level: str, file: Path | None, terminal_level: str = "") -> None:
    """Log JSON lines to `file` (bounded) and warnings to the terminal, or JSON to standard error without a file."""
    # Nobody reads these, and each line would ask for them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
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
        written = LogFile(file, 50_000_000, 3)
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
