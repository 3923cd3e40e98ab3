"""Settings: frozen, typed, read once: defaults < YAML file < environment `REDFIRE_<SECTION>__<KEY>` < flags.

A section is a class of a service (or of the kernel). A wrong key or value stops the start with one line that names it.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import Field, ValidationError, create_model
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from services.kernel.errors import StartError
from services.kernel.runtime.kernel_sections import KERNEL_SECTIONS
from services.kernel.runtime.secret_files import VARIABLES
from services.kernel.runtime.sections import PREFIX, BaseSection

log = logging.getLogger(__name__)

S = TypeVar("S", bound=BaseSection)


class Settings:
    """All sections, as read."""

    def __init__(self, sections: Mapping[str, BaseSection]) -> None:
        self._sections = dict(sections)

    def of(self, section: type[S]) -> S:
        """One section."""
        return cast(S, self._sections[section.section])

    def sections(self) -> Mapping[str, BaseSection]:
        """All of them by name."""
        return dict(self._sections)

    def replaced(self, **sections: BaseSection) -> "Settings":
        """The same with other sections."""
        return Settings({**self._sections, **sections})


def load(
    section_classes: tuple[type[BaseSection], ...],
    config_file: Path | None = None,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Read the settings. Raises StartError, whose one line names what is wrong.

    `defaults` are a command's own, below the file, the environment and the flags.
    """
    environ = dict(os.environ if environ is None else environ)
    classes = {cls.section: cls for cls in (*KERNEL_SECTIONS, *section_classes)}
    former = {cls.former_section: cls.section for cls in classes.values() if cls.former_section}
    environ = _rename_variables(environ, former)
    written = _read_yaml(config_file, classes, former) if config_file else {}
    problems = _unknown_variables(environ, classes)
    fields: dict[str, Any] = {name: (cls, Field(default_factory=cls)) for name, cls in classes.items()}

    class Root(BaseSettings):
        model_config = SettingsConfigDict(
            env_prefix=PREFIX,
            env_nested_delimiter="__",
            frozen=True,
            extra="forbid",
            nested_model_default_partial_update=True,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            below = InitSettingsSource(settings_cls, {name: dict(values) for name, values in (defaults or {}).items()})
            return init_settings, env_settings, InitSettingsSource(settings_cls, written), below

    root = create_model("RedFireSettings", __base__=Root, **fields)
    try:
        with _environment(environ):
            loaded = root(**{name: dict(values) for name, values in (flags or {}).items() if values})
    except ValidationError as error:
        problems += [f"{'.'.join(str(part) for part in e['loc'])}: {_plain(e['msg'])}" for e in error.errors()]
    except Exception as error:  # pydantic-settings reports unreadable JSON of a variable by its own class
        problems.append(str(error).split("\n")[0])
    if problems:
        raise StartError("wrong settings: " + "; ".join(problems))
    return Settings({name: getattr(loaded, name) for name in classes})


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Extra inputs are not permitted", "there is no such key")


def _read_yaml(file: Path, classes: Mapping[str, type[BaseSection]], former: Mapping[str, str]) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise StartError(f"config file {file}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise StartError(f"config file {file}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise StartError(f"config file {file}: sections with keys are expected")
    for old, new in former.items():
        if isinstance(document.get(old), dict) and isinstance(document.get(new, {}), dict):
            log.warning("config file %s: section %s is now called %s", file, old, new)
            document[new] = {**document.pop(old), **document.get(new, {})}
    for name, values in document.items():
        if name not in classes:
            raise StartError(f"config file {file}: there is no section {name}")
        if values is not None and not isinstance(values, dict):
            raise StartError(f"config file {file}: section {name}: keys with values are expected")
    return {name: values for name, values in document.items() if values}


def _rename_variables(environ: Mapping[str, str], former: Mapping[str, str]) -> dict[str, str]:
    """Give variables of sections that were renamed their present name; where both are set, the present one counts."""
    renamed = dict(environ)
    for variable in environ:
        section, delimiter, key = variable.upper().removeprefix(PREFIX).partition("__")
        if variable.upper().startswith(PREFIX) and delimiter and (new := former.get(section.lower())):
            name = f"{PREFIX}{new.upper()}__{key}"
            log.warning("%s is now called %s", variable, name)
            renamed.setdefault(name, renamed.pop(variable))
    return renamed


def _unknown_variables(environ: Mapping[str, str], classes: Mapping[str, type[BaseSection]]) -> list[str]:
    problems = []
    for variable in environ:
        name = variable.upper()
        if not name.startswith(PREFIX) or name.startswith(VARIABLES):
            continue
        section, delimiter, key = name.removeprefix(PREFIX).lower().partition("__")
        if not delimiter or section not in classes:
            problems.append(f"{variable}: there is no such section")
        elif key.partition("__")[0] not in classes[section].model_fields:
            problems.append(f"{variable}: there is no such key")
    return problems


class _environment:  # noqa: N801 a context manager, named as it is read
    """Makes pydantic-settings, which reads os.environ, see the environment that was given."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __enter__(self) -> None:
        self._saved = {k: v for k, v in os.environ.items() if k.upper().startswith(PREFIX)}
        for key in self._saved:
            del os.environ[key]
        os.environ.update({k: v for k, v in self._environ.items() if k.upper().startswith(PREFIX)})

    def __exit__(self, *_: object) -> None:
        for key in [k for k in os.environ if k.upper().startswith(PREFIX)]:
            del os.environ[key]
        os.environ.update(self._saved)
