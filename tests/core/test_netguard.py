"""Which addresses may be called."""

from __future__ import annotations

import pytest

from core.netguard import BlockedAddress, check, parse_networks

# fmt: off
BLOCKED = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::",
    "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "172.15.0.1", "172.32.0.1", "192.1.0.1", "223.255.255.255", "::ffff:8.8.8.8",
    "2606:4700::1111", "2a00::1",
]
# fmt: on


@pytest.mark.parametrize("ip", BLOCKED)
def test_an_address_that_is_not_public_is_blocked(ip: str) -> None:
    with pytest.raises(BlockedAddress):
        check(ip)


@pytest.mark.parametrize("ip", PUBLIC)
def test_a_public_address_may_be_called(ip: str) -> None:
    check(ip)


def test_an_approved_network_opens_only_itself() -> None:
    allowed = parse_networks(["127.0.0.0/8", "fd12::/16"])
    check("127.0.0.1", allowed)
    check("::ffff:127.0.0.1", allowed)
    check("fd12::1", allowed)
    for ip in ("10.0.0.1", "::1", "fd13::1", "169.254.169.254"):
        with pytest.raises(BlockedAddress):
            check(ip, allowed)


@pytest.mark.parametrize("ip", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "::", "ff02::1"])  # noqa: S104
def test_no_approval_makes_a_destination_of_a_group_or_of_nothing(ip: str) -> None:
    with pytest.raises(BlockedAddress):
        check(ip, parse_networks(["0.0.0.0/0", "::/0"]))


@pytest.mark.parametrize("ip", ["localhost", "", "127.1", "0x7f.1", "2130706433", "1.2.3.4.5"])
def test_what_is_not_a_numeric_address_is_blocked(ip: str) -> None:
    with pytest.raises(BlockedAddress):
        check(ip, parse_networks(["0.0.0.0/0", "::/0"]))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "nonsense", "", "10.0.0.0/33", "::ffff:10.0.0.0/104"])
def test_a_malformed_network_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match="network") as caught:
        parse_networks(["10.0.0.0/8", text])
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("texts", ["10.0.0.0/8", [10], [None]])
def test_networks_are_a_list_of_texts(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_networks(texts)
