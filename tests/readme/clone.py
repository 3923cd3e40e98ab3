"""A folder that looks like a fresh clone, with a platform that runs there: what a document's reader has before them."""

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.machine import lacks
from tests.readme.document import README, ROOT, STRATEGY, Step, blocks, files, steps
from tests.readme.likeness import difference
from tests.readme.shell import Failed, Shell
from tests.running import Running

# A block that only reads is run again until it shows what the document shows: a reader pastes more slowly than a test.
# Seldom: the limits are on, as for a reader of the document.
PATIENCE_S, PAUSE_S = 90, 1
START_S, COMMANDS_S, STOP_S = 600, 300, 60
"""The machine of a test run may be busy with others."""
_CHANGES = (" -d ", " -X ", "redfire optimize", "redfire backtest ", "redfire data ")


class Clone:
    """The project's files, a data folder of its own, a platform with the strategies of the guide, and a shell."""

    def __init__(self, folder: Path, flags: Sequence[str], env: Mapping[str, str]) -> None:
        self.folder = folder
        for name in ("gen", "proto", "services", "deploy", "envoy"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        (folder / "my_strategies").mkdir()
        for name, content in files(STRATEGY.read_text()).items():
            (folder / "my_strategies" / name).write_text(content)
        (folder / "my_strategies" / "broken.py").write_text("import no_such_module\n")
        own = "--demo", "--strategies", str(folder / "my_strategies")
        self.up = Running(*own, *flags, data_dir=folder / ".redfire", limits="on", env=dict(env))
        self.shell = Shell(folder, env)

    def run(self, commands: str, timeout_s: float = COMMANDS_S) -> str:
        """Run the commands of a block; returns their output."""
        return self.shell.run(commands.replace("localhost:8080", self.edge), timeout_s)

    @property
    def edge(self) -> str:
        """The edge's address, which is another one than in the documents."""
        return f"localhost:{self.up.addresses['edge'].rpartition(':')[2]}"

    def walk(self, step: Step) -> None:
        """Run a block, and hold its output against the document's."""
        end = time.monotonic() + PATIENCE_S
        while True:
            again = not any(word in step.commands for word in _CHANGES) and time.monotonic() < end
            try:
                printed = self.run(step.commands)
            except Failed:
                if not again or not self.shell.is_open:
                    raise
                time.sleep(PAUSE_S)
                continue
            differing = difference(step.expected, printed) if step.expected else ""
            if not differing:
                return
            assert again, f"{differing}\n--- document\n{step.commands}{step.expected}--- here\n{printed}"
            time.sleep(PAUSE_S)

    def log_in(self) -> None:
        """Run the start of README's tour, which other documents need: its variables, a user who is logged in."""
        tour = steps(README.read_text())
        for step in tour[:2]:
            self.run(step.commands)


def require(command: str, install: str) -> None:
    """Skip the test where a command of the documents is not installed; under CI it fails."""
    if not shutil.which(command):
        lacks(f"{command} is not installed: {install}")


@contextmanager
def clone(folder: Path, *flags: str, env: Mapping[str, str] | None = None) -> Iterator[Clone]:
    """A clone whose platform runs, with more flags and variables, which the shell has, too.

    Skips where there is no curl, which the documents call; under CI that fails.
    """
    require("curl", "apt-get install curl")
    made = Clone(folder, flags, env or {})
    try:
        made.up.start(START_S)
        yield made
        made.up.stop(STOP_S)
    finally:
        if made.up.process is not None and made.up.process.poll() is None:
            made.up.kill9(children_too=True)
        made.shell.close()


def walked(document: Path) -> list[Step]:
    """The steps of a document that need no more than `make run` and curl."""
    return [step for step in steps(document.read_text()) if not needs_grpcurl(step)]


def needs_grpcurl(step: Step) -> bool:
    """True for a block that calls grpcurl, which is not installed everywhere."""
    return "grpcurl " in step.commands


def needs_login(document: Path) -> bool:
    """True for a document that continues README's tour after its login."""
    commands = "".join(content for language, content in blocks(document.read_text()) if language == "sh")
    return "$AUTH" in commands and "AUTH=" not in commands
