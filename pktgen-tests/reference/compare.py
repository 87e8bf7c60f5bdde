#!/usr/bin/env python3
"""Compares `borderline translate` with the reference model, packet by packet.

usage: compare.py --borderline PATH [--packets N] [--seed N] [--config NAME]...
                  [--keep DIR] [--strict] [--list]

For each configuration of generate.py the program is given a configuration
file and a capture of generated packets; its report and its output capture are
held against model.py.  Verdict and bytes must agree, apart from what an
implementation may choose:

  - the Identification it generates (but the pieces of one packet share one
    that is not 0, and it is not the same for every packet), and the IPv4
    header checksum that depends on it, which must be right all the same;
  - Time to Live, Type of Service, Identification and flow label of its own
    ICMP errors, and whether the quoted Time to Live was already decremented;
  - which address of icmp_source_pool it takes (but always the same one for
    the same IPv6 source when icmp_source_choice is "hash").

When a packet may be refused for several reasons at once, any of the answers
is accepted.  Where model.READINGS lists a second reading of the texts, a
packet that fits only the second reading is counted, shown in the summary and
accepted; --strict refuses it.

Exit status: 0 all agree, 1 mismatches, 2 the comparison could not be made.
"""

import argparse
import collections
import ipaddress
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import generate
import model

SHOWN = 20             # mismatches printed in full
EXPLAINED = 3000       # mismatches for which the second readings are tried
LINKTYPE_RAW = 101

# ------------------------------------------------------------ files in and out


def write_pcap(path, packets):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, LINKTYPE_RAW))
        for index, packet in enumerate(packets):
            file.write(struct.pack("<IIII", index // 1000000, index % 1000000, len(packet), len(packet)))
            file.write(packet)


def read_pcap(path):
    with open(path, "rb") as file:
        data = file.read()
    if len(data) < 24:
        raise ValueError("%s: no capture header" % path)
    magic = data[:4]
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">",
             b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}.get(magic)
    if order is None:
        raise ValueError("%s: not a classic capture file" % path)
    link = struct.unpack(order + "I", data[20:24])[0] & 0xFFFF
    if link != LINKTYPE_RAW:
        raise ValueError("%s: link type %d, expected %d" % (path, link, LINKTYPE_RAW))
    packets, position = [], 24
    while position < len(data):
        length, original = struct.unpack(order + "8xII", data[position:position + 16])
        if length != original or position + 16 + length > len(data):
            raise ValueError("%s: packet %d is cut short" % (path, len(packets)))
        packets.append(data[position + 16:position + 16 + length])
        position += 16 + length
    return packets


def toml_value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value)
    return "[%s]" % ", ".join(toml_value(v) for v in value)


COMMAND_LINE_KEYS = ("ipv4_mtu", "ipv6_mtu", "ipv4_address", "ipv6_address")


