"""A number with its noun, for sentences on data and on runs."""


def pluralize(number: int, one: str, many: str = "") -> str:
    """`1 bar`, `2,000 bars`; `many` where it is not `one` with an s: `2 bars are`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
