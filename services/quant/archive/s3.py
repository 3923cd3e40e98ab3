"""Files as objects of a bucket that speaks S3: each is put whole or not at all.

`s3://BUCKET/PREFIX`, with `?endpoint_override=http://HOST:PORT` and `&region=…` for other stores than Amazon's.
Credentials are the environment's, as AWS's own tools read them.
"""

import io
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from services.quant.archive.storage import WHOLE_BYTES, Entry, Version

LISTED_S = 30.0
"""Time for which a listing holds: this process knows of its own changes, and others' are few."""
CONNECT_S, REQUEST_S = 3.0, 20.0
_LISTINGS = 2048
_OPTIONS = ("endpoint_override", "region", "scheme")
_Tree = tuple[dict[str, tuple[str, ...]], dict[str, tuple[Entry, ...]]]
"""Names of the folders and the files, by folder."""


def check_url(url: str) -> str:
    """The URL, when it is one of a bucket. Raises: ValueError."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise ValueError("s3://BUCKET/PREFIX is needed; credentials are the environment's (AWS_ACCESS_KEY_ID …)")
    unknown = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True) if name not in _OPTIONS]
    if unknown or parts.fragment:
        raise ValueError(f"{unknown or parts.fragment}: only {', '.join(_OPTIONS)} may follow a bucket's prefix")
    return url


class S3Storage:
    """Objects below a prefix. A folder is there while there are objects in it. Raises OSError while it is away."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(check_url(url))
        self._root = f"{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        self._options = dict(parse_qsl(parts.query))
        self._lock = threading.Lock()
        self._trees: dict[str, tuple[int, _Tree]] = {}
        """By what was listed: when (ns), or 0 when that holds no longer, and what there was."""
        self._changes = 0

    @cached_property
    def _system(self) -> Any:
        from pyarrow import fs

        environment = os.environ.get
        endpoint = environment("AWS_ENDPOINT_URL_S3") or environment("AWS_ENDPOINT_URL")
        region = environment("AWS_REGION") or environment("AWS_DEFAULT_REGION")
        options = {"endpoint_override": endpoint, "region": region, **self._options}
        # Small objects are put by one request.
        return fs.S3FileSystem(connect_timeout=CONNECT_S, request_timeout=REQUEST_S, allow_delayed_open=True, **options)

    def check(self) -> None:
        """Raise FileNotFoundError when there is no such bucket, another OSError while it is away.

        A reader and writer of a prefix may be allowed no look at the bucket: that is no fault.
        """
        from pyarrow import fs

        bucket = self._root.partition("/")[0]
        try:
            found = self._system.get_file_info(bucket)
        except OSError as error:
            if "ACCESS_DENIED" in str(error):
                return
            raise
        if found.type == fs.FileType.NotFound:
            raise FileNotFoundError(f"bucket {bucket} does not exist")

    def folders(self, path: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""
        return self._tree(path)[0].get(path, ())

    def files(self, path: str) -> tuple[Entry, ...]:
        """The files in a folder, by name."""
        return self._tree(path)[1].get(path, ())

    def open(self, path: str, version: Version | None = None) -> Any:
        """The file, for reading. Raises: FileNotFoundError, also when it is another version."""
        import pyarrow as pa

        file = self._system.open_input_file(self._key(path))
        size = file.size()
        if version is not None and version[0] != size:
            file.close()
            raise FileNotFoundError(path)
        if size > WHOLE_BYTES:
            return file
        with file:
            return pa.BufferReader(file.read_buffer(size))

    def write(self, path: str, write: Callable[[Any], None]) -> None:
        """Put what `write` writes, in place of an object of the same name."""
        content = io.BytesIO()
        write(content)
        with self._system.open_output_stream(self._key(path)) as stream:
            stream.write(content.getbuffer())
        self.changed(path)

    def remove(self, path: str) -> None:
        """Remove the object."""
        with suppress(FileNotFoundError):
            self._system.delete_file(self._key(path))
        self.changed(path)

    def replaced(self, paths: Iterable[str]) -> None:
        """Remove objects that a new one replaces."""
        for path in paths:
            self.remove(path)

    def list_after(self, path: str, moment_ns: int) -> None:
        """Have a folder listed anew, unless its listing is newer than a moment."""
        with self._lock:
            listed_ns, tree = self._trees.get(_listed_at(path), (0, None))
            if tree is not None and listed_ns <= moment_ns:
                self._trees[_listed_at(path)] = 0, tree

    def changed(self, path: str) -> None:
        """Forget the listing of a folder."""
        with self._lock:
            self._changes += 1
            for key in {_listed_at(path), path.partition("/")[0]} & self._trees.keys():
                self._trees[key] = 0, self._trees[key][1]

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _tree(self, path: str) -> _Tree:
        key = _listed_at(path)
        with self._lock:
            listed_ns, known = self._trees.get(key, (0, ({}, {})))
            changes = self._changes
        now_ns = time.time_ns()
        if listed_ns <= now_ns < listed_ns + LISTED_S * 1e9:
            return known
        tree = self._list(key, known)
        with self._lock:
            # What changed meanwhile may not have been listed.
            listed_ns = now_ns if changes == self._changes else 0
            self._trees.pop(key, None)
            while len(self._trees) >= _LISTINGS:
                self._trees.pop(next(iter(self._trees)))
            self._trees[key] = listed_ns, tree
        return tree

    def _list(self, key: str, known: _Tree) -> _Tree:
        """All of a symbol by one request, or what is directly in another folder."""
        from pyarrow import fs

        deep = "/" in key
        selector = fs.FileSelector(self._key(key), recursive=deep, allow_not_found=True)
        folders: dict[str, set[str]] = {}
        files: dict[str, list[Entry]] = {}
        for one in self._system.get_file_info(selector):
            folder, _, name = one.path.removeprefix(f"{self._root}/").rpartition("/")
            if one.type == fs.FileType.File:
                files.setdefault(folder, []).append(Entry(name, (one.size, one.mtime_ns), one.size, one.mtime_ns))
                if folder != key:
                    above, _, last = folder.rpartition("/")
                    folders.setdefault(above, set()).add(last)
            elif not deep:
                folders.setdefault(folder, set()).add(name)
        names = {folder: tuple(sorted(found)) for folder, found in folders.items()}
        entries = {folder: tuple(sorted(found, key=lambda one: one.name)) for folder, found in files.items()}
        # The same objects for what is as it was.
        return (
            {path: known[0][path] if known[0].get(path) == found else found for path, found in names.items()},
            {path: known[1][path] if known[1].get(path) == found else found for path, found in entries.items()},
        )


def _listed_at(path: str) -> str:
    """The prefix that is listed for a path: its symbol's, or the folder itself."""
    return "/".join(path.split("/")[:2])
