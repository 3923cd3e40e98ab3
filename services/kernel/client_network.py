"""The network that stands for a client where clients are counted."""

import ipaddress


def network_of(client_address: str) -> str:
    """The address, of IPv6 the /64 that one household has."""
    try:
        address = ipaddress.ip_address(client_address)
    except ValueError:
        return client_address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
    return str(address)
