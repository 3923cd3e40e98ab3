"""Every RPC × every role, through the edge: let through or refused just as the contract states."""

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import grpc
import pytest

from services.kernel.identity.identity import ROLE_PERMISSIONS
from services.kernel.identity.service_keys import PUBLIC, OwnKeys, TrustedKeys
from services.kernel.identity.service_tokens import ServiceTokens
from services.kernel.policy import MethodPolicy
from tests.contract.policies import POLICIES

NOT_REACHED = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}


def outcome(channel: grpc.Channel, policy: MethodPolicy, metadata) -> grpc.StatusCode:
    """The status of the RPC with an empty request: authorization comes before the request is looked at."""
    try:
        if policy.streams:
            call = channel.unary_stream(policy.full_name)(b"", metadata=metadata, timeout=3)
            next(iter(call), None)
            call.cancel()
        else:
            channel.unary_unary(policy.full_name)(b"", metadata=metadata, timeout=10)
    except grpc.RpcError as failure:
        return failure.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def metadata(up, admin):
    made = {"guest": []}
    for role in ("user", "trader", "admin"):
        name = f"{role}{uuid4().hex[:10]}"
        client = up.register(name)
        assert admin.put(f"/api/users/{client.user_id}/role", {"role": role}).status_code == 200
        client.login(name, "correct-Horse-9")
        made[role] = [("authorization", f"Bearer {client.token}")]
    return made


# Ends the session that the other calls need.
ENDS_SESSION = {"Logout"}


@pytest.mark.parametrize("role", ["guest", "user", "trader", "admin"])
def test_every_rpc_is_let_through_or_refused_as_stated(up, metadata, role):
    policies = [p for p in POLICIES if not p.internal and p.name not in ENDS_SESSION]
    with up.channel() as channel, ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda p: outcome(channel, p, metadata[role]), policies))
    wrong = []
    for policy, code in zip(policies, outcomes, strict=True):
        granted = ROLE_PERMISSIONS[role] if role != "guest" else frozenset()
        if policy.public or policy.permission in granted or "admin:all" in granted:
            expected = code is not grpc.StatusCode.PERMISSION_DENIED and code is not grpc.StatusCode.UNIMPLEMENTED
            expected = expected and (code is not grpc.StatusCode.UNAUTHENTICATED or policy.public)
        else:
            expected = code is (
                grpc.StatusCode.UNAUTHENTICATED if role == "guest" else grpc.StatusCode.PERMISSION_DENIED
            )
        if not expected:
            wrong.append((policy.full_name, role, code))
    assert wrong == []


@pytest.mark.parametrize("role", ["guest", "admin"])
def test_internal_rpcs_are_not_to_be_reached_from_outside(up, metadata, role):
    internal = [p for p in POLICIES if p.internal]
    assert len(internal) > 10
    forged = [*metadata[role], ("x-redfire-service", service_token(up, "trading", "trading"))]
    with up.channel() as channel:
        reached = [p.full_name for p in internal if outcome(channel, p, forged) not in NOT_REACHED]
    assert reached == []


def test_a_services_own_token_opens_nothing_from_outside(up):
    with up.channel() as channel:
        for policy in POLICIES:
            if not policy.public:
                caller = min(policy.callers - {"*", "worker"}, default="trading")
                token = service_token(up, caller, policy.service)
                code = outcome(channel, policy, [("x-redfire-service", token)])
                assert code in NOT_REACHED, policy.full_name
                code = outcome(channel, policy, [("authorization", f"Bearer {token}")])
                assert code in NOT_REACHED, policy.full_name


def service_token(up, caller, callee):
    """Token that the service itself would send."""
    folder = up.data_dir / "identity"
    return ServiceTokens(OwnKeys(folder, folder / PUBLIC), TrustedKeys(folder / PUBLIC)).make(caller, callee)
