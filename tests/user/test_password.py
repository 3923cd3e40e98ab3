"""Hashing and verifying: right, wrong, and no memory for either."""

import re

import pytest

from services.user.password import Passwords, TooManyPasswords


@pytest.fixture
async def passwords():
    made = Passwords(time_cost=1, memory_kib=64, max_waiting=8)
    yield made
    await made.close()


async def test_a_right_password_differs_from_a_wrong_one_and_from_nobodys(passwords):
    kept = await passwords.hash("correct-horse-9")
    assert await passwords.verify("correct-horse-9", kept)
    assert not await passwords.verify("correct-horse-8", kept)
    assert not await passwords.verify("correct-horse-9", None)
    assert not await passwords.verify("correct-horse-9", "no hash")


async def test_a_password_that_there_is_no_memory_to_check_is_not_called_wrong(passwords):
    kept = await passwords.hash("correct-horse-9")
    needs_four_tebibytes = re.sub(r"m=\d+", f"m={2**32 - 1}", kept)
    with pytest.raises(TooManyPasswords):
        await passwords.verify("correct-horse-9", needs_four_tebibytes)
