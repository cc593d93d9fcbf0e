"""The addresses of a page: the socket it listens on, and the host names it accepts."""

import errno
import ipaddress
import socket

import psutil

from tuner.errors import ConfigError

_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that holds an address.

    Args:
        host: A name or an address of this machine; `0.0.0.0` or `::` for all of them.
        port: The port; 0 for any free one.

    Raises:
        ConfigError: If the address is not available.
    """
    try:
        # To Python an empty host means every address of the machine; to a person, none.
        if not host.strip():
            raise OSError(errno.EINVAL, "it is empty")
        [(family, _, _, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address[:2], family=family)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"`port={port}` must be free, but another program uses it: stop that, or give "
                f"another port, such as port={port % 65535 + 1}, or port=0 for any free one."
            ) from error
        reason = getattr(error, "strerror", None) or "it is not a valid host name"
        raise ConfigError(
            f"`host={host}` and `port={port}` must be an address of this machine that you may "
            f"listen at, but: {reason}. Give host=127.0.0.1 for this machine only, or "
            f"host=0.0.0.0 to show the page to others."
        ) from error


def is_local(listener: socket.socket) -> bool:
    """Say whether only programs of this machine can reach a socket."""
    return ipaddress.ip_address(_bound(listener)).is_loopback


def hosts(host: str, listener: socket.socket) -> frozenset[str]:
    """Return the host names for this machine, in lower case, IPv6 addresses in brackets.

    Args:
        host: The configured host.
        listener: The socket that listens there.
    """
    names = _LOCAL | {_in_url(host), _in_url(_bound(listener))}
    if is_local(listener):
        return names
    name = socket.gethostname().lower()
    names |= {name, name.partition(".")[0], f"{name.partition('.')[0]}.local"}
    names |= {socket.getfqdn().lower().rstrip(".")}
    families = (socket.AF_INET, socket.AF_INET6)
    return names | {
        _in_url(entry.address.partition("%")[0])
        for entries in psutil.net_if_addrs().values()
        for entry in entries
        if entry.family in families
    }


def url(listener: socket.socket, token: str | None = None) -> str:
    """Return the address to open in a browser, reachable from other machines if possible."""
    bound = _bound(listener)
    if ipaddress.ip_address(bound).is_unspecified:
        bound = _outward_address(listener.family)
    base = f"http://{_in_url(bound)}:{listener.getsockname()[1]}"
    return base if token is None else f"{base}/{token}/"


def _bound(listener: socket.socket) -> str:
    return str(listener.getsockname()[0]).partition("%")[0]


def _in_url(host: str) -> str:
    return f"[{host}]".lower() if ":" in host else host.lower().rstrip(".")


def _outward_address(family: int) -> str:
    """Return this machine's address in the network through which it reaches others."""
    is_ipv6 = family == socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing. Both addresses are reserved for documentation (RFC 5737 and 3849).
            probe.connect(("2001:db8::1" if is_ipv6 else "192.0.2.1", 9))
        except OSError:
            return "::1" if is_ipv6 else "127.0.0.1"
        return str(probe.getsockname()[0]).partition("%")[0]
