"""Frames in plain bytes: what a tester sends, and whether what comes out of the relay is its translation.

The addresses are those of ../testbed/README.md. Nothing here is shared with the relay or with a tester.
"""

import ipaddress
import struct

UDP = 17
IPV4, IPV6 = 0x0800, 0x86DD
ETHERNET_HEADER, UDP_HEADER = 14, 8
IP_HEADER = {4: 20, 6: 40}
CHECK_SEQUENCE = 4

PREFIX = int(ipaddress.IPv6Address("2001:db8:46::"))
SERVERS = int(ipaddress.IPv6Address("2001:db8:64::"))
SERVICES = ipaddress.IPv4Network("10.0.0.0/8")
CLIENTS = ipaddress.IPv4Network("198.18.0.0/15")


class Wrong(Exception):
    """A packet that is not what it should be."""


def to_ipv6(address):
    """What an IPv4 address of the test bed is on the IPv6 side."""
    if address in SERVICES:
        return ipaddress.IPv6Address(SERVERS | int(address))
    if address in CLIENTS:
        return ipaddress.IPv6Address(PREFIX | int(address))
    raise Wrong("%s is no address of the test bed" % address)


def ones_sum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo_header(source, destination, length):
    return source.packed + destination.packed + struct.pack("!IHBB", length, 0, 0, UDP)


def udp_frame(macs, source, destination, ports, size, ttl=64, payload=None):
    """A frame whose size includes the check sequence, as testers count. `macs` is (destination, source)."""
    version = source.version
    length = size - CHECK_SEQUENCE - ETHERNET_HEADER - IP_HEADER[version]
    payload = payload or bytes(each % 256 for each in range(length - UDP_HEADER))
    udp = struct.pack("!HHHH", *ports, length, 0) + payload
    checksum = ~ones_sum(pseudo_header(source, destination, length) + udp) & 0xFFFF
    udp = udp[:6] + struct.pack("!H", checksum or 0xFFFF) + udp[8:]
    if version == 4:
        header = struct.pack("!BBHHHBBH", 0x45, 0, IP_HEADER[4] + length, 0, 0, ttl, UDP, 0)
        header += source.packed + destination.packed
        header = header[:10] + struct.pack("!H", ~ones_sum(header) & 0xFFFF) + header[12:]
    else:
        header = struct.pack("!IHBB", 6 << 28, length, UDP, ttl) + source.packed + destination.packed
    ether_type = IPV4 if version == 4 else IPV6
    return b"".join(mac_bytes(mac) for mac in macs) + struct.pack("!H", ether_type) + header + udp


def mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


class Packet:
    """An IP packet with UDP in it, all of whose lengths and checksums are right."""

    def __init__(self, data):
        self.version = data[0] >> 4
        if self.version == 4:
            if data[0] != 0x45 or ones_sum(data[:20]) != 0xFFFF:
                raise Wrong("bad IPv4 header: %s" % data[:20].hex())
            length, fragment, self.ttl, protocol = struct.unpack("!2xH2xHBB", data[:10])
            if fragment & 0x3FFF:
                raise Wrong("a fragment")
            self.source, self.destination = (ipaddress.IPv4Address(data[at:at + 4]) for at in (12, 16))
        elif self.version == 6:
            length, protocol, self.ttl = struct.unpack("!4xHBB", data[:8])
            length += IP_HEADER[6]
            self.source, self.destination = (ipaddress.IPv6Address(data[at:at + 16]) for at in (8, 24))
        else:
            raise Wrong("IP version %d" % self.version)
        udp = data[IP_HEADER[self.version]:]
        if length != len(data) or protocol != UDP:
            raise Wrong("length %d of %d, protocol %d" % (length, len(data), protocol))
        udp_length, checksum = struct.unpack("!4xHH", udp[:8])
        if udp_length != len(udp) or checksum == 0:
            raise Wrong("UDP length %d of %d, checksum %#x" % (udp_length, len(udp), checksum))
        if ones_sum(pseudo_header(self.source, self.destination, len(udp)) + udp) != 0xFFFF:
            raise Wrong("bad UDP checksum %#06x" % checksum)
        self.ports, self.payload = udp[:4], udp[8:]


def judge(sent, received):
    """Refuses `received` unless it is the translation of `sent`."""
    if sent.version == received.version:
        raise Wrong("still IPv%d" % received.version)
    four, six = (sent, received) if sent.version == 4 else (received, sent)
    if (to_ipv6(four.source), to_ipv6(four.destination)) != (six.source, six.destination):
        raise Wrong("%s > %s does not stand for %s > %s" % (four.source, four.destination, six.source, six.destination))
    if received.ttl != sent.ttl - 1:
        raise Wrong("TTL %d after %d" % (received.ttl, sent.ttl))
    if (sent.ports, sent.payload) != (received.ports, received.payload):
        raise Wrong("ports or payload changed")


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for frame in frames:
            file.write(struct.pack("<IIII", 0, 0, len(frame), len(frame)) + frame)


def read_pcap(path):
    with open(path, "rb") as file:
        data = file.read()
    order = {0xD4C3B2A1: "<", 0xA1B2C3D4: ">"}[int.from_bytes(data[:4], "big")]
    packets, at = [], 24
    while at < len(data):
        length = struct.unpack_from(order + "8xI", data, at)[0]
        packets.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return packets
