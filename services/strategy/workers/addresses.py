"""Addresses that a confined worker connects to: numbers, since looking a name up takes datagrams."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable


async def resolve(address: str) -> str:
    """The same address with numbers for a name, as a gRPC channel takes it; of several of a name, those of one kind.

    `address`: `host:port`, or `ipv4:ip:port,ip:port`. Raises OSError.
    """
    if not address:
        return ""
    first = address.rpartition("/")[2] if address.startswith("dns:") else address
    host, _, port = first.rpartition(":")
    if "," in first or _is_numeric(host):
        return first
    answers = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    family = answers[0][0]
    hosts = dict.fromkeys(str(answer[4][0]) for answer in answers if answer[0] == family)
    if family == socket.AF_INET6:
        return "ipv6:" + ",".join(f"[{one}]:{port}" for one in hosts)
    return "ipv4:" + ",".join(f"{one}:{port}" for one in hosts)


def ports_of(addresses: Iterable[str]) -> list[int]:
    """The ports of addresses, each once."""
    return sorted({int(one.rpartition(":")[2]) for address in addresses if address for one in address.split(",")})


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.startswith(("ipv4:", "ipv6:"))
    return True
