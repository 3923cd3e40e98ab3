"""The instruments' catalogue: rules of products and the symbols that follow them."""

import logging
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from services.kernel.errors import StartError

log = logging.getLogger(__name__)
_OWN_FILE = Path(__file__).with_name("catalogue.yaml")
_SYMBOL = re.compile(r"^([A-Za-z]+)[0-9]{3,4}\.([A-Z]{2,8})$")
_FULL_SYMBOL = re.compile(r"^[A-Za-z0-9_-]{1,32}\.[A-Z]{2,8}$")

Kind = Literal["FUTURES", "EQUITY", "OPTION", "FUND", "SPOT", "INDEX"]


def _exact(value: Any) -> Any:
    """Numbers of a YAML file by their text: 0.1 is a tenth, not the nearest float."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Number = Annotated[Decimal, BeforeValidator(_exact)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SimulatedMarket(_Entry):
    """Parameters of an instrument's random market."""

    price: Positive
    depth: int = Field(default=20, gt=0)
    open_interest: int = Field(default=100_000, ge=0)


class Instrument(_Entry):
    """An instrument, with all that an exchange's contract specification says."""

    symbol: str
    name: str
    kind: Kind = "FUTURES"
    contract_size: Positive
    price_tick: Positive
    min_quantity: Positive = Decimal(1)
    quantity_step: Positive = Decimal(1)
    margin_rate: Annotated[Number, Field(ge=0, le=1)]
    commission_rate: NotNegative = Decimal(0)
    commission_fixed: NotNegative = Decimal(0)
    close_today_commission_rate: NotNegative = Decimal(0)
    close_today_commission_fixed: NotNegative = Decimal(0)
    price_limit_ratio: Annotated[Number, Field(ge=0, lt=1)] = Decimal("0.1")
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "CNY"
    expire_date: date | None = None
    simulated: SimulatedMarket | None = None

    @property
    def exchange(self) -> str:
        """vnpy's code of the exchange: `CFFEX`."""
        return self.symbol.rpartition(".")[2]

    @property
    def code(self) -> str:
        """The symbol without its exchange: `IF2612`."""
        return self.symbol.rpartition(".")[0]


class Catalogue:
    """Instruments by symbol. One that is not listed becomes an instrument by the rules of its product."""

    def __init__(self, products: dict[str, dict[str, Any]], symbols: dict[str, dict[str, Any]], source: str) -> None:
        self._source = source
        self._products = products
        self._derived: dict[str, Instrument] = {}
        for product, rules in products.items():
            if not re.match(r"^[A-Za-z]+\.[A-Z]{2,8}$", product):
                raise StartError(f"{source}: product {product!r} is not like IF.CFFEX")
            self._check(f"{product.partition('.')[0]}0000.{product.partition('.')[2]}", {}, rules)
        self._instruments = {symbol: self._make(symbol, own) for symbol, own in symbols.items()}

    @classmethod
    def load(cls, extra_file: str = "") -> "Catalogue":
        """Read the shipped catalogue, extended and overridden by a file of the same form.

        Raises: StartError with one line that names the file, the entry and what is wrong with it.
        """
        products, symbols = _read(_OWN_FILE)
        source = _OWN_FILE.name
        if extra_file:
            source = extra_file
            more_products, more_symbols = _read(Path(extra_file))
            for name, rules in more_products.items():
                products[name] = {**products.get(name, {}), **rules}
            for symbol, own in more_symbols.items():
                symbols[symbol] = {**symbols.get(symbol, {}), **own}
        return cls(products, symbols, source)

    def __iter__(self) -> Iterator[Instrument]:
        """All instruments known so far, by symbol."""
        return iter([instrument for _, instrument in sorted({**self._instruments, **self._derived}.items())])

    def listed(self) -> list[Instrument]:
        """The instruments that the catalogue names: what the simulated market trades."""
        return [instrument for _, instrument in sorted(self._instruments.items())]

    def find(self, symbol: str) -> Instrument | None:
        """The instrument of a symbol: listed, or derived from its product; None when neither is known."""
        instrument = self._instruments.get(symbol) or self._derived.get(symbol)
        if instrument is not None:
            return instrument
        match = _SYMBOL.match(symbol)
        if match is None or f"{match[1]}.{match[2]}" not in self._products:
            return None
        return self._derived.setdefault(symbol, self._make(symbol, {}))

    def _make(self, symbol: str, own: dict[str, Any]) -> Instrument:
        match = _SYMBOL.match(symbol)
        rules = self._products.get(f"{match[1]}.{match[2]}", {}) if match else {}
        return self._check(symbol, rules, own)

    def _check(self, symbol: str, rules: dict[str, Any], own: dict[str, Any]) -> Instrument:
        if not _FULL_SYMBOL.match(symbol):
            raise StartError(f"{self._source}: {symbol!r} is not a symbol like IF2612.CFFEX")
        merged = {**rules, **own, "symbol": symbol}
        if "name" in rules and "name" not in own:
            merged["name"] = f"{rules['name']} {symbol.partition('.')[0]}"
        try:
            return Instrument.model_validate(merged)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise StartError(f"{self._source}: {symbol}: {where}: {first['msg']}") from None


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    try:
        document = yaml.load(path.read_text("utf-8"), Loader=yaml.CSafeLoader) or {}
    except OSError as error:
        raise StartError(f"instruments file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise StartError(f"instruments file {path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not set(document) <= {"products", "symbols"}:
        raise StartError(f"instruments file {path}: it has `products` and `symbols`, and nothing else")
    parts = []
    for part in ("products", "symbols"):
        entries = document.get(part) or {}
        if not isinstance(entries, dict) or not all(isinstance(e, dict | None) for e in entries.values()):
            raise StartError(f"instruments file {path}: `{part}` must map names to fields")
        parts.append({str(name): _without_sessions(path, str(name), entry or {}) for name, entry in entries.items()})
    return parts[0], parts[1]


def _without_sessions(path: Path, name: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Files of earlier versions had sessions, which the calendar has now."""
    if "sessions" in entry:
        log.warning("instruments file %s: %s: `sessions` is not read: the calendar says when it trades", path, name)
    return {key: value for key, value in entry.items() if key != "sessions"}
