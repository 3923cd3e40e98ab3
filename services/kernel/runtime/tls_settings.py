"""TLS between services, as the settings say."""

from services.kernel.errors import StartError
from services.kernel.rpc.tls import PLAIN, PeerTls, ServerTls, read_pem
from services.kernel.runtime.kernel_sections import PeersSettings, ServerSettings
from services.kernel.runtime.settings import Settings


def peer_tls(settings: Settings) -> PeerTls:
    """TLS to the peers, as the settings say. Raises StartError."""
    peers = settings.of(PeersSettings)
    if peers.tls_ca is None:
        return PLAIN
    return PeerTls(read_pem(peers.tls_ca, "peers.tls_ca"), peers.tls_name)


def server_tls(settings: Settings) -> ServerTls | None:
    """TLS of the servers of this process; None where they speak plainly. Raises StartError."""
    server = settings.of(ServerSettings)
    if server.tls_cert is None and server.tls_key is None:
        return None
    if server.tls_cert is None or server.tls_key is None:
        raise StartError("server.tls_cert and server.tls_key belong together: one of them is missing")
    return ServerTls(server.tls_cert, server.tls_key)
