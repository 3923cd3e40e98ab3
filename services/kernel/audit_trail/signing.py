"""The platform's key for checkpoints: Ed25519, in a private folder, and the public keys that a verifier trusts."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.kernel.atomic_file import PRIVATE, write_atomically
from services.kernel.errors import StartError

FOLDER, KEY_FILE, PUBLIC = "audit", "signing-key", ".pub"


class SigningKey:
    """A private key, and the name by which checkpoints state it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes_raw()
        self.key_id = key_id_of(self.public)

    def sign(self, hash_: bytes) -> bytes:
        """The signature of a record's hash."""
        return self._key.sign(hash_)


def key_id_of(public: bytes) -> str:
    """A public key's name: the first 16 hexadecimal digits of its SHA-256."""
    return sha256(public).hexdigest()[:16]


def open_key(file: Path) -> SigningKey:
    """The key of a file, made where there is none, with the public key beside it. Raises StartError."""
    try:
        if file.exists():
            key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text().strip())))
        else:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made = Ed25519PrivateKey.generate()
            write_atomically(file, made.private_bytes_raw().hex().encode(), mode=PRIVATE)
            key = SigningKey(made)
        public = file.with_name(f"{key.key_id}{PUBLIC}")
        if not public.exists():
            write_atomically(public, key.public.hex().encode())
    except (OSError, ValueError) as error:
        raise StartError(f"audit signing key {file}: {error}") from None
    return key


def trusted_keys(folder: Path) -> dict[str, Ed25519PublicKey]:
    """The public keys of a folder, by name; those of keys that signed before stay there."""
    keys = {}
    for file in sorted(folder.glob(f"*{PUBLIC}")):
        public = bytes.fromhex(file.read_text().strip())
        keys[key_id_of(public)] = Ed25519PublicKey.from_public_bytes(public)
    return keys


def is_signed(keys: Mapping[str, Ed25519PublicKey], key_id: str, hash_: bytes, signature: bytes | None) -> bool:
    """Test a checkpoint's signature."""
    key = keys.get(key_id)
    if key is None or not signature:
        return False
    try:
        key.verify(signature, hash_)
    except InvalidSignature:
        return False
    return True
