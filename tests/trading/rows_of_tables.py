"""Rows of trading's tables with something in each column."""

from sqlalchemy import Boolean, Integer, LargeBinary, Numeric


def kind_of(column):
    """The type of a column's values in the database."""
    return type(getattr(column.type, "impl", column.type))


def row_of(model, **values):
    """A row with the given values, and something of its type in each other column."""
    defaults = {LargeBinary: b"", Boolean: False, Numeric: 1, Integer: 1}
    return {
        column.name: values.get(
            column.name, next((value for kind, value in defaults.items() if issubclass(kind_of(column), kind)), "")
        )
        for column in model.__table__.columns
    }
