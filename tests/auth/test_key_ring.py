"""Signing keys: made at the first start, published before they sign, rotated while the service runs."""

import stat

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redfire.auth.v1 import auth_pb2
from redfire.auth.v1.auth_pb2_grpc import AuthServiceStub

from services.auth.key_ring import FILE, KeyRing, rotate
from services.auth.settings import LONGEST_ACCESS_TOKEN_S
from services.kernel.errors import StartError
from services.kernel.identity.key_file import LATE_S, PUBLISH_AHEAD_S
from tests.auth.session import begin, is_dead
from tests.examples import examples
from tests.harness import Platform
from tests.waiting import until


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def jwks(p: Platform) -> list[str]:
    answer = await p.stub(AuthServiceStub).GetJwks(auth_pb2.GetJwksRequest())
    assert {(k.kty, k.crv, k.alg, k.use) for k in answer.keys} == {("OKP", "Ed25519", "EdDSA", "sig")}
    return [key.kid for key in answer.keys]


async def test_rotation_is_noticed_within_a_second_and_old_tokens_stay_good(p: Platform):
    before = await begin(p)
    published = await jwks(p)
    assert len(published) == 2
    assert kid(before.access_token) == published[0]

    rotation = rotate(p.host.data_dir / "auth" / "keys")
    assert rotation.kid == published[1]

    async def new_key_signs() -> auth_pb2.LoginResponse | None:
        tokens = await begin(p, register=False)
        return tokens if kid(tokens.access_token) == published[1] else None

    after = await until(new_key_signs, timeout_s=1.5)
    assert not await is_dead(p, before.access_token)
    assert not await is_dead(p, after.access_token)
    now_published = await jwks(p)
    assert now_published[:2] == published
    assert len(now_published) == 3


def test_a_key_signs_only_after_it_was_published_for_long_enough(tmp_path):
    now = 1_000_000.0
    ring = KeyRing(tmp_path, lambda: now)
    ring.open()
    rotate(tmp_path, now)
    second = rotate(tmp_path, now)
    ring.refresh()
    assert ring.signing_key().kid != second.kid
    assert second.kid in [key.kid for key in ring.public_keys()]
    now += PUBLISH_AHEAD_S
    assert ring.signing_key().kid == second.kid


@pytest.mark.parametrize("lives", [[900], [86_400, 900], [900, LONGEST_ACCESS_TOKEN_S, 86_400], [None]])
def test_a_superseded_key_stays_published_until_its_last_token_has_ended_and_no_longer(tmp_path, lives):
    now = 1_000_000.0
    ring = KeyRing(tmp_path, lambda: now)
    ring.open()
    first, *_ = [ring.signing_key(life).kid for life in lives]
    rotate(tmp_path, now)
    ring.refresh()
    now += max(life or LONGEST_ACCESS_TOKEN_S for life in lives) + LATE_S - 1
    assert first in [key.kid for key in ring.public_keys()]
    now += 1
    assert first not in [key.kid for key in ring.public_keys()]


def test_what_a_key_signed_is_known_after_a_restart(tmp_path):
    now = 1_000_000.0
    ring = KeyRing(tmp_path, lambda: now)
    ring.open()
    first = ring.signing_key(900)
    again = KeyRing(tmp_path, lambda: now)
    again.open()
    assert again.signing_key(60).kid == first.kid and again.signing_key().longest_token_s == 900
    again.signing_key(86_400)
    ring.refresh()
    assert ring.signing_key().longest_token_s == 86_400


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_removed_key_is_published_no_more_and_another_one_signs_at_once(tmp_path, which):
    now = 1_000_000.0
    ring = KeyRing(tmp_path, lambda: now)
    ring.open()
    rotate(tmp_path, now)
    ring.refresh()
    now += PUBLISH_AHEAD_S
    removed = ring.public_keys()[which].kid  # the one before, the one that signs, the next one
    assert ring.remove(removed) and not ring.remove(removed) and not ring.remove("none")
    ring.refresh()
    published = [key.kid for key in ring.public_keys()]
    assert removed not in published and list(ring.removed) == [removed]
    assert ring.signing_key().kid in published[:-1]
    assert rotate(tmp_path, now).kid == published[-1]


@settings(deadline=None, max_examples=examples(25))
@given(st.lists(st.floats(0, 3 * LONGEST_ACCESS_TOKEN_S), min_size=1, max_size=12))
def test_whatever_the_rotations_every_token_verifies_and_its_key_was_known_beforehand(tmp_path_factory, pauses):
    folder = tmp_path_factory.mktemp("keys")
    now = 1_000_000.0
    ring = KeyRing(folder, lambda: now)
    ring.open()
    first_known = {key.kid: now - PUBLISH_AHEAD_S for key in ring.public_keys()}
    signed: list[tuple[float, str]] = []
    for pause in pauses:
        now += pause
        rotate(folder, now)
        ring.refresh()
        for key in ring.public_keys():
            first_known.setdefault(key.kid, now)
        signer = ring.signing_key().kid
        assert first_known[signer] + PUBLISH_AHEAD_S <= now
        signed.append((now, signer))
        published = {key.kid for key in ring.public_keys()}
        assert all(k in published for at, k in signed if now - at < LONGEST_ACCESS_TOKEN_S)


def test_keys_are_for_their_owner_only_and_never_shown(tmp_path):
    ring = KeyRing(tmp_path / "keys", lambda: 0.0)
    ring.open()
    assert stat.S_IMODE((tmp_path / "keys" / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert "private" not in repr(ring.signing_key())


def test_a_broken_key_file_stops_the_start_without_quoting_it(tmp_path):
    (tmp_path / FILE).write_text('{"keys": ["secret-part"]}')
    with pytest.raises(StartError) as caught:
        KeyRing(tmp_path, lambda: 0.0).open()
    assert "secret-part" not in str(caught.value)
