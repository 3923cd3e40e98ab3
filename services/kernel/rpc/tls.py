"""TLS between services, where there is no mesh: the certificate of a server, and the CA of its peers."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from services.kernel.errors import StartError


@dataclass(frozen=True, slots=True)
class PeerTls:
    """The CA whose certificates a client of services believes, PEM; without one it speaks plainly."""

    ca: bytes = b""
    name: str = ""
    """The name that all peers' certificates state; empty: the host of each address."""

    def channel(self, address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
        """A channel to an address, as gRPC takes it."""
        if not self.ca:
            return grpc.aio.insecure_channel(address, options=list(options))
        return grpc.aio.secure_channel(address, self._credentials(), options=self._options(options))

    def blocking_channel(self, address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
        """The same of the synchronous kind."""
        if not self.ca:
            return grpc.insecure_channel(address, options=list(options))
        return grpc.secure_channel(address, self._credentials(), options=self._options(options))

    def _credentials(self) -> grpc.ChannelCredentials:
        return grpc.ssl_channel_credentials(root_certificates=self.ca)

    def _options(self, options: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
        named = [("grpc.ssl_target_name_override", self.name)] if self.name else []
        return [*options, *named]


PLAIN = PeerTls()


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The certificate chain of a server and its key, PEM files."""

    cert: Path
    key: Path

    def credentials(self) -> grpc.ServerCredentials:
        """For gRPC's server. Raises StartError."""
        pair = read_pem(self.key, "server.tls_key"), read_pem(self.cert, "server.tls_cert")
        self.context()  # says what is wrong with them, which gRPC does not
        return grpc.ssl_server_credentials([pair])

    def context(self) -> ssl.SSLContext:
        """For our own HTTP/2 server. Raises StartError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["h2"])
        try:
            context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if type(error) is OSError else "is no key of this certificate, or none at all"
            raise StartError(f"server.tls_cert {self.cert}, server.tls_key {self.key}: {reason}") from None
        return context


def read_pem(file: Path, setting: str) -> bytes:
    """A PEM file that a setting names. Raises StartError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StartError(f"{setting}: {file}: {error.strerror}") from None
    if b"-----BEGIN" not in content:
        raise StartError(f"{setting}: {file}: is no PEM file")
    return content
