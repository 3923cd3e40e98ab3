"""Processes on loopback that listen, end, stand still or hang up, as who watches them sees it."""

import asyncio
import signal
import sys

import pytest

from services.kernel.shards.process_watch import ProcessWatch
from tests.waiting import until

LISTENER = """
import socket, sys, time
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()  # each is ended at once, and the next one taken
    time.sleep(0.01)
"""


@pytest.fixture
async def process():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", LISTENER, stdout=asyncio.subprocess.PIPE)
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
async def watched():
    """The watch, and the holders whose processes have ended as it told."""
    ended = []
    watch = ProcessWatch(ended.append)
    yield watch, ended
    await watch.close()


async def _address(process) -> str:
    return f"127.0.0.1:{int(await process.stdout.readline())}"


async def test_the_end_of_a_process_is_told_once_however_it_ends(process, watched):
    watch, ended = watched
    address = await _address(process)
    for _ in range(2):
        watch.watch({"one": address})
    process.send_signal(signal.SIGKILL)
    await until(lambda: ended, 30)
    watch.watch({"one": address})
    await process.wait()
    assert ended == ["one"]


async def test_who_hangs_up_or_stands_still_is_there(process, watched):
    watch, ended = watched
    connections = 0

    async def taken(reader, writer):
        nonlocal connections
        connections += 1
        writer.close()

    async with await asyncio.start_server(taken, "127.0.0.1", 0) as server:
        still = await _address(process)
        process.send_signal(signal.SIGSTOP)
        watch.watch({"one": "127.0.0.1:{1}".format(*server.sockets[0].getsockname()), "other": still})
        await until(lambda: connections > 20, 30)
        assert ended == []


async def test_only_loopback_and_what_is_to_be_watched_is_watched(process, watched):
    watch, ended = watched
    address = await _address(process)
    watch.watch({"name": "replica1", "far": "192.0.2.1:50051", "starting": "127.0.0.1:0", "gone": address})
    watch.watch({"name": "replica1", "far": "192.0.2.1:50051", "starting": "127.0.0.1:0"})
    process.kill()
    await process.wait()
    watch.watch({"late": address})
    await until(lambda: ended, 30)
    assert ended == ["late"]
