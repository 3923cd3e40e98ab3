"""Reads a tree of configuration files (YAML, JSON, .env, INI) as one document `{service: {key: value}}`."""

import configparser
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.commands.click_command import BadInput
from services.config.document import KEY, SERVICE_NAME, DocumentFormat, parse_document
from services.kernel.errors import Invalid

_YAML, _JSON, _ENV, _INI = {".yaml", ".yml"}, {".json"}, {".env"}, {".ini", ".cfg", ".conf"}
_MAX_FILES = 2_000
_MAX_BYTES = 2_000_000
_SHARED = "platform"
"""The service of files that no folder or name gives to another."""
_ENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")


@dataclass(slots=True)
class Tree:
    """Content of the files: the document, the file that each value came from, and the files left out."""

    document: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources: dict[tuple[str, str], Path] = field(default_factory=dict)
    files: int = 0
    not_read: list[str] = field(default_factory=list)


def read_tree(root: Path, service: str | None = None) -> Tree:
    """Read a file or a folder. With `service` everything is that service's.

    A value's service is the first folder below `root`, else the file's name; its key are the names on its way, with
    dots. `config.yaml`, `settings.ini`, `.env` and the like in `root` itself are of `platform`, unless their outermost
    names are services. A file's text stays text where its format has nothing else (.env, INI).
    Raises BadInput that names both files where two give a key different values, and the file that cannot be read.
    """
    if not root.exists():
        raise BadInput(f"{root}: no such file or folder")
    tree = Tree()
    for file in _files(root, tree):
        values = _read(file)
        tree.files += 1
        for name, key, value in _entries(root, file, values, service):
            _add(tree, file, name, key, value)
    if not tree.files:
        raise BadInput(f"{root}: no YAML, JSON, .env or INI file here")
    return tree


def _files(root: Path, tree: Tree) -> Iterator[Path]:
    files = [root] if root.is_file() else sorted(file for file in root.rglob("*") if _is_candidate(root, file))
    if len(files) > _MAX_FILES:
        raise BadInput(f"{root}: {len(files):,} files; at most {_MAX_FILES:,} are taken at once")
    for file in files:
        if _kind(file) is None:
            tree.not_read.append(f"{file}: neither YAML, JSON, .env nor INI")
        else:
            yield file


def _is_candidate(root: Path, file: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts[:-1])  # .git and the like
    return not hidden and not file.is_symlink() and file.is_file()


def _kind(file: Path) -> str | None:
    suffix = file.suffix.lower()
    if file.name == ".env" or file.name.startswith(".env.") or suffix in _ENV:
        return "env"
    kinds = {"yaml": _YAML, "json": _JSON, "ini": _INI}
    return next((kind for kind, suffixes in kinds.items() if suffix in suffixes), None)


def _read(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise BadInput(f"{file}: larger than {_MAX_BYTES / 1e6:g} MB: this is no configuration")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{file}: this is not UTF-8") from None
    match _kind(file):
        case "env":
            return dict(_env(file, text))
        case "ini":
            return _ini(file, text)
        case kind:
            return _mapping(file, text, DocumentFormat.JSON if kind == "json" else DocumentFormat.YAML)


def _mapping(file: Path, text: str, kind: DocumentFormat) -> dict[str, Any]:
    """A YAML or JSON mapping, by the rules that config reads documents by: no key twice, `no` is a text."""
    if not text.strip():
        return {}
    # One level further in, where anything may be: the file's own names need not be services.
    indented = "".join(f"    {line}" for line in text.splitlines(keepends=True))
    wrapped = f'{{"file": {{"content": {text}}}}}' if kind is DocumentFormat.JSON else f"file:\n  content:\n{indented}"
    try:
        content = parse_document(wrapped, kind)["file"]["content"]
    except Invalid as error:
        raise BadInput(f"{file}: {error.message.removeprefix('document: ')}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise BadInput(f"{file}: this is not {{name: value}}")
    return {str(key): value for key, value in content.items()}


def _env(file: Path, text: str) -> Iterator[tuple[str, str]]:
    seen = set()
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        match = _ENV_LINE.fullmatch(line)
        if match is None:
            raise BadInput(f"{file}: line {number} is not NAME=value")
        name, value = match[1], match[2].strip()
        if name in seen:
            raise BadInput(f"{file}: line {number}: {name} is given twice")
        seen.add(name)
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            if end < 0 or (value[end + 1 :].strip() not in ("",) and not value[end + 1 :].strip().startswith("#")):
                raise BadInput(f"{file}: line {number}: the quotes of {name} do not match")
            value = value[1:end]
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].rstrip()
        yield name, value


def _ini(file: Path, text: str) -> dict[str, Any]:
    # [DEFAULT] is a section like others: whether others inherit from it is its reader's matter.
    parser = configparser.RawConfigParser(strict=True, default_section="\0")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise BadInput(f"{file}: {' '.join(str(error).split())}") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def _entries(root: Path, file: Path, values: dict[str, Any], service: str | None) -> Iterator[tuple[str, str, Any]]:
    """Service, key and value of everything in a file."""
    below = [] if file == root else list(file.relative_to(root).parts[:-1])
    # What an .env file is called says for whom it is, or of which environment: in a folder it is no part of keys.
    stem = "" if file.name.startswith(".env") or (_kind(file) == "env" and below) else file.stem
    if service is None and not below and values and all(_is_service(name, inner) for name, inner in values.items()):
        for name, inner in values.items():
            yield from ((name, key, value) for key, value in _flat(inner, ""))
        return
    way = [*below, *([stem] if stem and stem not in ("config", "settings", "default", "application") else [])]
    name = service or (way.pop(0).lower() if way else _SHARED)
    prefix = ".".join(way if service is None else [])
    yield from ((name, key, value) for key, value in _flat(values, prefix))


def _is_service(name: str, inner: Any) -> bool:
    from services import registry

    return isinstance(inner, dict) and name in registry.SERVICES


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Names with dots, and the values that are no mappings; an empty mapping is a value."""
    for name, value in values.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, dict) and value and set(value) != {"secret"}:
            yield from _flat(value, key)
        else:
            yield key, value


def _add(tree: Tree, file: Path, service: str, key: str, value: Any) -> None:
    if not SERVICE_NAME.fullmatch(service):
        raise BadInput(f"{file}: {service!r} is not a service's name; --service NAME gives one")
    if not KEY.fullmatch(key):
        raise BadInput(f"{file}: {key!r} is not a key: a letter, then letters, digits, '_', '.' and '-'")
    values = tree.document.setdefault(service, {})
    before = tree.sources.setdefault((service, key), file)
    if key in values and json.dumps(values[key], sort_keys=True) != json.dumps(value, sort_keys=True):
        raise BadInput(f"{service}.{key}: {before} and {file} give it different values")
    values[key] = value
