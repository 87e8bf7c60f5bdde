"""Reference model of a SIIT-DC relay: what must happen to one packet.

The model is slow on purpose.  It is written from the RFCs and the project's
requirement sheet, shares no code with the relay, and its only aim is that a
reader can hold each function against the RFC section named beside it.

    translate(config, family, packet) -> Outcome

An Outcome carries the verdict, the packets that leave, and for each of them
the byte ranges an implementation may choose for itself.

Where the texts leave room the model takes one reading and names the other one
in READINGS; a caller can ask for the other one with Config(readings=...).
"""

import ipaddress
import struct
from collections import namedtuple

# Verdicts, as in the report of `borderline translate`.
TRANSLATED = "translated"
HAIRPINNED = "hairpinned"
ICMP_ERROR = "icmp_error"
DROPPED = "dropped"
PUNTED = "punted"
NATIVE = "native"

# verdict, reason, out: list of bytes, ignore: one list of (start, end) per
# packet, also: other Outcomes that are right too, because several reasons to
# refuse the packet hold at once and no text orders them.
Outcome = namedtuple("Outcome", "verdict reason out ignore also")

# Decisions of the model with a defensible alternative.  Naming one in
# Config.readings makes the model take the alternative.
READINGS = {
    "df_growth_literal":
        "46 with options and DF: compare Total Length + 20, not the real size, with the IPv6 MTU (7915 4)",
    "plateau_without_20":
        "46 3/4 with MTU 0: report the plateau itself instead of plateau + 20 (7915 4.2)",
    "frag_needed_literal":
        "46 DF fragment too big: report IPv6 MTU - 20 instead of - 28 (7915 4.1)",
    "verify_icmp_checksum":
        "drop ICMP messages whose own checksum is wrong instead of keeping it wrong",
    "ext_unverified":
        "a 4884 length is believed although no structure of version 2 with a right or zero checksum stands there",
    "short_tcp_dropped":
        "drop an unfragmented TCP segment shorter than 20 bytes although its checksum field is present",
    "odd_fragment_dropped":
        "drop a non-last fragment whose data is not a multiple of 8 bytes",
    "fragment_past_end_dropped":
        "drop a fragment that ends beyond 65535 bytes",
    "ext_cut_partially":
        "46 error over 1280 bytes: cut the tail of the extension structure instead of removing it whole",
    "ext_length_overflow_cut":
        "64 quote of more than 255 words before an extension: cut the quote to 255 words and keep the extension",
    "error_to_1240":
        "64 errors are cut to the IPv4 MTU instead of 576 bytes (1812 4.3.2.3 says SHOULD)",
    "empty_ext_is_ext":
        "a 4884 length that ends at, or less than 4 bytes before, the end of the message counts as an extension",
    "short_ext_dropped":
        "a 4884 length of less than 128 bytes: drop (strict 4884)",
    "ptb_below_68":
        "64 Packet Too Big: never report less than 68 to IPv4",
    "ptb_fragment_mtu6":
        "64 Packet Too Big with quoted Fragment Header: take 28, not 20, off the IPv6 next-hop MTU as well",
    "inner_class_copied":
        "a fixed traffic_class / type_of_service is not applied to the quoted packet",
    "inner_martian_kept":
        "64: a quoted address that embeds a martian is translated, not refused",
    "inner_empty_icmp_dropped":
        "an error whose quoted ICMP packet shows no type byte is dropped",
    "inner_fragmented_icmp_dropped":
        "an error that quotes a piece of an ICMP message is dropped, as such a piece itself would be (7915 1.2)",
    "inner_routing_header_skipped":
        "64: a quoted Routing header with Segments Left is skipped, not refused",
    "inner_lengths_refused":
        "an error whose quoted length field is smaller than its own headers is dropped",
    "inner_guard_off":
        "guard_protocols and the IGMP rule do not look at the quoted packet",
    "neutral_renormalized":
        "a checksum of ffff that needs no change is still written in the form of 1624 (TCP, ICMP: 0000)",
    "hairpin_ignores_mtu4":
        "intrinsic hairpin: the IPv4 MTU plays no role in the MTU of a Packet Too Big",
    "hairpin_guard_v4":
        "intrinsic hairpin, condition set B: compare outer destination and quoted source after mapping to IPv4",
    "hairpin_guard_drop":
        "intrinsic hairpin, condition set B: drop when outer destination and quoted source differ",
    "hairpin_guard_off":
        "intrinsic hairpin, condition set B: exactly as printed, without the guard",
    "hairpin_by_default_eam":
        "an EAM for 0.0.0.0/0 makes every address 'found in the EAMT' for hairpinning",
    "extension_headers_few":
        "extension headers behind a Fragment Header: only 0 43 44 51 60 count, not 135 139 140",
    "echo_code_dropped":
        "echo messages with a code other than 0 are dropped",
    "udp_compute_whole":
        "udp_zero_checksum=compute covers the whole IP payload, whatever the UDP length says",
}

# Alternatives of READINGS that are settled: the relay and the model always take them.
DECIDED = frozenset([
    "fragment_past_end_dropped",
    "ptb_below_68",
    "ptb_fragment_mtu6",
    "ext_length_overflow_cut",
    "hairpin_ignores_mtu4",
    "neutral_renormalized",
])

# ---------------------------------------------------------------- arithmetic


def ones_sum(data):
    """One's complement sum of the 16-bit words of data, in 0..0xffff.

    A big-endian number is congruent modulo 65535 to the sum of its 16-bit
    digits; the only care needed is that a sum of non-zero words is never
    written as 0 but as 0xffff.
    """
    if len(data) % 2:
        data += b"\0"
    number = int.from_bytes(data, "big")
    total = number % 0xFFFF
    return 0xFFFF if total == 0 and number else total


def checksum(data):
    """RFC 1071 checksum of data whose checksum field is zero."""
    return 0xFFFF - ones_sum(data)


def fold(total):
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def adjust(config, old, before, after):
    """RFC 1624 equation 3: the checksum after `before` became `after`."""
    was, now = ones_sum(before), ones_sum(after)
    if was % 0xFFFF == now % 0xFFFF and not config.reading("neutral_renormalized"):
        return old
    return 0xFFFF - fold((0xFFFF - old) + (0xFFFF - was) + now)


def in_any(address, networks):
    return any(address >> shift == head for head, shift in networks)


def networks(*texts):
    """IPv4 or IPv6 networks as (leading bits, number of other bits)."""
    result = []
    for text in texts:
        network = ipaddress.ip_network(text)
        shift = network.max_prefixlen - network.prefixlen
        result.append((int(network.network_address) >> shift, shift))
    return result


# RFC 6890 table by table: (block, may be a source, may be a destination) of packets that cross a router. A row is
# here if one of the two is false, or "Forwardable" is; a row inside another overrules it. Left out: the documentation
# blocks (192.0.2.0/24, 198.51.100.0/24, 203.0.113.0/24, 2001:db8::/32), which every laboratory is built of, and
# 2001::/23, out of which forwardable blocks are still assigned. Multicast is not in RFC 6890 (RFC 1112, RFC 4291).
SPECIAL_V4 = [
    ("0.0.0.0/8", False, False),         # table 1, RFC 1812 5.3.7
    ("127.0.0.0/8", False, False),       # table 4
    ("169.254.0.0/16", False, False),    # table 5: not forwardable; RFC 3927 7
    ("192.0.0.0/24", False, False),      # table 7, but for what is assigned in it:
    ("192.0.0.0/29", True, True),        # table 8
    ("192.0.0.8/32", True, False),       # RFC 7600, the dummy address
    ("192.0.0.9/32", True, True),        # RFC 7723
    ("192.0.0.10/32", True, True),       # RFC 8155
    ("224.0.0.0/4", False, False),
    ("240.0.0.0/4", False, False),       # tables 15 and 16
]
SPECIAL_V6 = [
    ("::1/128", False, False),           # table 17
    ("::/128", False, False),            # table 18: not forwardable
    ("::ffff:0:0/96", False, False),     # table 20
    ("2001:10::/28", False, False),      # table 26
    ("fe80::/10", False, False),         # table 29: not forwardable
    ("ff00::/8", False, False),
]
# RFC 1812 5.3.7: what is no host's address at all.
MARTIAN_V4 = networks("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")
MULTICAST_V4 = networks("224.0.0.0/4")
LINK_LOCAL_V4 = networks("169.254.0.0/16")
DUMMY_V4 = int(ipaddress.IPv4Address("192.0.0.8"))
MULTICAST_V6 = networks("ff00::/8")
LINK_LOCAL_V6 = networks("fe80::/10")
# RFC 6052 3.1; requirement E6.
NON_GLOBAL_V4 = networks(
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
    "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4")
