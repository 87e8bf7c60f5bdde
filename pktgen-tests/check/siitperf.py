"""siitperf's configuration files as its own reader takes them, and the frames it would send.

The keys, their ranges and their pitfalls are those of `Throughput::readConfigFile` in siitperf's throughput.cc.
"""

import ipaddress
import random

import frames

# It reads 200 characters at a time (100 before 2022); the rest of a longer line is a line of its own, without the `#` of
# a comment.
LINE = 200
NUMBERS = {
    "IP-L-Vers": (4, 6), "IP-R-Vers": (4, 6), "Num-L-Nets": (1, 256), "Num-R-Nets": (1, 256),
    "Forward": (0, 1), "Reverse": (0, 1), "Promisc": (0, 1),
    "CPU-L-Send": (0, 127), "CPU-R-Recv": (0, 127), "CPU-R-Send": (0, 127), "CPU-L-Recv": (0, 127),
    "MEM-Channels": (1, 255),
    "Fwd-var-sport": (0, 3), "Fwd-var-dport": (0, 3), "Rev-var-sport": (0, 3), "Rev-var-dport": (0, 3),
    "Fwd-sport-min": (0, 65535), "Fwd-sport-max": (0, 65535), "Fwd-dport-min": (0, 65535), "Fwd-dport-max": (0, 65535),
    "Rev-sport-min": (0, 65535), "Rev-sport-max": (0, 65535), "Rev-dport-min": (0, 65535), "Rev-dport-max": (0, 65535),
    "IP-L-var": (0, 3), "IP-R-var": (0, 3), "IP-L-min": (0, 65535), "IP-L-max": (0, 65535), "IP-R-min": (0, 65535),
    "IP-R-max": (0, 65535), "IPv4-L-offset": (1, 2), "IPv4-R-offset": (1, 2), "IPv6-L-offset": (6, 14),
    "IPv6-R-offset": (6, 14), "Stateful": (0, 2),
}
ADDRESSES = ["IPv6-L-Real", "IPv6-L-Virt", "IPv6-R-Real", "IPv6-R-Virt",
             "IPv4-L-Real", "IPv4-L-Virt", "IPv4-R-Real", "IPv4-R-Virt"]
MACS = ["MAC-L-Tester", "MAC-R-Tester", "MAC-L-DUT", "MAC-R-DUT"]
CPUS = ["CPU-L-Send", "CPU-R-Recv", "CPU-R-Send", "CPU-L-Recv"]
# Its 16-bit fields are read as if they had 32: each line overwrites the field behind it, too. These keys are right
# only in the order in which the fields lie in memory.
MEMORY = ["Fwd-sport-min", "Fwd-sport-max", "Fwd-dport-min", "Fwd-dport-max",
          "Rev-sport-min", "Rev-sport-max", "Rev-dport-min", "Rev-dport-max", "IP-L-var", "IP-R-var",
          "IP-L-min", "IP-L-max", "IP-R-min", "IP-R-max",
          "IPv4-L-offset", "IPv4-R-offset", "IPv6-L-offset", "IPv6-R-offset", "Stateful"]
TTL = 10
FIXED_PORTS = (0xC020, 7)