def write_toml(path, keys):
    """Only the keys a configuration sets: the defaults are tested as well."""
    lines = ["[translation]"]
    for name, value in keys.items():
        if name != "eam" and name not in COMMAND_LINE_KEYS:
            lines.append("%s = %s" % (name, toml_value(value)))
    lines.append('eam_overlap = "allow"')
    for v4, v6 in keys.get("eam", []):
        lines += ["", "[[eam]]", "ipv4 = %s" % toml_value(v4), "ipv6 = %s" % toml_value(v6)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def run_borderline(program, config, keys, packets, directory):
    """The program's answer: one (verdict, reason, [packets out]) per packet in."""
    names = {name: os.path.join(directory, name)
             for name in ("config.toml", "in.pcap", "out.pcap", "report.jsonl")}
    write_toml(names["config.toml"], keys)
    write_pcap(names["in.pcap"], packets)
    command = [program, "translate", "--config", names["config.toml"],
               "--in", names["in.pcap"], "--out", names["out.pcap"], "--report", names["report.jsonl"],
               "--ipv4-mtu", str(config.ipv4_mtu), "--ipv6-mtu", str(config.ipv6_mtu),
               "--ipv4-address", config.ipv4_address, "--ipv6-address", config.ipv6_address]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise ValueError("exit status %d\n%s" % (done.returncode, done.stderr.decode(errors="replace")))
    out = read_pcap(names["out.pcap"])
    with open(names["report.jsonl"], encoding="utf-8") as file:
        report = [json.loads(line) for line in file if line.strip()]
    if len(report) != len(packets):
        raise ValueError("%d packets in, %d in the report" % (len(packets), len(report)))
    answers, next_out = [], 0
    for index, line in enumerate(report):
        if line["packet"] != index:
            raise ValueError("report line %d is about packet %s" % (index, line["packet"]))
        indices = line.get("out") or []
        if indices != list(range(next_out, next_out + len(indices))):
            raise ValueError("packet %d: out %s, expected to go on at %d" % (index, indices, next_out))
        next_out += len(indices)
        if next_out > len(out):
            raise ValueError("packet %d: out %s, but only %d packets went out" % (index, indices, len(out)))
        answers.append((line["verdict"], line.get("reason"), [out[i] for i in indices]))
    if next_out != len(out):
        raise ValueError("%d packets went out, the report knows %d" % (len(out), next_out))
    return answers


# ------------------------------------------------------------------ comparing


def differs(want, got, ranges):
    """None, or where two packets differ outside the free ranges."""
    if len(want) != len(got):
        return "length %d, expected %d" % (len(got), len(want))
    if want == got:
        return None
    free = set()
    for start, end in ranges:
        free.update(range(start, end))
    for index, (a, b) in enumerate(zip(want, got)):
        if a != b and index not in free:
            return "byte %d is %02x, expected %02x" % (index, b, a)
    return None


def checksum_trouble(packet, ranges):
    """IPv4 header checksums inside the free ranges must be right."""
    if packet[0] >> 4 != 4:
        return None
    for start, end in ranges:
        if end - start == 2 and start in (10, 38):
            header = packet[start - 10:]
            header = header[:(header[0] & 15) * 4]
            if model.ones_sum(header) != 0xFFFF:
                return "wrong IPv4 header checksum at byte %d" % start
    return None


def compare_outcome(outcome, verdict, out):
    """None, or how the program's answer differs from one outcome."""
    if verdict != outcome.verdict:
        return "verdict"
    if len(out) != len(outcome.out):
        return "%d packets, expected %d" % (len(out), len(outcome.out))
    for index, (got, want, ranges) in enumerate(zip(out, outcome.out, outcome.ignore)):
        wrong = differs(want, got, ranges) or checksum_trouble(got, ranges)
        if wrong is None and ranges is model.V4_ERROR_IGNORE and got[36] not in (want[36], want[36] - 1):
            wrong = "quoted Time to Live %d, received %d" % (got[36], want[36])
        if wrong:
            return "packet %d: %s" % (index, wrong)
    if len(out) > 1 and (4, 6) in outcome.ignore[0]:
        identifications = {packet[4:6] for packet in out}
        if len(identifications) > 1 or b"\0\0" in identifications:
            return "pieces of one packet with Identification %s" % sorted(i.hex() for i in identifications)
    return None


class Comparison:
    """All packets of one configuration."""

    def __init__(self, name, keys, strict, budget):
        self.name, self.strict, self.budget = name, strict, budget
        self.config = model.Config(**keys)
        self.variants = {}
        self.by_reading = collections.Counter()
        self.by_verdict = collections.Counter()
        self.other_order = 0
        self.mismatches = []          # (index, packet, outcome, answer, kind, detail)
        self.source_of = {}           # IPv6 source -> address of the pool, when hashed
        self.sources_used = collections.Counter()
        self.identifications = collections.Counter()

    def variant(self, readings, pick):
        key = (readings, pick)
        if key not in self.variants:
            self.variants[key] = self.config.variant(readings, pick)
        return self.variants[key]

    def outcomes(self, family, packet, readings):
        """All outcomes the model allows under these readings, its own first."""
        first = model.translate(self.variant(readings, 0), family, packet)
        yield first
        yield from first.also
        if family == 6 and first.out:
            for pick in range(1, len(self.config.source_addresses)):
                outcome = model.translate(self.variant(readings, pick), family, packet)
                if outcome.out == first.out:
                    return  # the choice of a source plays no role
                yield outcome

    def explain(self, family, packet, verdict, out, readings):
        """(matching outcome, first difference)."""
        first = None
        for outcome in self.outcomes(family, packet, readings):
            wrong = compare_outcome(outcome, verdict, out)
            if wrong is None:
                return outcome, None
            first = first or wrong
        return None, first

    def other_readings(self):
        known = frozenset(self.by_reading) & frozenset(model.READINGS)
        for name in sorted(known):
            yield frozenset([name]), name
        if len(known) > 1:
            yield known, "several of the above"
        for name in sorted(set(model.READINGS) - model.DECIDED):
            if name not in known:
                yield frozenset([name]), name

    def check(self, index, packet, answer):
        verdict, _, out = answer
        family = packet[0] >> 4
        primary = model.translate(self.config, family, packet)
        self.by_verdict[primary.verdict] += 1
        if compare_outcome(primary, verdict, out) is None:
            self.note_choices(index, packet, primary, answer)
            return
        outcome, wrong = self.explain(family, packet, verdict, out, frozenset())
        if outcome is not None:
            if outcome in primary.also:
                self.other_order += 1
            else:
                self.note_choices(index, packet, outcome, answer)
            return
        if self.budget[0] > 0:
            self.budget[0] -= 1
            for readings, name in self.other_readings():
                outcome, _ = self.explain(family, packet, verdict, out, readings)
                if outcome is not None:
                    self.by_reading[name] += 1
                    if self.strict:
                        self.mismatch(index, packet, primary, answer, "second reading: " + name)
                    return
        self.mismatch(index, packet, primary, answer, wrong)

    def mismatch(self, index, packet, outcome, answer, wrong):
        family = packet[0] >> 4
        if wrong == "verdict":
            kind = "v%d: expected %s (%s), got %s (%s)" % (
                family, outcome.verdict, outcome.reason, answer[0], answer[1])
        else:
            where = wrong.split(" is ")[0].split(", expected")[0]
            kind = "v%d %s: %s" % (family, outcome.verdict, where)
        self.mismatches.append((index, packet, outcome, answer, kind, wrong))

    def note_choices(self, index, packet, outcome, answer):
        """What the box chose must still be chosen sensibly."""
        if outcome.verdict != model.TRANSLATED or packet[0] >> 4 != 6:
            return
        got = answer[2][0]
        if (4, 6) in outcome.ignore[0] and not got[6] & 0x40:
            self.identifications[got[4:6]] += 1
        if len(self.config.source_addresses) > 1:
            source = int.from_bytes(packet[8:24], "big")
            config = self.config
            if config.eam_for_v6(source) is None and config.prefix_for_v6(source) is None:
                self.sources_used[got[12:16]] += 1
                before = self.source_of.setdefault(source, got[12:16])
                if before != got[12:16] and config.icmp_source_choice == "hash":
                    self.mismatch(index, packet, outcome, answer, "source not a function of the IPv6 source")

    def finish(self):
        """Properties of all packets together; a list of complaints."""
        complaints = []
        total = sum(self.identifications.values())
        if total >= 50 and len(self.identifications) * 2 < total:
            complaints.append("%d packets with DF=0, only %d different Identifications"
                              % (total, len(self.identifications)))
        if self.sources_used and sum(self.sources_used.values()) >= 40 and len(self.sources_used) == 1:
            complaints.append("icmp_source_pool: only one address of the pool is ever used")
        return complaints


# ------------------------------------------------------------------- printing


def describe(packet):
    """One line for a human; never fails, whatever the bytes."""
    try:
        return describe_packet(packet, 0)
    except (IndexError, ValueError, struct.error):
        return "%d undecodable bytes" % len(packet)


def describe_packet(packet, depth):
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        header = (packet[0] & 15) * 4
        tos, total, ident, flags, ttl, proto = struct.unpack(">xBHHHBB", packet[:10])
        text = "4 %s>%s p%d ttl%d tl%d" % (ipaddress.IPv4Address(packet[12:16]),
                                          ipaddress.IPv4Address(packet[16:20]), proto, ttl, total)
        text += " tos%02x" % tos if tos else ""
        text += " id%04x" % ident + (" DF" if flags & 0x4000 else "") + (" MF" if flags & 0x2000 else "")
        offset = flags & 0x1FFF
        if header > 20:
            text += " opt=%s" % packet[20:header].hex()
        payload = packet[header:]
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        word, length, proto, limit = struct.unpack(">IHBB", packet[:8])
        text = "6 %s>%s nh%d hl%d pl%d" % (ipaddress.IPv6Address(packet[8:24]),
                                          ipaddress.IPv6Address(packet[24:40]), proto, limit, length)
        text += " tc%02x" % (word >> 20 & 255) if word >> 20 & 255 else ""
        payload, offset = packet[40:], 0
        while proto in (0, 43, 60, 44) and len(payload) >= 8 and not offset:
            if proto == 44:
                offset, ident = struct.unpack(">2xHI", payload[:8])
                text += " [FH nh%d off%d M%d id%08x]" % (payload[0], offset >> 3, offset & 1, ident)
                size, offset = 8, offset >> 3
            else:
                size = (payload[1] + 1) * 8
                text += " [%d:%s]" % (proto, payload[:4].hex())
            proto, payload = payload[0], payload[size:]
    else:
        return "%d bytes %s" % (len(packet), packet[:24].hex())
    if offset:
        return text + " off%d | data %dB" % (offset, len(payload))
    return text + " | " + describe_payload(proto, payload, depth)


def describe_payload(proto, payload, depth):
    if proto == 6 and len(payload) >= 20:
        ports = struct.unpack(">HH", payload[:4])
        return "tcp %d>%d ck=%s +%d" % (*ports, payload[16:18].hex(), len(payload) - 20)
    if proto == 17 and len(payload) >= 8:
        ports = struct.unpack(">HHH", payload[:6])
        return "udp %d>%d len%d ck=%s +%d" % (*ports, payload[6:8].hex(), len(payload) - 8)
    if proto in (1, 58) and len(payload) >= 8:
        text = "icmp%s %d/%d ck=%s rest=%s" % ("4" if proto == 1 else "6", payload[0], payload[1],
                                              payload[2:4].hex(), payload[4:8].hex())
        errors = (3, 4, 5, 11, 12) if proto == 1 else range(128)
        if payload[0] in errors and depth == 0:
            return text + " quote(%dB){%s}" % (len(payload) - 8, describe_packet(payload[8:], 1))
        return text + " +%dB" % (len(payload) - 8)
    return "data %dB" % len(payload)


def show(name, mismatch):
    index, packet, outcome, (verdict, reason, out), kind, detail = mismatch
    print("MISMATCH  configuration %s, packet %d: %s" % (name, index, kind if detail == "verdict" else detail))
    print("  in        %s" % describe(packet))
    print("            %s" % packet.hex())
    print("  expected  %s (%s)" % (outcome.verdict, outcome.reason))
    for other in outcome.also:
        print("         or %s (%s)" % (other.verdict, other.reason))
    for wanted in outcome.out:
        print("            %s\n            %s" % (describe(wanted), wanted.hex()))
    print("  got       %s (%s)" % (verdict, reason))
    for got in out:
        print("            %s\n            %s" % (describe(got), got.hex()))


# ----------------------------------------------------------------------- main


def arguments():
    parser = argparse.ArgumentParser(description="Compare `borderline translate` with the reference model.")
    parser.add_argument("--borderline", help="the program under test")
    parser.add_argument("--packets", type=int, default=100000, help="in total (default 100000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--config", action="append", metavar="NAME", help="only this configuration (repeatable)")
    parser.add_argument("--keep", metavar="DIR", help="keep configurations, captures and reports here")
    parser.add_argument("--strict", action="store_true", help="do not accept second readings")
    parser.add_argument("--list", action="store_true", help="list the configurations and stop")
    options = parser.parse_args()
    if options.list:
        for name, keys in generate.CONFIGS.items():
            print("%-22s %s" % (name, json.dumps({k: v for k, v in keys.items() if k != "eam"})))
        sys.exit(0)
    if not options.borderline:
        parser.error("--borderline is required")
    for name in options.config or []:
        if name not in generate.CONFIGS:
            parser.error("no configuration %r; see --list" % name)
    return options


def main():
    options = arguments()
    names = options.config or list(generate.CONFIGS)
    per_config = -(-options.packets // len(names))
    budget = [EXPLAINED]
    passed = failed = shown = 0
    broken = False
    kinds, readings = collections.Counter(), collections.Counter()
    base = options.keep or tempfile.mkdtemp(prefix="borderline-compare-")
    try:
        for name in names:
            keys = generate.CONFIGS[name]
            comparison = Comparison(name, keys, options.strict, budget)
            packets = generate.packets(name, options.seed, per_config)
            directory = os.path.join(base, name)
            os.makedirs(directory, exist_ok=True)
            try:
                answers = run_borderline(options.borderline, comparison.config, keys, packets, directory)
            except (OSError, ValueError, KeyError) as error:
                print("%-22s cannot be compared: %s" % (name, error))
                failed += len(packets)
                broken = True
                continue
            for index, (packet, answer) in enumerate(zip(packets, answers)):
                comparison.check(index, packet, answer)
            complaints = comparison.finish()
            bad = {m[0] for m in comparison.mismatches}
            passed += len(packets) - len(bad)
            failed += len(bad) + len(complaints)
            for mismatch in comparison.mismatches:
                kinds[mismatch[4]] += 1
                if shown < SHOWN:
                    shown += 1
                    show(name, mismatch)
            for complaint in complaints:
                kinds[complaint] += 1
                print("MISMATCH  configuration %s: %s" % (name, complaint))
            readings.update(comparison.by_reading)
            print("%-22s %6d packets, %d mismatches   %s%s" % (
                name, len(packets), len(bad),
                " ".join("%s %d" % item for item in sorted(comparison.by_verdict.items())),
                ", other order of refusals %d" % comparison.other_order if comparison.other_order else ""))
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)
    if readings:
        print("second readings met:")
        for name, count in readings.most_common():
            print("  %6d  %-30s %s" % (count, name, model.READINGS.get(name, "")))
    if kinds:
        print("mismatches by kind:")
        for kind, count in kinds.most_common(40):
            print("  %6d  %s" % (count, kind))
    print("%d passed, %d failed" % (passed, failed))
    return 2 if broken else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
