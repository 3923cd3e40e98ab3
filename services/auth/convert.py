"""Sessions, keys and revocations between the wire and the service."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp
from redfire.auth.v1 import auth_pb2 as pb

from services.auth.api_key import ApiKey, VerifiedKey
from services.auth.keys import SigningKey
from services.auth.session import Revocation, Session, Tokens, WatchControlMessage
from services.kernel.errors import Invalid


def to_login(tokens: Tokens) -> pb.LoginResponse:
    """Convert an issued session to a login's answer."""
    return pb.LoginResponse(
        access_token=tokens.access_token,
        refresh_token=tokens.refresh_token,
        token_type="Bearer",  # noqa: S106 the kind of token (RFC 6750)
        expires_in=tokens.expires_in_s,
        refresh_expires_in=tokens.refresh_expires_in_s,
        session_id=tokens.session_id,
    )


def to_refresh(tokens: Tokens) -> pb.RefreshTokenResponse:
    """Convert an issued session to a refresh's answer: the same fields."""
    return pb.RefreshTokenResponse.FromString(to_login(tokens).SerializeToString())


def to_session(session: Session, current_id: str) -> pb.Session:
    """A session for the wire."""
    return pb.Session(
        session_id=session.session_id,
        create_time=to_time(session.create_time),
        last_seen_time=to_time(session.last_seen_time),
        client_address=session.client_address,
        user_agent=session.user_agent,
        current=session.session_id == current_id,
    )


def to_api_key(key: ApiKey) -> pb.ApiKey:
    """A key for the wire, without its secret."""
    return pb.ApiKey(
        api_key_id=key.api_key_id,
        display_name=key.display_name,
        scopes=key.scopes,
        create_time=to_time(key.create_time),
        expire_time=to_time(key.expire_time) if key.expire_time else None,
        last_used_time=to_time(key.last_used_time) if key.last_used_time else None,
        allowed_cidrs=key.allowed_cidrs,
    )


def to_verified(found: VerifiedKey) -> pb.VerifyApiKeyResponse:
    """Convert a verified key."""
    return pb.VerifyApiKeyResponse(
        api_key_id=found.api_key.api_key_id,
        user_id=found.api_key.user_id,
        role=found.role,
        scopes=found.scopes,
        expire_time=to_time(found.api_key.expire_time) if found.api_key.expire_time else None,
    )


def to_jwk(key: SigningKey) -> pb.JsonWebKey:
    """The public half of a key for the wire."""
    return pb.JsonWebKey(kty="OKP", use="sig", alg="EdDSA", crv="Ed25519", kid=key.kid, x=key.x)


def to_watch(item: Revocation | WatchControlMessage, now: datetime) -> pb.WatchRevocationsResponse:
    """A message of the stream of revocations."""
    if isinstance(item, Revocation):
        revocation = pb.Revocation(id=item.revoked_id, expire_time=to_time(item.expire_time))
        return pb.WatchRevocationsResponse(revocation=revocation)
    if item is WatchControlMessage.SNAPSHOT_COMPLETE:
        return pb.WatchRevocationsResponse(snapshot_complete=True)
    return pb.WatchRevocationsResponse(heartbeat=to_time(now))


def to_time(time: datetime) -> Timestamp:
    """A time for the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def from_expire_time(request: pb.CreateApiKeyRequest) -> datetime | None:
    """Time at which a key ends; None: never. Raises Invalid for times that are none."""
    if not request.HasField("expire_time"):
        return None
    try:
        return request.expire_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        raise Invalid("not a time", field="expire_time") from None
