//! Bytes and numbers: one protocol per file. Knows nothing of packets, tables, counters or DPDK.

pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod protocol;
