"""Backtests of a running platform: data to run on, and one of each kind that has finished."""

from pathlib import Path
from typing import Any

from tests.running import Client, until
from tests.strategy.jobs.backtests import store_bars

SYMBOL = "rb2101.SHFE"
BACKTEST: dict[str, Any] = {
    "className": "DoubleMaStrategy",
    "symbol": SYMBOL,
    "interval": "INTERVAL_1M",
    "capital": "1000000",
    "commissionRate": "0.0001",
    "slippage": "1",
    "contractSize": "10",
    "priceTick": "1",
}
ENDED = ("JOB_STATUS_FINISHED", "JOB_STATUS_FAILED", "JOB_STATUS_CANCELED")


def bring_data(data_dir: Path) -> None:
    """Into the store of a platform, running or not; again: changes nothing."""
    store_bars(data_dir, SYMBOL)


def ended(client: Client, path: str, timeout_s: float = 60) -> dict[str, Any]:
    """The job at a path, once it has ended."""
    noun = "backtest" if "/backtests/" in path else "optimization"

    def ended_job() -> dict[str, Any] | None:
        job = client.get(path).json()[noun]
        return job if job["status"] in ENDED else None

    return until(ended_job, timeout_s)


def jobs_of(client: Client) -> tuple[str, str]:
    """The ids of a backtest and of an optimisation of the user's, both finished, of two trades and points at least."""
    bring_data(client.running.data_dir)
    until(lambda: client.get("/api/strategies/classes").json()["classes"], timeout_s=30)
    made = client.post("/api/strategies/backtests", BACKTEST)
    assert made.status_code == 200, made.text
    backtest_id = made.json()["backtest"]["backtestId"]
    ranges = [{"name": "fast_window", "start": 5, "stop": 6, "step": 1}]
    made = client.post("/api/strategies/optimizations", {**BACKTEST, "ranges": ranges})
    assert made.status_code == 200, made.text
    optimization_id = made.json()["optimization"]["optimizationId"]
    backtest = ended(client, f"/api/strategies/backtests/{backtest_id}")
    assert backtest["status"] == "JOB_STATUS_FINISHED" and backtest["tradeCount"] > 1, backtest
    search = ended(client, f"/api/strategies/optimizations/{optimization_id}")
    assert search["status"] == "JOB_STATUS_FINISHED" and search["pointCount"] == 2, search
    return backtest_id, optimization_id
