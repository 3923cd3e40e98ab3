"""Trees of configuration files, read as one document."""

import pytest

from services.commands.click_command import BadInput
from services.commands.imports.config_tree import read_tree


def tree(root, **files):
    for name, content in files.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


def test_a_sprawl_of_formats_is_one_document(tmp_path):
    tree(
        tmp_path,
        risk__limits_dot_yaml="orders:\n  max: 5\n  symbols: [rb, hc]\nenabled: true\n",
        risk__extra_dot_json='{"halt": {"after": 3}}',
        trading_dot_yaml="close_first: no\n",
        market__config_dot_ini="[archive]\nPath = /data\nkeep = 30\n",
        notification__production_dot_env="# mail\nexport SMTP_HOST=mail.example.com # ours\nTEXT='a # b'\nEMPTY=\n",
        platform_dot_yaml="",
    )
    read = read_tree(tmp_path)
    assert read.document == {
        "risk": {"limits.orders.max": 5, "limits.orders.symbols": ["rb", "hc"], "limits.enabled": True,
                 "extra.halt.after": 3},
        "trading": {"close_first": "no"},
        "market": {"archive.Path": "/data", "archive.keep": "30"},
        "notification": {"SMTP_HOST": "mail.example.com", "TEXT": "a # b", "EMPTY": ""},
    }  # fmt: skip
    assert read.files == 6


def test_a_file_by_service_is_read_as_such(tmp_path):
    tree(tmp_path, all_dot_yaml="risk:\n  a: 1\ntrading:\n  b: {c: 2}\n", _dot_env="HOST=x\n")
    assert read_tree(tmp_path).document == {"risk": {"a": 1}, "trading": {"b.c": 2}, "platform": {"HOST": "x"}}


def test_two_files_with_different_values_are_refused_by_name_and_equal_ones_are_not(tmp_path):
    tree(tmp_path, risk_dot_yaml="a: 1\n", risk__config_dot_json='{"a": 1}')
    assert read_tree(tmp_path).document == {"risk": {"a": 1}}
    tree(tmp_path, risk__config_dot_json='{"a": 2}')
    with pytest.raises(BadInput, match=r"risk\.a: .*risk.* and .*risk.* different"):
        read_tree(tmp_path)


def test_a_given_service_takes_everything(tmp_path):
    tree(tmp_path, old__app_dot_ini="[db]\nhost = h\n")
    assert read_tree(tmp_path, "legacy").document == {"legacy": {"db.host": "h"}}


def test_other_files_are_told_and_hidden_folders_are_left_alone(tmp_path):
    tree(tmp_path, risk_dot_yaml="a: 1\n", notes_dot_txt="x", _dot_git__config_dot_yaml="a: [")
    read = read_tree(tmp_path)
    assert read.document == {"risk": {"a": 1}} and len(read.not_read) == 1 and "notes.txt" in read.not_read[0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("risk_dot_yaml", "a: 1\na: 2\n", "twice"),
        ("risk_dot_yaml", "- 1\n", "not {name: value}"),
        ("risk_dot_yaml", "a: [1\n", "not YAML"),
        ("risk_dot_json", '{"a": NaN}', "NaN"),
        ("risk_dot_json", '{"a": 1}} , {"b": {', "JSON"),
        ("risk_dot_env", "A=1\nA=2\n", "line 2: A is given twice"),
        ("risk_dot_env", "A B\n", "line 1"),
        ("risk_dot_env", 'A="x\n', "quotes"),
        ("risk_dot_ini", "a = 1\n", "section"),
        ("risk_dot_ini", "[a]\nb = 1\nb = 2\n", "already exists"),
        ("risk_dot_yaml", "1x: 2\n", "not a key"),
        ("R x_dot_yaml", "a: 2\n", "not a service's name"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, said):
    with pytest.raises(BadInput, match=said):
        read_tree(tree(tmp_path, **{name: content}))


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        read_tree(tmp_path / "absent")
    with pytest.raises(BadInput, match="no YAML"):
        read_tree(tmp_path)
