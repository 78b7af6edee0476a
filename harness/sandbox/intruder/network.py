"""Attempts to reach servers, and the one on a loopback that should succeed. Standard library only: this runs inside."""

from __future__ import annotations

import socket
import threading

from harness.sandbox.intruder.attempt import NotApplicableError, Scene

TIMEOUT_S = 1.0


def tcp(scene: Scene) -> str:
    """A TCP server of this machine."""
    socket.create_connection(("127.0.0.1", scene["tcp_port"]), TIMEOUT_S).close()
    return "connected"


def tcp6(scene: Scene) -> str:
    """A TCP server of this machine, by IPv6."""
    if not scene["tcp6_port"]:
        raise NotApplicableError("no IPv6")
    socket.create_connection(("::1", scene["tcp6_port"]), TIMEOUT_S).close()
    return "connected"


def udp(scene: Scene) -> str:
    """A UDP server of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(scene["token"].encode(), ("127.0.0.1", scene["udp_port"]))
    return "sent"


def route(_scene: Scene) -> str:
    """A way out of this machine; an address that nobody has is asked for, and nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("192.0.2.1", 9))
    return "there is a route"


def unix_socket(scene: Scene) -> str:
    """A server that listens at a path, as Docker and SSH agents do."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(scene["unix_path"])
    return "connected"


def abstract_socket(scene: Scene) -> str:
    """A server that listens at an abstract name."""
    if not scene["abstract"]:
        raise NotApplicableError("Linux only")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + scene["abstract"])
    return "connected"


def loopback(_scene: Scene) -> str:
    """A server inside; to reach it is what a task may need."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"hello")).start()
        with socket.create_connection(server.getsockname(), TIMEOUT_S) as client:
            return client.recv(5).decode()
