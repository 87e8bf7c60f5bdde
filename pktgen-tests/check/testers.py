#!/usr/bin/env python3
"""Checks the files for external testers, as far as that goes without the testers.

usage: testers.py BORDERLINE

Every packet that a tester's files describe goes through `borderline translate` with the relay configuration of the
test bed. Each must come out once, as its translation, checksums included; background must be left alone. The scripts
run against stand-ins of the programs they drive.

The last line counts the checks. One that could not be made says "SKIPPED: why" and counts as passed there, because
scripts/test takes it off again.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

import frames
import pktgen_dpdk
import siitperf
import trex

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
MAPPINGS = 65536  # as many as siitperf can use
PACKETS = 400  # from each stream, range or configuration


class Relay:
    """`borderline` with the configuration of the test bed, in a directory of its own."""

    def __init__(self, program, directory):
        self.program, self.directory = program, directory
        self.config = os.path.join(directory, "relay.toml")
        shutil.copy(os.path.join(TESTS, "testbed", "relay.toml"), self.config)
        with open(os.path.join(directory, "eams.csv"), "w", encoding="ascii") as file:
            file.write("ipv4,ipv6\n")
            for number in range(MAPPINGS):
                last = "10.0.%d.%d" % divmod(number, 256)
                file.write("%s,2001:db8:64::%s\n" % (last, last))

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise frames.Wrong("%s: %s" % (" ".join(arguments[:1]), done.stderr[-2000:]))
        return done

    def translate(self, sent):
        """(verdict, packets out) for each frame."""
        names = [os.path.join(self.directory, name) for name in ("in.pcap", "out.pcap", "report.jsonl")]
        frames.write_pcap(names[0], sent)
        self.run("translate", "--config", self.config, "--in", names[0], "--out", names[1], "--report", names[2])
        out = frames.read_pcap(names[1])
        with open(names[2], encoding="ascii") as file:
            lines = [json.loads(line) for line in file]
        if len(lines) != len(sent):
            raise frames.Wrong("%d verdicts for %d packets" % (len(lines), len(sent)))
        return [(line, [out[index] for index in line["out"]]) for line in lines]

    def must_translate(self, sent):
        for frame, (line, out) in zip(sent, self.translate(sent)):
            if line["verdict"] != "translated" or len(out) != 1:
                raise frames.Wrong("%s: %s" % (line, frame[frames.ETHERNET_HEADER:][:60].hex()))
            frames.judge(frames.Packet(frame[frames.ETHERNET_HEADER:]), frames.Packet(out[0]))

    def must_pass_by(self, sent):
        for frame, (line, _) in zip(sent, self.translate(sent)):
            frames.Packet(frame[frames.ETHERNET_HEADER:])
            if line["verdict"] != "native":
                raise frames.Wrong("%s: %s" % (line, frame[frames.ETHERNET_HEADER:][:60].hex()))


class Checks:
    """Counts, and goes on after a failure."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def __call__(self, name, check, *arguments):
        try:
            detail = check(*arguments)
        except (frames.Wrong, OSError, subprocess.SubprocessError) as error:
            self.failed += 1
            print("%-55s FAILED: %s" % (name, error))
        else:
            self.passed += 1
            print("%-55s ok%s" % (name, "  (%s)" % detail if detail else ""))

    def skip(self, name, reason):
        self.passed += 1
        print("%-55s SKIPPED: %s: %s" % (name, name, reason))


def check_config(relay):
    done = relay.run("check", "--config", relay.config)
    if "warning" in done.stderr + done.stdout:
        raise frames.Wrong(done.stderr)


def check_refusal(relay):
    """The judges must be able to refuse: a service address without a mapping, and a damaged result."""
    config = siitperf.Config(os.path.join(TESTS, "siitperf", "siitperf.conf"))
    frame = siitperf.traffic(config, 1, 84)[0][1]
    stranger = frame.replace(bytes([10, 0, 0, 1]), bytes([10, 200, 0, 1]))
    damaged = bytearray(relay.translate([frame])[0][1][0])
    damaged[-1] ^= 1
    for attempt in (lambda: relay.must_translate([stranger]), lambda: relay.must_pass_by([frame]),
                    lambda: frames.Packet(bytes(damaged))):
        try:
            attempt()
        except frames.Wrong:
            continue
        raise frames.Wrong("a wrong packet was taken for a right one")


def check_trex(relay, tunables):
    if "--eams" not in tunables:
        tunables = [*tunables, "--eams", str(MAPPINGS)]
    translated, background = [], []
    for direction in (0, 1):
        for stream in trex.streams(direction, tunables):
            made = list(trex.packets(stream, PACKETS))
            variables = [each["name"] for each in stream["vm"]["instructions"] if each["type"] == "flow_var"]
            (translated if "mapping" in variables else background).extend(made)
    relay.must_translate(translated)
    relay.must_pass_by(background)
    return "%d translated, %d native" % (len(translated), len(background))


def check_siitperf(relay, name, size):
    config = siitperf.Config(os.path.join(TESTS, "siitperf", name))
    translated, background = siitperf.traffic(config, PACKETS, size)
    relay.must_translate(translated)
    relay.must_pass_by(background)
    return "%d translated, %d native" % (len(translated), len(background))


