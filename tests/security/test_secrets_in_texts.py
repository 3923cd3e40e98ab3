"""Secrets that hide from config's rule: in texts that are documents, in pairs, behind letters that only look right."""

import json
from enum import Enum
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services import registry
from services.kernel.runtime.kernel_sections import KERNEL_SECTIONS
from services.kernel.runtime.secret_rule import looks_secret, names_secret, raw_secrets

HIDDEN = "hunter2-slipped-in"
TEXTS = [
    json.dumps({"user": "me", "password": HIDDEN}),
    json.dumps([["token", HIDDEN]]),
    json.dumps({"a": json.dumps({"b": json.dumps({"passphrase": HIDDEN})})}),
    'settings = {"credentials": ["' + HIDDEN + '"]} # as before',
    '{"\\u0070assword": "' + HIDDEN + '"}',
    '{"token": "' + HIDDEN + '", "token": ""}',
    "{“密码”：“" + HIDDEN + "”}",
    f"smtp:\n  host: mail\n  auth-code: {HIDDEN}\n",
    f"- name: pin\n  value: {HIDDEN}\n",
    f"a: &x {HIDDEN}\napiKey: *x\n",
    f"X-Api-Key: {HIDDEN}",
    f"[smtp]\nhost = mail\npasscode = {HIDDEN}\n",
    f"export DB_PASS='{HIDDEN}'",
    f"# a file\nSIGNING_KEY={HIDDEN}",
    f"https://host/path?x=1&credential={HIDDEN}",
    f"x=1&%70in={HIDDEN}",
    f"https://host/?next=%2Fa%253Fsessionkey%253D{HIDDEN}",
    f"<smtp><pwd>{HIDDEN}</pwd></smtp>",
    f'<add key="mnemonic" value="{HIDDEN}" />',
    f"connect --user me --passphrase {HIDDEN}",
    f"$passwd = '{HIDDEN}';",
]
PAIRS: list[Any] = [
    [["password", HIDDEN]],
    [["user", "me"], ["密码", HIDDEN]],
    {"headers": [["Authorization", HIDDEN]]},
    [["pin", 1234]],
    [["token", {"of": [HIDDEN]}]],
    [{"name": "password", "value": HIDDEN}],
    [{"Name": "pwd", "Value": HIDDEN}],
    [{"k": "access_key", "v": HIDDEN}],
    [{"field": "授权编码", "default": HIDDEN}],
    [{"字段": "口令", "值": HIDDEN}],
    {"command": ["run", "--password", HIDDEN]},
]
NAMES = [
    "раssword",
    "pаsswоrd",
    "ΡΑSSWΟRD",
    "ｓｅｃｒｅｔ",
    "pass​word",
    "tоken",
    "pássword",
    "𝐩𝐰𝐝",
    "ᴘᴀꜱꜱᴡᴏʀᴅ",
    "ѕесrеt",
    "dbРаss",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_secret_in_a_document_or_assignment_of_a_text_is_found(text: str) -> None:
    assert list(raw_secrets("note", text, "value")) == ["value"]
    assert list(raw_secrets("note", {"lines": [text]}, "value")) == ["value.lines[0]"]
    assert not looks_secret(text.replace(HIDDEN, ""))


@pytest.mark.parametrize("value", PAIRS)
def test_a_secret_beside_its_name_is_found(value: Any) -> None:
    assert len(list(raw_secrets("k", value, "value"))) == 1
    assert looks_secret(json.dumps(value))


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_letters_that_look_alike_is_the_name_that_it_looks_like(name: str) -> None:
    assert names_secret(name)
    for value in ({name: HIDDEN}, [[name, HIDDEN]], f"{name}={HIDDEN}", json.dumps({name: HIDDEN}, ensure_ascii=False)):
        assert list(raw_secrets("k", value, "value")), value


def test_a_document_that_grows_without_measure_is_refused_soon() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    assert looks_secret("\n".join(lines))
    assert looks_secret("a: &a [*a]\n")


# What is no secret ----------------------------------------------------------------------------------------------


def ordinary() -> dict[str, Any]:
    """Settings of ours that config may set: numbers, switches and texts, with their defaults."""
    values: dict[str, Any] = {}
    for section in registry.sections():
        for key, field in section.model_fields.items():
            default = field.get_default(call_default_factory=True)
            if not section.is_start_only(key) and isinstance(default, int | float | str):
                # As config keeps it: YAML has no form for an enumeration's member.
                values[key] = default.value if isinstance(default, Enum) else default
    return values


ORDINARY = ordinary()
FORMS = {
    "json": json.dumps,
    "yaml": yaml.safe_dump,
    "lines": lambda values: "\n".join(f"{key} = {value}" for key, value in values.items()),
    "query": lambda values: "https://host/path?" + "&".join(f"{key}={value}" for key, value in values.items()),
    "pairs": lambda values: [[key, value] for key, value in values.items()],
    "members": lambda values: [{"name": key, "value": value} for key, value in values.items()],
}
KEYS = st.sampled_from(sorted(ORDINARY))


@given(
    st.sets(KEYS, min_size=1, max_size=8), st.sampled_from(sorted(FORMS)), st.sampled_from(["token", "密码", "dbPass"])
)
def test_our_own_settings_are_no_secrets_in_any_form_and_one_among_them_is(
    keys: set[str], form: str, secret: str
) -> None:
    values = {key: ORDINARY[key] for key in sorted(keys)}
    assert list(raw_secrets("", FORMS[form](values), "value")) == []
    assert list(raw_secrets("", FORMS[form](values | {secret: HIDDEN}), "value"))


def test_what_our_settings_say_of_themselves_is_no_secret() -> None:
    sections = {*KERNEL_SECTIONS, *registry.sections()}
    told = [field.description or "" for section in sections for field in section.model_fields.values()]
    assert len(told) > 100
    # But for addresses that show where a password would be.
    assert [text for text in told if looks_secret(text.replace("user:password@", "user@"))] == []


@pytest.mark.parametrize(
    "value",
    [
        "Token: see the handbook",
        "https://host/orders?pageSize=20&page_token=abc",
        "if token == other: pass",
        '{"max_tokens": 4096, "token_ttl_s": 60, "require_password": true}',
        "password_min_length=8",
        "DB_PASSWORD=${DB_PASSWORD}",
        '{"smtp": {"password": {"secret": "smtp-password"}}}',
        "密码长度: 8",
        "股指期货 IF2612：多头 3 手",
        "Привет, мир",
        "x = a[b]; y: {z}",
        ["password", "user"],
        {"type": "object", "required": ["password", "user"]},
        [{"name": "password", "label": "Your password", "required": True}],
        [["IF2612.CFFEX", 3], ["au2612.SHFE", 1]],
        {"hidden_columns": ["token", "pin"]},
    ],
)
def test_ordinary_values_are_no_secrets(value: Any) -> None:
    assert list(raw_secrets("", value, "value")) == []
