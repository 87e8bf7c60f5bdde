#!/usr/bin/env python3
"""Configurations and packets for compare.py.

    packets(name, seed, count) -> list of bytes

The same arguments always give the same packets.  Packets are drawn from what
the configuration makes interesting: its EAMs, prefixes, pools, denylist, own
addresses and MTUs; most are valid, some are damaged, a few are noise.

Run directly it prints a few packets of each configuration in readable form:
    generate.py [NAME] [SEED]
"""

import ipaddress
import random
import struct
import sys

import model

# ------------------------------------------------------------- configurations

LAB = [("192.0.2.1/32", "2001:db8:12:34::1/128"), ("192.0.2.2/32", "2001:db8:12:34::2/128"),
       ("192.0.2.3/32", "2001:db8:fe:dc::1/128"), ("192.0.2.4", "2001:db8:12:34::4"),
       ("192.0.2.5", "2001:db8:fe:dc::e")]
# RFC 7757 figure 1.
FIGURE_1 = [("192.0.2.1/32", "2001:db8:aaaa::/128"), ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            ("192.0.2.16/28", "2001:db8:cccc::/124"), ("192.0.2.128/26", "2001:db8:dddd::/64"),
            ("192.0.2.192/29", "2001:db8:eeee:8::/62"), ("192.0.2.224/31", "64:ff9b::/127")]
# Rows inside rows, on either side, with equal and unequal suffix lengths.
OVERLAP = [("0.0.0.0/0", "2001:db8:ff00::/40"), ("198.51.100.64/32", "2001:db8::abcd/128"),
           ("198.18.0.0/15", "2001:db8:1800::/48"), ("198.18.7.0/24", "2001:db8:1807::/64"),
           ("198.18.7.128/25", "2001:db8:1807::/96"), ("198.18.7.200/32", "2001:db8:1807:0:c8::1/128"),
           ("198.19.0.0/16", "2001:db8:1800:1::/64"), ("192.0.2.0/24", "2001:db8:ffc0::/120"),
           ("192.0.2.9/32", "2001:db8:46::c000:209/128")]
GLOBAL = [("203.0.113.99/32", "2001:db8:f00d::1/128"), ("9.9.9.0/24", "2001:db8:f00d:9::/64"),
          ("11.0.0.1/32", "64:ff9b::b00:1/128")]
# IPv4 clients with EAMs of their own, where there is no prefix.
CLIENTS = [("203.0.113.0/24", "2001:db8:cb00::/120"), ("8.8.8.8/32", "2001:db8:8::8/128"), ("1.0.0.0/8", "2001:db8:1::/64")]
POOL = dict(service_pools=["192.0.2.0/24"], icmp_source_pool=["198.51.100.1/32"])
OPEN = dict(translatable_pools=["0.0.0.0/0"], anti_spoof=False)


def _with(*parts, **keys):
    merged = dict(icmp_errors="send")
    for part in parts:
        merged.update(part)
    merged.update(keys)
    return merged


def _prefix(text, **keys):
    return _with(POOL, prefixes=[text], translatable_pools=["198.51.100.0/25"], eam=LAB, **keys)


