"""Settings: precedence, and one readable line for what is wrong."""

from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import Field

from services import registry
from services.kernel.errors import StartError
from services.kernel.runtime import settings
from services.kernel.runtime.kernel_sections import KERNEL_SECTIONS, IdentitySettings, ServerSettings
from services.kernel.runtime.live_settings import LiveSettings
from services.kernel.runtime.sections import Section, describe


class TeaSettings(Section):
    """A section of a test."""

    section = "tea"
    former_section = "teas"
    sugar: Decimal = Field(default=Decimal(1), ge=0)
    kinds: dict[str, str] = Field(default_factory=dict)


def load(environ=None, flags=None, file=None):
    return settings.load((TeaSettings,), file, flags, environ or {})


def test_defaults_are_below_the_file_below_the_environment_below_flags(tmp_path):
    file = tmp_path / "redfire.yaml"
    file.write_text("tea: {sugar: 2}\nserver: {port: 1000}\n")
    assert load().of(TeaSettings).sugar == 1
    assert load(file=file).of(TeaSettings).sugar == 2
    environ = {"REDFIRE_TEA__SUGAR": "3"}
    assert load(environ, file=file).of(TeaSettings).sugar == 3
    both = load(environ, {"tea": {"sugar": 4}}, file)
    assert both.of(TeaSettings).sugar == 4
    assert both.of(ServerSettings).port == 1000


def test_a_commands_own_defaults_are_below_the_file(tmp_path):
    file = tmp_path / "redfire.yaml"
    file.write_text("tea: {sugar: 2}\n")
    own = {"tea": {"sugar": 7, "log_level": "ERROR"}}
    loaded = settings.load((TeaSettings,), file, environ={}, defaults=own).of(TeaSettings)
    assert (loaded.sugar, loaded.log_level) == (2, "ERROR")


def test_values_of_one_section_may_come_from_several_places(tmp_path):
    file = tmp_path / "redfire.yaml"
    file.write_text("tea: {sugar: 2}\n")
    loaded = load({"REDFIRE_TEA__LOG_LEVEL": "ERROR"}, {"tea": {"kinds": {"a": "b"}}}, file).of(TeaSettings)
    assert (loaded.sugar, loaded.log_level, loaded.kinds) == (2, "ERROR", {"a": "b"})


def test_a_section_is_still_read_by_its_former_name_with_a_warning(tmp_path, caplog):
    file = tmp_path / "redfire.yaml"
    file.write_text("teas: {sugar: 2, log_level: ERROR}\ntea: {sugar: 3}\n")
    loaded = load(file=file).of(TeaSettings)
    assert (loaded.sugar, loaded.log_level) == (3, "ERROR")
    assert load({"REDFIRE_TEAS__SUGAR": "4"}, file=file).of(TeaSettings).sugar == 4
    assert load({"REDFIRE_TEAS__SUGAR": "4", "REDFIRE_TEA__SUGAR": "5"}).of(TeaSettings).sugar == 5
    assert "section teas is now called tea" in caplog.text
    assert "REDFIRE_TEAS__SUGAR is now called REDFIRE_TEA__SUGAR" in caplog.text