class Config(dict):
    """A configuration file; raises `Wrong` where siitperf would stop, or silently do something else."""

    def __init__(self, path):
        super().__init__()
        with open(path, encoding="ascii") as file:
            for number, line in enumerate(file, 1):
                if len(line) > LINE:
                    raise frames.Wrong("line %d: %d characters, at most %d are one line" % (number, len(line), LINE))
                words = line.split("#")[0].split()
                if words:
                    self.take(number, *words)
        for key in ADDRESSES + MACS + CPUS:
            if key not in self:
                raise frames.Wrong("%s is missing" % key)
        for four, six in (("IPv4-L-Virt", "IPv6-L-Real"), ("IPv4-R-Real", "IPv6-R-Virt")):
            if frames.to_ipv6(self[four]) != self[six]:
                raise frames.Wrong("%s does not stand for %s" % (four, six))
        order = [key for key in self if key in MEMORY]
        if order != sorted(order, key=MEMORY.index):
            raise frames.Wrong("keys in the wrong order, a later one destroys an earlier one: %s" % order)
        if len({self[key] for key in CPUS} | {0}) != 5:
            raise frames.Wrong("CPU 0 and the four named ones must be five CPUs")
        if self.varies() and (self.get("Num-L-Nets", 1), self.get("Num-R-Nets", 1)) != (1, 1):
            raise frames.Wrong("several addresses exclude several networks")

    def take(self, number, key, *values):
        if len(values) != 1 or key in self:
            raise frames.Wrong("line %d: %s: one value, once" % (number, key))
        if key in NUMBERS:
            low, high = NUMBERS[key]
            self[key] = int(values[0])
            if not low <= self[key] <= high:
                raise frames.Wrong("line %d: %s is %d to %d" % (number, key, low, high))
        elif key in ADDRESSES:
            self[key] = ipaddress.ip_address(values[0])
            if self[key].version != int(key[3]):
                raise frames.Wrong("line %d: %s: %s" % (number, key, values[0]))
        elif key in MACS:
            self[key] = values[0]
            if len(frames.mac_bytes(values[0])) != 6:
                raise frames.Wrong("line %d: %s: %s" % (number, key, values[0]))
        else:
            raise frames.Wrong("line %d: no such key: %s" % (number, key))

    def varies(self):
        return self.get("IP-L-var", 0) or self.get("IP-R-var", 0)

    def address(self, key, number):
        """An address with its varying 16 bits set; offsets are the last 16 bits in our files."""
        side = key.split("-")[1]
        if not self.get("IP-%s-var" % side, 0):
            return self[key]
        address = self[key]
        offset = self["IPv%d-%s-offset" % (address.version, side)]
        if offset != len(address.packed) - 2:
            raise frames.Wrong("%s: offset %d is not followed here" % (key, offset))
        return type(address)(int(address) & ~0xFFFF | number)


def traffic(config, count, size, seed=1):
    """(translated, background) frames of both directions."""
    draw = random.Random(seed)
    translated, background = [], []
    for _ in range(count):
        left = draw.randint(config.get("IP-L-min", 0), config.get("IP-L-max", 65535))
        right = draw.randint(config.get("IP-R-min", 0), config.get("IP-R-max", 65535))
        forward = (config["MAC-L-DUT"], config["MAC-L-Tester"])
        reverse = (config["MAC-R-DUT"], config["MAC-R-Tester"])
        ends = [config.address(key, number) for key, number in
                (("IPv6-L-Real", left), ("IPv6-R-Virt", right), ("IPv4-R-Real", right), ("IPv4-L-Virt", left))]
        translated.append(frames.udp_frame(forward, ends[0], ends[1], ports(config, "Fwd", draw), size, TTL))
        translated.append(frames.udp_frame(reverse, ends[2], ends[3], ports(config, "Rev", draw), size - 20, TTL))
        ends = [config.address("IPv6-L-Real", left), config.address("IPv6-R-Real", right)]
        background.append(frames.udp_frame(forward, *ends, ports(config, "Fwd", draw), size, TTL))
        background.append(frames.udp_frame(reverse, *reversed(ends), ports(config, "Rev", draw), size, TTL))
    return translated, background


def ports(config, direction, draw):
    chosen = []
    for which, fixed, low, high in (("s", FIXED_PORTS[0], 1024, 65535), ("d", FIXED_PORTS[1], 1, 49151)):
        varies = config.get("%s-var-%sport" % (direction, which), 0)
        low = config.get("%s-%sport-min" % (direction, which), low)
        high = config.get("%s-%sport-max" % (direction, which), high)
        chosen.append(draw.randint(low, high) if varies else fixed)
    return tuple(chosen)
