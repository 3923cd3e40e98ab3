"""The texts of the reports in each language, and how each statistic is named, explained and shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.quant.backtest.job import BacktestError

LANGUAGES = ("en", "zh")
"""Languages in the order of texts.yaml and statistics.yaml."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Statistic:
    """The presentation of one statistic; `name` is its key in BacktestResult.statistics, vnpy's where vnpy has it.

    `unit` is money, percent, ratio, count, days, hours, date or text; `better` high, low or none.
    """

    name: str
    group: str
    unit: str
    better: str
    label: str
    definition: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Texts of a page in one language."""

    language: str
    texts: Mapping[str, str]
    statistics: Mapping[str, Statistic]

    def __call__(self, key: str, **values: object) -> str:
        """The text of `key` with `values` filled in. Raises KeyError for a key that the catalogue lacks."""
        return self.texts[key].format(**values) if values else self.texts[key]

    def statistic(self, name: str) -> Statistic:
        """Return the presentation of `name`; one that the catalogue does not know yet is shown by its bare name."""
        return self.statistics.get(name) or Statistic(name, "other", "text", "none", name, "")


def catalogue(language: str) -> Catalogue:
    """The catalogue of `language`: en or zh, also with a region ("zh_CN.UTF-8"). Raises BacktestError for another."""
    short = language.lower().replace("_", "-").split("-")[0].split(".")[0]
    if short not in LANGUAGES:
        raise BacktestError(f"language {language!r} is none of {', '.join(LANGUAGES)}", "lang")
    return _load(short)


@cache
def _load(language: str) -> Catalogue:
    index = LANGUAGES.index(language)
    texts = {key: pair[index] for key, pair in read("texts.yaml").items()}
    statistics = {
        name: Statistic(name, row["group"], row["unit"], row["better"], row["label"][index], row["definition"][index])
        for name, row in read("statistics.yaml").items()
    }
    return Catalogue(language, texts, statistics)


def read(file_name: str) -> dict[str, Any]:
    """A catalogue file as it is written."""
    return yaml.safe_load((_HERE / file_name).read_text(encoding="utf-8"))
