"""The address that a server listens on."""

import socket

_BACKLOG = 1024
"""Connections that may wait to be accepted."""


class AddressRefused(ValueError):
    """Nothing can listen there; the message says why."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one. An IPv6 address takes no IPv4 connections.

    Raises:
        AddressRefused: with the system's reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = str(error.args[-1]).partition(" (while")[0]  # Python adds the address, which is told already
        raise AddressRefused(f"cannot listen on host {host!r}, port {port}: {reason}") from error
