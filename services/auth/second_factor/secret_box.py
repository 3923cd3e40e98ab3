"""Seals the secrets of authenticator apps, which the server must be able to read, by a key beside the signing keys.

So a copy of the database alone makes no codes.
"""

import base64
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import Internal, StartError

FILE = "second-factor-key"
NONCE_BYTES = 12


class SecretBox:
    """Seals bytes for one user (AES-256-GCM): what was sealed for another one does not open."""

    def __init__(self, folder: Path) -> None:
        """Read the key, or make it at the first start. Raises StartError."""
        try:
            self._cipher = AESGCM(base64.b64decode(_key(folder / FILE)))
        except (OSError, ValueError) as error:
            raise StartError(f"the key {folder / FILE} cannot be read: {type(error).__name__}") from None

    def seal(self, user_id: str, secret: bytes) -> str:
        """The sealed secret, as text."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret, user_id.encode())).decode()

    def open(self, user_id: str, sealed: str) -> bytes:
        """The secret. Raises Internal where the key is another one."""
        data = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], user_id.encode())
        except InvalidTag:
            raise Internal(
                "the secret of a second factor cannot be opened: is it the folder of keys of before?"
            ) from None


def _key(file: Path) -> bytes:
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = file.with_name(f"{FILE}-{os.getpid()}.new")
        write_atomically(made, base64.b64encode(AESGCM.generate_key(256)), mode=PRIVATE)
        try:
            os.link(made, file)  # of replicas that start at the same time one makes it
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return file.read_bytes()
