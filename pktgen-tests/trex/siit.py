"""TRex stateless profile for the test bed of ../testbed/README.md.

Port 0 (direction 0) sends IPv6 from mapped servers to clients behind the translation prefix, port 1 sends IPv4 from
those clients to the service addresses. Mapping, client and both UDP ports are drawn anew for every packet.
"""

import argparse

from trex_stl_lib.api import *

TRANSLATION_PREFIX = "2001:db8:46::"
SERVER_PREFIX = "2001:db8:64::"
FIRST_SERVICE = 0x0A000000  # 10.0.0.0
FIRST_CLIENT = 0xC6120000  # 198.18.0.0
# The ends of the background traffic, native IPv6 on both wires.
BACKGROUND_LEFT = "2001:db8:64::10.0.0.1"
BACKGROUND_RIGHT = "2001:2:0:8000::2"

SMALLEST = 84
LARGEST = 1518
SHRINKS = 20  # an IPv4 frame against the IPv6 frame it becomes
CHECK_SEQUENCE = 4  # the card adds it
# The simple IMIX: frame size on the IPv6 side, share of the packets.
IMIX = [(84, 7), (614, 4), (1518, 1)]

LOW_32_BITS = 12  # of an IPv6 address


class Siit(object):
    def get_streams(self, direction=0, tunables=(), **kwargs):
        options = parse(tunables)
        port = kwargs.get("port_id", direction)
        sizes = IMIX if options.size == "imix" else [(frame_size(options.size), 1)]
        streams = []
        for number, (size, share) in enumerate(sizes):
            foreground = share * (100 - options.background)
            if foreground:
                packet = self.foreground(direction, size, options)
                streams.append(stream(packet, foreground, seed=1 + 100 * port + number))
            if options.background:
                packet = self.background(direction, size)
                streams.append(stream(packet, share * options.background, seed=50 + 100 * port + number))
        if options.latency:
            size = SMALLEST if options.size == "imix" else sizes[0][0]
            # A packet group belongs to one port.
            latency = STLFlowLatencyStats(pg_id=options.pg_id + port)
            packet = self.foreground(direction, size, options)
            streams.append(stream(packet, options.latency, seed=99 + 100 * port, flow_stats=latency))
        return streams

    def foreground(self, direction, size, options):
        """Translated packets of one frame size."""
        mapping = STLVmFlowVar(name="mapping", min_value=FIRST_SERVICE,
                               max_value=FIRST_SERVICE + options.eams - 1, size=4, op="random")
        client = STLVmFlowVar(name="client", min_value=FIRST_CLIENT,
                              max_value=FIRST_CLIENT + options.clients - 1, size=4, op="random")
        if direction == 0:
            layers = Ether() / IPv6(src=SERVER_PREFIX, dst=TRANSLATION_PREFIX) / UDP()
            writes = [STLVmWrFlowVar(fv_name="mapping", pkt_offset="IPv6.src", offset_fixup=LOW_32_BITS),
                      STLVmWrFlowVar(fv_name="client", pkt_offset="IPv6.dst", offset_fixup=LOW_32_BITS)]
            network = "IPv6"
        else:
            layers = Ether() / IP(src="198.18.0.0", dst="10.0.0.0", flags="DF") / UDP()
            writes = [STLVmWrFlowVar(fv_name="client", pkt_offset="IP.src"),
                      STLVmWrFlowVar(fv_name="mapping", pkt_offset="IP.dst")]
            network = "IP"
            size -= SHRINKS
        vm = STLScVmRaw([mapping, client] + writes + random_ports() + [udp_checksum(network)])
        return STLPktBuilder(pkt=padded(layers, size), vm=vm)

    def background(self, direction, size):
        """Packets that the relay forwards as they are: IPv6 from either port."""
        ends = [BACKGROUND_LEFT, BACKGROUND_RIGHT]
        source, destination = ends if direction == 0 else reversed(ends)
        layers = Ether() / IPv6(src=source, dst=destination) / UDP()
        vm = STLScVmRaw(random_ports() + [udp_checksum("IPv6")])
        return STLPktBuilder(pkt=padded(layers, size), vm=vm)


def random_ports():
    """The ranges of RFC 4814 section 4.5.1."""
    return [STLVmFlowVar(name="sport", min_value=1024, max_value=65535, size=2, op="random"),
            STLVmFlowVar(name="dport", min_value=1, max_value=49151, size=2, op="random"),
            STLVmWrFlowVar(fv_name="sport", pkt_offset="UDP.sport"),
            STLVmWrFlowVar(fv_name="dport", pkt_offset="UDP.dport")]


def udp_checksum(network):
    """Comes last in the program of a stream. Latency streams need it too: TRex overwrites the end of the payload."""
    return STLVmFixChecksumHw(l3_offset=network, l4_offset="UDP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP)


def padded(layers, size):
    return layers / (b"x" * (size - CHECK_SEQUENCE - len(layers)))


def stream(packet, pps, seed, flow_stats=None):
    return STLStream(packet=packet, mode=STLTXCont(pps=pps), random_seed=seed, flow_stats=flow_stats)


def frame_size(text):
    size = int(text)
    if not SMALLEST <= size <= LARGEST:
        raise ValueError("size %d: the frame on the IPv6 side has %d to %d bytes" % (size, SMALLEST, LARGEST))
    return size


def parse(tunables):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--size", default="84", help="frame on the IPv6 side with its check sequence, or imix")
    parser.add_argument("--eams", type=int, default=1000000, help="mappings in use, from the first on")
    parser.add_argument("--clients", type=int, default=131072, help="client addresses in use, from 198.18.0.0 on")
    parser.add_argument("--background", type=int, default=0, help="per cent of the packets that are not translated")
    parser.add_argument("--latency", type=int, default=0, help="packets per second in a latency stream per port")
    parser.add_argument("--pg_id", type=int, default=10, help="packet group of the latency stream of port 0")
    return parser.parse_args(list(tunables))


def register():
    return Siit()