WELL_KNOWN_PREFIX = int(ipaddress.IPv6Address("64:ff9b::"))



def special(address, table, column):
    """What the longest matching row of a table says; true where there is none."""
    best, answer = -1, True
    for row in table:
        network = ipaddress.ip_network(row[0])
        shift = network.max_prefixlen - network.prefixlen
        if address >> shift == int(network.network_address) >> shift and network.prefixlen > best:
            best, answer = network.prefixlen, row[column]
    return answer


def never_source_v4(address):
    return not special(address, SPECIAL_V4, 1)


def never_destination_v4(address):
    return not special(address, SPECIAL_V4, 2)


def never_v6(address):
    return not special(address, SPECIAL_V6, 1)

# -------------------------------------------------------------- configuration

Eam = namedtuple("Eam", "v4 v4_length v6 v6_length")


class Prefix:
    """RFC 6052 2.2: where the four IPv4 bytes sit in the sixteen."""

    POSITIONS = {32: (4, 5, 6, 7), 40: (5, 6, 7, 9), 48: (6, 7, 9, 10),
                 56: (7, 9, 10, 11), 64: (9, 10, 11, 12), 96: (12, 13, 14, 15)}

    def __init__(self, text):
        network = ipaddress.IPv6Network(text)
        self.length = network.prefixlen
        self.bytes = network.network_address.packed
        self.head = int(network.network_address) >> (128 - self.length)
        self.positions = self.POSITIONS[self.length]
        self.well_known = int(network.network_address) == WELL_KNOWN_PREFIX and self.length == 96

    def contains(self, v6):
        return v6 >> (128 - self.length) == self.head

    def embed(self, v4):
        address = bytearray(self.bytes)
        for position, byte in zip(self.positions, v4.to_bytes(4, "big")):
            address[position] = byte
        return int.from_bytes(address, "big")

    def extract(self, v6):
        address = v6.to_bytes(16, "big")
        return int.from_bytes(bytes(address[p] for p in self.positions), "big")


def with_length(text, default):
    return text if "/" in text else "%s/%d" % (text, default)


