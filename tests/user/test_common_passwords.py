"""Passwords that guessers try first, and those that they do not."""

import pytest

from services.user.common_passwords import is_common

GUESSED_FIRST = """
password Password1! P@ssw0rd2024 passw0rd123 12345678 87654321 qwertyuiop qwer1234 1qaz2wsx aaaaaaaa abcabcabc
abcd1234 iloveyou1 letmein!! admin123 admin@123 Welcome2024! trustno1 woaini1314 5201314520 11111111 19191991
20240101 a1234567 redfire2026 monkeydragon qwerasdf zaq12wsx baseball1 superman Summer2024! 123456789a asdf1234
qazwsxedc football1 passwordpassword trader888 1q2w3e4r PASSWORD!!!! !!password
"""
OTHERS = """
correct-Horse-9 new-Horse-10 mine-now-9 kT9#vLq2 tr0ub4dor&3x purple-giraffe-9 f3K9sdPq2x hdjskwle 7hGtz!pQ
zwei-boote-am-see 春眠不觉晓处处闻啼鸟
"""


@pytest.mark.parametrize("password", GUESSED_FIRST.split())
def test_what_is_guessed_first_is_common(password: str):
    assert is_common(password)


@pytest.mark.parametrize("password", OTHERS.split())
def test_what_takes_guessers_long_is_not(password: str):
    assert not is_common(password, "alice", "alice.miller")


@pytest.mark.parametrize("password", ["Alice1234", "miller!2024", "alicemiller1", "Al1ce2024!"])
def test_the_users_own_words_are_common(password: str):
    assert is_common(password, "alice", "alice.miller")
    assert not is_common(password, "bob", "bob")
