"""The token by which Prometheus reads the metrics of a process: a private file of the data folder, made when absent.

On loopback none is wanted by default: what a user of the machine reads there are counts, with no names of users.
"""

import os
import secrets
import tempfile
from pathlib import Path

from services.kernel.errors import StartError
from services.kernel.loopback import is_loopback
from services.kernel.runtime.kernel_sections import PlatformSettings, ServerSettings
from services.kernel.runtime.settings import Settings

FILE = "metrics-token"
"""Its name in the data folder."""
LEAST_LENGTH = 16


def metrics_token(settings: Settings) -> str:
    """The token that `/metrics` wants; empty on loopback, unless a file is named. Raises StartError."""
    server = settings.of(ServerSettings)
    file = server.metrics_token_file
    if file is None and is_loopback(server.host):
        return ""
    if file is None:
        file = settings.of(PlatformSettings).data_dir / FILE
    try:
        if server.metrics_token_file is None and not file.exists():
            _make(file)
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise StartError(f"the token of /metrics: {file}: {reason}") from None
    if len(token) < LEAST_LENGTH:
        raise StartError(f"the token of /metrics: {file}: at least {LEAST_LENGTH} characters are needed")
    return token


def _make(file: Path) -> None:
    """Make the file, whole or not at all; processes that start together have the first one's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, staged = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # 0600
    try:
        with os.fdopen(handle, "w") as new:
            new.write(secrets.token_urlsafe(32) + "\n")
        try:
            os.link(staged, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            Path(staged).replace(file)
    finally:
        Path(staged).unlink(missing_ok=True)