class Config:
    """The [translation] keys, the [[eam]] rows and the options of `translate`."""

    DEFAULTS = dict(
        role="br", prefixes=["2001:db8:46::/96"], service_pools=[], translatable_pools=[],
        er_addresses=[], hairpin="intrinsic", lowest_ipv6_mtu=1280,
        udp_zero_checksum="drop", udp_zero_checksum_ports=[], traffic_class="copy", type_of_service="copy",
        icmp_errors="limit", icmp_source_pool=[], icmp_source_choice="hash",
        icmp_source_default="dummy", icmp_source_extension="off", denylist=[], wkp_strict=True, anti_spoof=True,
        guard_protocols=True,
        mtu_plateaus=[65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
        fragment_df="respect", eam=[],
        ipv4_mtu=1500, ipv6_mtu=1500,
        ipv4_address="198.51.100.254", ipv6_address="2001:db8:ffff::1")

    def __init__(self, readings=(), source_pick=0, **keys):
        unknown = set(keys) - set(self.DEFAULTS)
        if unknown:
            raise ValueError("unknown configuration keys %s" % sorted(unknown))
        self.keys = dict(self.DEFAULTS, **keys)
        self.readings = frozenset(readings)
        self.source_pick = source_pick
        for name, value in self.keys.items():
            setattr(self, name, value)
        # Only the parsed forms below are used by the model.
        self.translation_prefixes = [Prefix(p) for p in self.prefixes]
        self.service_networks = networks(*self.service_pools)
        self.translatable_networks = networks(*self.translatable_pools)
        self.denied_networks = networks(*self.denylist)
        self.eams = []
        for v4, v6 in self.eam:
            v4, v6 = ipaddress.IPv4Network(with_length(v4, 32)), ipaddress.IPv6Network(with_length(v6, 128))
            self.eams.append(Eam(int(v4.network_address), v4.prefixlen, int(v6.network_address), v6.prefixlen))
        self.er_v6 = [int(ipaddress.IPv6Address(a)) for a in self.er_addresses]
        self.er_v4 = [eam_v4(e, a) for a in self.er_v6 for e in [self.eam_for_v6(a)] if e]
        self.own_v4 = int(ipaddress.IPv4Address(self.ipv4_address))
        self.own_v6 = int(ipaddress.IPv6Address(self.ipv6_address))
        self.source_extension = {False: "off", True: "rfc5837"}.get(self.icmp_source_extension,
                                                                     self.icmp_source_extension)
        self.zero_checksum_ports = {}
        for entry in self.udp_zero_checksum_ports:
            port, _, choice = str(entry).partition("=")
            self.zero_checksum_ports[int(port)] = choice.strip() or "compute"
        # Without a pool somebody must speak for routers without an IPv4 form.
        stand_in = [self.own_v4 if self.icmp_source_default == "own" else DUMMY_V4]
        self.source_addresses = [int(a) for p in self.icmp_source_pool
                                 for a in ipaddress.IPv4Network(with_length(p, 32))] or stand_in

    def serves_mapped_destinations(self):
        """IPv6 destinations under any EAM are translated: role siit, and a br whose clients have EAMs for want of a
        prefix."""
        return self.role == "siit" or self.role == "br" and not self.translation_prefixes

    def variant(self, readings=None, source_pick=None):
        return Config(self.readings if readings is None else readings,
                      self.source_pick if source_pick is None else source_pick, **self.keys)

    def reading(self, name):
        assert name in READINGS, name
        return name in DECIDED or name in self.readings

    # RFC 7757 3.3: the longest matching row, by plain search.

    def eam_for_v4(self, v4):
        best = None
        for eam in self.eams:
            shift = 32 - eam.v4_length
            if v4 >> shift == eam.v4 >> shift and (best is None or eam.v4_length > best.v4_length):
                best = eam
        return best

    def eam_for_v6(self, v6):
        best = None
        for eam in self.eams:
            shift = 128 - eam.v6_length
            if v6 >> shift == eam.v6 >> shift and (best is None or eam.v6_length > best.v6_length):
                best = eam
        return best

    def prefix_for_v6(self, v6):
        best = None
        for prefix in self.translation_prefixes:
            if prefix.contains(v6) and (best is None or prefix.length > best.length):
                best = prefix
        return best


def eam_v6(eam, v4):
    """RFC 7757 3.3.1: the IPv4 suffix goes right behind the IPv6 prefix."""
    suffix_bits = 32 - eam.v4_length
    suffix = v4 & ((1 << suffix_bits) - 1)
    return eam.v6 | suffix << (128 - eam.v6_length - suffix_bits)


def eam_v4(eam, v6):
    """RFC 7757 3.3.2: the bits right behind the IPv6 prefix; the rest is lost."""
    suffix_bits = 32 - eam.v4_length
    suffix = v6 >> (128 - eam.v6_length - suffix_bits) & ((1 << suffix_bits) - 1)
    return eam.v4 | suffix


# ----------------------------------------------------------------- refusals


class Refusal(Exception):
    """A reason not to translate, and the answer it calls for.

    answer: "silent", "prohibited", "expired", "too_big" (value = MTU),
    "source_route", "unassigned" or "pointer" (value = pointer).
    """

    def __init__(self, reason, answer="silent", value=0):
        super().__init__(reason)
        self.reason, self.answer, self.value = reason, answer, value


class Refusals(list):
    """Runs independent checks and keeps every refusal, not only the first."""

    def attempt(self, check, *arguments, default=None):
        try:
            return check(*arguments)
        except Refusal as refusal:
            self.append(refusal)
            return default


# ------------------------------------------------------------------- headers


class V4Packet:
    """An IPv4 packet, already known to have a sane header."""

    def __init__(self, data):
        self.raw = data
        self.header_length = (data[0] & 15) * 4
        self.options = data[20:self.header_length]
        (self.tos, self.total_length, self.identification, flags, self.ttl, self.protocol) = \
            struct.unpack(">xBHHHBB", data[:10])
        self.dont_fragment = bool(flags & 0x4000)
        self.more_fragments = bool(flags & 0x2000)
        self.offset = flags & 0x1FFF
        self.fragment = self.more_fragments or self.offset > 0
        self.source = int.from_bytes(data[12:16], "big")
        self.destination = int.from_bytes(data[16:20], "big")
        self.payload = data[self.header_length:]
        self.total_length_of_data = min(len(data), 65535)
        # RFC 1122 3.2.2 lists these as the error messages.
        self.icmp_error = (self.protocol == 1 and self.offset == 0 and len(self.payload) > 0
                           and self.payload[0] in (3, 4, 5, 11, 12))


def parse_v4(data):
    """RFC 1812 5.2.2; requirements A1.8 and A1.9.  None if malformed."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    header_length = (data[0] & 15) * 4
    total_length = int.from_bytes(data[2:4], "big")
    if header_length < 20 or total_length < header_length or len(data) < total_length:
        return None
    if ones_sum(data[:header_length]) != 0xFFFF:
        return None
    return V4Packet(data[:total_length])


def build_v4(tos, identification, dont_fragment, more_fragments, offset, ttl, protocol,
             source, destination, payload, total_length=None):
    if total_length is None:
        total_length = 20 + len(payload)
    flags = dont_fragment << 14 | more_fragments << 13 | offset
    header = struct.pack(">BBHHHBBHII", 0x45, tos, total_length, identification, flags, ttl,
                         protocol, 0, source, destination)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:] + payload


def v6_bytes(address):
    return address.to_bytes(16, "big")


def build_v6(traffic_class, next_header, hop_limit, source, destination, payload, payload_length=None):
    if payload_length is None:
        payload_length = len(payload)
    return (struct.pack(">IHBB", 6 << 28 | traffic_class << 20, payload_length, next_header, hop_limit)
            + v6_bytes(source) + v6_bytes(destination) + payload)


def fragment_header(next_header, offset, more_fragments, identification):
    return struct.pack(">BBHI", next_header, 0, offset << 3 | more_fragments, identification)


def pseudo_v6(source, destination, length, next_header):
    """RFC 8200 8.1."""
    return v6_bytes(source) + v6_bytes(destination) + struct.pack(">II", length, next_header)


HOP_BY_HOP, ROUTING, FRAGMENT, ESP, AH, DESTINATION_OPTIONS = 0, 43, 44, 50, 51, 60
MOST_EXTENSION_HEADERS = 8  # RFC 8200 4.1 recommends at most six; RFC 8504 5.3 lets even hosts stop at eight
EXTENSION_HEADERS = {0, 43, 44, 51, 60, 135, 139, 140}  # all but ESP


class V6Chain:
    """What the extension header chain of a packet says (RFC 7915 5.1).

    pointer: offset of the Segments Left byte of the first Routing header that
    still has work to do.  trouble: why the chain cannot be translated.
    """

    def __init__(self, config, data, next_header, start=40, quoted=False):
        self.pointer = None
        self.trouble = None
        self.has_fragment_header = False
        self.offset, self.more_fragments, self.identification = 0, False, 0
        position = start
        count = 0
        while next_header in (HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS):
            count += 1
            if count > MOST_EXTENSION_HEADERS or len(data) < position + 8:
                self.trouble = "malformed_extension_header"
                break
            length = (data[position + 1] + 1) * 8
            if len(data) < position + length:
                self.trouble = "malformed_extension_header"
                break
            if next_header == ROUTING and data[position + 3] != 0 and self.pointer is None:
                self.pointer = position + 3
            next_header = data[position]
            position += length
        if self.trouble is None and next_header == FRAGMENT:
            if count == MOST_EXTENSION_HEADERS or len(data) < position + 8:
                self.trouble = "malformed_extension_header"
            else:
                following, offset, self.identification = struct.unpack(
                    ">BxHI", data[position:position + 8])
                self.has_fragment_header = True
                self.offset, self.more_fragments = offset >> 3, bool(offset & 1)
                next_header = following
                position += 8
                few = config.reading("extension_headers_few")
                # In a quote AH and the like are the payload of an IPv4 fragment, which the relay sends.
                refused = {0, 43, 44, 51, 60} if few else EXTENSION_HEADERS
                if following in ({0, 43, 44, 60} if quoted else refused):
                    self.trouble = "extension_header_in_fragment"
        self.protocol = next_header
        self.position = position
        self.fragment = self.offset > 0 or self.more_fragments  # an atomic fragment is whole


class V6Packet:
    """An IPv6 packet whose fixed header is sane."""

    def __init__(self, config, data, quoted=False):
        self.raw = data
        word, self.payload_length, self.next_header, self.hop_limit = struct.unpack(">IHBB", data[:8])
        self.traffic_class = word >> 20 & 0xFF
        self.source = int.from_bytes(data[8:24], "big")
        self.destination = int.from_bytes(data[24:40], "big")
        self.chain = V6Chain(config, data, self.next_header, quoted=quoted)
        self.payload = data[self.chain.position:]
        icmp = self.chain.trouble is None and self.chain.protocol == 58
        self.icmp = icmp
        shows_type = icmp and self.chain.offset == 0 and len(self.payload) > 0
        self.icmp_error = shows_type and self.payload[0] < 128
        self.icmp_redirect = shows_type and self.payload[0] == 137


def parse_v6(config, data):
    """RFC 8200 3; requirement B1.3.  None if malformed."""
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    payload_length = int.from_bytes(data[4:6], "big")
    if len(data) < 40 + payload_length:
        return None
    if payload_length == 0 and data[6] == HOP_BY_HOP:
        return None  # a jumbogram (RFC 2675)
    return V6Packet(config, data[:40 + payload_length])


# ----------------------------------------------------------- address mapping


def check_prefix_use(config, prefix, v4):
    """Addresses that must not be represented through a translation prefix."""
    if prefix.well_known and config.wkp_strict and in_any(v4, NON_GLOBAL_V4):
        raise Refusal("well_known_prefix_non_global", "prohibited")  # RFC 6052 3.1
    if in_any(v4, config.denied_networks):
        raise Refusal("denylisted", "prohibited")


def map_v4(config, v4, eam_allowed=True):
    """RFC 7757 3.3.1, then RFC 6052."""
    eam = config.eam_for_v4(v4) if eam_allowed else None
    if eam:
        if never_v6(eam_v6(eam, v4)):
            raise Refusal("never_forwarded")
        return eam_v6(eam, v4)
    if not config.translation_prefixes:
        raise Refusal("no_mapping", "prohibited")
    prefix = config.translation_prefixes[0]
    embedded = prefix.embed(v4)
    # What policy keeps from passing through the prefix may have passed by a row that covers its form in the prefix: answers
    # and errors come back from there (RFC 7757 4.2.1).
    row = config.eam_for_v6(embedded)
    if not row or eam_v4(row, embedded) != v4:
        check_prefix_use(config, prefix, v4)
    return embedded


def map_v6(config, v6, never=never_destination_v4):
    """RFC 7757 3.3.2, then RFC 6052: (IPv4 address, "eam" or "prefix"). `never` says which are not forwarded."""
    eam = config.eam_for_v6(v6)
    if eam:
        v4, how = eam_v4(eam, v6), "eam"
    else:
        prefix = config.prefix_for_v6(v6)
        if prefix is None:
            raise Refusal("no_mapping", "prohibited")
        v4, how = prefix.extract(v6), "prefix"
    if never(v4):
        raise Refusal("embedded_martian")  # RFC 7915 8; requirement B1.5
    if how == "prefix":
        check_prefix_use(config, prefix, v4)
    return v4, how


# ------------------------------------------------- transport, both directions


def adjust_transport(config, protocol, payload, before, after):
    """TCP or UDP checksum for changed addresses; other payloads as they are.

    Leaves the payload alone when the checksum field is not there or UDP
    carries none: callers decide whether that is acceptable.
    """
    position = {6: 16, 17: 6}.get(protocol)
    if position is None or len(payload) < position + 2:
        return payload
    old = int.from_bytes(payload[position:position + 2], "big")
    if protocol == 17 and old == 0:
        return payload
    new = adjust(config, old, before, after)
    if protocol == 17 and new == 0:
        new = 0xFFFF  # RFC 768; RFC 8200 8.1
    return payload[:position] + new.to_bytes(2, "big") + payload[position + 2:]


def check_transport_present(config, protocol, payload, more_fragments):
    """The checksum must lie in this packet (requirement A4.16)."""
    if protocol == 6:
        whole_header = config.reading("short_tcp_dropped") and not more_fragments
        if len(payload) < (20 if whole_header else 18):
            raise Refusal("truncated_transport")
    if protocol == 17 and len(payload) < 8:
        raise Refusal("truncated_transport")


def check_fragment(config, offset, more_fragments, payload, end=65535):
    """No datagram of the family that leaves has a place at or behind `end`."""
    if more_fragments and len(payload) % 8 and config.reading("odd_fragment_dropped"):
        raise Refusal("malformed_fragment")
    if offset * 8 + len(payload) > end and config.reading("fragment_past_end_dropped"):
        raise Refusal("malformed_fragment")


def icmp_with_checksum(config, old_message, old_pseudo, message, pseudo):
    """The new message with a checksum as right or as wrong as the old one.

    For a right message this is the plain checksum of the new one.  Damage is
    carried over (requirement A7.4), as an incremental update would.
    """
    residue = ones_sum(old_pseudo + old_message)  # 0xffff when the old one was right
    bare = message[:2] + b"\0\0" + message[4:]
    value = checksum(pseudo + bare)
    if residue != 0xFFFF:
        if config.reading("verify_icmp_checksum"):
            raise Refusal("bad_icmp_checksum")
        value = (value + residue) % 0xFFFF
    return message[:2] + value.to_bytes(2, "big") + message[4:]


def structure_stands(data):
    """RFC 4884 7: version 2, and a checksum that is right or not there."""
    return (len(data) >= 4 and data[0] >> 4 == 2
            and (data[2:4] == b"\0\0" or ones_sum(data) == 0xFFFF))


def split_extension(config, message, units, headers):
    """RFC 4884: the quoted packet and the extension structure of an error.

    units: the length attribute in bytes, 0 if the type has none.
    headers: bytes of the quoted headers.
    """
    body = message[8:]
    room = 0 if config.reading("empty_ext_is_ext") else 4
    if units == 0 or units + room > len(body):
        return body, b""
    extension = body[units:]
    if not config.reading("ext_unverified"):
        # Some routers count the quote without the zeros that pad it to 128 bytes.
        late = units < 128 <= len(body) and not any(body[units:128]) and structure_stands(body[128:])
        if units < headers + 8 or not (structure_stands(extension) or late):
            return body, b""
    if units < 128 and config.reading("short_ext_dropped"):
        raise Refusal("short_extension")
    return body[:units], extension


def padded(quote, multiple):
    length = max(128, -(-len(quote) // multiple) * multiple)
    return quote + bytes(length - len(quote))


# -------------------------------------------------------------- IPv4 to IPv6


def check_protocol_v4(config, protocol):
    if protocol == 2:
        raise Refusal("igmp")  # RFC 7915 4.2
    if config.guard_protocols and protocol in (0, 43, 44, 58, 60):
        raise Refusal("guarded_protocol")


def check_options(packet):
    """RFC 791 3.1; requirements A3.2 to A3.5."""
    options, position = packet.options, 0
    unexpired = False
    while position < len(options):
        kind = options[position]
        if kind == 0:
            break
        if kind == 1:
            position += 1
            continue
        if position + 1 >= len(options):
            raise Refusal("malformed_option")
        length = options[position + 1]
        if length < 2 or position + length > len(options):
            raise Refusal("malformed_option")
        if kind in (131, 137):
            if length < 3:
                raise Refusal("malformed_option")
            if options[position + 2] <= length:
                unexpired = True
        position += length
    if unexpired:
        raise Refusal("source_route", "source_route")


def check_source_v4(config, packet):
    if never_source_v4(packet.source) and not packet.icmp_error:
        raise Refusal("illegal_source")
    if not config.translation_prefixes and not packet.icmp_error and config.eam_for_v4(packet.source) is None:
        raise Refusal("no_mapping", "prohibited")


def check_spoofed_v4(config, packet):
    """anti_spoof, IPv4 side of a br; a simple hairpin comes back this way."""
    if not config.anti_spoof or config.role != "br" or packet.icmp_error or config.hairpin == "simple":
        return
    if not config.translation_prefixes:
        return  # every client has an EAM
    eam = config.eam_for_v4(packet.source)
    if in_any(packet.source, config.service_networks) or (eam and eam.v4_length > 0):
        raise Refusal("spoofed_source")


def check_er_source_v4(config, packet):
    if config.role == "er" and config.eam_for_v4(packet.source) is None \
            and not (packet.icmp_error and packet.source == DUMMY_V4):
        raise Refusal("source_without_eam")  # RFC 7756 6


def check_ttl(value):
    if value <= 1:
        raise Refusal("ttl_expired", "expired")


def quoted_destination_v4(packet):
    """Destination of the packet quoted in an ICMPv4 error, if it shows."""
    if packet.icmp_error and len(packet.payload) >= 28:
        return int.from_bytes(packet.payload[24:28], "big")
    return None


def hairpin_rules(config, packet, second_pass):
    """RFC 7757 4.2.1: may an EAM serve the outer source, the quoted destination?"""
    if not second_pass and config.hairpin != "simple":
        return True, True
    if not packet.icmp_error:
        return False, True
    return packet.source != quoted_destination_v4(packet), False


def translate_transport_v4(config, packet, source6, destination6, inner_destination_eam):
    """RFC 7915 4.2 to 4.5: (next header, payload, is an ICMP error)."""
    protocol, payload = packet.protocol, packet.payload
    if protocol == 1:
        if packet.fragment:
            raise Refusal("fragmented_icmp")
        message = translate_icmp_v4(config, packet, source6, destination6, inner_destination_eam)
        return 58, message, packet.icmp_error
    if packet.offset > 0:
        return protocol, payload, False
    check_transport_present(config, protocol, payload, packet.more_fragments)
    before, after = packet.raw[12:20], v6_bytes(source6) + v6_bytes(destination6)
    if protocol == 17 and payload[6:8] == b"\0\0":
        ports = config.zero_checksum_ports
        source_port, destination_port = struct.unpack(">HH", payload[:4])
        policy = ports.get(destination_port, ports.get(source_port, config.udp_zero_checksum))
        if policy == "forward":
            return protocol, payload, False
        if policy == "drop" or packet.fragment:
            raise Refusal("udp_zero_checksum")
        length = int.from_bytes(payload[4:6], "big")
        if config.reading("udp_compute_whole"):
            length = len(payload)
        if not 8 <= length <= len(payload):
            raise Refusal("malformed_udp_length")
        value = checksum(pseudo_v6(source6, destination6, length, 17) + payload[:length]) or 0xFFFF
        return protocol, payload[:6] + value.to_bytes(2, "big") + payload[8:], False
    return protocol, adjust_transport(config, protocol, payload, before, after), False


# RFC 7915 4.2, Destination Unreachable: ICMPv4 code -> ICMPv6 type and code.
UNREACHABLE_V4 = {0: (1, 0), 1: (1, 0), 2: (4, 1), 3: (1, 4), 4: (2, 0), 5: (1, 0), 6: (1, 0),
                  7: (1, 0), 8: (1, 0), 9: (1, 1), 10: (1, 1), 11: (1, 0), 12: (1, 0),
                  13: (1, 1), 15: (1, 1)}
# RFC 7915 figure 3.
POINTER_V4 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, 12: 8, 13: 8, 14: 8, 15: 8,
              16: 24, 17: 24, 18: 24, 19: 24}


def packet_too_big_mtu(config, message, original):
    """RFC 7915 4.2, code 4; requirements A5.20 and A5.21."""
    reported = int.from_bytes(message[6:8], "big")
    if reported == 0:
        total_length = int.from_bytes(message[10:12], "big")
        if total_length < (message[8] & 15) * 4:
            total_length = len(original)
        fitting = [p for p in config.mtu_plateaus if 1280 <= p < total_length]
        if not fitting:
            return 1280
        reported = max(fitting)
        if config.reading("plateau_without_20"):
            reported -= 20
    return max(1280, min(reported + 20, config.ipv6_mtu, config.ipv4_mtu + 20))


def translate_icmp_v4(config, packet, source6, destination6, inner_destination_eam):
    message = packet.payload
    if len(message) < 8:
        raise Refusal("truncated_icmp")
    kind, code = message[0], message[1]
    if kind in (0, 8):
        if code and config.reading("echo_code_dropped"):
            raise Refusal("untranslatable_icmp")
        new = bytes([129 if kind == 0 else 128]) + message[1:]
        pseudo = pseudo_v6(source6, destination6, len(new), 58)
        return icmp_with_checksum(config, message, b"", new, pseudo)
    if kind == 3 and code in UNREACHABLE_V4:
        new_kind, new_code = UNREACHABLE_V4[code]
    elif kind == 11:
        new_kind, new_code = 3, code  # "the Code is unchanged"
    elif kind == 12 and code in (0, 2) and message[4] in POINTER_V4:
        new_kind, new_code = 4, 0
    else:
        raise Refusal("untranslatable_icmp")

    headers = (message[8] & 15) * 4 if len(message) > 8 else 0
    original, extension = split_extension(config, message, message[5] * 4, headers)
    quote = translate_quote_v4(config, original, inner_destination_eam)
    rest = bytes(4)
    if (new_kind, new_code) == (2, 0):
        rest = packet_too_big_mtu(config, message, original).to_bytes(4, "big")
    elif (new_kind, new_code) == (4, 1):
        rest = (6).to_bytes(4, "big")
    elif new_kind == 4:
        rest = POINTER_V4[message[4]].to_bytes(4, "big")

    # RFC 4443 2.4(c): the whole packet stays within 1280 bytes.
    room = 1280 - 40 - 8
    body = without_padding(quote, original, message[10:12], (message[8] & 15) * 4, extension)[:room]
    if extension and new_kind in (1, 3):  # the only types that can carry one
        padded_quote = padded(quote, 8)
        if len(padded_quote) + len(extension) <= room or (
                config.reading("ext_cut_partially") and len(padded_quote) + 4 <= room):
            body = (padded_quote + extension)[:room]
            rest = bytes([len(padded_quote) // 8, 0, 0, 0])
    new = bytes([new_kind, new_code, 0, 0]) + rest + body
    pseudo = pseudo_v6(source6, destination6, len(new), 58)
    return icmp_with_checksum(config, message, b"", new, pseudo)


def without_padding(quote, original, length_field, headers, extension):
    """The zeros that pad a quote for its extension go where the extension goes.

    quote is the translation of original; headers and length field are original's.
    """
    total_length = int.from_bytes(length_field, "big")
    if not extension or total_length < headers:
        return quote
    excess = max(0, len(original) - total_length)
    return quote[:len(quote) - excess]


def translate_quote_v4(config, data, destination_eam):
    """RFC 7915 4.3: the packet in error, one level deep."""
    if len(data) < 20 or data[0] >> 4 != 4:
        raise Refusal("malformed_quote")
    header_length = (data[0] & 15) * 4
    if header_length < 20 or len(data) < header_length:
        raise Refusal("malformed_quote")
    packet = V4Packet(data)
    payload_length = packet.total_length - header_length
    if payload_length < 0:
        if config.reading("inner_lengths_refused"):
            raise Refusal("malformed_quote")
        payload_length = packet.total_length_of_data - header_length
    if not config.reading("inner_guard_off") and (packet.protocol != 2 or config.guard_protocols):
        check_protocol_v4(config, packet.protocol)
    if never_source_v4(packet.source) or never_destination_v4(packet.destination):
        raise Refusal("never_forwarded")
    source6 = map_v4(config, packet.source)
    destination6 = map_v4(config, packet.destination, destination_eam)
    before, after = packet.raw[12:20], v6_bytes(source6) + v6_bytes(destination6)
    protocol, payload = packet.protocol, packet.payload
    if protocol == 1:
        protocol = 58
        if packet.fragment and config.reading("inner_fragmented_icmp_dropped"):
            raise Refusal("fragmented_icmp")
        if packet.offset == 0:
            pseudo = pseudo_v6(source6, destination6, payload_length, 58)
            payload = within(payload, payload_length, lambda p: translate_quoted_echo(
                config, p, {8: 128, 0: 129}, b"", pseudo))
    elif packet.offset == 0:
        payload = within(payload, payload_length,
                         lambda p: adjust_transport(config, protocol, p, before, after))
    next_header = protocol
    if packet.fragment:
        payload = fragment_header(protocol, packet.offset, packet.more_fragments,
                                  packet.identification) + payload
        payload_length += 8
        next_header = FRAGMENT
    if payload_length > 65535:
        raise Refusal("malformed_quote")
    return build_v6(traffic_class_for(config, packet.tos, inner=True), next_header, packet.ttl,
                    source6, destination6, payload, payload_length)


def within(payload, length, change):
    """Changes the payload as far as its own header says it goes; what follows is padding."""
    return change(payload[:length]) + payload[length:]


def translate_quoted_echo(config, payload, types, old_pseudo, pseudo):
    """Only echo can be quoted: anything else would be a second level or is lost."""
    if not payload:
        if config.reading("inner_empty_icmp_dropped"):
            raise Refusal("malformed_quote")
        return payload
    if payload[0] not in types:
        raise Refusal("untranslatable_inner_icmp")
    new = bytes([types[payload[0]]]) + payload[1:]
    if len(payload) < 4:
        return new
    old = int.from_bytes(payload[2:4], "big")
    value = adjust(config, old, old_pseudo + payload[:2], pseudo + new[:2])
    return new[:2] + value.to_bytes(2, "big") + new[4:]


def traffic_class_for(config, tos, inner=False):
    if config.traffic_class == "copy" or (inner and config.reading("inner_class_copied")):
        return tos
    return config.traffic_class


def type_of_service_for(config, traffic_class, inner=False):
    if config.type_of_service == "copy" or (inner and config.reading("inner_class_copied")):
        return traffic_class
    return config.type_of_service


def emit_v6(config, packet, hop_limit, source6, destination6, next_header, payload, icmp_error):
    """RFC 7915 4 and 4.1: sizes.  Returns the IPv6 packets."""
    check_fragment(config, packet.offset, packet.more_fragments, packet.payload)

    def build(header, body):
        return build_v6(traffic_class_for(config, packet.tos), header, hop_limit,
                        source6, destination6, body)

    if icmp_error:
        return [build(next_header, payload)]  # already within 1280 bytes, never cut in pieces
    size = 40 + len(payload) + (8 if packet.fragment else 0)
    honour_df = packet.dont_fragment and not (packet.fragment and config.fragment_df == "ignore")
    if honour_df:
        tested = size
        if config.reading("df_growth_literal"):
            tested = packet.total_length + (28 if packet.fragment else 20)
        if tested > config.ipv6_mtu:
            growth = 28 if packet.fragment and not config.reading("frag_needed_literal") else 20
            raise Refusal("too_big", "too_big", config.ipv6_mtu - growth)
        limit = config.ipv6_mtu
    else:
        limit = min(config.lowest_ipv6_mtu, config.ipv6_mtu)

    if size <= limit and not packet.fragment:
        return [build(next_header, payload)]
    piece = len(payload) if size <= limit else (limit - 48) // 8 * 8
    packets = []
    for start in range(0, max(len(payload), 1), max(piece, 1)):
        last = start + piece >= len(payload)
        header = fragment_header(next_header, (packet.offset + start // 8) & 0x1FFF,
                                 packet.more_fragments or not last, packet.identification)
        packets.append(build(FRAGMENT, header + payload[start:start + piece]))
    return packets


def map_source_v4(config, packet, eam_allowed, second_pass):
    """The outer source. An ICMP error whose source has no IPv6 form speaks with the relay's own address: where there is no
    prefix, and for the dummy address, which the Well-Known Prefix must not represent."""
    if packet.icmp_error:
        prefixes = config.translation_prefixes
        if not prefixes and config.eam_for_v4(packet.source) is None:
            return config.own_v6
        if prefixes and second_pass and config.eam_for_v4(packet.source) is None:
            # Nobody outside has sent it.
            try:
                check_prefix_use(config, prefixes[0], packet.source)
            except Refusal:
                return config.own_v6
        if prefixes and packet.source == DUMMY_V4:
            outlaw = prefixes[0].well_known and config.wkp_strict
            return config.own_v6 if outlaw else prefixes[0].embed(DUMMY_V4)
    return map_v4(config, packet.source, eam_allowed)


def check_silent_v4(packet):
    """RFC 7915 4.2: dropped without a word, so nothing else is said about it, whatever its TTL."""
    known = (0, 3, 4, 5, 8, 11, 12)
    if packet.protocol == 2:
        return True
    return packet.protocol == 1 and not packet.fragment and len(packet.payload) > 0 and packet.payload[0] not in known


def check_silent_v6(packet):
    """RFC 7915 5.2."""
    chain = packet.chain
    if chain.trouble or chain.protocol != 58 or chain.fragment or not packet.payload:
        return False
    return packet.payload[0] >= 128 and packet.payload[0] not in (128, 129)


def v4_to_v6(config, packet, refusals, second_pass=False):
    """A packet that is to be translated; None and refusals if it must not be."""
    if not second_pass:
        refusals.attempt(check_source_v4, config, packet)
        refusals.attempt(check_er_source_v4, config, packet)
        refusals.attempt(check_spoofed_v4, config, packet)
        refusals.attempt(check_options, packet)
        if check_silent_v4(packet):
            # What is wrong with the destination may be found first.
            refusals.append(Refusal("untranslatable_icmp"))
            refusals.attempt(map_v4, config, packet.destination)
            return None
        refusals.attempt(check_ttl, packet.ttl)
    refusals.attempt(check_protocol_v4, config, packet.protocol)
    source_eam, inner_destination_eam = hairpin_rules(config, packet, second_pass)
    source6 = refusals.attempt(map_source_v4, config, packet, source_eam, second_pass, default=0)
    destination6 = refusals.attempt(map_v4, config, packet.destination, default=0)
    refusals.attempt(check_not_local, config.own_v6, destination6)
    translated = refusals.attempt(translate_transport_v4, config, packet, source6, destination6,
                                  inner_destination_eam)
    if translated is None:
        # Still ask whether the size would have been refused as well.
        translated = (packet.protocol, packet.payload, packet.icmp_error)
    next_header, payload, icmp_error = translated
    hop_limit = max(packet.ttl - (0 if second_pass else 1), 0)
    return refusals.attempt(emit_v6, config, packet, hop_limit, source6, destination6,
                            next_header, payload, icmp_error)


# -------------------------------------------------------------- IPv6 to IPv4


# RFC 7915 5.2, Destination Unreachable: ICMPv6 code -> ICMPv4 code.
UNREACHABLE_V6 = {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}


def pointer_v6(pointer):
    """RFC 7915 figure 6."""
    if pointer in (0, 1):
        return pointer
    if pointer in (4, 5):
        return 2
    if pointer == 6:
        return 9
    if pointer == 7:
        return 8
    if 8 <= pointer <= 23:
        return 12
    if 24 <= pointer <= 39:
        return 16
    return None


def check_source_v6(packet):
    if never_v6(packet.source):
        raise Refusal("illegal_source")


def check_er_source_v6(config, packet, source4):
    """RFC 7756 6."""
    if config.role == "er" and (packet.source in config.er_v6 or source4 in config.er_v4):
        raise Refusal("own_service_address_as_source")


def check_chain(packet):
    if packet.chain.trouble:
        raise Refusal(packet.chain.trouble)


def check_routing_header(packet):
    if packet.chain.pointer is not None:
        raise Refusal("routing_header", "pointer", packet.chain.pointer)


def check_protocol_v6(config, packet):
    if config.guard_protocols and packet.chain.trouble is None and packet.chain.protocol in (1, 2):
        raise Refusal("guarded_protocol")


def map_source_v6(config, packet):
    """The outer source; RFC 6791 for errors of routers without an IPv4 form."""
    unmapped = config.eam_for_v6(packet.source) is None and config.prefix_for_v6(packet.source) is None
    if unmapped and packet.icmp_error and config.source_addresses:
        picks = config.source_addresses
        return picks[config.source_pick % len(picks)], "pool"
    # Sources of ICMP errors may be link-local, for the sake of traceroute.
    never = (lambda v4: in_any(v4, MARTIAN_V4)) if packet.icmp_error else never_source_v4
    return map_v6(config, packet.source, never)


def check_spoofed_v6(config, packet):
    """anti_spoof, IPv6 side of a br: RFC 6052 5.1."""
    if not config.anti_spoof or config.role != "br" or packet.icmp_error:
        return
    prefix = config.prefix_for_v6(packet.source)
    if config.eam_for_v6(packet.source) or prefix is None:
        return
    if not in_any(prefix.extract(packet.source), config.translatable_networks):
        raise Refusal("spoofed_source")


def check_not_local(own, destination):
    """The relay does not translate towards itself."""
    if destination == own:
        raise Refusal("destination_is_local", "no_route")


# A translated IPv6 packet before it is sent or turned round.
# quote: (quoted source as IPv6, as IPv4, how it was mapped) for ICMP errors.
# free_quote_id: the quoted header's Identification is the box's own choice.
Half = namedtuple("Half", "protocol payload quote free_quote_id")


def translate_transport_v6(config, packet, source4, destination4, source_how, turned=False):
    chain, payload = packet.chain, packet.payload
    if chain.trouble:
        raise Refusal(chain.trouble)
    if chain.protocol == 58:
        if chain.fragment:
            raise Refusal("fragmented_icmp")
        return translate_icmp_v6(config, packet, source4, destination4, source_how, turned)
    if chain.offset == 0:
        check_transport_present(config, chain.protocol, payload, chain.more_fragments)
        before = packet.raw[8:40]
        after = struct.pack(">II", source4, destination4)
        payload = adjust_transport(config, chain.protocol, payload, before, after)
    return Half(chain.protocol, payload, None, False)


def frag_needed_mtu(config, message, quoted_fragment_header):
    """RFC 7915 5.2, Packet Too Big; requirements B4.8 and B4.9."""
    reported = int.from_bytes(message[4:8], "big")
    shrink = 28 if quoted_fragment_header else 20
    shrink6 = 28 if quoted_fragment_header and config.reading("ptb_fragment_mtu6") else 20
    mtu = min(reported - shrink, config.ipv4_mtu, config.ipv6_mtu - shrink6)
    return max(68 if config.reading("ptb_below_68") else 0, mtu)


def naming_object(config, v6):
    """The object that names the IPv6 source: RFC 5837 as RFC 6791 section 4 wants it, or Node Identification
    (draft-ietf-intarea-extended-icmp-nodeid): length 24, class, C-Type with the address bit, AFI 2."""
    kind = {"rfc5837": 2, "node-id": 5}[config.source_extension]
    return struct.pack(">HBBHH", 24, kind, 4, 2, 0) + v6_bytes(v6)


def extend(structure, added):
    """A structure with an object more; a new one where there was none."""
    if not structure:
        whole = bytes.fromhex("20000000") + added
    elif structure[2:4] == b"\0\0":
        return structure + added  # no checksum stays none
    else:
        # As right as it was: what is wrong stays so (only padding before it can make it so).
        whole = structure[:2] + b"\0\0" + structure[4:] + added
    return whole[:2] + checksum(whole).to_bytes(2, "big") + whole[4:]


def translate_icmp_v6(config, packet, source4, destination4, source_how, turned=False):
    message = packet.payload
    if len(message) < 8:
        raise Refusal("truncated_icmp")
    kind, code = message[0], message[1]
    old_pseudo = pseudo_v6(packet.source, packet.destination, len(message), 58)
    if kind in (128, 129):
        if code and config.reading("echo_code_dropped"):
            raise Refusal("untranslatable_icmp")
        new = bytes([8 if kind == 128 else 0]) + message[1:]
        return Half(1, icmp_with_checksum(config, message, old_pseudo, new, b""), None, False)
    pointer = int.from_bytes(message[4:8], "big")
    if kind == 1 and code in UNREACHABLE_V6:
        new_kind, new_code = 3, UNREACHABLE_V6[code]
    elif kind == 2:
        new_kind, new_code = 3, 4
    elif kind == 3:
        new_kind, new_code = 11, code
    elif kind == 4 and code == 0 and pointer_v6(pointer) is not None:
        new_kind, new_code = 12, 0
    elif kind == 4 and code == 1:
        new_kind, new_code = 3, 2
    else:
        raise Refusal("untranslatable_icmp")

    headers = 48
    if len(message) >= 48 and message[8] >> 4 == 6:
        headers = V6Packet(config, message[8:], quoted=True).chain.position
    original, extension = split_extension(config, message, message[4] * 8 if kind in (1, 3) else 0, headers)
    quote, quoted_source, quoted_fragment_header = translate_quote_v6(config, original)
    rest = bytearray(4)
    if kind == 2:
        rest[2:4] = frag_needed_mtu(config, message, quoted_fragment_header).to_bytes(2, "big")
    elif new_kind == 12:
        rest[0] = pointer_v6(pointer)

    # Never in fragments (RFC 1812 4.3.2.3): 576 bytes, or what the way carries. What turns round is cut when it is IPv6.
    limit = 65535 if turned else min(config.ipv4_mtu, 576)
    if config.reading("error_to_1240") and not turned:
        limit = config.ipv4_mtu
    room = limit - 28
    choices = []
    if source_how == "pool" and config.source_extension != "off":
        added = naming_object(config, packet.source)
        node_id = config.source_extension == "node-id" and len(extension) % 4 == 0
        late = bool(extension) and not structure_stands(extension)
        if not extension or (node_id and not late):
            choices.append((min(room, 576 - 28), extend(extension, added)))
    if extension:
        choices.append((room, extension))
    body = None
    for space, structure in choices:
        longest = min((space - len(structure)) // 4 * 4, 255 * 4)
        if longest >= 128:
            padded_quote = padded(quote[:longest], 4)
            body = padded_quote + structure
            rest[1] = len(padded_quote) // 4
            break
    if body is None:
        announced = 40 + int.from_bytes(original[4:6], "big")
        known = announced > headers
        excess = max(0, len(original) - announced) if extension and known else 0
        body = quote[:len(quote) - excess][:room]
    new = bytes([new_kind, new_code, 0, 0]) + bytes(rest) + body
    new = icmp_with_checksum(config, message, old_pseudo, new, b"")
    return Half(1, new, quoted_source, not quoted_fragment_header)


def quoted_payload_length(packet):
    """Bytes behind the headers of a quoted packet, as its sender sent it; None if that cannot be what it sent."""
    length = packet.payload_length - (packet.chain.position - 40)
    return length if packet.payload_length > 0 and length >= 0 else None


def translate_quote_v6(config, data):
    """RFC 7915 5.3: the quote, its source as mapped, had it a Fragment Header?"""
    if len(data) < 40 or data[0] >> 4 != 6:
        raise Refusal("malformed_quote")
    packet = V6Packet(config, data, quoted=True)
    chain = packet.chain
    if chain.trouble:
        raise Refusal(chain.trouble)
    if chain.pointer is not None and not config.reading("inner_routing_header_skipped"):
        raise Refusal("routing_header_in_quote")
    if not config.reading("inner_guard_off"):
        check_protocol_v6(config, packet)
    payload_length = quoted_payload_length(packet)
    if payload_length is None:
        if packet.payload_length > 0 and config.reading("inner_lengths_refused"):
            raise Refusal("malformed_quote")
        payload_length = len(data) - chain.position
    kept = config.reading("inner_martian_kept")
    if not kept and (never_v6(packet.source) or never_v6(packet.destination)):
        raise Refusal("never_forwarded")
    source4, source_how = map_v6(config, packet.source, (lambda v4: False) if kept else never_source_v4)
    destination4, _ = map_v6(config, packet.destination, (lambda v4: False) if kept else never_destination_v4)
    protocol, payload = chain.protocol, packet.payload
    if protocol == 58:
        protocol = 1
        if chain.fragment and config.reading("inner_fragmented_icmp_dropped"):
            raise Refusal("fragmented_icmp")
        if chain.offset == 0:
            old_pseudo = pseudo_v6(packet.source, packet.destination, payload_length, 58)
            payload = within(payload, payload_length, lambda p: translate_quoted_echo(
                config, p, {128: 8, 129: 0}, old_pseudo, b""))
    elif chain.offset == 0:
        after = struct.pack(">II", source4, destination4)
        payload = within(payload, payload_length,
                         lambda p: adjust_transport(config, protocol, p, data[8:40], after))
    total_length = 20 + payload_length
    if total_length > 65535:
        raise Refusal("malformed_quote")
    dont_fragment = total_length > 1260 and not chain.has_fragment_header
    quote = build_v4(type_of_service_for(config, packet.traffic_class, inner=True),
                     chain.identification & 0xFFFF, dont_fragment, chain.more_fragments, chain.offset,
                     packet.hop_limit, protocol, source4, destination4, payload, total_length)
    return quote, (packet.source, source4, source_how), chain.has_fragment_header


def emit_v4(config, packet, source4, destination4, half, limit):
    """RFC 7915 5.1 and 5.1.1: the IPv4 packets, cut to `limit` where allowed."""
    chain, payload = packet.chain, half.payload
    # The header of an IPv4 datagram counts.
    end = 65535 - 20 if chain.has_fragment_header else 65535
    check_fragment(config, chain.offset, chain.more_fragments, packet.payload, end)
    total_length = 20 + len(payload)
    if total_length > 65535:
        raise Refusal("too_long_for_ipv4")
    dont_fragment = total_length > 1260 and not chain.has_fragment_header
    piece = len(payload)
    if limit is not None and total_length > limit:
        if dont_fragment:
            # RFC 4443 3.2, never below the IPv6 minimum MTU.
            raise Refusal("too_big", "too_big", max(1280, limit + 20))
        piece = (limit - 20) // 8 * 8
    packets = []
    for start in range(0, max(len(payload), 1), max(piece, 1)):
        last = start + piece >= len(payload)
        packets.append(build_v4(
            type_of_service_for(config, packet.traffic_class), chain.identification & 0xFFFF,
            dont_fragment, chain.more_fragments or not last, (chain.offset + start // 8) & 0x1FFF,
            max(packet.hop_limit - 1, 0), half.protocol, source4, destination4,
            payload[start:start + piece]))
    return packets


def to_be_hairpinned(config, packet, half, destination4, destination_how):
    """RFC 7757 4.2.2."""
    if config.hairpin != "intrinsic":
        return False

    def in_table(v4):
        eam = config.eam_for_v4(v4)
        if eam and eam.v4_length == 0 and not config.reading("hairpin_by_default_eam"):
            return False
        return eam is not None

    if not packet.icmp_error:
        return destination_how == "prefix" and in_table(destination4)
    quoted6, quoted4, quoted_how = half.quote
    if quoted_how != "prefix" or not in_table(quoted4):
        return False
    # A genuine error goes back to the source of the packet it quotes; without
    # this a forged one could be sent round in circles.
    if config.reading("hairpin_guard_off"):
        return True
    same = quoted4 == destination4 if config.reading("hairpin_guard_v4") else quoted6 == packet.destination
    if not same and config.reading("hairpin_guard_drop"):
        raise Refusal("forged_hairpin_error")
    return same


# An Identification of the box's own making, and the checksum that follows from it.
FREE_IDENTIFICATION = [(4, 6), (10, 12)]


def v6_to_v4(config, packet, refusals):
    """(verdict, packets, ignore) of a packet that is to be translated, or None."""
    refusals.attempt(check_source_v6, packet)
    if check_silent_v6(packet):
        refusals.append(Refusal("untranslatable_icmp"))
        return None
    refusals.attempt(check_ttl, packet.hop_limit)
    refusals.attempt(check_routing_header, packet)
    refusals.attempt(check_chain, packet)
    refusals.attempt(check_protocol_v6, config, packet)
    refusals.attempt(check_spoofed_v6, config, packet)
    source4, source_how = refusals.attempt(map_source_v6, config, packet, default=(0, "none"))
    refusals.attempt(check_er_source_v6, config, packet, source4)
    destination4, destination_how = refusals.attempt(map_v6, config, packet.destination, never_destination_v4,
                                                     default=(0, "none"))
    half = refusals.attempt(translate_transport_v6, config, packet, source4, destination4, source_how)
    if half is None:
        half = Half(packet.chain.protocol, packet.payload, None, False)
        refusals.attempt(emit_v4, config, packet, source4, destination4, half, config.ipv4_mtu)
        return None
    if not refusals and refusals.attempt(to_be_hairpinned, config, packet, half,
                                         destination4, destination_how):
        return hairpin(config, packet, source4, source_how, destination4, half, refusals)
    refusals.attempt(check_not_local, config.own_v4, destination4)
    packets = refusals.attempt(emit_v4, config, packet, source4, destination4, half, config.ipv4_mtu)
    if refusals:
        return None
    outer = [] if packet.chain.has_fragment_header else FREE_IDENTIFICATION
    quoted = [(28 + start, 28 + end) for start, end in FREE_IDENTIFICATION] if half.free_quote_id else []
    # Only the first piece of an ICMP error cut in pieces holds the quoted header.
    return TRANSLATED, packets, [outer + quoted] + [outer] * (len(packets) - 1)


def hairpin(config, packet, source4, source_how, destination4, half, refusals):
    """RFC 7757 4.2.2: straight back through the other direction, once."""
    if config.reading("hairpin_ignores_mtu4"):
        config = Config(config.readings, config.source_pick, **dict(config.keys, ipv4_mtu=65535))
        half = translate_transport_v6(config, packet, source4, destination4, source_how, True)
    whole = refusals.attempt(emit_v4, config, packet, source4, destination4, half, None)
    if whole is None:
        return None
    back = Refusals()
    packets = v4_to_v6(config, V4Packet(whole[0]), back, second_pass=True)
    for refusal in back:
        if refusal.answer == "too_big":
            refusal.value = config.ipv6_mtu  # told to an IPv6 sender
        refusals.append(refusal)
    return None if refusals else (HAIRPINNED, packets, [[]] * len(packets))


# -------------------------------------------------------------- ICMP errors

V4_ERROR_IGNORE = [(1, 2), (4, 9), (10, 12), (36, 37), (38, 40)]
V6_ERROR_IGNORE = [(1, 4), (7, 8)]

ANSWERS_V4 = {"prohibited": (3, 13), "expired": (11, 0), "too_big": (3, 4),
              "source_route": (3, 5), "unassigned": (3, 1), "no_route": (3, 1)}
ANSWERS_V6 = {"prohibited": (1, 1), "no_route": (1, 0), "expired": (3, 0), "too_big": (2, 0), "pointer": (4, 0)}


def answer_v4(config, packet, refusal):
    """RFC 1812 4.3.2; requirements A6 and I3.  None where no error may be sent."""
    if refusal.answer == "silent" or config.icmp_errors == "off":
        return None
    if packet.icmp_error or packet.offset > 0 or never_destination_v4(packet.source):
        return None
    if packet.protocol == 1 and not packet.payload:
        return None  # RFC 1812 4.3.2.7: nobody can tell that it is no error
    if packet.source == config.own_v4:
        return None  # the box does not write to itself
    kind, code = ANSWERS_V4[refusal.answer]
    rest = struct.pack(">HH", 0, refusal.value if refusal.answer == "too_big" else 0)
    message = bytes([kind, code, 0, 0]) + rest + packet.raw[:576 - 28]
    message = message[:2] + checksum(message).to_bytes(2, "big") + message[4:]
    return build_v4(0xC0, 0, False, False, 0, 64, 1, config.own_v4, packet.source, message)


def answer_v6(config, packet, refusal):
    """RFC 4443 2.4; requirements B5 and I4."""
    if refusal.answer == "silent" or config.icmp_errors == "off":
        return None
    if packet.icmp_error or packet.icmp_redirect or never_v6(packet.source):
        return None
    if packet.source == config.own_v6:
        return None  # the box does not write to itself
    if refusal.answer == "prohibited" and packet.icmp:
        return None  # RFC 7915 5.4
    kind, code = ANSWERS_V6[refusal.answer]
    message = bytes([kind, code, 0, 0]) + refusal.value.to_bytes(4, "big") + packet.raw[:1280 - 48]
    pseudo = pseudo_v6(config.own_v6, packet.source, len(message), 58)
    message = message[:2] + checksum(pseudo + message).to_bytes(2, "big") + message[4:]
    return build_v6(0, 58, 64, config.own_v6, packet.source, message)


def refused(config, packet, refusals, answer, ignore):
    outcomes = []
    for refusal in refusals:
        error = answer(config, packet, refusal)
        if error is None:
            outcome = Outcome(DROPPED, refusal.reason, [], [], [])
        else:
            outcome = Outcome(ICMP_ERROR, refusal.reason, [error], [ignore], [])
        if all(o.out != outcome.out for o in outcomes):
            outcomes.append(outcome)
    return outcomes[0]._replace(also=outcomes[1:])


def plain(verdict, reason=None):
    return Outcome(verdict, reason, [], [], [])


# ------------------------------------------------------------- the two sides


def translate_v4(config, data):
    packet = parse_v4(data)
    if packet is None:
        return plain(DROPPED, "malformed")
    destination = packet.destination
    if destination == config.own_v4:
        return plain(PUNTED, "own_address")
    if in_any(destination, MULTICAST_V4):
        return plain(PUNTED, "multicast")
    if in_any(destination, LINK_LOCAL_V4):
        return plain(PUNTED, "link_local")
    if never_destination_v4(destination):
        return plain(DROPPED, "illegal_destination")

    refusals = Refusals()
    has_prefix = bool(config.translation_prefixes)
    reached = has_prefix and (config.role == "er" or in_any(destination, config.translatable_networks))
    if config.eam_for_v4(destination) is None and not reached:
        if not in_any(destination, config.service_networks):
            # The box has no routes but the two default ones.
            if config.role == "siit" and has_prefix:
                return translated_v4(config, packet)
            return plain(NATIVE)
        refusals.append(Refusal("unassigned_service_address", "unassigned"))
        refusals.attempt(check_source_v4, config, packet)
        refusals.attempt(check_spoofed_v4, config, packet)
        refusals.attempt(check_options, packet)
        refusals.attempt(check_protocol_v4, config, packet.protocol)
        return refused(config, packet, refusals, answer_v4, V4_ERROR_IGNORE)
    return translated_v4(config, packet)


def translated_v4(config, packet):
    refusals = Refusals()
    packets = v4_to_v6(config, packet, refusals)
    if refusals:
        return refused(config, packet, refusals, answer_v4, V4_ERROR_IGNORE)
    return Outcome(TRANSLATED, None, packets, [[]] * len(packets), [])


def others_traffic(config, packet):
    """Role siit: native traffic of hosts without a mapping to one that has one is routed, an ICMP error about a packet of
    the relay is not."""
    if config.eam_for_v6(packet.source) or config.prefix_for_v6(packet.source):
        return False
    if packet.icmp_error and packet.chain.trouble is None and not packet.chain.fragment and len(packet.payload) >= 8:
        try:
            headers = V6Packet(config, packet.payload[8:], quoted=True).chain.position \
                if len(packet.payload) >= 48 else 48
            kind = packet.payload[0]
            units = packet.payload[4] * 8 if kind in (1, 3) else 0
            original, _ = split_extension(config, packet.payload, units, headers)
            quote_is_readable(config, original)
            return False
        except Refusal:
            return True
    return True


def quote_is_readable(config, data):
    """Both quoted addresses have IPv4 forms, and the quoted packet is of a kind the relay sends."""
    def mapped(v6):
        return config.eam_for_v6(v6) is not None or config.prefix_for_v6(v6) is not None
    if len(data) < 40 or data[0] >> 4 != 6:
        raise Refusal("malformed_quote")
    packet = V6Packet(config, data, quoted=True)
    chain = packet.chain
    if chain.trouble or chain.pointer is not None or not mapped(packet.source) or not mapped(packet.destination):
        raise Refusal("malformed_quote")
    check_protocol_v6(config, packet)
    payload_length = quoted_payload_length(packet)
    if payload_length is None:
        payload_length = len(data) - chain.position
    if payload_length > 65515:
        raise Refusal("malformed_quote")
    payload = packet.payload[:payload_length]
    if chain.protocol == 58 and chain.offset == 0 and payload and payload[0] not in (128, 129):
        raise Refusal("malformed_quote")


def translate_v6(config, data):
    packet = parse_v6(config, data)
    if packet is None:
        return plain(DROPPED, "malformed")
    destination = packet.destination
    if destination == config.own_v6:
        return plain(PUNTED, "own_address")
    if in_any(destination, MULTICAST_V6):
        return plain(PUNTED, "multicast")
    if in_any(destination, LINK_LOCAL_V6):
        return plain(PUNTED, "link_local")
    if never_v6(destination):
        return plain(DROPPED, "illegal_destination")
    eam = config.eam_for_v6(destination)
    if eam and config.serves_mapped_destinations() and eam.v4_length > 0 and others_traffic(config, packet):
        v4 = eam_v4(eam, destination)
        return plain(DROPPED, "illegal_destination") if never_destination_v4(v4) else plain(NATIVE)
    if config.role == "er":
        ours = destination in config.er_v6 and eam is not None
    else:
        served = config.serves_mapped_destinations() or (eam is not None and eam.v4_length == 0)
        ours = config.prefix_for_v6(destination) is not None or (eam is not None and served)
    if not ours:
        return plain(NATIVE)
    refusals = Refusals()
    result = v6_to_v4(config, packet, refusals)
    if refusals:
        return refused(config, packet, refusals, answer_v6, V6_ERROR_IGNORE)
    verdict, packets, ignore = result
    return Outcome(verdict, None, packets, ignore, [])


def translate(config, family, packet):
    """What becomes of one packet received as `family` (4 or 6)."""
    if family == 4:
        return translate_v4(config, bytes(packet))
    if family == 6:
        return translate_v6(config, bytes(packet))
    return plain(DROPPED, "malformed")
