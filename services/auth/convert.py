"""Sessions, keys and revocations between the wire and the service."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.auth.v1 import auth_pb2 as pb

from services.auth.api_keys.api_key import ApiKey, VerifiedKey
from services.auth.session import Revocation, Session, Tokens, WatchControlMessage
from services.kernel.errors import Invalid
from services.kernel.identity.key_file import SigningKey


def login_to_pb(tokens: Tokens) -> pb.LoginResponse:
    """Convert an issued session to a login's answer."""
    return pb.LoginResponse(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        token_type="Bearer",  # noqa: S106 the kind of token (RFC 6750) # nosec B106
        expires_in=tokens.expires_in_s,
        refresh_expires_in=tokens.refresh_expires_in_s,
        session_id=tokens.session_id,
        must_enroll_second_factor=tokens.must_enroll,
        device_token=tokens.device_token,
    )


def refresh_to_pb(tokens: Tokens) -> pb.RefreshTokenResponse:
    """Convert an issued session to a refresh's answer: the same fields."""
    return pb.RefreshTokenResponse.FromString(login_to_pb(tokens).SerializeToString())


def session_to_pb(session: Session, current_id: str) -> pb.Session:
    """A session for the wire."""
    return pb.Session(
        session_id=session.session_id,
        create_time=time_to_pb(session.create_time),
        last_seen_time=time_to_pb(session.last_seen_time),
        client_address=session.client_address,
        user_agent=session.user_agent,
        current=session.session_id == current_id,
    )


def api_key_to_pb(key: ApiKey) -> pb.ApiKey:
    """A key for the wire, without its secret."""
    return pb.ApiKey(
        api_key_id=key.api_key_id,
        display_name=key.display_name,
        scopes=key.scopes,
        create_time=time_to_pb(key.create_time),
        expire_time=time_to_pb(key.expire_time) if key.expire_time else None,
        last_used_time=time_to_pb(key.last_used_time) if key.last_used_time else None,
        allowed_cidrs=key.allowed_cidrs,
        parent_api_key_id=key.parent_id,
    )


def verified_to_pb(key: VerifiedKey) -> pb.VerifyApiKeyResponse:
    """Convert a verified key."""
    return pb.VerifyApiKeyResponse(
        api_key_id=key.api_key.api_key_id,
        user_id=key.api_key.user_id,
        role=key.role,
        scopes=key.scopes,
        expire_time=time_to_pb(key.api_key.expire_time) if key.api_key.expire_time else None,
    )


def jwk_to_pb(key: SigningKey) -> pb.JsonWebKey:
    """The public half of a key for the wire."""
    return pb.JsonWebKey(kty="OKP", use="sig", alg="EdDSA", crv="Ed25519", kid=key.kid, x=key.x)


def revocation_to_pb(revocation: Revocation) -> pb.Revocation:
    """A revocation for the wire."""
    return pb.Revocation(id=revocation.revoked_id, expire_time=time_to_pb(revocation.expire_time))


def watch_message_to_pb(item: Revocation | WatchControlMessage, now: datetime) -> pb.WatchRevocationsResponse:
    """A message of the stream of revocations."""
    if isinstance(item, Revocation):
        return pb.WatchRevocationsResponse(revocation=revocation_to_pb(item))
    if item is WatchControlMessage.SNAPSHOT_COMPLETE:
        return pb.WatchRevocationsResponse(snapshot_complete=True)
    return pb.WatchRevocationsResponse(heartbeat=time_to_pb(now))


def time_to_pb(time: datetime) -> Timestamp:
    """A time for the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def expire_time_from_pb(request: pb.CreateApiKeyRequest) -> datetime | None:
    """Time at which a key ends; None: the default. Raises Invalid for times that are none."""
    if not request.HasField("expire_time"):
        return None
    try:
        return request.expire_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("not a time", field="expire_time") from None
