"""A page as one file: the template with its style, script, data and plotting library in it, and a policy that lets
the browser load nothing else.
"""

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from services.quant.backtest.report import numbers
from services.quant.backtest.report.catalogue import Catalogue

_TEMPLATES = Path(__file__).parent / "templates"


def page(template: str, texts: Catalogue, payload: Mapping[str, Any], **values: object) -> str:
    """The page of `template`; `payload` is what charts.js draws. Everything in `values` is escaped by the template.

    Only the scripts whose hashes the policy names can run, so that text which got past the escaping would stay text.
    """
    script = _asset("charts.js")
    library, library_hash = _library()
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(script)} {library_hash}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    rendered = _environment().get_template(template)
    return rendered.render(
        t=texts,
        language={"zh": "zh-CN"}.get(texts.language, texts.language),
        policy=policy,
        style=Markup(_asset("style.css")),  # noqa: S704 — our own file # nosec B704
        script=Markup(script),  # noqa: S704 — our own file # nosec B704
        library=library,
        payload=Markup(_json({**payload, "texts": texts.texts, "language": texts.language})),  # noqa: S704 — see _json # nosec B704
        n=numbers,
        **values,
    )


def prepare() -> None:
    """Do what the first page of a process would take its time for."""
    _library()


def plain(text: str) -> str:
    """`text` so that the plotting library, which knows some tags, shows it as it is."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@cache
def _environment() -> Environment:
    # select_autoescape goes by file endings: all of ours are HTML.
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


@cache
def _asset(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


@cache
def _library() -> tuple[str, str]:
    """Plotly, gzipped, which is a third of its size, in base64: charts.js unpacks it. And the hash of its source."""
    source = get_plotlyjs()
    return base64.b64encode(gzip.compress(source.encode(), 9, mtime=0)).decode(), _hash(source)


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON that cannot end the script element around it; numbers that JSON lacks become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