CONFIGS = {
    # As an operator would leave it.
    "default": dict(POOL, prefixes=["2001:db8:46::/96"], eam=LAB),
    # The algorithm of RFC 7757 with no policy added.
    "literal": _with(POOL, OPEN, prefixes=["2001:db8:46::/96"], eam=LAB, guard_protocols=False),
    "er": _with(role="er", prefixes=["2001:db8:46::/96"], er_addresses=["2001:db8:a::", "2001:db8:fe:dc::e"],
                eam=[("192.0.2.1", "2001:db8:a::"), ("192.0.2.5", "2001:db8:fe:dc::e"),
                     ("192.0.2.2", "2001:db8:b::")]),
    "er_hairpin_off": _with(role="er", prefixes=["2001:db8:46::/96"], er_addresses=["2001:db8:a::"],
                            hairpin="off", eam=[("192.0.2.1", "2001:db8:a::")], lowest_ipv6_mtu=1500),
    "prefix_32": _prefix("2001:db8::/32"),
    "prefix_40": _prefix("2001:db8:100::/40"),
    "prefix_48": _prefix("2001:db8:122::/48"),
    "prefix_56": _prefix("2001:db8:122:300::/56"),
    "prefix_64": _prefix("2001:db8:122:344::/64"),
    "prefixes_two": _with(POOL, prefixes=["2001:db8:46::/96", "64:ff9b::/96"], eam=LAB + GLOBAL,
                          translatable_pools=["8.0.0.0/7"], wkp_strict=True),
    "wkp_strict": _with(prefixes=["64:ff9b::/96"], eam=GLOBAL, service_pools=["203.0.113.96/28"],
                        icmp_source_pool=["5.5.5.5/32"], translatable_pools=["8.8.8.0/24"]),
    "wkp_loose": _with(POOL, OPEN, prefixes=["64:ff9b::/96"], eam=FIGURE_1, wkp_strict=False),
    "figure_1": _with(POOL, prefixes=["64:ff9b::/96"], eam=FIGURE_1, wkp_strict=False),
    "hairpin_simple": _with(POOL, prefixes=["2001:db8:46::/96"], eam=FIGURE_1, hairpin="simple",
                            anti_spoof=False),
    "hairpin_off": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, hairpin="off"),
    "hairpin_small_mtu": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, ipv4_mtu=1000, ipv6_mtu=1400),
    "lowest_1500": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, lowest_ipv6_mtu=1500),
    "path_1520": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, lowest_ipv6_mtu=1520, ipv6_mtu=1520),
    "ipv6_mtu_1280": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, lowest_ipv6_mtu=1500, ipv6_mtu=1280),
    "ipv4_mtu_1000": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, ipv4_mtu=1000),
    "ipv4_mtu_600": _with(POOL, OPEN, prefixes=["2001:db8:46::/96"], eam=LAB, ipv4_mtu=600),
    "mtu_9000": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, ipv4_mtu=9000, ipv6_mtu=9000,
                      mtu_plateaus=[4352, 1492, 1400, 1300, 1280, 68]),
    "udp_compute": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, udp_zero_checksum="compute"),
    "udp_forward": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, udp_zero_checksum="forward"),
    "classes_fixed": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, traffic_class=0, type_of_service=16),
    "icmp_off": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, icmp_errors="off"),
    "extension": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, icmp_source_extension=True),
    "node_id": _with(POOL, OPEN, prefixes=["2001:db8:46::/96"], eam=LAB, icmp_source_extension="node-id"),
    "siit": _with(role="siit", prefixes=["2001:db8:46::/96"], eam=LAB, icmp_source_extension="node-id"),
    "siit_figure_1": _with(role="siit", prefixes=["64:ff9b::/96"], eam=FIGURE_1, wkp_strict=False),
    "siit_wkp": _with(role="siit", prefixes=["64:ff9b::/96"], eam=GLOBAL, icmp_source_default="own"),
    "siit_no_prefix": _with(role="siit", prefixes=[], eam=OVERLAP),
    "no_prefix": _with(prefixes=[], eam=LAB + FIGURE_1[2:] + CLIENTS, service_pools=["192.0.2.0/24"]),
    "udp_ports": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, udp_zero_checksum="compute",
                       udp_zero_checksum_ports=[4500, "53=drop", "4789=forward"]),
    "sources_hashed": _with(prefixes=["2001:db8:46::/96"], eam=LAB, service_pools=["192.0.2.0/24"],
                            icmp_source_pool=["198.51.100.8/30", "198.51.100.77/32"],
                            icmp_source_choice="hash", icmp_source_extension=True),
    "sources_random": _with(prefixes=["2001:db8:46::/96"], eam=LAB, service_pools=["192.0.2.0/24"],
                            icmp_source_pool=["198.51.100.8/30"], icmp_source_choice="random"),
    "no_source_pool": _with(prefixes=["2001:db8:46::/96"], eam=LAB, service_pools=["192.0.2.0/24"],
                            guard_protocols=False, anti_spoof=False),
    "denylist": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, translatable_pools=["198.51.100.0/24"],
                      denylist=["8.8.8.0/24", "10.0.0.0/8", "198.51.100.128/26", "192.0.2.2/32"]),
    "overlap": _with(POOL, prefixes=["2001:db8:46::/96"], eam=OVERLAP),
    "overlap_literal": _with(OPEN, prefixes=["2001:db8:46::/96"], eam=OVERLAP[1:],
                             service_pools=["198.18.0.0/15", "192.0.2.0/25"],
                             icmp_source_pool=["198.51.100.1/32"]),
    "fragment_df_ignore": _with(POOL, prefixes=["2001:db8:46::/96"], eam=LAB, fragment_df="ignore",
                                lowest_ipv6_mtu=1400),
}

# ------------------------------------------------------------------ addresses

MARTIANS_V4 = ["0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.9", "224.0.0.1", "239.1.1.1", "240.0.0.1",
               "255.255.255.255", "169.254.1.1"]
