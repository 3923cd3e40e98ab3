"""Ports of processes that come and go, kept so that peers and the edge find a new process where the old one was."""

import socket


class KeptPort:
    """A port of loopback that is ours until `close`: bound, but not listened on.

    A process that is started with `server.reuse_port` listens on it (SO_REUSEPORT, open to the same user alone). While
    none does, connections are refused and nobody else is given the port.
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((host, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port up."""
        self._socket.close()
