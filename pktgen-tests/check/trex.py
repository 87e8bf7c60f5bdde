"""The packets that the TRex profile describes, made as TRex's server makes them from the program of a stream."""

import os
import random
import struct
import sys

import frames

HERE = os.path.dirname(os.path.abspath(__file__))
PROFILE = os.path.join(HERE, "..", "trex")
LATENCY_MAGIC = 0xAB
LATENCY_HEADER = 16

# Tunables to try.
RUNS = [[], ["--size", "1518"], ["--size", "imix"], ["--background", "10"], ["--background", "100"],
        ["--eams", "1", "--clients", "1"], ["--latency", "1000"],
        ["--size", "imix", "--background", "50", "--latency", "1000"]]


def streams(direction, tunables):
    """The profile's streams as JSON, through the stand-in for TRex's library."""
    for path in (PROFILE, HERE):
        if path not in sys.path:
            sys.path.insert(0, path)
    import siit
    return [stream.to_json() for stream in siit.register().get_streams(direction=direction, tunables=tunables,
                                                                       port_id=direction)]


def packets(stream, count):
    """Runs the program of a stream `count` times."""
    draw = random.Random(stream["random_seed"])
    latency = stream["flow_stats"]["enabled"]
    for sequence in range(count):
        packet = bytearray(stream["packet"])
        if latency:
            # TRex writes its own header at the end of the payload, and only then the card computes the checksum.
            header = struct.pack("<BBHIQ", LATENCY_MAGIC, 1, 0, sequence, draw.getrandbits(64))
            packet[-LATENCY_HEADER:] = header
        run(stream["vm"]["instructions"], packet, draw)
        yield bytes(packet)


def run(instructions, packet, draw):
    variables = {}
    for each in instructions:
        kind = each["type"]
        if kind == "flow_var":
            if each["op"] != "random":
                raise frames.Wrong("%s: operation %s is not run here" % (each["name"], each["op"]))
            variables[each["name"]] = draw.randint(each["min_value"], each["max_value"]), each["size"]
        elif kind == "write_flow_var":
            value, size = variables[each["name"]]
            value += each["add_value"]
            at = each["pkt_offset"]
            packet[at:at + size] = value.to_bytes(size, "big" if each["is_big_endian"] else "little")
        elif kind == "fix_checksum_hw":
            fix_checksums(packet, each["l2_len"], each["l3_len"])
        else:
            raise frames.Wrong("instruction %s is not run here" % kind)


def fix_checksums(packet, ip, ip_length):
    udp = ip + ip_length
    if packet[ip] >> 4 == 4:
        addresses = packet[ip + 12:ip + 20]
        packet[ip + 10:ip + 12] = bytes(2)
        packet[ip + 10:ip + 12] = (~frames.ones_sum(bytes(packet[ip:udp])) & 0xFFFF).to_bytes(2, "big")
    else:
        addresses = packet[ip + 8:ip + 40]
    packet[udp + 6:udp + 8] = bytes(2)
    covered = bytes(addresses) + struct.pack("!IHBB", len(packet) - udp, 0, 0, frames.UDP) + bytes(packet[udp:])
    packet[udp + 6:udp + 8] = ((~frames.ones_sum(covered) & 0xFFFF) or 0xFFFF).to_bytes(2, "big")
