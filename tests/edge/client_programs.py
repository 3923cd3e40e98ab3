"""The clients in Go, Java and Node.js below `clients`, as tests drive them."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.protobuf.message import Message

from tests.machine import lacks

BUILT = Path(__file__).resolve().parents[2] / ".venv/clients"
MADE = {"go": "go/client", "java": "java/Client.class", "node": "node/client.js"}
COMMANDS = {
    "go": (str(BUILT / MADE["go"]),),
    "java": ("java", "-XX:TieredStopAtLevel=1", "-cp", f"{BUILT}/java:{BUILT}/java/*", "Client"),
    "node": ("node", str(BUILT / MADE["node"])),
}


class Client:
    """One of the programs of tests/edge/clients, while it runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, what: str, path: str = "", request: Message | None = None) -> tuple[int, int]:
        """gRPC's status code, and the bytes of the error's details."""
        assert self._process.stdin is not None and self._process.stdout is not None
        encoded = "" if request is None else request.SerializeToString().hex()
        self._process.stdin.write(f"{what} {path} {encoded}\n".encode())
        code, size = (await asyncio.wait_for(self._process.stdout.readline(), 30)).split()
        return int(code), int(size)

    async def call(self, path: str, request: Message) -> tuple[int, int]:
        """A unary call."""
        return await self.ask("call", path, request)


@asynccontextmanager
async def client_in(language: str, address: str, token: str) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        *COMMANDS[language], address, token, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Client(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def require(language: str) -> None:
    """Skip a test, under CI fail it, where the client is not built or its language is not there."""
    if (BUILT / MADE[language]).exists() and shutil.which(COMMANDS[language][0]) is not None:
        return
    lacks("the clients are not built: make clients")
