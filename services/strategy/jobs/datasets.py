"""The data that jobs run on: what market and `redfire data import` keep in the store, by name and never by path."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from services.strategy.backtest.dataset import Dataset
from services.strategy.jobs.job import Setup


def load(data_dir: Path, setup: Setup) -> Dataset:
    """All rows up to the last day: those before the first warm the strategy up. Raises BacktestError."""
    job = setup.backtest_job()
    data: Dataset = _store(data_dir).load(setup.dataset, job.interval, None, job.end)
    return replace(data, symbol=setup.symbol)


def check(data_dir: Path, setup: Setup) -> None:
    """Raises BacktestError when there are no rows for this setup, without reading them all."""


def _store(data_dir: Path) -> Any:
    return import_module("services.strategy.backtest.store").DataStore(data_dir)
