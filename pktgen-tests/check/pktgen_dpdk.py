"""Pktgen's files as Pktgen takes them, and the frames it would send.

The patterns of commands are those of `range_map`, `set_map` and `enable_map` in Pktgen's app/cli-functions.c, the keys
of a .cfg file those of its tools/run.py. Scripts run against pktgen_dpdk_stub.lua.
"""

import ipaddress
import os
import re
import subprocess

import frames

HERE = os.path.dirname(os.path.abspath(__file__))
MAC = r"((?:[0-9a-f]{2}:){5}[0-9a-f]{2})"
IPV4 = r"(\d+\.\d+\.\d+\.\d+)"
IPV6 = r"([0-9a-f]*:[0-9a-f:]*)"
NUMBER = r"(\d+)"
PORT = r"(\d)"


def four(pattern):
    return " ".join([pattern] * 4)


COMMANDS = [(kind, re.compile(pattern)) for kind, pattern in (
    ("type", "range %s type (ipv4|ipv6)" % PORT),
    ("proto", "range %s proto (tcp|udp)" % PORT),
    ("mac", "range %s (dst|src) mac %s" % (PORT, four(MAC))),
    ("ip", "range %s (dst|src) ip %s" % (PORT, four(IPV4))),
    ("ip", "range %s (dst|src) ip %s" % (PORT, four(IPV6))),
    ("port", "range %s (dst|src) port %s" % (PORT, four(NUMBER))),
    ("ttl", "range %s ttl %s" % (PORT, four(NUMBER))),
    ("hop_limits", "range %s hop_limits %s" % (PORT, four(NUMBER))),
    ("size", "range %s size %s" % (PORT, four(NUMBER))),
    ("set", r"set ([\d,]+) (count|size|rate|txburst) %s" % NUMBER),
    ("enable", r"enable ([\d,]+) range"),
)]

SETUP_KEYS = {"exec", "devices", "uio"}
RUN_KEYS = {"exec", "ld_path", "app_path", "app_name", "cores", "nrank", "proc", "log", "prefix", "blacklist",
            "whitelist", "blocklist", "allowlist", "vdev", "plugin", "opts", "map", "pcap", "theme", "loadfile",
            "logfile"}


def parse(path):
    """The range settings of a command file, by port."""
    ports = {"0": {}, "1": {}}
    enabled = set()
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            words = line.strip()
            if not words or words.startswith("#"):
                continue
            for kind, pattern in COMMANDS:
                found = pattern.fullmatch(words)
                if found:
                    break
            else:
                raise frames.Wrong("%s:%d: no such command: %s" % (os.path.basename(path), number, words))
            port, *values = found.groups()
            if kind == "enable":
                enabled |= set(port.split(","))
            elif kind in ("mac", "ip", "port"):
                ports[port][kind, values[0]] = values[1:]
            elif kind != "set":
                ports[port][kind] = values
    if enabled != set(ports):
        raise frames.Wrong("range is not enabled on both ports")
    return ports


def range_frames(settings, count):
    """The first packets of range mode: every field steps at once, and starts over behind its maximum."""
    version = int(settings["type"][0][3])
    if settings["proto"] != ["udp"]:
        raise frames.Wrong("not UDP: %s" % settings["proto"])
    macs = [settings["mac", which][0] for which in ("dst", "src")]
    fields = []
    for key, convert in ((("ip", "src"), ipaddress.ip_address), (("ip", "dst"), ipaddress.ip_address),
                         (("port", "src"), int), (("port", "dst"), int), ("size", int),
                         ("ttl" if version == 4 else "hop_limits", int)):
        numbers = [int(convert(text)) for text in settings[key]]
        if not numbers[1] <= numbers[0] <= numbers[2]:
            raise frames.Wrong("%s: start, minimum, maximum, increment: %s" % (key, settings[key]))
        fields.append(numbers)
    address = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    current = [start for start, _, _, _ in fields]
    for _ in range(count):
        source, destination, source_port, destination_port, size, ttl = current
        yield frames.udp_frame(macs, address(source), address(destination), (source_port, destination_port), size, ttl)
        current = [low if value + step > high else value + step
                   for value, (_, low, high, step) in zip(current, fields)]


def run(script, directory, limit=0):
    """Runs a script against the stand-in; (what it printed, its calls)."""
    done = subprocess.run(["lua", os.path.join(HERE, "pktgen_dpdk_stub.lua"), script], cwd=directory, text=True,
                          capture_output=True, timeout=60, env={**os.environ, "LIMIT": str(limit)}, check=False)
    if done.returncode:
        raise frames.Wrong("%s: %s" % (os.path.basename(script), done.stderr.splitlines()[-5:]))
    return done.stdout, [line.split("\t") for line in done.stderr.splitlines()]


def sequence_frames(calls):
    """The frames of the `seq` calls of a script."""
    slots = {}
    counts = {}
    for name, *values in calls:
        if name == "seq":
            slot, port, relay, tester, destination, source, sport, dport, family, protocol, _vlan, size, _teid = values
            if int(slot) >= 16 or protocol != "udp":
                raise frames.Wrong("slot %s, protocol %s" % (slot, protocol))
            source = ipaddress.ip_interface(source).ip
            destination = ipaddress.ip_address(destination)
            if {source.version, destination.version} != {int(family[3])}:
                raise frames.Wrong("slot %s: %s is not all %s" % (slot, values, family))
            slots[port, int(slot)] = frames.udp_frame((relay, tester), source, destination,
                                                      (int(sport), int(dport)), int(size))
        elif name == "set" and values[1] == "seq_cnt":
            counts.update((port, int(values[2])) for port in values[0].split(","))
    for port in "01":
        if sorted(slot for where, slot in slots if where == port) != list(range(counts.get(port, 0))):
            raise frames.Wrong("port %s: seq_cnt does not match the slots" % port)
    return list(slots.values())


def check_cfg(path):
    """The configuration as tools/run.py loads it."""
    names = {}
    with open(path, encoding="ascii") as file:
        exec(compile(file.read(), path, "exec"), names)  # the format is Python
    unknown = (set(names["setup"]) - SETUP_KEYS) | (set(names["run"]) - RUN_KEYS)
    if unknown or not names["description"]:
        raise frames.Wrong("unknown keys: %s" % unknown)
    for value in list(names["setup"].values()) + list(names["run"].values()):
        for text in value if isinstance(value, tuple) else (value,):
            text % {"app_name": "pktgen", "sdk": "", "target": ""}
    if not {"app_name", "app_path"} <= set(names["run"]):
        raise frames.Wrong("app_name and app_path are needed")
