"""The log file: every line is there, in order, bounded, and readable as JSON."""

import asyncio
import json
import logging

import pytest

from services.kernel.rpc.telemetry import JsonFormatter, LogFile
from tests.waiting import until


@pytest.fixture
def logged(tmp_path):
    handler = LogFile(tmp_path / "log", 4_000, 2)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("services.test", logging.INFO)
    logger.addHandler(handler)
    yield logger, tmp_path / "log"
    handler.close()


def messages(file) -> list[str]:
    return [json.loads(line)["message"] for line in file.read_text().splitlines()]


def test_without_a_loop_a_line_is_written_at_once(logged):
    logger, file = logged
    logger.info("one")
    assert messages(file) == ["one"]


async def test_what_a_loop_says_in_a_while_is_written_together_in_order(logged):
    logger, file = logged
    logger.info("one")
    await asyncio.sleep(0)
    logger.info("two")
    assert messages(file) == []
    await until(lambda: messages(file), 2)
    assert messages(file) == ["one", "two"]


async def test_a_warning_is_written_at_once_with_what_was_logged_before_it(logged):
    logger, file = logged
    logger.info("one")
    logger.warning("two")
    assert messages(file) == ["one", "two"]


async def test_what_waits_is_written_when_the_log_is_closed(logged):
    logger, file = logged
    logger.info("one")
    logger.handlers[0].close()
    assert messages(file) == ["one"]


def test_a_full_file_is_put_aside_and_what_is_kept_is_bounded(logged):
    logger, file = logged
    for number in range(200):
        logger.info("line %d", number)
    assert sorted(one.name for one in file.parent.iterdir()) == ["log", "log.1", "log.2"]
    assert all(one.stat().st_size <= 4_000 for one in file.parent.iterdir())
    assert messages(file)[-1] == "line 199"


def test_any_text_and_any_field_is_valid_json(logged):
    logger, file = logged
    logger.info('"quoted"\n\tand 漢字 \x00', extra={"fields": {"count": 3, "list": [1], "none": None}})
    line = json.loads(file.read_text())
    assert line["message"] == '"quoted"\n\tand 漢字 \x00'
    assert (line["count"], line["list"], line["none"], line["service"]) == (3, [1], None, "test")


async def test_text_that_is_no_unicode_takes_no_other_line_along(logged):
    logger, file = logged
    logger.info("file \udcff")
    logger.info("next")
    logger.handlers[0].flush()
    assert messages(file) == ["file \udcff", "next"]
