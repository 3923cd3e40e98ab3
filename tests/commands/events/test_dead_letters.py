"""`redfire events dead-letters` on a data folder: list, retry, drop, and what it says of wrong arguments."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from redfire.events.v1.events_pb2 import Event

from services.cli import cli
from services.kernel.clock import Clock
from services.kernel.data.database import Database
from services.kernel.errors import StartError
from services.kernel.events import inbox as inbox_module
from services.kernel.events.inbox import Inbox
from services.kernel.events.outbox import Outbox
from services.kernel.events.transport import Delivery, EventBus, LeftToRelay
from services.kernel.identifiers import new_id
from services.trading import models
from services.user import models as user_models
from tests.kernel.events.consumer import running
from tests.waiting import until

KEY = "user.registered"


class Folder:
    """A data folder with the databases of user and trading."""

    def __init__(self, path):
        self.path = path
        self.refused = True
        self.applied = []

    def call(self, *arguments, code=0):
        """Run `redfire events dead-letters …`; what it prints."""
        done = CliRunner().invoke(cli, ["events", "dead-letters", *arguments, "--data-dir", str(self.path)])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    def letters(self, *filters):
        return json.loads(self.call("list", "--json", *filters))

    async def apply(self, event, receipt):
        if self.refused:
            raise ValueError("no such cup")
        self.applied.append(event.user_registered.username)

    async def run(self, *deliveries, until_true):
        """Accept what comes and apply it, as trading does while it runs."""
        database = Database(f"sqlite:///{self.path}/trading_db.sqlite", models.Base)
        await database.start()
        inbox = Inbox("trading", database, models.InboxRow, EventBus(), Clock())
        inbox.subscribe(KEY, self.apply)
        await inbox.accept(deliveries)
        async with running(inbox.run):
            await until(until_true, 20)
        await database.close()

    async def user_database(self):
        database = Database(f"sqlite:///{self.path}/user_db.sqlite", user_models.Base)
        await database.start()
        outbox = Outbox("user", database, user_models.OutboxRow, LeftToRelay(), Clock())
        write, values = outbox.write(outbox.event(KEY))
        await database.writer().submit([(write, {**values, "payload": b"\xff"})])
        async with running(outbox.run):
            await until(lambda: asyncio.to_thread(self.letters, "--service", "user"), 20)
        await database.close()


def registered(name):
    event = Event(event_id=new_id(), routing_key=KEY)
    event.user_registered.user_id = event.user_registered.username = name
    return Delivery(KEY, event.SerializeToString())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with three dead letters: of trading alice's, who was refused, and junk; and one in user's outbox."""
    monkeypatch.setattr(inbox_module, "MOST_ATTEMPTS", 1)
    made = Folder(tmp_path)

    async def fill():
        both = lambda: asyncio.to_thread(lambda: len(made.letters()) == 2)  # noqa: E731
        await made.run(registered("alice"), Delivery("user.renamed", b"\xff\xfe"), until_true=both)
        await made.user_database()

    asyncio.run(fill())
    return made


def test_letters_are_listed_with_what_is_known_of_them(folder):
    junk, alice, unread = sorted(folder.letters(), key=lambda letter: (letter["box"], letter["routing_key"] == KEY))
    assert (alice["service"], alice["box"], alice["routing_key"]) == ("trading", "inbox", KEY)
    assert (alice["attempts"], alice["error"], alice["aggregate_id"]) == (1, "ValueError: no such cup", "alice")
    assert alice["event"]["userRegistered"]["username"] == "alice" and alice["accept_time"]
    assert (junk["routing_key"], junk["body_base64"], junk["attempts"]) == ("user.renamed", "//4=", 0)
    assert (unread["service"], unread["box"]) == ("user", "outbox")
    shown = folder.call("list")
    assert "no such cup" in shown and junk["event_id"] in shown
    assert [one["event_id"] for one in folder.letters("--routing-key", "user.reg*")] == [alice["event_id"]]
    assert [one["event_id"] for one in folder.letters("--service", "user")] == [unread["event_id"]]


def test_letters_that_are_tried_again_are_applied_when_the_service_runs(folder):
    assert json.loads(folder.call("retry", "--all", "--routing-key", KEY, "--json")) == {"retried": 1}
    assert len(folder.letters("--service", "trading")) == 1
    folder.refused = False
    asyncio.run(folder.run(until_true=lambda: folder.applied == ["alice"]))


def test_letters_that_are_dropped_are_gone_and_do_not_come_back(folder):
    (alice,) = folder.letters("--routing-key", KEY)
    assert folder.call("drop", alice["event_id"]) == "1 dropped\n"
    assert json.loads(folder.call("drop", "--all", "--json")) == {"dropped": 2}
    assert folder.letters() == [] and folder.call("list") == "no dead letters\n"
    junk = Delivery("user.renamed", b"\xff\xfe")
    folder.refused = False
    asyncio.run(folder.run(junk, registered("bob"), until_true=lambda: folder.applied == ["bob"]))
    assert folder.letters() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("drop",), 2), (("retry", "x", "--all"), 2), (("retry", "x"), 1), (("list", "--service", "x"), 2)],
)
def test_what_cannot_be_is_refused_and_changes_nothing(folder, arguments, code):
    before = folder.letters()
    folder.call(*arguments, code=code)
    assert folder.letters() == before


def test_a_folder_without_a_platform_is_named(tmp_path):
    done = CliRunner().invoke(cli, ["events", "dead-letters", "list", "--data-dir", str(tmp_path / "none")])
    assert isinstance(done.exception, StartError) and str(tmp_path / "none") in str(done.exception)
    assert not (tmp_path / "none").exists()
