//! The golden packets of the project, each with the configuration it was written for.

use std::sync::OnceLock;

use dataplane::table::eam::Eam;
use dataplane::table::translation::{
    Hairpin, IcmpErrors, IcmpSourceExtension, Role, Settings, UdpZeroChecksum,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;

use super::world::World;

/// A golden packet.
pub struct Golden {
    pub name: String,
    pub world: World,
    pub packet: Vec<u8>,
}

/// All of one family.
pub fn of_family(family: u8) -> &'static [Golden] {
    static ALL: OnceLock<[Vec<Golden>; 2]> = OnceLock::new();
    let [v4, v6] = ALL.get_or_init(|| {
        let text = include_str!("../../../pktgen-tests/vectors/vectors.json");
        let cases: Vec<Value> = serde_json::from_str(text).unwrap();
        let all = cases.iter().filter(|case| !case["name"].as_str().unwrap().starts_with("6296"));
        let (v4, v6) = all.map(golden).partition(|golden| golden.packet[0] >> 4 != 6);
        [v4, v6]
    });
    if family == 4 { v4 } else { v6 }
}

fn golden(case: &Value) -> Golden {
    let hex = case["in_hex"].as_str().unwrap();
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    Golden {
        name: case["name"].as_str().unwrap().to_owned(),
        world: world(&case["config"]),
        packet: bytes.collect(),
    }
}

fn world(config: &Value) -> World {
    let text = |key: &str| config[key].as_str().unwrap();
    let mtu = |key: &str| u16::try_from(config[key].as_u64().unwrap()).unwrap();
    let every_ipv4 = vec![Ipv4Net::default()];
    World {
        settings: settings(config),
        prefixes: vec![text("pool6").parse().unwrap()],
        eams: list(&config["eams"]).map(|row| Eam { ipv4: ipv4(&row[0]), ipv6: ipv6(&row[1]) }).collect(),
        service_pools: vec!["192.0.2.0/24".parse().unwrap()],
        translatable_pools: if config["allow_pool6_dst"] == true { every_ipv4 } else { Vec::new() },
        denylist: Vec::new(),
        er_addresses: list(&config["er_local6"]).map(ipv6).collect(),
        icmp_sources: list(&config["pool6791"]).map(ipv4).collect(),
        random_source: false,
        mtu4: mtu("mtu4"),
        mtu6: mtu("mtu6"),
        own4: text("own4").parse().unwrap(),
        own6: text("own6").parse().unwrap(),
    }
}

fn settings(config: &Value) -> Settings {
    let octet = |key: &str| config[key].as_u64().map(|tos| u8::try_from(tos).unwrap());
    Settings {
        role: if config["role"] == "er" { Role::EdgeRelay } else { Role::BorderRelay },
        hairpin: match config["hairpin"].as_str().unwrap() {
            "simple" => Hairpin::Simple,
            "off" => Hairpin::Off,
            _ => Hairpin::Intrinsic,
        },
        lowest_ipv6_mtu: u16::try_from(config["lowest_ipv6_mtu"].as_u64().unwrap()).unwrap(),
        udp_zero_checksum: match config["udp_zero"].as_str().unwrap() {
            "compute" => UdpZeroChecksum::Compute,
            "forward" => UdpZeroChecksum::Forward,
            _ => UdpZeroChecksum::Drop,
        },
        traffic_class: (config["reset_tc"] == true).then_some(0),
        type_of_service: octet("new_tos"),
        icmp_errors: if config["icmp_errors"] == "on" { IcmpErrors::Send } else { IcmpErrors::Off },
        icmp_source_extension: match config["rfc5837_ext"] == true {
            true => IcmpSourceExtension::Rfc5837,
            false => IcmpSourceExtension::Off,
        },
        wkp_strict: config["wkp_strict"] == true,
        guard_protocols: config["guard_protocols"] == true,
        anti_spoof: false,
        ..Settings::default()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn ipv4(value: &Value) -> Ipv4Net {
    match network(value) {
        IpNet::V4(network) => network,
        IpNet::V6(network) => panic!("{network} is not IPv4"),
    }
}

fn ipv6(value: &Value) -> Ipv6Net {
    match network(value) {
        IpNet::V6(network) => network,
        IpNet::V4(network) => panic!("{network} is not IPv6"),
    }
}

fn network(value: &Value) -> IpNet {
    let text = value.as_str().unwrap();
    text.parse().unwrap_or_else(|_| text.parse::<std::net::IpAddr>().unwrap().into())
}