SPECIAL_V4 = ["10.0.0.1", "10.9.8.7", "100.64.0.1", "172.16.5.5", "172.31.255.255", "192.0.0.8",
              "192.0.0.1", "192.0.0.9", "192.0.0.170", "169.254.169.254", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.2", "203.0.113.1"]
CLIENTS_V4 = ["203.0.113.50", "203.0.113.1", "8.8.8.8", "8.8.4.4", "1.1.1.1", "223.255.255.1", "128.0.0.1"]
MARTIANS_V6 = ["::", "::1", "ff02::1", "ff0e::5", "fe80::1", "febf::9", "::ffff:10.0.0.1", "::10.0.0.1", "2001:10::1", "2001:1f:ffff::1"]
ROUTERS_V6 = ["2001:db8:12:34::ffff", "2001:db8:aaaa::1", "2001:db8:ffff::2", "2a00::1", "fd00::1",
              "2001:db8:12:34::1:1"]

as_v4 = {text: int(ipaddress.IPv4Address(text)) for text in MARTIANS_V4 + SPECIAL_V4 + CLIENTS_V4}
as_v6 = {text: int(ipaddress.IPv6Address(text)) for text in MARTIANS_V6 + ROUTERS_V6}


class Addresses:
    """Draws addresses that mean something under one configuration."""

    def __init__(self, rng, config):
        self.rng, self.config = rng, config

    def _in_network(self, text):
        network = ipaddress.ip_network(text)
        return int(network.network_address) + self.rng.randrange(min(network.num_addresses, 1 << 24))

    def client_v4(self):
        r = self.rng.random()
        if r < 0.75:
            return as_v4[self.rng.choice(CLIENTS_V4)]
        return self.rng.randrange(1 << 24, 224 << 24)

    def eam_address_v4(self):
        rows = [e for e in self.config.eams if e.v4_length] or self.config.eams
        if not rows:
            return self.client_v4()
        eam = self.rng.choice(rows)
        return eam.v4 | self.rng.randrange(1 << (32 - eam.v4_length))

    def odd_v4(self):
        """Anything but the ordinary client or service address."""
        c, rng = self.config, self.rng
        sets = [lambda: as_v4[rng.choice(MARTIANS_V4)], lambda: as_v4[rng.choice(SPECIAL_V4)],
                lambda: rng.getrandbits(32), lambda: c.own_v4]
        for pools, weight in ((c.service_pools, 3), (c.translatable_pools, 2), (c.denylist, 3),
                              (c.icmp_source_pool, 1)):
            if pools:
                sets += [lambda p=pools: self._in_network(model.with_length(rng.choice(p), 32))] * weight
        return rng.choice(sets)()

    def any_v4(self, ordinary=0.6):
        r = self.rng.random()
        if r < ordinary / 2:
            return self.client_v4()
        if r < ordinary:
            return self.eam_address_v4()
        return self.odd_v4()

    def embedded(self, v4):
        """v4 inside a translation prefix, at times with stray bits behind it."""
        prefix = self.rng.choice(self.config.translation_prefixes or [model.Prefix("2001:db8:46::/96")])
        v6 = prefix.embed(v4)
        if self.rng.random() < 0.05 and prefix.length < 96:
            free = [p for p in range(8, 16) if p > max(prefix.positions) or p == 8]
            v6 |= self.rng.randrange(1, 256) << (8 * (15 - self.rng.choice(free)))
        return v6

    def eam_address_v6(self):
        if not self.config.eams:
            return self.embedded(self.client_v4())
        eam = self.rng.choice(self.config.eams)
        v4 = self.client_v4() if eam.v4_length == 0 else eam.v4 | self.rng.randrange(1 << (32 - eam.v4_length))
        v6 = model.eam_v6(eam, v4)
        spare = 128 - eam.v6_length - (32 - eam.v4_length)
        if spare and self.rng.random() < 0.2:
            v6 |= self.rng.getrandbits(spare)
        return v6

    def odd_v6(self):
        c, rng = self.config, self.rng
        sets = [lambda: as_v6[rng.choice(MARTIANS_V6)], lambda: as_v6[rng.choice(ROUTERS_V6)],
                lambda: self.embedded(self.odd_v4()), lambda: self.embedded(self.odd_v4()),
                lambda: rng.getrandbits(125) | 1 << 125, lambda: c.own_v6]
        if c.er_v6:
            sets.append(lambda: rng.choice(c.er_v6))
        return rng.choice(sets)()

    # One packet's pair, as (source, destination).

    def pair_v4(self):
        r = self.rng.random()
        if r < 0.6:
            pair = self.client_v4(), self.eam_address_v4()
        elif r < 0.7:
            pair = self.eam_address_v4(), self.eam_address_v4()
        elif r < 0.8:
            pair = self.any_v4(), self.eam_address_v4()
        elif r < 0.9:
            pair = self.client_v4(), self.any_v4()
        else:
            pair = self.any_v4(), self.any_v4()
        if self.config.role == "er" and self.rng.random() < 0.9:
            pair = pair[1], pair[0]
        return pair

    def pair_v6(self):
        c, r = self.config, self.rng.random()
        if c.role == "er":
            if r < 0.7:
                return self.embedded(self.client_v4()), self.rng.choice(c.er_v6)
            if r < 0.9:
                return self.any_v6(), self.rng.choice(c.er_v6)
            return self.any_v6(), self.any_v6()
        if r < 0.55:
            return self.eam_address_v6(), self.embedded(self.client_v4())
        if r < 0.72:
            return self.eam_address_v6(), self.embedded(self.eam_address_v4())
        if r < 0.80:
            return self.any_v6(), self.embedded(self.client_v4())
        if r < 0.90:
            return self.eam_address_v6(), self.any_v6()
        return self.any_v6(), self.any_v6()

    def any_v6(self):
        r = self.rng.random()
        if r < 0.3:
            return self.eam_address_v6()
        if r < 0.6:
            return self.embedded(self.any_v4())
        return self.odd_v6()


# -------------------------------------------------------------------- packets

PROTOCOLS_OTHER = [0, 2, 4, 33, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 132, 135, 136, 139, 140, 253, 254, 255]
ERRORS_V4 = [(3, c) for c in range(0, 17)] + [(3, 4)] * 6 + [(11, 0)] * 4 + [(11, 1), (11, 2)] \
    + [(12, 0)] * 6 + [(12, 2)] * 2 + [(12, 1), (12, 3), (4, 0), (5, 0), (5, 1), (3, 1), (3, 3), (3, 13)] * 2
ERRORS_V6 = [(1, c) for c in range(0, 8)] + [(2, 0)] * 6 + [(2, 1)] + [(3, 0)] * 5 + [(3, 1), (3, 2)] \
    + [(4, 0)] * 7 + [(4, 1)] * 2 + [(4, 2), (4, 3), (0, 0), (5, 0), (100, 0), (101, 0), (127, 0), (1, 0), (1, 4)]
MTU_FIELD = [0, 1, 19, 20, 28, 67, 68, 296, 508, 576, 600, 1000, 1232, 1240, 1259, 1260, 1261, 1279, 1280,
             1281, 1300, 1400, 1480, 1492, 1500, 1520, 4352, 8000, 9000, 32000, 65515, 65535]


class Generator:
    def __init__(self, name, seed):
        self.rng = random.Random("%s/%s" % (name, seed))
        self.config = model.Config(**CONFIGS[name])
        self.addresses = Addresses(self.rng, self.config)
        c = self.config
        limits = {576, 600, 1232, 1240, 1248, 1260, 1280, 1300, 1452, 1480, 1492, 1500, 1520,
                  c.ipv4_mtu, c.ipv6_mtu, c.lowest_ipv6_mtu}
        self.limits = sorted(x + d for x in limits for d in (-48, -28, -20, 0, 20, 28) if 100 < x + d <= 1600)

    def packet(self):
        rng = self.rng
        r = rng.random()
        if r < 0.02:
            return self.noise()
        data = self.packet_v4() if rng.random() < 0.5 else self.packet_v6()
        if r < 0.11:
            data = self.damage(data)
        return data

    # -- ingredients

    def size(self):
        """Bytes of the whole packet."""
        rng, r = self.rng, self.rng.random()
        if r < 0.6:
            return rng.randrange(20, 160)
        if r < 0.92:
            return rng.choice(self.limits) + rng.choice((-9, -8, -7, -2, -1, 0, 0, 0, 1, 2, 3, 7, 8, 9))
        return rng.randrange(20, 1601)

    def ttl(self):
        if self.rng.random() < 0.12:
            return self.rng.choice((0, 1, 2, 3))
        return self.rng.choice((64, 64, 63, 128, 200, 255))

    def data(self, length):
        return self.rng.randbytes(length) if length > 0 else b""

    def transport(self, family, protocol, pseudo, size, mapped):
        """A payload of about `size` bytes with a checksum right or interesting.

        pseudo: function length -> pseudo-header; mapped: the same for the
        packet after translation, or None.
        """
        rng = self.rng
        if protocol == 6:
            header_length, position = 20, 16
            size = max(size, 20) if rng.random() < 0.97 else rng.randrange(0, 25)
            header = struct.pack(">HHIIBBHHH", rng.choice((80, 443, 51000)), rng.choice((80, 22, 40000)),
                                 rng.getrandbits(32), rng.getrandbits(32), 0x50, rng.choice((2, 16, 18, 24)),
                                 65535, 0, 0)
        elif protocol == 17:
            header_length, position = 8, 6
            size = max(size, 8) if rng.random() < 0.97 else rng.randrange(0, 12)
            header = struct.pack(">HHHH", rng.choice((53, 40000)), rng.choice((53, 123)), size & 0xFFFF, 0)
            if rng.random() < 0.03:
                length = rng.choice((0, 7, 8, size - 1 & 0xFFFF, size + 1, 65535))
                header = header[:4] + length.to_bytes(2, "big") + header[6:]
        elif protocol in (1, 58):
            return self.echo(family, pseudo, max(size, 8) if rng.random() < 0.97 else size)
        else:
            return self.data(size)
        payload = (header + self.data(size - header_length))[:max(size, 0)]
        if len(payload) < header_length:
            return payload
        r = rng.random()
        if protocol == 17 and payload[4:6] != (size & 0xFFFF).to_bytes(2, "big") and rng.random() < 0.4:
            value = 0
        elif r < 0.08:
            value = rng.choice((0, 0, 0xFFFF, 1, 0xFFFE, rng.getrandbits(16)))  # mostly wrong
            if protocol == 17 and rng.random() < 0.5:
                value = 0
        else:
            aim = pseudo
            if r < 0.20 and len(payload) >= header_length + 2:
                # Make the checksum 0000 (for UDP: ffff), before or after translation.
                if mapped is not None and r < 0.15:
                    aim = mapped
                rest = payload[header_length + 2:]
                word = model.checksum(aim(len(payload)) + payload[:header_length] + b"\0\0" + rest)
                payload = payload[:header_length] + word.to_bytes(2, "big") + rest
            value = model.checksum(pseudo(len(payload)) + payload)
            if value == 0 and (protocol == 17 or rng.random() < 0.2):
                value = 0xFFFF
        return payload[:position] + value.to_bytes(2, "big") + payload[position + 2:]

    def echo(self, family, pseudo, size):
        rng = self.rng
        if family == 4:
            kind = rng.choice((8, 8, 0))
        else:
            kind = rng.choice((128, 128, 129))
        code = 0 if rng.random() < 0.97 else rng.randrange(256)
        return self.icmp(family, kind, code, self.data(4), self.data(size - 8), pseudo)[:max(size, 0)]

    def icmp(self, family, kind, code, rest, body, pseudo):
        message = bytes([kind, code, 0, 0]) + rest + body
        covered = message if family == 4 else pseudo(len(message)) + message
        value = model.checksum(covered)
        if self.rng.random() < 0.03:
            value = self.rng.choice((0, 0xFFFF, value ^ 0x0100))
        return message[:2] + value.to_bytes(2, "big") + message[4:]

    def options(self):
        rng = self.rng
        if rng.random() > 0.13:
            return b""
        kinds = []
        for _ in range(rng.randrange(1, 4)):
            pick = rng.randrange(9)
            if pick == 0:
                kinds.append(b"\x01" * rng.randrange(1, 6))
            elif pick == 1:
                kinds.append(bytes([7, 7, 4]) + bytes(4))
            elif pick in (2, 3):
                addresses = rng.randrange(0, 4)
                length = 3 + 4 * addresses
                pointer = rng.choice((4, 8, length, length + 1, length + 5, 0))
                kinds.append(bytes([rng.choice((131, 137)), length, pointer]) + self.data(4 * addresses))
            elif pick == 4:
                kinds.append(b"\x94\x04\0\0")
            elif pick == 5:
                kinds.append(bytes([68, 8, 5, 0]) + self.data(4))
            elif pick == 6:
                kinds.append(b"\0")
            elif pick == 7:
                kinds.append(bytes([rng.randrange(256), rng.randrange(2, 12)]) + self.data(4))
            else:
                kinds.append(bytes([rng.choice((7, 131, 137, 68)), rng.choice((0, 1, 2, 3, 39, 40, 41, 255))]))
        blob = b"".join(kinds)[:40]
        return blob + bytes(-len(blob) % 4)

    def fragment_fields(self):
        """(more fragments, offset)"""
        rng = self.rng
        r = rng.random()
        if r < 0.84:
            return False, 0
        if r < 0.90:
            return True, 0
        if r < 0.95:
            return True, rng.choice((1, 2, 100, 154, 185, 8100))
        return False, rng.choice((1, 3, 100, 185, 370, 8000, 8191))

    # -- IPv4

    def pseudo_v4(self, source, destination, protocol):
        return lambda length: struct.pack(">IIHH", source, destination, protocol, length & 0xFFFF)

    def mapped_v4(self, source, destination, protocol):
        try:
            source6 = model.map_v4(self.config, source)
            destination6 = model.map_v4(self.config, destination)
        except model.Refusal:
            return None
        return lambda length: model.pseudo_v6(source6, destination6, length, protocol)

    def packet_v4(self):
        rng = self.rng
        source, destination = self.addresses.pair_v4()
        r = rng.random()
        if r < 0.30:
            return self.plain_v4(source, destination, 17)
        if r < 0.55:
            return self.plain_v4(source, destination, 6)
        if r < 0.65:
            return self.plain_v4(source, destination, 1)
        if r < 0.72:
            return self.plain_v4(source, destination, rng.choice(PROTOCOLS_OTHER))
        if r < 0.76:
            kind = rng.randrange(256) if rng.random() < 0.4 else rng.randrange(0, 45)
            body = self.data(rng.randrange(0, 60))
            return self.assemble_v4(source, destination, 1,
                                    self.icmp(4, kind, rng.choice((0, 0, 1)), self.data(4), body, None))
        return self.error_v4(source, destination)

    def plain_v4(self, source, destination, protocol, size=None):
        options = self.options()
        size = self.size() if size is None else size
        payload_size = max(size - 20 - len(options), 0)
        more, offset = self.fragment_fields()
        if more and self.rng.random() < 0.95:
            payload_size = payload_size // 8 * 8
        if offset:
            payload = self.data(payload_size)
        else:
            payload = self.transport(4, protocol, self.pseudo_v4(source, destination, protocol), payload_size,
                                     self.mapped_v4(source, destination, protocol))
        return self.assemble_v4(source, destination, protocol, payload, options, more, offset)

    def assemble_v4(self, source, destination, protocol, payload, options=b"", more=False, offset=0):
        rng = self.rng
        flags = (rng.random() < 0.5) << 14 | more << 13 | offset
        if rng.random() < 0.01:
            flags |= 0x8000
        header = struct.pack(">BBHHHBBHII", 0x40 | (20 + len(options)) // 4, rng.choice((0, 0, 0, 0xB8, 3, 255)),
                             20 + len(options) + len(payload), rng.choice((0, 1, 0xBEEF, rng.getrandbits(16))),
                             flags, self.ttl(), protocol, 0, source, destination) + options
        header = header[:10] + model.checksum(header).to_bytes(2, "big") + header[12:]
        padding = b"\0" * rng.randrange(1, 27) if rng.random() < 0.03 else b""
        return header + payload + padding

    def quote_v4(self, outer_destination):
        """A packet that outer_destination may have sent."""
        rng, a = self.rng, self.addresses
        source = outer_destination if rng.random() < 0.9 else a.any_v4()
        destination = a.client_v4() if rng.random() < 0.7 else a.any_v4()
        r = rng.random()
        if r < 0.9:
            protocol = rng.choice((6, 6, 17, 17, 17, 1, 1, rng.choice(PROTOCOLS_OTHER)))
            quote = self.plain_v4(source, destination, protocol)
        else:
            quote = self.assemble_v4(source, destination, 1, self.icmp(
                4, rng.choice((3, 11, 12, 13, 5, 42)), 0, bytes(4), self.data(32), None))
        return self.shorten(quote, (quote[0] & 15) * 4)

    def shorten(self, quote, header_length):
        rng, r = self.rng, self.rng.random()
        if r < 0.45:
            return quote[:header_length + 8]
        if r < 0.55:
            return quote[:header_length + rng.randrange(0, 24)]
        if r < 0.65:
            return quote[:rng.choice((128, 132, 136, 148, 152, 520, 548))]
        if r < 0.67:
            return quote[:rng.randrange(0, len(quote) + 1)]
        if r < 0.70:
            return self.flip(quote, 40)
        if r < 0.73:
            # A length field that does not fit the rest.
            at = 2 if quote[0] >> 4 == 4 else 4
            length = rng.choice((0, 1, 7, 8, 19, 20, 27, header_length - 1, header_length, 65515, 65516, 65535))
            return quote[:at] + length.to_bytes(2, "big") + quote[at + 2:]
        return quote

    def extension(self, quote, unit):
        """(quote, length attribute, structure) of RFC 4884, mostly well made."""
        rng = self.rng
        r = rng.random()
        if r < 0.75:
            return quote, 0, b""
        if r < 0.78:
            return quote, rng.randrange(1, 256), b""  # a length with nothing behind it
        aim = rng.choice((128, 128, 128, 128, 132, 136, 152, 152, 68, len(quote), 1000 + 8 * rng.randrange(12)))
        aim = min(-(-aim // unit) * unit, 255 * unit)
        quote = quote[:aim] + bytes(max(0, aim - len(quote)))
        structure = b"\x20\0\0\0"
        for _ in range(rng.choice((1, 1, 2))):
            words = rng.choice((1, 1, 2, 5, 40))
            structure += struct.pack(">HBB", 4 + 4 * words, rng.choice((1, 2, 3, 200)), rng.randrange(256))
            structure += self.data(4 * words)
        if rng.random() < 0.9:
            structure = structure[:2] + model.checksum(structure).to_bytes(2, "big") + structure[4:]
        if rng.random() < 0.05:
            structure = structure[:rng.choice((0, 1, 3, 4))]
        return quote, aim // unit, structure

    def error_v4(self, source, destination):
        rng = self.rng
        kind, code = rng.choice(ERRORS_V4)
        quote = self.quote_v4(destination)
        if rng.random() < 0.25 and len(quote) >= 20:
            source = int.from_bytes(quote[16:20], "big")
        elif rng.random() < 0.2:
            source = as_v4[rng.choice(MARTIANS_V4 + SPECIAL_V4)]
        quote, length, structure = self.extension(quote, 4)
        rest = bytearray(4)
        rest[1] = length
        if (kind, code) == (3, 4):
            mtu = self.mtu_field()
            if rng.random() < 0.3 and len(quote) >= 4:
                # RFC 1191: no MTU, so the quoted Total Length decides.
                mtu = 0
                total_length = rng.choice(self.config.mtu_plateaus) + rng.choice((-1, 0, 0, 1))
                quote = quote[:2] + min(total_length, 65535).to_bytes(2, "big") + quote[4:]
            rest[2:4] = mtu.to_bytes(2, "big")
        if kind == 12:
            rest[0] = rng.randrange(0, 24) if rng.random() < 0.9 else rng.randrange(256)
        message = self.icmp(4, kind, code, bytes(rest), quote + structure, None)
        return self.assemble_v4(source, destination, 1, message, self.options() if rng.random() < 0.2 else b"",
                                rng.random() < 0.02)

    def mtu_field(self):
        return self.rng.choice(MTU_FIELD) if self.rng.random() < 0.8 else self.rng.getrandbits(16)

    # -- IPv6

    def pseudo_v6(self, source, destination, protocol):
        return lambda length: model.pseudo_v6(source, destination, length, protocol)

    def mapped_v6(self, source, destination, protocol):
        try:
            source4, _ = model.map_v6(self.config, source)
            destination4, _ = model.map_v6(self.config, destination)
        except model.Refusal:
            return None
        return self.pseudo_v4(source4, destination4, protocol)

    def packet_v6(self):
        rng = self.rng
        source, destination = self.addresses.pair_v6()
        r = rng.random()
        if r < 0.30:
            return self.plain_v6(source, destination, 17)
        if r < 0.55:
            return self.plain_v6(source, destination, 6)
        if r < 0.65:
            return self.plain_v6(source, destination, 58)
        if r < 0.72:
            return self.plain_v6(source, destination, rng.choice(PROTOCOLS_OTHER + [1, 1]))
        if r < 0.76:
            kind = rng.choice((rng.randrange(256), rng.randrange(128, 140)))
            message = self.icmp(6, kind, rng.choice((0, 0, 1)), self.data(4), self.data(rng.randrange(0, 60)),
                                self.pseudo_v6(source, destination, 58))
            return self.assemble_v6(source, destination, 58, message)
        return self.error_v6(source, destination)

    def chain(self, protocol, fragment):
        """(next header, bytes) of extension headers in front of `protocol`.

        fragment: None or (more, offset).
        """
        rng = self.rng
        headers = []
        if rng.random() < 0.10:
            headers += [rng.choice((0, 43, 60)) for _ in range(rng.choice((1, 1, 1, 2, 3)))]
            headers.sort(key=lambda kind: kind != 0)  # Hop-by-Hop comes first
        if fragment is not None:
            headers.append(44)
        if fragment is not None and rng.random() < 0.04:
            headers.append(rng.choice((60, 43)))
        blob, following = b"", protocol
        for kind in reversed(headers):
            if kind == 44:
                more, offset = fragment
                identification = rng.choice((0, 5, 0xCAFE1234, rng.getrandbits(32)))
                header = model.fragment_header(following, offset, more, identification)
            else:
                length = rng.choice((0, 0, 0, 1, 2))
                if kind == 43:
                    left = 0 if rng.random() < 0.6 else rng.choice((1, 2, 255))
                    header = bytes([following, length, rng.choice((0, 2, 4)), left]) + self.data(4 + 8 * length)
                else:
                    header = bytes([following, length, 1, 4 + 8 * length]) + self.data(4 + 8 * length)
            blob, following = header + blob, kind
        return following, blob

    def plain_v6(self, source, destination, protocol, size=None):
        rng = self.rng
        size = self.size() if size is None else size
        more, offset = self.fragment_fields()
        fragment = (more, offset) if more or offset or rng.random() < 0.05 else None
        following, blob = self.chain(protocol, fragment)
        payload_size = max(size - 40 - (len(blob) if rng.random() < 0.5 else 0), 0)
        if more and rng.random() < 0.95:
            payload_size = payload_size // 8 * 8
        if offset:
            payload = self.data(payload_size)
        else:
            payload = self.transport(6, protocol, self.pseudo_v6(source, destination, protocol), payload_size,
                                     self.mapped_v6(source, destination, protocol))
        return self.assemble_v6(source, destination, following, blob + payload)

    def assemble_v6(self, source, destination, following, payload):
        rng = self.rng
        word = 6 << 28 | rng.choice((0, 0, 0x2B, 0xB8, 255)) << 20 | (rng.getrandbits(20) if rng.random() < 0.2 else 0)
        padding = b"\0" * rng.randrange(1, 27) if rng.random() < 0.03 else b""
        return (struct.pack(">IHBB", word, len(payload) & 0xFFFF, following, self.ttl())
                + model.v6_bytes(source) + model.v6_bytes(destination) + payload + padding)

    def quote_v6(self, outer_destination):
        rng, a = self.rng, self.addresses
        r = rng.random()
        if r < 0.88:
            source = outer_destination
        elif r < 0.94:
            # The same IPv4 address in another form.
            try:
                source = a.embedded(model.map_v6(self.config, outer_destination)[0])
            except model.Refusal:
                source = outer_destination
        else:
            source = a.any_v6()
        destination = a.eam_address_v6() if rng.random() < 0.75 else a.any_v6()
        r = rng.random()
        if r < 0.9:
            protocol = rng.choice((6, 6, 17, 17, 17, 58, 58, rng.choice(PROTOCOLS_OTHER + [1])))
            quote = self.plain_v6(source, destination, protocol)
        else:
            message = self.icmp(6, rng.choice((1, 3, 4, 135, 200)), 0, bytes(4), self.data(48),
                                self.pseudo_v6(source, destination, 58))
            quote = self.assemble_v6(source, destination, 58, message)
        header_length = model.V6Chain(self.config, quote, quote[6]).position
        return self.shorten(quote, header_length)

    def error_v6(self, source, destination):
        rng = self.rng
        kind, code = rng.choice(ERRORS_V6)
        quote = self.quote_v6(destination)
        r = rng.random()
        if r < 0.35:
            source = as_v6[rng.choice(ROUTERS_V6)]  # a router without an IPv4 form
        elif r < 0.55 and len(quote) >= 40:
            source = int.from_bytes(quote[24:40], "big")
        quote, length, structure = self.extension(quote, 8)
        rest = bytearray(4)
        if kind in (0, 1, 3):
            rest[0] = length
        if kind == 2:
            rest[:] = (self.mtu_field() if rng.random() < 0.9 else rng.getrandbits(32)).to_bytes(4, "big")
        if kind == 4:
            rest[:] = (rng.randrange(0, 44) if rng.random() < 0.9 else rng.getrandbits(32)).to_bytes(4, "big")
        body = quote + structure
        if rng.random() < 0.9:
            body = body[:1280 - 48]  # RFC 4443 2.4(c)
        message = self.icmp(6, kind, code, bytes(rest), body, self.pseudo_v6(source, destination, 58))
        fragment = None
        if rng.random() < 0.03:
            fragment = (rng.random() < 0.5, 0)
        following, blob = self.chain(58, fragment)
        return self.assemble_v6(source, destination, following, blob + message)

    # -- damage

    def flip(self, data, within):
        if not data:
            return data
        data = bytearray(data)
        for _ in range(self.rng.choice((1, 1, 1, 2, 5))):
            data[self.rng.randrange(min(within, len(data)))] ^= 1 << self.rng.randrange(8)
        return bytes(data)

    def damage(self, data):
        rng, r = self.rng, self.rng.random()
        if r < 0.25:
            return data[:rng.randrange(1, len(data) + 1)]
        if r < 0.30:
            return data + self.data(rng.randrange(1, 64))
        data = self.flip(data, 80 if r < 0.9 else len(data))
        if data[0] >> 4 == 4 and rng.random() < 0.8:
            # Repair the header checksum, so that the damage is looked at.
            length = (data[0] & 15) * 4
            if 20 <= length <= len(data):
                header = data[:10] + b"\0\0" + data[12:length]
                data = header[:10] + model.checksum(header).to_bytes(2, "big") + header[12:] + data[length:]
        return data

    def noise(self):
        rng = self.rng
        data = self.data(rng.randrange(1, 200))
        r = rng.random()
        if r < 0.4:
            data = bytes([rng.choice((0x45, 0x46, 0x4F, 0x60, 0x60, 0x6F))]) + data[1:]
        if r < 0.2 and len(data) >= 40:
            # A believable header with random contents.
            if data[0] >> 4 == 4:
                source, destination = self.addresses.pair_v4()
                return self.assemble_v4(source, destination, data[9], data[20:])
            source, destination = self.addresses.pair_v6()
            return self.assemble_v6(source, destination, data[6], data[40:])
        return data


def packets(name, seed, count):
    generator = Generator(name, seed)
    return [generator.packet() for _ in range(count)]


def main():
    import compare
    names = sys.argv[1:2] or list(CONFIGS)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name in names:
        config = model.Config(**CONFIGS[name])
        for packet in packets(name, seed, 20 if len(names) == 1 else 4):
            outcome = model.translate(config, packet[0] >> 4, packet)
            print("%-16s %s\n                 -> %s %s" % (
                name, compare.describe(packet), outcome.verdict, outcome.reason or ""))
            for out in outcome.out:
                print("                    %s" % compare.describe(out))


if __name__ == "__main__":
    main()
