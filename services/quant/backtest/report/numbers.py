"""Numbers and dates as the reports write them: thousands separators, a real minus, fixed decimals a unit."""

import math
from datetime import date, datetime

MINUS = "−"
NONE = "–"

_DECIMALS = {"money": 2, "percent": 2, "ratio": 2, "hours": 1, "count": 0, "days": 0}
_SIGNS = {"percent": "%", "hours": " h"}


def number(value: float, decimals: int = 2) -> str:
    """1234.5 as 1,234.50; what is not finite as a dash."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:,.{decimals}f}"
    if text.lstrip("-0.,") == "":
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    """Like `number`, with a plus above 0."""
    text = number(value, decimals)
    return text if text.startswith(MINUS) or not text.strip("0.,") or text == NONE else f"+{text}"


def percent(value: float, decimals: int = 2) -> str:
    """12.5 as +12.50%."""
    return f"{signed(value, decimals)}%"


def trimmed(value: float, decimals: int = 6) -> str:
    """A price or setting with no more decimals than it has."""
    text = number(value, decimals)
    return text.rstrip("0").rstrip(".") if "." in text else text


def statistic(value: object, unit: str) -> str:
    """A statistic's value by its unit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value.isoformat() if isinstance(value, date) else str(value) or NONE
    if unit == "text":
        return trimmed(float(value), 4)
    text = number(float(value), _DECIMALS.get(unit, 2))
    return text + _SIGNS.get(unit, "") if text != NONE else text


def plain(value: object) -> str:
    """A parameter's or a setting's value, as its user would write it."""
    if isinstance(value, float):
        return trimmed(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return number(value, 0)
    return str(value)


def time(value: datetime) -> str:
    """A moment of the exchange's clock, to the second."""
    return value.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")


def sign(value: float) -> str:
    """The CSS class of a gain or a loss."""
    return "up" if value > 0 else "down" if value < 0 else ""
