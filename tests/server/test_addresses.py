"""The socket of a page, and what visitors may call this machine."""

import socket

import pytest

from tuner.errors import ConfigError
from tuner.server.addresses import hosts, is_local, listen, url


def test_listen_at_a_port_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"`port={port}` must be free.*port={port + 1}"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize(
    "host",
    [
        # From a block that is reserved for documentation (RFC 5737).
        "192.0.2.1",
        "2001:db8::1",
        "no.such.host.invalid",
        "999.1.1.1",
        "[::1]",
        "http://localhost",
        "",
        " ",
        "a\0b",
        "é" * 70 + ".example",
        "x" * 300,
        "..",
    ],
)
def test_listen_at_what_is_no_address_of_this_machine(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        listen(host, 0)
    assert "`host=" in str(caught.value)
    assert "host=127.0.0.1" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
def test_hosts_of_a_page_for_this_machine_alone(host: str) -> None:
    with listen(host, 0) as listener:
        port = listener.getsockname()[1]
        assert is_local(listener)
        named = hosts(host, listener)
        assert {host, "localhost", "127.0.0.1", "[::1]"} <= named
        assert len(named) <= 4
        assert url(listener).startswith("http://")
        assert url(listener).endswith(f":{port}")


def test_hosts_of_a_page_for_others_are_the_names_of_this_machine() -> None:
    with listen("0.0.0.0", 0) as listener:
        assert not is_local(listener)
        named = hosts("0.0.0.0", listener)
        assert {socket.gethostname().lower(), "127.0.0.1", "localhost"} <= named
        assert "evil.example" not in named
        shown = url(listener, "secret")
    address = shown.removeprefix("http://").partition(":")[0]
    # An address that can be opened, and that the page accepts as its own.
    assert address in named
    assert address != "0.0.0.0"
    assert shown.endswith("/secret/")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_url_of_an_ipv6_address() -> None:
    try:
        listener = listen("::1", 0)
    except ConfigError:
        pytest.skip("this machine has no ::1")
    with listener:
        assert url(listener) == f"http://[::1]:{listener.getsockname()[1]}"
        assert "[::1]" in hosts("::1", listener)
