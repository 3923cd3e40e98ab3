"""A backtest's result as the object that `redfire backtest --json` prints, and back."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import date, datetime
from typing import Any

from services.quant.backtest.data.dataset import Finding
from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.result import BacktestResult, Day, Fill
from services.quant.sdk.values import plain

_DAY_NAMES = {"daily_return": "return"}
"""The column of vnpy's table by our name."""
_DATES = ("start_date", "end_date")


def document(result: BacktestResult) -> dict[str, Any]:
    """The result in JSON's types: times in ISO 8601 with their offset, null for what is no number."""
    job = result.job
    return {
        "statistics": {name: _plain(value) for name, value in result.statistics.items()},
        "trades": [_trade(trade, job) for trade in result.trades],
        "daily": [
            {_DAY_NAMES.get(field.name, field.name): _plain(getattr(day, field.name)) for field in fields(day)}
            for day in result.days
        ],
        # Findings on the data too: a reader of this list alone misses nothing.
        "diagnostics": [*result.diagnostics, *(finding.sentence for finding in result.findings)],
        "findings": [
            {"kind": one.kind, "count": one.count, "sentence": one.sentence, "lines": list(one.lines)}
            for one in result.findings
        ],
        "job": {field.name: _plain(getattr(job, field.name)) for field in fields(job)},
        "rows": result.row_count,
        "orders": result.order_count,
        "elapsed_s": _plain(result.elapsed_s),
        "variables": _plain(dict(result.variables)),
        "logs": list(result.logs),
        "error": result.error,
    }


def written(result: BacktestResult) -> Iterator[str]:
    """The document as JSON, piece by piece: a million bars may have made hundreds of thousands of trades."""
    opening = "{"
    for name, value in document(replace(result, trades=())).items():
        yield f"{opening}{json.dumps(name)}: "
        opening = ", "
        if name != "trades":
            yield json.dumps(value, ensure_ascii=False, allow_nan=False)
            continue
        yield "["
        for number, trade in enumerate(result.trades):
            yield (", " if number else "") + json.dumps(_trade(trade, result.job), ensure_ascii=False, allow_nan=False)
        yield "]"
    yield "}"


def result_of(saved: Mapping[str, Any]) -> BacktestResult:
    """The result that `document` made this of, without its logs. Raises BacktestError for what is no such object."""
    try:
        job = dict(saved["job"])
        job |= {name: job[name] and date.fromisoformat(job[name]) for name in ("start", "end")}
        findings = [Finding(one["kind"], one["count"], one["sentence"]) for one in saved["findings"]]
        sentences = {finding.sentence for finding in findings}
        return BacktestResult(
            BacktestJob(**job),
            [_fill(trade) for trade in saved["trades"]],
            [_day(day) for day in saved["daily"]],
            {
                name: date.fromisoformat(value) if name in _DATES and value else _number(value)
                for name, value in saved["statistics"].items()
            },
            [one for one in saved["diagnostics"] if one not in sentences],
            findings,
            row_count=saved["rows"],
            order_count=saved["orders"],
            elapsed_s=_number(saved["elapsed_s"]),
            variables=saved["variables"],
            error=saved["error"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BacktestError(
            f"it is not what redfire backtest --json prints ({type(error).__name__}: {error})"
        ) from None


def _trade(trade: Fill, job: BacktestJob) -> dict[str, Any]:
    return {
        "datetime": trade.time.isoformat(),
        "trading_day": job.trading_day(trade.time).isoformat(),
        "direction": trade.direction,
        "offset": trade.offset,
        "price": _plain(trade.price),
        "volume": _plain(trade.volume),
        "commission": _plain(trade.commission),
        "trade_id": trade.trade_id,
        "order_id": trade.order_id,
    }


def _fill(trade: Mapping[str, Any]) -> Fill:
    values = [_number(trade[name]) for name in ("price", "volume", "commission")]
    at = datetime.fromisoformat(trade["datetime"])
    return Fill(trade["trade_id"], trade["order_id"], at, trade["direction"], trade["offset"], *values)


def _day(day: Mapping[str, Any]) -> Day:
    values = {field.name: _number(day[_DAY_NAMES.get(field.name, field.name)]) for field in fields(Day)}
    return Day(**values | {"date": date.fromisoformat(day["date"])})


def _number(value: Any) -> Any:
    """JSON has no NaN."""
    return float("nan") if value is None else value


def _plain(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else plain(dict(value) if hasattr(value, "keys") else value)
