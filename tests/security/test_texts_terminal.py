"""Texts of strangers at an operator's terminal: what they name stays a text in tables, in lines and in the log."""

import io
import json
import logging

import pytest
from rich.table import Table
from rich.text import Text

from services.commands import audit
from services.commands.click_command import BadInput
from services.commands.terminal_tables import PlainConsole
from services.kernel.audit_trail.listing import Entry
from services.kernel.printable import escaped_json, printable
from services.kernel.rpc.telemetry import JsonFormatter, PlainFormatter

CLEAR, TITLE, C1, OVERRIDE = "\x1b[2J", "\x1b]0;mine\x07", "\x9b31m", "\u202egnp.exe"
OBEYED = ("\x1b", "\x07", "\x9b", "\u202e", "\x00", "\r")
SAID = "00:00:00 warning services.auth: admin logged in"
HOSTILE = {
    "clears the screen": f"orders/{CLEAR}",
    "sets the title": f"orders/{TITLE}",
    "C1": f"orders/{C1}",
    "turns the text": f"orders/{OVERRIDE}",
    "returns": "orders/1\rusers/2",
    "markup that does not close": "users/[/red]",
    "a style": "users/[red]x",
    "a link": "[link=file:///etc/passwd]here[/link]",
    "an emoji's name": "users/:boom:",
}


def entry(resource: str, reason: str = "") -> Entry:
    details = {"resource": resource, "reason": reason, "client_address": "203.0.113.9"}
    return Entry("auth", "main", 1, 1_796_084_648_092_263_000, "", "/a.B/SetUserStatus", "OK", details, "", "", "")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_record_is_listed_whatever_a_refused_call_named(text, capsys):
    audit._print_table([entry(text), entry("users/7", text)])
    shown = capsys.readouterr().out
    assert not any(sign in shown for sign in OBEYED)
    assert shown.count("SetUserStatus") == 2
    if text.isprintable():
        assert text in shown


def test_a_console_shows_styled_texts_and_titles_with_escapes_too():
    out = io.StringIO()
    table = Table(title=f"[b]{CLEAR}")
    table.add_row(Text(TITLE), f":x:{OVERRIDE}")
    console = PlainConsole(file=out, width=120)
    console.print(table)
    console.print(Text.assemble(("! ", "yellow"), CLEAR))
    console.print("one\n\ttwo")
    shown = out.getvalue()
    assert not any(sign in shown for sign in OBEYED)
    assert "[b]\\x1b[2J" in shown and ":x:\\u202e" in shown and "one\n" in shown


def test_a_message_is_one_line_of_the_terminal():
    forged = f"RuntimeError: boom{CLEAR}\n{SAID}\u2028{OVERRIDE}"
    record = logging.LogRecord("services.strategy", logging.WARNING, __file__, 1, "of %s: %s", ("bad.py", forged), None)
    line = PlainFormatter().format(record)
    assert "\n" not in line and "\u2028" not in line and not any(sign in line for sign in OBEYED)
    assert line.endswith(f"boom\\x1b[2J\\x0a{SAID}\\u2028\\u202e{OVERRIDE[1:]}")


def test_lines_of_the_log_file_hold_nothing_that_a_terminal_obeys_and_all_that_was_said():
    said = f"{CLEAR}\n{C1}{OVERRIDE} 螺纹钢"
    record = logging.LogRecord("services.strategy", logging.WARNING, __file__, 1, "%s", (said,), None)
    line = JsonFormatter().format(record)
    assert "螺纹钢" in line and "\n" not in line and not any(sign in line for sign in OBEYED)
    assert json.loads(line)["message"] == said


def test_what_is_wrong_is_said_in_one_line(capsys):
    BadInput(f"the edge answered {CLEAR}\nredfire: done").show()
    assert capsys.readouterr().err == "redfire: the edge answered \\x1b[2J redfire: done\n"


def test_what_people_write_stays_as_it_is():
    for text in ("螺纹钢 主力", "café", "a\u00a0b", "😀", "שלום", "=1+1"):
        assert printable(text) == text and escaped_json(text) == text
