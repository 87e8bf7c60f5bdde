"""A stand-in for TRex's own Python API, so that ../../trex/siit.py loads without a TRex installation.

Names, arguments and the JSON of a stream are TRex's; `STLStream.to_json` is what its server would get. TRex itself
ships a changed Scapy that knows the offset of every field. Here the offsets of the few fields in use are listed.

Like `trex_stl_lib.api` it exports Scapy's names too.
"""

import scapy.layers.l2
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

__all__ = ["CTRexVmInsFixHwCs", "Ether", "IP", "IPv6", "STLFlowLatencyStats", "STLPktBuilder", "STLScVmRaw",
           "STLStream", "STLTXCont", "STLVmFixChecksumHw", "STLVmFlowVar", "STLVmWrFlowVar", "UDP"]

FIELD_OFFSETS = {("IP", "src"): 12, ("IP", "dst"): 16, ("IPv6", "src"): 8, ("IPv6", "dst"): 24,
                 ("UDP", "sport"): 0, ("UDP", "dport"): 2}


def Ether():
    """A header with addresses: Scapy would ask the network for them. TRex puts in those of its configuration file."""
    return scapy.layers.l2.Ether(src="02:00:00:00:00:00", dst="02:00:00:00:00:00")


class CTRexVmInsFixHwCs:
    L4_TYPE_UDP = 11
    L4_TYPE_TCP = 13


class STLVmFlowVar:
    def __init__(self, name, init_value=None, min_value=0, max_value=255, size=4, step=1, op="inc"):
        if op not in ("inc", "dec", "random"):
            raise ValueError("%s: no such operation: %s" % (name, op))
        if size not in (1, 2, 4, 8):
            raise ValueError("%s: no such size: %d" % (name, size))
        if not 0 <= min_value <= max_value < 1 << (8 * size):
            raise ValueError("%s: %d to %d is no range of %d bytes" % (name, min_value, max_value, size))
        if init_value is None:
            init_value = max_value if op == "dec" else min_value
        self.instruction = {"type": "flow_var", "name": name, "size": size, "op": op, "init_value": init_value,
                            "min_value": min_value, "max_value": max_value, "step": step}

    def compile(self, _packet):
        return self.instruction


class STLVmWrFlowVar:
    def __init__(self, fv_name, pkt_offset, offset_fixup=0, add_val=0, is_big=True):
        self.name, self.field, self.fixup = fv_name, pkt_offset, offset_fixup
        self.add_value, self.is_big = add_val, is_big

    def compile(self, packet):
        offset = field_offset(packet, self.field) + self.fixup
        return {"type": "write_flow_var", "name": self.name, "pkt_offset": offset, "add_value": self.add_value,
                "is_big_endian": self.is_big}


class STLVmFixChecksumHw:
    def __init__(self, l3_offset, l4_offset, l4_type):
        self.l3, self.l4, self.l4_type = l3_offset, l4_offset, l4_type

    def compile(self, packet):
        l2_length = layer_offset(packet, self.l3)
        return {"type": "fix_checksum_hw", "l2_len": l2_length, "l3_len": layer_offset(packet, self.l4) - l2_length,
                "l4_type": self.l4_type}


class STLScVmRaw:
    def __init__(self, list_of_commands=None, split_by_field=None, cache_size=None):
        self.commands, self.split_by_field, self.cache_size = list_of_commands or [], split_by_field, cache_size

    def compile(self, packet):
        instructions = [command.compile(packet) for command in self.commands]
        names = [each["name"] for each in instructions if each["type"] == "flow_var"]
        if len(names) != len(set(names)):
            raise ValueError("a variable is defined twice: %s" % names)
        for each in instructions:
            if each["type"] == "write_flow_var" and each["name"] not in names:
                raise ValueError("no such variable: %s" % each["name"])
        return {"instructions": instructions, "split_by_var": self.split_by_field or ""}


class STLPktBuilder:
    def __init__(self, pkt=None, vm=None):
        self.packet = bytes(pkt)
        self.vm = (vm or STLScVmRaw()).compile(pkt)


class STLTXCont:
    def __init__(self, pps=1):
        self.fields = {"type": "continuous", "rate": {"type": "pps", "value": pps}}


class STLFlowLatencyStats:
    def __init__(self, pg_id):
        self.fields = {"enabled": True, "stream_id": pg_id, "rule_type": "latency"}


class STLStream:
    def __init__(self, name=None, packet=None, mode=None, flow_stats=None, random_seed=0):
        self.name, self.packet, self.mode = name, packet, mode or STLTXCont()
        self.flow_stats, self.random_seed = flow_stats, random_seed

    def to_json(self):
        return {"packet": self.packet.packet, "vm": self.packet.vm, "mode": self.mode.fields,
                "random_seed": self.random_seed,
                "flow_stats": self.flow_stats.fields if self.flow_stats else {"enabled": False}}


def layer_offset(packet, name):
    """Where a layer begins: what lies before it, in bytes."""
    return len(packet) - len(packet[name])


def field_offset(packet, text):
    layer, field = text.split(".")
    return layer_offset(packet, layer) + FIELD_OFFSETS[layer, field]
