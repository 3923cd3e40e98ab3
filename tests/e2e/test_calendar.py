"""The calendar over REST, as a guest asks through the edge."""

import json

import pytest

from tests.running import Client, Running


@pytest.fixture
def guest(up: Running) -> Client:
    return up.client()


def test_a_guest_lists_trading_days_with_a_products_sessions(guest):
    query = {"startDate": "2026-11-27", "endDate": "2026-11-30", "product": "au"}
    days = guest.get("/api/market/calendar/SHFE", **query).json()["days"]
    assert [day["tradingDay"] for day in days] == [20261127, 20261130]
    night = next(one for one in days[1]["sessions"] if one["kind"] == "SESSION_KIND_CONTINUOUS")
    assert (night["startTime"], night["endTime"]) == ("2026-11-27T13:00:00Z", "2026-11-27T18:30:00Z")
    page = guest.get("/api/market/calendar/SHFE", **query, pageSize=1).json()
    assert [day["tradingDay"] for day in page["days"]] == [20261127]
    rest = guest.get("/api/market/calendar/SHFE", **query, pageSize=1, pageToken=page["nextPageToken"])
    assert [day["tradingDay"] for day in rest.json()["days"]] == [20261130]
    by_symbol = {"startDate": "2019-05-08", "endDate": "2019-05-08", "symbol": "rb1910.SHFE"}
    (day,) = guest.get("/api/market/calendar/SHFE", **by_symbol).json()["days"]
    assert day["sessions"][0]["startTime"] == "2019-05-07T12:55:00Z"


@pytest.mark.parametrize(
    ("path", "parameters", "status"),
    [
        ("/api/market/calendar/SHEF", {}, 404),
        ("/api/market/calendar/SHFE", {"startDate": "27.11.2026"}, 400),
        ("/api/market/calendar/SHFE", {"startDate": "2026-11-27", "endDate": "2026-11-26"}, 400),
        ("/api/market/calendar/SHFE", {"symbol": "IF2612.CFFEX"}, 400),
        ("/api/market/sessions/no2701.SHFE", {}, 404),
        ("/api/market/sessions:stream", {}, 400),
    ],
)
def test_what_cannot_be_answered_has_its_status(guest, path, parameters, status):
    assert guest.get(path, **parameters).status_code == status


def test_a_guest_reads_a_session_and_streams_it(guest):
    session = guest.get("/api/market/sessions/rb2701.SHFE").json()["session"]
    assert session["state"].startswith("SESSION_STATE_")
    assert session["nextState"] != session["state"]
    assert session["nextChangeTime"]
    query = {"symbols": ["rb2701.SHFE", "IF2612.CFFEX"]}
    with guest.http.stream("GET", "/api/market/sessions:stream", params=query) as answer:
        assert answer.status_code == 200
        lines = (line for line in answer.iter_lines() if line)
        symbols = {json.loads(next(lines))["session"]["symbol"] for _ in range(2)}
    assert symbols == {"rb2701.SHFE", "IF2612.CFFEX"}
