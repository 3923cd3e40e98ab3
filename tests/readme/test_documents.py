"""The documents are true: their blocks run as they stand there and print what they show; their strategies trade."""

import re
from pathlib import Path

import httpx
import pytest

from tests.readme.clone import PATIENCE_S, Clone, clone, needs_grpcurl, needs_login, require, walked
from tests.readme.document import (
    BACKTEST,
    DOCUMENTS,
    README,
    ROOT,
    STRATEGY,
    TOUR,
    TRANSLATIONS,
    blocks,
    files,
    headings,
    prose,
    steps,
)
from tests.running import Running, until

ALL = (*DOCUMENTS, *TRANSLATIONS.values())
# Backtests' own document is walked where their tests are, the strategies' with the strategies themselves.
WALKED = [document for document in DOCUMENTS if walked(document) and document not in (BACKTEST, STRATEGY)]
OURS = ("services/", "gen/", "proto/", "envoy/", "tests/", "deploy/")


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", WALKED, ids=name)
def test_a_document_prints_what_it_shows(document, tmp_path):
    with clone(tmp_path) as here:
        read(here, document)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("document", [README, TOUR], ids=name)
def test_a_tour_is_the_same_with_two_replicas_on_three_servers(document, tmp_path, postgres, rabbitmq, redis_server):
    env = {
        "REDFIRE_DATABASE__URL": postgres.url(f"tour_{document.stem.lower()}_" + "{name}_db"),
        "REDFIRE_EVENTS__URL": rabbitmq.url,
        "REDFIRE_REDIS__URL": redis_server.url,
    }
    with clone(tmp_path, "--processes", "--replicas", "2", env=env) as here:
        read(here, document)


def read(here: Clone, document: Path) -> None:
    """Run the blocks of a document, those that need grpcurl last."""
    if needs_login(document):
        here.log_in()
    for step in walked(document):
        here.walk(step)
    if grpcurl := [step for step in steps(document.read_text()) if needs_grpcurl(step)]:
        require("grpcurl", "go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4")
        for step in grpcurl:
            here.walk(step)


def test_the_documents_have_steps_that_show_something():
    assert {README, TOUR} < set(WALKED)
    for document, least in ((README, 6), (TOUR, 18), (STRATEGY, 2), (BACKTEST, 6)):
        shown = [step for step in steps(document.read_text()) if step.expected]
        assert len(shown) >= least, name(document)


@pytest.mark.timeout(400)
def test_the_strategies_of_the_guide_trade_beside_a_file_that_does_not_import(tmp_path):
    with clone(tmp_path) as here:
        here.log_in()
        for step in walked(STRATEGY):
            here.walk(step)
        trade(here.up)


def trade(up: Running) -> None:
    trader = up.register("quant")
    classes = {known["name"]: known for known in trader.get("/api/strategies/classes").json()["classes"]}
    assert "no_such_module" in classes["broken.py"]["error"]
    strategies = {"Breakout": {"window": 1, "bar_seconds": 1}, "TickMomentum": {"count": 1}}
    started = {}
    for kind, parameters in strategies.items():
        assert not classes[kind]["error"]
        made = trader.post(
            "/api/strategies",
            {"displayName": kind, "className": kind, "symbol": "rb2701.SHFE", "parameters": parameters},
        ).json()["strategy"]
        started[kind] = made["strategyId"]
        assert trader.post(f"/api/strategies/{made['strategyId']}:start").status_code == 200
    for kind, strategy_id in started.items():
        # Asked seldom: the limits are on, as for a reader of the guide.
        until(lambda at=f"/api/strategies/{strategy_id}/logs": traded(trader.get(at)), timeout_s=PATIENCE_S, step_s=1)
        strategy = trader.get(f"/api/strategies/{strategy_id}").json()["strategy"]
        assert strategy["status"] == "STRATEGY_STATUS_RUNNING", f"{kind}: {strategy}"
        assert set(strategy["variables"]) >= ({"high", "low"} if kind == "Breakout" else {"rising", "falling"})


def traded(logs: httpx.Response) -> bool:
    return any(" 1 at " in line["message"] for line in logs.json()["logs"])


def test_readme_is_short():
    for document in (README, TRANSLATIONS[README]):
        assert len(document.read_text().splitlines()) <= 250, name(document)


@pytest.mark.parametrize("english", TRANSLATIONS, ids=name)
def test_a_translation_has_the_same_blocks_and_sections(english):
    other = TRANSLATIONS[english]
    own, same = ([b for b in blocks(d.read_text()) if b[0] != "mermaid"] for d in (english, other))
    assert own == same, "run .venv/bin/python -m tests.readme.refresh"
    assert [level for level, _ in headings(english.read_text())] == [level for level, _ in headings(other.read_text())]
    if english is STRATEGY:
        assert len(files(other.read_text())) == 2


@pytest.mark.parametrize("document", ALL, ids=name)
def test_blocks_are_of_any_shell(document):
    for step in steps(document.read_text()):
        for line in step.commands.splitlines():
            # zsh takes `$NAME:word` for a modifier, an unquoted `?` for a pattern, and no comment behind a command.
            assert not re.search(r"\$[A-Za-z_]+:[a-z]", line), f"write ${{NAME}}: {line}"
            assert "  #" not in line, f"a comment behind a command: {line}"
            bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
            assert not re.search(r"\$EDGE\S*\?", bare), f"quote the address: {line}"


@pytest.mark.parametrize("document", ALL, ids=name)
def test_the_files_that_a_document_names_exist(document):
    words = re.findall(r"`([^`\n]+)`", prose(document.read_text()))
    named = {word for word in words if word.startswith(OURS) and not re.search(r"[<…* ]|watchlist", word)}
    assert not [word for word in named if not (ROOT / word).exists()]


@pytest.mark.parametrize("document", ALL, ids=name)
def test_links_lead_somewhere(document):
    for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", prose(document.read_text())):
        there = document.parent / link if link else document
        assert there.exists(), link
        if anchor:
            known = [
                re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for _, title in headings(there.read_text())
            ]
            assert anchor in known, f"{link}#{anchor}"


@pytest.mark.parametrize("document", ALL, ids=name)
def test_a_document_needs_nothing_beside_the_clone(document):
    lines = document.read_text().splitlines()
    assert not [line for line in lines if any(path in line for path in ("/work/", "/home/", "/tmp/", "../shared"))]
