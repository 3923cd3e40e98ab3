"""A store that speaks S3 for tests: moto's server, on a free port of 127.0.0.1, that they may stop and start again."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from pyarrow import fs

from tests.machine import lacks

KEY, SECRET = "a-key-of-tests", "a-secret-of-tests"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}
"""Environment of a process that uses it."""


class S3Server:
    """One server. What it has outlives `stop`, not the process of the tests."""

    def __init__(self) -> None:
        self.port = 0
        self._server: Any = None
        self.start()

    def start(self) -> None:
        """Start; again on the same port."""
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        """Stop: nobody answers on its port."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def system(self) -> Any:
        """A test's own look at it."""
        return fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, endpoint_override=self.endpoint, region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip

    def bucket(self, name: str) -> str:
        """Make a bucket; the URL of a prefix in it."""
        self.system().create_dir(name)
        return f"s3://{name}/redfire?endpoint_override={self.endpoint}&region=us-east-1"

    def objects(self, bucket: str) -> list[str]:
        """The keys of a bucket's objects, markers of folders left out."""
        selector = fs.FileSelector(bucket, recursive=True)
        found = [one.path for one in self.system().get_file_info(selector) if one.type == fs.FileType.File]
        return sorted(path.removeprefix(f"{bucket}/redfire/") for path in found)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server. Where moto is not installed the test is skipped; under CI it fails."""
    if find_spec("moto") is None:
        lacks("moto is not installed: make setup-dev")
    server = S3Server()
    try:
        yield server
    finally:
        server.stop()