def test_config_values_under_a_former_name_count_less_than_those_under_the_present_one():
    live = LiveSettings(TeaSettings())
    live.overlay({"sugar": 2, "log_level": "ERROR"}, "teas")
    live.overlay({"sugar": 3}, "tea")
    assert (live.value.sugar, live.value.log_level) == (3, "ERROR")
    live.overlay({}, "tea")
    assert live.value.sugar == 2


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"REDFIRE_TEA__SUGAR": "abc"}, "tea.sugar"),
        ({"REDFIRE_TEA__SUGAR": "-1"}, "tea.sugar"),
        ({"REDFIRE_TEA__MILK": "1"}, "REDFIRE_TEA__MILK"),
        ({"REDFIRE_NO_SUCH__KEY": "1"}, "REDFIRE_NO_SUCH__KEY"),
        ({"REDFIRE_TEA": "1"}, "REDFIRE_TEA"),
        ({"REDFIRE_IDENTITY__EDGE_SECRET": "too-short"}, "identity.edge_secret"),
        ({"REDFIRE_TEA__KINDS": "{broken"}, "tea"),
        ({"REDFIRE_DATABASE__URL": "postgresql://db/x"}, "database.url"),
        ({"REDFIRE_DATABASE__URL": "postgresql+asyncpg://u@too-short:too-short/{name}"}, "database.url"),
        ({"REDFIRE_EVENTS__URL": "http://u:too-short@mq"}, "events.url"),
        ({"REDFIRE_EVENTS__URL": "amqp://u:too-short/@mq"}, "events.url"),
        ({"REDFIRE_EVENTS__URL": "amqp://u:1#too-short@mq"}, "events.url"),
        ({"REDFIRE_EVENTS__URL": "amqp://u:too-short@[mq"}, "events.url"),
        ({"REDFIRE_REDIS__URL": "memcached://cache"}, "redis.url"),
        ({"REDFIRE_REDIS__URL": "redis://u:too-short/@cache"}, "redis.url"),
        ({"REDFIRE_REDIS__URL": "redis://u:1#too-short@cache"}, "redis.url"),
        ({"REDFIRE_REDIS__URL": "redis://cache/0?socket_timeout=60"}, "redis.url"),
    ],
)
def test_a_wrong_variable_stops_the_start_in_one_line_that_names_it(environ, named):
    with pytest.raises(StartError) as caught:
        load(environ)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "too-short" not in str(caught.value)


def test_the_real_environment_is_read(monkeypatch):
    monkeypatch.setenv("REDFIRE_TEA__SUGAR", "9")
    assert settings.load((TeaSettings,)).of(TeaSettings).sugar == 9
    monkeypatch.setenv("REDFIRE_TEA__SUGAR", "abc")
    with pytest.raises(StartError, match=r"tea\.sugar"):
        settings.load((TeaSettings,))


def test_all_wrong_variables_are_named_at_once():
    with pytest.raises(StartError) as caught:
        load({"REDFIRE_NO_SUCH__KEY": "1", "REDFIRE_TEA__SUGAR": "abc"})
    assert "NO_SUCH" in str(caught.value)
    assert "tea.sugar" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("tea: [1]", "tea"),
        ("coffee: {a: 1}", "coffee"),
        ("tea: {milk: 1}", "tea.milk"),
        ("{", "config file"),
        ("5", "sections"),
    ],
)
def test_a_wrong_file_stops_the_start_in_one_line_that_names_it(tmp_path, text, named):
    file = tmp_path / "redfire.yaml"
    file.write_text(text)
    with pytest.raises(StartError) as caught:
        load(file=file)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_stops_the_start(tmp_path):
    with pytest.raises(StartError, match="No such file"):
        load(file=tmp_path / "none.yaml")


def test_types_are_described_by_their_plain_names():
    class Pot(Section):
        section = "pot"
        litres: Annotated[Decimal, Field(ge=0)] | None = None
        lid: Annotated[Literal["open", "closed"], "which"] = "open"
        cups: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)

    kinds = {variable: kind for variable, kind, _, _ in describe(Pot)}
    assert kinds["REDFIRE_POT__LITRES"] == "Decimal"
    assert kinds["REDFIRE_POT__LID"] == "open, closed"
    assert kinds["REDFIRE_POT__CUPS"] == "dict"


def test_no_setting_is_described_by_more_than_names():
    for section in (*KERNEL_SECTIONS, *registry.sections()):
        for variable, kind, _, _ in describe(section):
            assert kind.replace(", ", "").replace(" or ", "").isalnum(), variable
            assert "Annotated" not in kind, variable


def test_sections_are_frozen_and_secrets_do_not_show():
    loaded = load({"REDFIRE_IDENTITY__EDGE_SECRET": "x" * 32})
    with pytest.raises(Exception, match="frozen"):
        loaded.of(TeaSettings).sugar = 5
    assert "x" * 32 not in repr(loaded.of(IdentitySettings))
