"""The statistic that a search maximises: which there are, and its value in a result."""

from datetime import date

from services.quant.backtest.job import BacktestError, BacktestJob
from services.quant.backtest.optimise.point import Statistics
from services.quant.backtest.result import Day


def statistic_names(job: BacktestJob) -> list[str]:
    """Every statistic that is a number, vnpy's first, then ours: those of a run of one day without trades."""
    from services.quant.backtest.analysis.performance import extra_statistics
    from services.quant.backtest.analysis.statistics import vnpy_statistics

    zeros = dict.fromkeys(Day.__dataclass_fields__, 0)
    day = Day(**{**zeros, "date": date(2000, 1, 1), "balance": job.capital})  # type: ignore[arg-type]
    statistics: Statistics = vnpy_statistics(job, [day]) | extra_statistics(job, [day], [])
    return [name for name, value in statistics.items() if isinstance(value, int | float)]


def check_target(job: BacktestJob, target: str) -> None:
    """Raises BacktestError that lists what there is."""
    names = statistic_names(job)
    if target not in names:
        raise BacktestError(
            f"target {target!r} is no statistic that is a number; there are {', '.join(names)}", "target"
        )
