"""An API key, and the networks it may be used from."""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.kernel.errors import Invalid


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key for programs; the secret is no part of it."""

    user_id: str
    api_key_id: str
    display_name: str
    scopes: tuple[str, ...]
    allowed_cidrs: tuple[str, ...]
    create_time: datetime
    expire_time: datetime | None = None
    last_used_time: datetime | None = None
    revoke_time: datetime | None = None
    # The key that made it.
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key with its secret, which is shown this once."""

    api_key: ApiKey
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A good key, its owner's present role, and the scopes that the owner still has."""

    api_key: ApiKey
    role: str
    scopes: tuple[str, ...]


def parse_networks(texts: Sequence[str]) -> tuple[str, ...]:
    """Networks in their usual form, `10.0.0.0/8`. Raises Invalid for anything else."""
    networks = []
    for index, text in enumerate(texts):
        try:
            networks.append(str(ipaddress.ip_network(text.strip())))
        except ValueError as error:
            raise Invalid(str(error), field=f"allowed_cidrs[{index}]") from None
    return tuple(networks)


def is_allowed(address: str, allowed_cidrs: Iterable[str]) -> bool:
    """Test an address: is it in one of the networks? Without networks every address is."""
    networks = [ipaddress.ip_network(text) for text in allowed_cidrs]
    if not networks:
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    forms = [parsed]
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        # How a socket that takes both kinds writes an IPv4 caller.
        forms.append(parsed.ipv4_mapped)
    return any(form in network for form in forms for network in networks)


def is_within(inner: Iterable[str], outer: Sequence[str]) -> bool:
    """Test that `inner` allows no address that `outer` does not."""
    if not outer:
        return True
    inner_networks = [ipaddress.ip_network(text) for text in inner]
    outer_networks = [ipaddress.ip_network(text) for text in outer]
    return bool(inner_networks) and all(
        any(i.version == o.version and i.subnet_of(o) for o in outer_networks)  # type: ignore[arg-type]
        for i in inner_networks
    )
