"""gRPC's service config: deadlines and retries of RPCs, for our own channels and clients in any language (gRFC A6)."""

from collections.abc import Iterable
from typing import Any

from services.kernel.policy import MethodPolicy

RETRY_POLICY = {
    "maxAttempts": 3,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config(policies: Iterable[MethodPolicy]) -> dict[str, Any]:
    """A deadline where the contract has one, retries where it says that repeating does no harm."""
    return {
        "methodConfig": [_method_config(policy) for policy in sorted(policies, key=lambda policy: policy.full_name)],
        # When most calls fail, retries make it worse.
        "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
    }


def _method_config(policy: MethodPolicy) -> dict[str, Any]:
    service, _, method = policy.full_name[1:].partition("/")
    config: dict[str, Any] = {"name": [{"service": service, "method": method}]}
    if policy.deadline_s is not None:
        config["timeout"] = f"{policy.deadline_s:g}s"
    # A stream that is opened again begins again: its reader must know.
    if policy.idempotent and not policy.streams:
        config["retryPolicy"] = RETRY_POLICY
    return config
