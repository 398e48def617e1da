"""Names that lead to this machine, for clients that put a bucket's name before a host's."""

import contextlib
import socket
from unittest import mock


@contextlib.contextmanager
def local(domain):
    """While this holds, every name under `domain` is the loopback address, for this process."""
    real = socket.getaddrinfo

    def resolve(host, *rest, **more):
        name = host.decode() if isinstance(host, bytes) else host
        inside = isinstance(name, str) and (name == domain or name.endswith(f".{domain}"))
        return real("127.0.0.1" if inside else host, *rest, **more)

    with mock.patch.object(socket, "getaddrinfo", resolve):
        yield
