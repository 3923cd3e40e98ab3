"""`redfire ticks` from outside: JSON lines, plain lines and the table, resumed, renewed, refused and stopped."""

import json
import re
import signal

import pytest
from redfire.market.v1 import market_pb2 as pb
from redfire.reasons import Reason

from services.kernel.errors import NotFound, Unauthenticated, Unavailable
from tests.commands.market.fake_edge import HOLD, FakeEdge, batch, end, serving, started
from tests.commands.market.processes import start
from tests.market.ticks import SYMBOL, tick
from tests.running import until
from tests.screen import TIMEOUT_S, Screen

OTHER = "rb2105.SHFE"
EXPIRED = Unauthenticated("the token has expired", reason=Reason.TOKEN_EXPIRED)


def json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def plain(shown: str) -> str:
    """Text on a screen, without the terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def sequences(text: str) -> list[int]:
    return [int(line["sequence"]) for line in json_lines(text) if "sequence" in line]


def test_json_shows_ticks_and_what_happens_to_the_stream_and_ends_with_the_feed(redfire):
    script = (
        started("e1"),
        batch(tick(1, bid_prices=[4999.8], bid_quantities=[3])),
        pb.StreamTicksResponse(gap={"symbol": SYMBOL, "first_sequence": 2, "last_sequence": 4}),
        pb.StreamTicksResponse(heartbeat={}),
        batch(tick(5)),
        pb.StreamTicksResponse(feed_state={"connected": False, "stale_symbols": [SYMBOL]}),
        pb.StreamTicksResponse(new_epoch={"epoch": "e2"}),
        batch(tick(1)),
        end("FEED_ENDED", "e2", **{SYMBOL: 1}),
    )
    with serving(FakeEdge(script)) as edge:
        done = redfire("ticks", SYMBOL, "--json", "--edge", edge.address, "--token", "t")
    assert (done.code, done.err) == (0, "")
    first, gap, second, state, epoch, third, last = json_lines(done.out)
    assert first == {
        "symbol": SYMBOL, "timeNs": str(tick(1).time_ns), "sequence": "1", "lastPrice": 5000.0, "volume": 1.0,
        "bidPrices": [4999.8], "bidQuantities": [3.0], "tradingDay": 20261120,
    }  # fmt: skip
    assert gap == {"gap": {"symbol": SYMBOL, "firstSequence": "2", "lastSequence": "4"}}
    assert state == {"feedState": {"connected": False, "staleSymbols": [SYMBOL]}}
    assert epoch == {"newEpoch": {"epoch": "e2"}}
    assert last == {"end": {"reason": "FEED_ENDED", "resumeAfterSequence": {SYMBOL: "1"}, "epoch": "e2"}}
    assert [one["sequence"] for one in (second, third)] == ["5", "1"]
    assert edge.tokens == ["t"]


def test_what_happens_to_the_stream_is_said_in_words_beside_the_ticks(redfire):
    script = (
        started("e1"),
        batch(tick(1)),
        pb.StreamTicksResponse(gap={"symbol": SYMBOL, "first_sequence": 2, "last_sequence": 1001}),
        pb.StreamTicksResponse(feed_state={"connected": False}),
        pb.StreamTicksResponse(feed_state={"connected": True, "stale_symbols": [SYMBOL]}),
        pb.StreamTicksResponse(new_epoch={"epoch": "e2"}),
        end("FEED_ENDED", "e2", **{SYMBOL: 0}),
    )
    with serving(FakeEdge(script)) as edge:
        done = redfire("ticks", SYMBOL, "--edge", edge.address, "--token", "t")
    assert done.err.splitlines() == [
        f"gap: 1,000 ticks of {SYMBOL} are lost (2 to 1001)",
        "the feed is silent: the engine is not heard",
        f"the feed is heard; silent for longer than is usual: {SYMBOL}",
        "the feed began anew, and what was between is not known: epoch e2",
        "the stream ended: FEED_ENDED",
    ]


def test_a_stream_that_ends_is_resumed_by_epoch_and_sequences_and_no_tick_comes_twice(redfire):
    scripts = (
        (started("e1"), batch(tick(1), tick(2)), Unavailable("connection lost")),
        (started("e1"), batch(tick(2), tick(3)), end("SHUTTING_DOWN", "e1")),
        (started("e1"), end("SLOW_CONSUMER", "e1")),
        (started(""), pb.StreamTicksResponse(new_epoch={"epoch": "e1"}), batch(tick(4)), end("FEED_ENDED")),
    )
    with serving(FakeEdge(*scripts)) as edge:
        done = redfire("ticks", SYMBOL, OTHER, SYMBOL, "--json", "--edge", edge.address, "--token", "t")
    assert (done.code, sequences(done.out)) == (0, [1, 2, 3, 4])
    assert done.err.count("opening the stream again") == 3
    assert [list(request.symbols) for request in edge.requests] == [[SYMBOL, OTHER]] * 4
    resumed = [(request.epoch, dict(request.resume_after_sequence)) for request in edge.requests]
    assert resumed == [
        ("", {}),
        ("e1", {SYMBOL: 2, OTHER: 0}),
        ("e1", {SYMBOL: 3, OTHER: 0}),
        ("e1", {SYMBOL: 3, OTHER: 0}),
    ]


def test_an_expired_token_is_renewed_with_the_session_and_by_a_login_where_that_has_ended(redfire, tmp_path):
    scripts = [(started("e1"), batch(tick(n)), EXPIRED) for n in (1, 2)] + [(started("e1"), batch(tick(3)), end())]
    refusals = [None, Unauthenticated("unknown", reason=Reason.REFRESH_TOKEN_REUSED)]
    with serving(FakeEdge(*scripts, refusals=refusals)) as edge:
        done = redfire("ticks", SYMBOL, "--json", "--data-dir", edge.data_dir(tmp_path / "data"))
    assert (done.code, sequences(done.out)) == (0, [1, 2, 3])
    assert edge.tokens == ["token-1", "token-2", "token-4"]
    assert edge.auth == ["login admin secret", "refresh refresh-1", "refresh refresh-2", "login admin secret", "logout"]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [(EXPIRED, "TOKEN_EXPIRED"), (Unauthenticated("ended", reason=Reason.SESSION_REVOKED), "SESSION_REVOKED")],
)
def test_a_given_token_that_ends_ends_the_command_in_one_line(redfire, refusal, reason):
    with serving(FakeEdge((started("e1"), batch(tick(1)), refusal))) as edge:
        done = redfire("ticks", SYMBOL, "--json", "--edge", edge.address, "--token", "t")
    assert (done.code, sequences(done.out)) == (1, [1])
    assert done.err.count("\n") == 1 and done.err.endswith(f"({reason})\n")


def test_a_session_that_somebody_ended_is_not_opened_again(redfire, tmp_path):
    with serving(FakeEdge((started("e1"), batch(tick(1)), end("SESSION_REVOKED", "e1")))) as edge:
        done = redfire("ticks", SYMBOL, "--json", "--data-dir", edge.data_dir(tmp_path / "data"))
    assert (done.code, done.err) == (1, "redfire: the session was ended (SESSION_REVOKED)\n")
    assert edge.auth == ["login admin secret", "logout"]


def test_a_wrong_symbol_is_refused_before_a_table():
    refusal = NotFound(message="instrument nonsense.SHFE not found", reason=Reason.UNKNOWN_SYMBOL)
    with (
        serving(FakeEdge((refusal,))) as edge,
        Screen("ticks", "nonsense.SHFE", "--edge", edge.address, "--token", "t") as screen,
    ):
        assert screen.end() == 1
    assert screen.shown == "redfire: instrument nonsense.SHFE not found (UNKNOWN_SYMBOL)\r\n"


def test_an_edge_that_is_not_there_is_one_line(redfire, tmp_path):
    done = redfire("ticks", SYMBOL, "--edge", "127.0.0.1:1", "--token", "t")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1 and done.err.endswith("(UNAVAILABLE)\n")
    done = redfire("ticks", SYMBOL, "--data-dir", tmp_path / "none")
    assert (done.code, done.out) == (2, "")
    assert "nothing runs on data folder" in done.err and done.err.count("\n") == 1
    with serving(FakeEdge()) as edge:
        folder = edge.data_dir(tmp_path / "data")
        (folder / "admin-password").unlink()
        done = redfire("ticks", SYMBOL, "--data-dir", folder)
    assert (done.code, done.out) == (2, "")
    assert "give a token" in done.err and done.err.count("\n") == 1
    for token in ("two\nlines", "Schlüssel"):
        done = redfire("ticks", SYMBOL, "--edge", "127.0.0.1:1", "--token", token)
        assert (done.code, done.out) == (2, "")
        assert "this is no token" in done.err and done.err.count("\n") == 1


def test_it_ends_after_so_many_ticks_or_so_long(redfire):
    script = (started("e1"), batch(*[tick(n) for n in range(1, 10)]), HOLD)
    with serving(FakeEdge(script, script)) as edge:
        base = ("ticks", SYMBOL, "--edge", edge.address, "--token", "t")
        done = redfire(*base, "--json", "--count", 4)
        assert (done.code, sequences(done.out), done.err) == (0, [1, 2, 3, 4], "")
        done = redfire(*base, "--duration", "3s")
        assert (done.code, done.err) == (0, "")
        assert len(done.out.splitlines()) == 9, "a line for each tick where there is no terminal"
        assert SYMBOL in done.out.splitlines()[0] and "\x1b" not in done.out


def test_ctrl_c_leaves_the_last_table_and_its_state_on_the_screen():
    script = (started("epoch-of-the-feed"), batch(tick(1, last_price=5000), tick(2, last_price=5001)), HOLD)
    with serving(FakeEdge(script)) as edge, Screen("ticks", SYMBOL, "--edge", edge.address, "--token", "t") as screen:
        until(lambda: "5001 ▲" in screen.shown, timeout_s=TIMEOUT_S)
        screen.process.send_signal(signal.SIGINT)
        assert screen.end() == 0
    assert "\x1b[32m5001 ▲" in screen.shown, "green: up"
    assert "Traceback" not in screen.shown
    assert plain(screen.shown).endswith("\r\nepoch epoch-of · feed connected\r\n")


def test_a_reader_that_closes_the_pipe_ends_it_without_a_traceback():
    script = (started("e1"), *[batch(tick(n)) for n in range(1, 20_000)], HOLD)
    with serving(FakeEdge(script)) as edge:
        process = start("ticks", SYMBOL, "--json", "--edge", edge.address, "--token", "t")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait()
