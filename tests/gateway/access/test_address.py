"""Where a client is: nothing that it says itself counts, unless there is a proxy whose word it is."""

import ipaddress

import pytest

from workers.gateway.access.address import address_of, came_by_tls, canonical, is_within, neighbourhood


def scope(*forwarded, client=("192.0.2.1", 5), scheme="http", **headers):
    found = [(b"x-forwarded-for", one.encode()) for one in forwarded]
    found += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"client": client, "headers": found, "scheme": scheme}


@pytest.mark.parametrize("forwarded", [(), ("1.2.3.4",), ("1.2.3.4", "5.6.7.8"), ("x",)])
def test_without_a_proxy_it_is_the_other_end(forwarded):
    """Whatever the headers say."""
    assert address_of(scope(*forwarded, x_real_ip="9.9.9.9", forwarded="for=9.9.9.9"), proxied=False) == "192.0.2.1"


@pytest.mark.parametrize(
    ("forwarded", "found"),
    [
        (("1.2.3.4",), "1.2.3.4"),
        (("6.6.6.6, 1.2.3.4",), "1.2.3.4"),
        (("6.6.6.6", "1.2.3.4"), "1.2.3.4"),
        (("6.6.6.6,7.7.7.7 ,  1.2.3.4 ",), "1.2.3.4"),
        (("2001:DB8::1",), "2001:db8::1"),
        (("::ffff:1.2.3.4",), "1.2.3.4"),
        ((), "192.0.2.1"),
        (("",), "192.0.2.1"),
        (("1.2.3.4, unknown",), "192.0.2.1"),
        (("1.2.3.4,",), "192.0.2.1"),
        (("1.2.3.4.5",), "192.0.2.1"),
    ],
)
def test_behind_a_proxy_its_own_entry_counts(forwarded, found):
    """The last one: those before it came with the request, from whoever sent it. Nonsense is the proxy itself."""
    assert address_of(scope(*forwarded), proxied=True) == found


def test_a_client_without_an_address_has_none():
    """A Unix socket, say: no allowlist has it."""
    assert address_of(scope(client=None), proxied=False) == ""
    assert not is_within("", [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::FFFF:127.0.0.1", "127.0.0.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("0127.0.0.1", ""),
        ("1.2.3", ""),
        ("localhost", ""),
        ("", ""),
        ("1.2.3.4\n", ""),
    ],
)
def test_an_address_has_one_text(text, found):
    """So that nobody is two clients by writing it in another way."""
    assert canonical(text) == found


def test_an_ipv6_network_is_one_client():
    """Whoever has one address there has 2**64, and would have as many buckets."""
    assert neighbourhood("2001:db8::1") == neighbourhood("2001:db8::ffff:1") == "2001:db8::/64"
    assert neighbourhood("2001:db8:0:1::1") != neighbourhood("2001:db8::1")
    assert neighbourhood("192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize(
    ("address", "inside"),
    [("10.1.2.3", True), ("192.0.2.7", True), ("192.0.2.8", False), ("2001:db8::5", True), ("2001:db9::5", False)],
)
def test_networks(address, inside):
    """Of both kinds, mixed."""
    networks = [ipaddress.ip_network(one) for one in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32")]
    assert is_within(address, networks) is inside


@pytest.mark.parametrize(
    ("found", "proxied", "tls"),
    [
        (scope(), False, False),
        (scope(scheme="https"), False, True),
        (scope(scheme="wss"), False, True),
        (scope(x_forwarded_proto="https"), False, False),
        (scope(x_forwarded_proto="https"), True, True),
        (scope(x_forwarded_proto="http"), True, False),
        (scope(x_forwarded_proto="http, https"), True, True),
        (scope(), True, True),
    ],
)
def test_tls(found, proxied, tls):
    """A proxy that says nothing speaks TLS to its clients: a cookie too strict is noticed, one too lax is not."""
    assert came_by_tls(found, proxied=proxied) is tls
