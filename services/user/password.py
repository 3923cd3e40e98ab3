"""Passwords: their rules, and argon2id in the one thread that may spend time on it.

A login storm is the worst neighbour that an order can have in the same process, so passwords queue for one thread
(with a parallelism of 1: argon2's own threads would take the other cores), and beyond a bound callers are sent away.
"""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError
from redfire.reasons import Reason

from services.kernel.errors import Invalid, ResourceExhausted
from services.user.common_passwords import is_common

T = TypeVar("T")
MIN_LENGTH = 8
MAX_LENGTH = 128


class TooManyPasswords(ResourceExhausted):
    """Too many passwords are waiting to be checked, or there is no memory for one."""

    reason = Reason.OVERLOADED


def check_password(
    password: str, username: str, field: str = "password", *, email: str = "", refuse_common: bool = True
) -> None:
    """Raises Invalid for a password of the wrong length, equal to the user name, or one that guessers try first."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid(f"a password has {MIN_LENGTH} to {MAX_LENGTH} characters", field=field)
    if password.casefold() == username.casefold():
        raise Invalid("the password must not be the user name", field=field)
    if refuse_common and is_common(password, username, email.partition("@")[0]):
        raise Invalid("the password is one of those that are guessed first: take several unrelated words", field=field)


class Passwords:
    """Hashes and verifies passwords, one at a time."""

    def __init__(self, time_cost: int, memory_kib: int, max_waiting: int) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._max_waiting = max_waiting
        self._waiting = 0
        # What is verified when there is no such user, so that it takes the same time.
        self._nobody = self._hasher.hash(secrets.token_urlsafe())
        self.verifications = 0

    async def hash(self, password: str) -> str:
        """The hash to keep. Raises TooManyPasswords."""
        return await self._run(lambda: self._hash(password))

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Verify a password; without a hash False, after the same work. Raises TooManyPasswords."""
        return await self._run(lambda: self._verify(password, password_hash))

    def is_outdated(self, password_hash: str) -> bool:
        """Test that the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    async def close(self) -> None:
        """Let the thread end."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        try:
            return self._hasher.hash(password)
        except HashingError as error:
            raise TooManyPasswords(retry_after_s=1) from error

    def _verify(self, password: str, password_hash: str | None) -> bool:
        self.verifications += 1
        try:
            self._hasher.verify(password_hash or self._nobody, password)
        except (VerifyMismatchError, InvalidHashError):
            return False
        except VerificationError as error:
            # Not a word on the password: argon2 had no memory for it.
            raise TooManyPasswords(retry_after_s=1) from error
        return password_hash is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._max_waiting:
            raise TooManyPasswords(retry_after_s=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
