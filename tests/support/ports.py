"""Ports for servers that start later."""

import contextlib
import random
import socket

PORTS = range(20_000, 32_000)
"""Below the ports of outgoing connections (Linux: from 32,768). A client that polls one of those before its server
starts may be given the same port, and then it is connected to itself."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that no program has."""
    while True:
        port = random.choice(PORTS)
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            return port
