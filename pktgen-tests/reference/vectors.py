#!/usr/bin/env python3
"""Runs the golden packets of ../vectors/vectors.json through the model.

usage: vectors.py [FILE]      default: ../vectors/vectors.json beside this directory

Every packet must match byte for byte outside the ranges the case leaves free,
and the checksums inside those ranges must be right.
"""

import json
import os
import sys

import compare
import model

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors", "vectors.json")


def config_of(case):
    """The configuration of a case, in the keys of the relay."""
    c = case["config"]
    return model.Config(
        role=c["role"], prefixes=[c["pool6"]], eam=[tuple(row) for row in c["eams"]],
        service_pools=["192.0.2.0/24"],
        translatable_pools=["0.0.0.0/0"] if c["allow_pool6_dst"] else [],
        er_addresses=c.get("er_local6", []), hairpin=c["hairpin"],
        lowest_ipv6_mtu=c["lowest_ipv6_mtu"], udp_zero_checksum=c["udp_zero"],
        traffic_class=0 if c.get("reset_tc") else "copy",
        type_of_service=c.get("new_tos", "copy"),
        icmp_errors={"on": "send"}.get(c["icmp_errors"], c["icmp_errors"]),
        icmp_source_pool=c["pool6791"], icmp_source_extension=c["rfc5837_ext"],
        wkp_strict=c["wkp_strict"], anti_spoof=False, guard_protocols=c["guard_protocols"],
        ipv4_mtu=c["mtu4"], ipv6_mtu=c["mtu6"], ipv4_address=c["own4"], ipv6_address=c["own6"])


def run(case):
    """None, or what is wrong."""
    outcome = model.translate(config_of(case), case["in_family"], bytes.fromhex(case["in_hex"]))
    expect = case["expect"]
    if isinstance(expect, dict):
        verdicts = {"drop": (model.DROPPED, model.PUNTED), "local": (model.PUNTED,),
                    "native": (model.NATIVE,)}[next(iter(expect))]
        if outcome.verdict not in verdicts or outcome.out:
            return "verdict %s (%s), expected %s" % (outcome.verdict, outcome.reason, expect)
        return None
    if len(outcome.out) != len(expect):
        return "verdict %s (%s), %d packets, expected %d" % (
            outcome.verdict, outcome.reason, len(outcome.out), len(expect))
    for index, (got, want) in enumerate(zip(outcome.out, expect)):
        ranges = [tuple(r) for r in want.get("ignore") or []]
        wanted = bytes.fromhex(want["hex"])
        wrong = compare.differs(wanted, got, ranges) or compare.checksum_trouble(got, ranges)
        if not wrong and ranges != outcome.ignore[index]:
            wrong = "free ranges %s, expected %s" % (outcome.ignore[index], ranges)
        if wrong:
            return "packet %d: %s\n    expected %s\n    got      %s" % (index, wrong, wanted.hex(), got.hex())
    return None


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else VECTORS
    with open(path, encoding="utf-8") as file:
        cases = json.load(file)
    passed = failed = skipped = 0
    for case in cases:
        if "nptv6" in case["config"]:
            skipped += 1
            continue
        wrong = run(case)
        if wrong is None:
            passed += 1
        else:
            failed += 1
            print("%s: %s" % (case["name"], wrong))
    if skipped:
        print("%d skipped (NPTv6 is not modelled)" % skipped)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