def check_measure(directory, measurement, options, wanted, environment=(), config="siitperf.conf"):
    """siitperf/measure.sh against a tester and a relay whose limits are known."""
    results = tempfile.mkdtemp(dir=directory)
    programs = os.path.join(directory, "programs")
    os.makedirs(programs, exist_ok=True)
    for name in ("siitperf-tp", "siitperf-lat", "siitperf-pdv"):
        shutil.copy(os.path.join(HERE, "fake-siitperf"), os.path.join(programs, name))
    done = subprocess.run(
        [os.path.join(TESTS, "siitperf", "measure.sh"), measurement, "--programs", programs,
         "--config", os.path.join(TESTS, "siitperf", config),
         "--results", results, "--repeat", "3", "--pause", "0", *options],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "LIMIT": "4321987", **dict(environment)})
    # What it refuses, it says on standard error.
    if wanted not in (done.stderr if done.returncode else done.stdout):
        raise frames.Wrong("%r is missing in: %s%s" % (wanted, done.stdout[-500:], done.stderr[-500:]))


def check_range(relay):
    ports = pktgen_dpdk.parse(os.path.join(TESTS, "pktgen-dpdk", "siit.pkt"))
    sent = [frame for port in "01" for frame in pktgen_dpdk.range_frames(ports[port], 10 * PACKETS)]
    relay.must_translate(sent)
    return "%d translated" % len(sent)


def check_sequence(relay):
    script = os.path.join(TESTS, "pktgen-dpdk", "sequence.lua")
    sent = pktgen_dpdk.sequence_frames(pktgen_dpdk.run(script, relay.directory)[1])
    relay.must_translate(sent)
    return "%d translated" % len(sent)


def check_throughput_script(directory):
    """throughput.lua against a relay that carries five million frames per second and direction."""
    limit = 5_000_000
    shutil.copy(os.path.join(TESTS, "pktgen-dpdk", "siit.pkt"), directory)
    pktgen_dpdk.run(os.path.join(TESTS, "pktgen-dpdk", "throughput.lua"), directory, limit)
    with open(os.path.join(directory, "throughput.csv"), encoding="ascii") as file:
        rows = [line.strip().split(",") for line in file][1:]
    for size, percent, rate, confirmed in rows:
        line_rate = 10e9 / 8 / (int(size) + 20)
        want = min(limit, line_rate)
        # The search stops within 0.1 % of the line rate, and confirms one such step lower at worst.
        if confirmed != "yes" or not want - 0.003 * line_rate <= int(rate) <= want:
            raise frames.Wrong("%s bytes: %s fps at %s %%, not %d" % (size, rate, percent, want))
    if len(rows) != 7:
        raise frames.Wrong("%d frame sizes" % len(rows))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check = Checks()
    with tempfile.TemporaryDirectory(prefix="borderline-testers-") as directory:
        relay = Relay(os.path.abspath(sys.argv[1]), directory)
        check("testbed/relay.toml", check_config, relay)
        check("wrong packets are found wrong", check_refusal, relay)
        try:
            trex.streams(0, [])
        except ImportError as error:
            check.skip("trex/siit.py", error)
        else:
            for tunables in trex.RUNS:
                check("trex/siit.py " + " ".join(tunables), check_trex, relay, tunables)
        for name in ("siitperf.conf", "siitperf-many.conf"):
            for size in (84, 1518):
                check("siitperf/%s, %d bytes" % (name, size), check_siitperf, relay, name, size)
        for measurement, options, wanted in (
                ("throughput", ["--duration", "1"],
                 "median 4321610, 1st percentile 4321610, 99th percentile 4321610, 3"),
                ("latency", ["--rate", "1000000"], "Reverse WCL: median 0.030000"),
                ("pdv", ["--rate", "1000000"], "Forward PDV: median 0.020000")):
            check("siitperf/measure.sh " + measurement, check_measure, directory, measurement, options, wanted)
        for name, measurement, options, environment, wanted in (
                ("an invalid trial is repeated", "pdv", [], {"INVALID": "2"},
                 "attempt 2 of 3: invalid\n1,0.020000,0.020000,\n"),
                ("a trial that loses frames is repeated", "latency", [], {"LOSING": "1"},
                 "attempt 1 of 3: Forward lost 1 Reverse lost 1\n1,0.010000,0.030000,0.010000,0.030000,\n"),
                ("what loses every time is marked", "latency", ["--attempts", "2"], {"LOSING": "2"},
                 "99th percentile 0.010000, 2 repetitions\n"),
                ("marks are counted", "pdv", ["--attempts", "1"], {"INVALID": "3"},
                 "no repetition without a mark\n3 of 3 repetitions are marked")):
            check("siitperf/measure.sh: " + name, check_measure, directory, measurement,
                  ["--rate", "1000000", *options], wanted, environment)
        check("siitperf/measure.sh: many mappings and delays", check_measure, directory, "pdv", ["--rate", "1000000"],
              "pdv uses one pair of addresses", {}, "siitperf-many.conf")
        check("pktgen-dpdk/siit.cfg", pktgen_dpdk.check_cfg, os.path.join(TESTS, "pktgen-dpdk", "siit.cfg"))
        check("pktgen-dpdk/siit.pkt", check_range, relay)
        if shutil.which("lua") is None:
            check.skip("pktgen-dpdk/*.lua", "no lua; install lua5.3")
        else:
            check("pktgen-dpdk/sequence.lua", check_sequence, relay)
            check("pktgen-dpdk/throughput.lua", check_throughput_script, directory)
    print("%d passed, %d failed" % (check.passed, check.failed))
    sys.exit(check.failed != 0)


main()
