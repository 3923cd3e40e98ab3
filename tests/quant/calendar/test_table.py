"""The table of sessions is checked when it is loaded."""

from pathlib import Path

import pytest

from services.kernel.errors import StartError
from services.quant.calendar.table import FILE, load_table


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('continuous: [["09:00", "10:15"]', 'continuous: [["09:00", "10:45"]', "sessions must follow each other"),
        ('{2013-07-08: "02:30"}', '{2013-07-08: "25:30"}', "is not a time like 09:30"),
        (
            '{2014-12-29: "01:00", 2016-05-04: "23:00"}',
            '{2016-05-04: "23:00", 2014-12-29: "01:00"}',
            "dates must ascend",
        ),
        ("products: [au, ag]", "products: [au, cu]", "a product is named twice"),
        ("hours: {2022-12-22: commodity}", "hours: {2022-12-22: comodity}", "there are no hours 'comodity'"),
        ("- [2020-02-04, 2020-05-06]", "- [2020-05-06, 2020-02-04]", "the first day comes first"),
        ("closures:", "closure:", "Field required"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    text = FILE.read_text("utf-8")
    assert old in text
    wrong = tmp_path / "table.yaml"
    wrong.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(StartError, match=reason):
        load_table(wrong)
