"""Which addresses our own calls may reach: public unicast ones, and networks that staff have approved.

The question is asked for the address a socket is about to connect to, never for a name: what a name resolves to can
change between two look-ups. Python's `is_global` alone lets through multicast, translated and tunnelled ranges, and a
few addresses inside clouds, so the ranges are listed here.
Sources: https://www.iana.org/assignments/iana-ipv4-special-registry/ and …/iana-ipv6-special-registry/
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]

_BLOCKED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host agent, a public address that only answers inside
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments, and Oracle's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_GLOBAL_V6 = IPv6Network("2000::/3")  # everything outside (loopback, local, mapped, NAT64, multicast) is not public
_BLOCKED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",
    )
)
# No approval makes a destination of these.
_NEVER = (IPv4Network("224.0.0.0/4"), IPv4Network("255.255.255.255/32"), IPv6Network("ff00::/8"))


class BlockedAddress(Exception):
    """The address is neither public nor inside an approved network."""


def parse_networks(texts: Iterable[str]) -> Networks:
    """CIDRs as networks; raises ValueError that says which one is wrong and why."""
    if isinstance(texts, str | bytes):
        raise ValueError("expected a list of networks, such as 10.1.0.0/16")
    networks: list[IPv4Network | IPv6Network] = []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"expected a network such as 10.1.0.0/16, got {text!r}")
        try:
            network = ip_network(text.strip())
        except ValueError as error:
            raise ValueError(f"{text!r} is not a network: {error}") from None
        if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
            raise ValueError(f"{text!r} maps IPv4 addresses: write it as an IPv4 network")
        networks.append(network)
    return tuple(networks)


def check(ip: str, allowed: Networks = ()) -> None:
    """Raise BlockedAddress unless `ip` (a numeric address) may be connected to."""
    address = _parse(ip)
    if _inside(address, _NEVER) or address.is_unspecified:
        raise BlockedAddress(f"{address} cannot be called")
    if _inside(address, allowed):
        return
    if not is_public(address):
        raise BlockedAddress(f"{address} is not a public address")


def is_public(address: Address) -> bool:
    """Whether it is a public unicast address."""
    if isinstance(address, IPv4Address):
        return not _inside(address, _BLOCKED_V4)
    return address in _GLOBAL_V6 and not _inside(address, _BLOCKED_V6)


def _parse(ip: str) -> Address:
    try:
        address = ip_address(ip.partition("%")[0])  # a scope (fe80::1%eth0) says nothing about the range
    except ValueError:
        raise BlockedAddress("not a numeric address") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _inside(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
