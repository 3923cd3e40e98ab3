"""An account's profit and loss of the trading day, which a restart must not forget."""

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(slots=True)
class DailyPnl:
    """Totals since the account was opened: `baseline` when the trading day began, `last_total` now.

    `trading_day` is YYYYMMDD, 0 before any tick showed it. `loss_reached` stays set until the next trading day.
    """

    account_id: str
    user_id: str
    trading_day: int
    baseline: Decimal
    last_total: Decimal
    loss_reached: bool = False
    _saved: tuple[int, Decimal, Decimal, bool] | None = field(default=None, compare=False)

    def begin(self, trading_day: int) -> None:
        """A trading day begins. The first one that is known is the one that it was all along."""
        if self.trading_day:
            self.baseline, self.loss_reached = self.last_total, False
        self.trading_day = trading_day

    @property
    def changed(self) -> bool:
        """Return true when it differs from the last one written."""
        return self._saved != self._state()

    def saved(self, done: bool = True) -> None:
        """Note the present state as the one in the database; `done` is False when the write failed."""
        self._saved = self._state() if done else None

    def _state(self) -> tuple[int, Decimal, Decimal, bool]:
        return self.trading_day, self.baseline, self.last_total, self.loss_reached
