"""HOST:PORT of a cloud, checked: gRPC would look for a host called ``http://10.0.0.5`` for ever, in silence."""

import re

_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%\w+)?\]|[^\s:/\[\]]+")
"""A name, an IPv4 address, or an IPv6 address in brackets."""


def checked_address(value: str) -> str:
    """The address as it is.

    Raises:
        ValueError: it is not HOST:PORT.
    """
    host, _, port = value.rpartition(":")
    if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{value!r} is not HOST:PORT; give it as 10.0.0.5:9000, an IPv6 address as [::1]:9000")
    return value
