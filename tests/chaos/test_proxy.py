"""The proxy that chaos cuts connections by: it carries bytes both ways, and what it cuts is cut at both ends."""

import socket
import threading

import pytest

from tests.chaos.proxy import TcpProxy
from tests.running import until


@pytest.fixture
def echo():
    """Address of a server that sends back what it gets; and the connections that it lost."""
    server, lost = socket.create_server(("127.0.0.1", 0)), []

    def serve(connection):
        try:
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass
        lost.append(connection)

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield server.getsockname(), lost
    server.close()


def test_bytes_go_both_ways_until_they_are_cut_at_both_ends(echo):
    address, lost = echo
    proxy = TcpProxy(lambda: address)
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        client.sendall(b"hello")
        assert client.recv(10) == b"hello" and not lost
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            if client.recv(10) == b"":
                raise ConnectionResetError
        until(lambda: lost)
    proxy.refuses = True
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client, pytest.raises(ConnectionError):
        if client.recv(10) == b"":
            raise ConnectionResetError
    proxy.close()


def test_what_stands_still_goes_on_in_its_order_afterwards(echo):
    address, _ = echo
    proxy = TcpProxy(lambda: address)
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as before:
        before.sendall(b"1")
        assert before.recv(10) == b"1"
        proxy.stands_still = True
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as meanwhile:
            for client in (before, meanwhile):
                client.sendall(b"2")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(10)
                client.settimeout(10)
                client.sendall(b"3")
            proxy.stands_still = False
            for client in (before, meanwhile):
                assert client.recv(1) + client.recv(1) == b"23"
    proxy.close()


def test_without_a_target_a_connection_is_closed():
    proxy = TcpProxy(lambda: ("127.0.0.1", 1))
    with socket.create_connection(("127.0.0.1", proxy.port), 10) as client, pytest.raises(ConnectionError):
        if client.recv(10) == b"":
            raise ConnectionResetError
    proxy.close()
