"""The result of a job, as it is kept in the database: checked, since users' code could have written it."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_MOST = 1 << 53
_LARGEST = 10**300
# What protobuf's numbers take, and as much text as a job's process itself would write.
Whole: TypeAlias = Annotated[int, Field(ge=-_LARGEST, le=_LARGEST)]
Line: TypeAlias = Annotated[str, Field(max_length=1000)]
Scalars: TypeAlias = Annotated[dict[Line, bool | Whole | float | Line | None], Field(max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Finding(_Part):
    kind: str = Field(max_length=100)
    count: int = Field(ge=0, le=_MOST)
    sentence: str = Field(max_length=1000)


class _Point(_Part):
    parameters: Scalars
    target: float | None
    statistics: Scalars
    error: str = Field(max_length=1000)


class JobResult(_Part):
    """Result of a job: of a backtest all but `best` and `point_count`, of an optimisation these two."""

    statistics: Scalars = {}
    diagnostics: list[Line] = Field(default=[], max_length=200)
    findings: list[_Finding] = Field(default=[], max_length=200)
    logs: list[Line] = Field(default=[], max_length=2000)
    variables: Scalars = {}
    trade_count: int = Field(default=0, ge=0, le=(1 << 31) - 1)
    best: list[_Point] = Field(default=[], max_length=100)
    point_count: int = Field(default=0, ge=0, le=(1 << 31) - 1)

    @classmethod
    def checked(cls, document: dict[str, Any]) -> dict[str, Any]:
        """The document, if it is one of these; an empty one stays empty. Raises ValueError."""
        try:
            return cls.model_validate(cleaned(document)).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise ValueError(str(error)) from error


def cleaned(value: Any) -> Any:
    """The same with texts that every database and protobuf take: no NUL, no half of a surrogate pair."""
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode()
        case dict():
            return {cleaned(key): cleaned(item) for key, item in value.items()}
        case list():
            return [cleaned(item) for item in value]
    return value
