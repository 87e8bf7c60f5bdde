//! What a good configuration becomes: defaults, the files we ship, the two ways to load, and what `check` says.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use control::config::{
    Config, CopyOr, Device, EamOverlap, FragmentDf, Hairpin, IcmpErrors, IcmpSourceChoice, IcmpSourceDefault,
    IcmpSourceExtension, KEYS, Memory, Poll, Role, TranslateConfig, Translation, UdpZeroChecksum, check,
    check_machine, table_hash,
};
use toml::de::{DeTable, DeValue};

const MINIMAL: &str = "
[dpdk]
workers = [1]
[[port]]
name = \"v4\"
device = \"0000:3B:00.0\"
[translation]
prefixes = [\"2001:db8:46::/96\"]
";

fn shipped(name: &str) -> PathBuf {
    let config =
        option_env!("BORDERLINE_CONFIG").unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../config"));
    Path::new(config).join(name)
}

fn parse(text: &str) -> (Config, Vec<String>) {
    let (config, warnings) = Config::parse(Path::new("relay.toml"), text).expect(text);
    (config, warnings.iter().map(ToString::to_string).collect())
}

fn warnings(lines: &str) -> Vec<String> {
    let (_, warnings) = parse(&format!("{MINIMAL}icmp_source_pool = [\"198.51.100.1\"]\n{lines}"));
    warnings.into_iter().filter(|warning| !warning.contains("nothing is translated")).collect()
}

#[test]
fn defaults_are_those_of_the_design() {
    let (config, _) = parse(MINIMAL);
    assert_eq!(config.dpdk.workers, [1]);
    assert_eq!(config.dpdk.memory, Memory::Hugepages);
    assert_eq!(config.dpdk.memory_mb, 512);
    assert_eq!(config.dpdk.poll, Poll::Adaptive);
    assert!(config.dpdk.extra_args.is_empty());
    assert_eq!(config.ports.len(), 1);
    assert_eq!(config.ports[0].mtu, 1500);
    assert_eq!(config.ports[0].twin(), "bl-v4");
    assert_eq!(config.ports[0].device, Device::Pci("0000:3b:00.0".to_owned()));
    assert!(config.eams.is_empty());
    assert_eq!(
        config.translation,
        Translation {
            role: Role::BorderRelay,
            prefixes: vec!["2001:db8:46::/96".parse().unwrap()],
            service_pools: vec![],
            translatable_pools: vec![],
            er_addresses: vec![],
            hairpin: Hairpin::Intrinsic,
            lowest_ipv6_mtu: 1280,
            udp_zero_checksum: UdpZeroChecksum::Drop,
            udp_zero_checksum_ports: vec![],
            traffic_class: CopyOr::Copy,
            type_of_service: CopyOr::Copy,
            icmp_errors: IcmpErrors::Limit,
            icmp_error_rate: 1000,
            icmp_source_pool: vec![],
            icmp_source_choice: IcmpSourceChoice::Hash,
            icmp_source_default: IcmpSourceDefault::Dummy,
            icmp_source_extension: IcmpSourceExtension::Off,
            denylist: vec![],
            wkp_strict: true,
            anti_spoof: true,
            guard_protocols: true,
            forward_native: true,
            mtu_plateaus: vec![65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
            fragment_df: FragmentDf::Respect,
            eam_overlap: EamOverlap::Warn,
        }
    );
}

#[test]
fn every_choice_and_every_value_is_taken() {
    let (config, _) = parse(
        "
        [dpdk]
        workers = [3, 1]
        memory = \"no-huge\"
        memory_mb = 64
        poll = \"busy\"
        extra_args = [\"--log-level=8\", \"-v\"]
        [[port]]
        name = \"twelve-chars\"
        device = \"net_af_xdp0,iface=veth0\"
        mtu = 9000
        [[port]]
        name = \"v6\"
        device = \"3b:00.1\"
        mtu = 1280
        [translation]
        role = \"er\"
        prefixes = [\"2001:db8:46::/96\", \"2001:db8:100::/40\", \"64:ff9b:1::/48\"]
        service_pools = [\"198.51.100.0/24\", \"192.0.2.0/24\"]
        er_addresses = [\"2001:db8:12:34::4\", \"2001:db8:cccc::/124\"]
        hairpin = \"off\"
        lowest_ipv6_mtu = 1520
        udp_zero_checksum = \"forward\"
        traffic_class = 0
        type_of_service = 255
        icmp_errors = \"send\"
        icmp_error_rate = 1_000_000
        icmp_source_pool = [\"203.0.113.0/30\"]
        icmp_source_choice = \"random\"
        icmp_source_extension = true
        denylist = [\"10.0.0.0/8\"]
        wkp_strict = false
        anti_spoof = false
        guard_protocols = false
        forward_native = false
        mtu_plateaus = [0x5dc, 68]
        fragment_df = \"ignore\"
        eam_overlap = \"allow\"
        [[eam]]
        ipv4 = \"192.0.2.4\"
        ipv6 = \"2001:db8:12:34::4\"
        comment = \"ftp\"
        [[eam]]
        ipv4 = \"192.0.2.16/28\"
        ipv6 = \"2001:db8:cccc::/124\"
        ",
    );
    assert_eq!(config.dpdk.workers, [3, 1]);
    assert_eq!(
        (config.dpdk.memory, config.dpdk.memory_mb, config.dpdk.poll),
        (Memory::NoHuge, 64, Poll::Busy)
    );
    assert_eq!(config.dpdk.extra_args, ["--log-level=8", "-v"]);
    assert_eq!(config.ports[0].device.argument(), "net_af_xdp0,iface=veth0");
    assert_eq!(config.ports[0].device.name(), "net_af_xdp0");
    assert_eq!(config.ports[1].device, Device::Pci("0000:3b:00.1".to_owned()));
    let translation = &config.translation;
    assert_eq!(translation.role, Role::EdgeRelay);
    assert_eq!(translation.prefix(), "2001:db8:46::/96".parse().ok());
    assert_eq!(translation.service_pools[0], "198.51.100.0/24".parse().unwrap());
    assert_eq!(translation.er_addresses[0], "2001:db8:12:34::4/128".parse().unwrap());
    assert_eq!(translation.hairpin, Hairpin::Off);
    assert_eq!(translation.lowest_ipv6_mtu, 1520);
    assert_eq!(translation.udp_zero_checksum, UdpZeroChecksum::Forward);
    assert_eq!(
        (translation.traffic_class, translation.type_of_service),
        (CopyOr::Octet(0), CopyOr::Octet(255))
    );
    assert_eq!((translation.icmp_errors, translation.icmp_error_rate), (IcmpErrors::Send, 1_000_000));
    assert!(translation.is_icmp_source("203.0.113.3".parse().unwrap()));
    assert!(!translation.is_icmp_source("203.0.113.4".parse().unwrap()));
    assert_eq!(translation.icmp_source_choice, IcmpSourceChoice::Random);
    assert_eq!(translation.icmp_source_extension, IcmpSourceExtension::Rfc5837);
    assert!(!translation.wkp_strict && !translation.anti_spoof && !translation.guard_protocols);
    assert!(!translation.forward_native);
    assert_eq!(translation.mtu_plateaus, [1500, 68]);
    assert_eq!((translation.fragment_df, translation.eam_overlap), (FragmentDf::Ignore, EamOverlap::Allow));
    assert_eq!(config.eams.comment(0), Some("ftp"));
    assert_eq!((config.eams.place(1).line, config.eams.comment(1)), (44, None));
}

#[test]
fn all_problems_of_a_file_are_reported_at_once_in_the_order_of_its_lines() {
    let text = "
[dpdk]
workers = [1, 1]
memory = \"huge\"
colour = 1
[[port]]
name = \"a-very-long-name\"
device = \"eth0\"
mtu = 1200
[translation]
prefixes = [\"2001:db8:46::1/96\"]
lowest_ipv6_mtu = 1200
[metrics]
listen = \"127.0.0.1\"
[[eam]]
ipv4 = \"192.0.2.1/24\"
ipv6 = \"2001:db8::/96\"
";
    let problems = Config::parse(Path::new("relay.toml"), text).expect_err("wrong in many ways");
    let lines: Vec<u32> = problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [3, 4, 5, 7, 8, 9, 11, 12, 14, 16], "{problems}");
    let mtu = "relay.toml:12:1: translation.lowest_ipv6_mtu = 1200: less than the IPv6 minimum MTU; use 1280 or more \
               (RFC 7915 section 4)\n";
    assert!(problems.to_string().contains(mtu), "{problems}");
}

#[test]
fn a_hundred_problems_are_shown_and_the_rest_counted() {
    let rows = "[[eam]]\nipv4 = \"192.0.2\"\nipv6 = \"2001:db8::1\"\n".repeat(150);
    let problems = Config::parse(Path::new("relay.toml"), &format!("{MINIMAL}{rows}")).expect_err("bad rows");
    assert_eq!((problems.len(), problems.iter().count(), problems.more()), (150, 100, 50));
    assert!(problems.to_string().ends_with("\nand 50 more\n"));
}

#[test]
fn translate_needs_no_dpdk_and_no_port() {
    let text = "[translation]\nprefixes = [\"2001:db8:46::/96\"]\n[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"";
    let (config, _) = TranslateConfig::parse(Path::new("t.toml"), text).unwrap();
    assert_eq!(config.eams.len(), 1);
    let problems = Config::parse(Path::new("t.toml"), text).expect_err("the relay needs more");
    assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["dpdk", "port"]);
    // What is given must still be right.
    let problems = TranslateConfig::parse(Path::new("t.toml"), &format!("[dpdk]\nworkers = []\n{text}"));
    assert_eq!(problems.expect_err("no workers").iter().next().unwrap().key, "dpdk.workers");
    let problems = TranslateConfig::parse(Path::new("t.toml"), &format!("{text}\n[metrics]\nlisten = \"0\""));
    assert_eq!(problems.expect_err("no address").iter().next().unwrap().key, "metrics.listen");
}

#[test]
fn eam_files_may_stand_in_the_translation_table_but_not_in_both_places() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("eams.csv"), "192.0.2.1,2001:db8::1\n").unwrap();
    let path = directory.path().join("relay.toml");
    let list = "eam_files = [\"eams.csv\"]";
    let (config, _) = Config::parse(&path, &format!("{MINIMAL}{list}")).unwrap();
    assert_eq!(config.eams.len(), 1);
    let problems = Config::parse(&path, &format!("{list}\n{MINIMAL}{list}")).expect_err("given twice");
    assert!(problems.to_string().contains("eam_files: given twice"), "{problems}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_problem() {
    let (config, _) = parse(&format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n")));
    assert_eq!(config.dpdk.places.workers[0].line, 3);
}

// Warnings.

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        (
            "translatable_pools = [\"203.0.113.0/24\"]",
            &["are discouraged; prefer EAMs (RFC 7755 section 4.10)"],
        ),
        (
            "translatable_pools = [\"0.0.0.0/0\"]\nservice_pools = [\"192.0.2.0/24\"]",
            &["overlaps service pool 192.0.2.0/24: packets to addresses without an EAM loop"],
        ),
        (
            "service_pools = [\"198.51.100.0/24\"]",
            &["icmp_source_pool = \"198.51.100.1/32\": overlaps service pool"],
        ),
        (
            "service_pools = [\"0.0.0.0/0\"]",
            &["overlaps", "has \"this network\" (0.0.0.0/8) in it, so it is more than services can have"],
        ),
        (
            "service_pools = [\"192.0.2.0/24\"]\n[[eam]]\nipv4 = \"203.0.113.1\"\nipv6 = \"2001:db8::1\"",
            &["is in none of service_pools"],
        ),
        (
            "[[eam]]\nipv4 = \"198.51.100.0/24\"\nipv6 = \"2001:db8::/64\"",
            &["errors will seem to come from that service"],
        ),
        ("lowest_ipv6_mtu = 1520", &["no port has an MTU above 1500"]),
        (
            "[[eam]]\nipv4 = \"0.0.0.0/0\"\nipv6 = \"2001:db8:ff00::/40\"\n[[eam]]\nipv4 = \"203.0.113.64/32\"\n\
             ipv6 = \"2001:db8::abcd/128\"",
            &[
                "errors will seem",
                "the two directions do not mirror",
                "part of it is \"this network\" (0.0.0.0/8), which no router forwards",
                "its IPv4 prefix lies inside EAM 0.0.0.0/0",
            ],
        ),
        (
            "[[eam]]\nipv4 = \"192.0.2.64/27\"\nipv6 = \"2000::/3\"",
            &[
                "overlaps the translation prefix",
                "part of it is ORCHID (2001:10::/28), which no router forwards",
            ],
        ),
        (
            "[[eam]]\nipv4 = \"192.0.2.64/27\"\nipv6 = \"::/1\"",
            &["overlaps the translation prefix", "part of it is unspecified (::/128)"],
        ),
    ];
    for (lines, expected) in cases {
        let found = warnings(lines);
        assert_eq!(found.len(), expected.len(), "{lines}\n{found:#?}");
        for (warning, fragment) in found.iter().zip(*expected) {
            assert!(
                warning.contains(fragment) && warning.contains(": warning: "),
                "{fragment:?} is not in {warning}"
            );
        }
    }
}

#[test]
fn icmp_sources_are_wanted_and_should_be_public() {
    for pool in ["10.1.2.3", "172.16.0.0/24", "192.168.0.1", "100.64.0.0/24", "0.0.0.0/0"] {
        let (_, warnings) = parse(&format!("{MINIMAL}icmp_source_pool = [\"{pool}\"]"));
        let private =
            warnings.iter().filter(|warning| warning.contains("use a public one (RFC 6791 section 3.1)"));
        assert_eq!(private.count(), 1, "{pool}: {warnings:#?}");
    }
    // Without one the dummy address speaks: nothing is lost, nothing to warn of.
    for lines in ["", "icmp_source_pool = []", "icmp_source_default = \"own\""] {
        let (_, warnings) = parse(&format!("{MINIMAL}{lines}"));
        assert!(!warnings.iter().any(|warning| warning.contains("icmp_source")), "{warnings:#?}");
    }
}

#[test]
fn the_source_extension_has_three_names_and_two_old_ones() {
    for (value, expected) in [
        ("\"off\"", IcmpSourceExtension::Off),
        ("false", IcmpSourceExtension::Off),
        ("\"node-id\"", IcmpSourceExtension::NodeId),
        ("\"rfc5837\"", IcmpSourceExtension::Rfc5837),
        ("true", IcmpSourceExtension::Rfc5837),
    ] {
        let (config, _) = parse(&format!("{MINIMAL}icmp_source_extension = {value}"));
        assert_eq!(config.translation.icmp_source_extension, expected, "{value}");
    }
}

#[test]
fn a_relay_without_a_prefix_is_told_what_it_loses() {
    for role in ["br", "siit"] {
        let text = MINIMAL.replace("prefixes = [\"2001:db8:46::/96\"]", "prefixes = []");
        let eam = "[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8:1::1\"";
        let (config, warnings) = parse(&format!("{text}role = \"{role}\"\n{eam}"));
        assert_eq!(config.translation.prefix(), None);
        assert_eq!(warnings.len(), 1, "{warnings:#?}");
        assert!(warnings[0].contains("only hosts under EAMs reach each other"), "{warnings:#?}");
        let (_, warnings) = parse(&format!("{text}role = \"{role}\"\nhairpin = \"simple\"\n{eam}"));
        assert!(warnings[1].contains("nothing passes from IPv4 to IPv6"), "{warnings:#?}");
    }
}

#[test]
fn nothing_that_is_never_forwarded_is_mapped_or_pooled() {
    for net in ["169.254.0.0/16", "169.254.169.254", "127.0.0.1", "192.0.0.8", "192.0.0.170", "0.0.0.0/8"] {
        for lines in [
            format!("service_pools = [\"{net}\"]"),
            format!("translatable_pools = [\"{net}\"]"),
            format!("icmp_source_pool = [\"{net}\"]"),
            format!("[[eam]]\nipv4 = \"{net}\"\nipv6 = \"2001:db8:1::/64\""),
        ] {
            let problems = Config::parse(Path::new("relay.toml"), &format!("{MINIMAL}{lines}"));
            let problems = problems.expect_err(&lines).to_string();
            assert!(problems.contains("addresses are never translated"), "{problems}");
        }
    }
    for net in ["fe80::/10", "::1", "ff02::1", "2001:10::1", "::ffff:1.2.3.4"] {
        let eam = format!("{MINIMAL}[[eam]]\nipv4 = \"192.0.2.1\"\nipv6 = \"{net}\"");
        assert!(Config::parse(Path::new("relay.toml"), &eam).is_err(), "{net}");
    }
    for net in ["192.0.0.1", "192.0.0.0/29", "192.0.0.9", "169.0.0.0/8", "0.0.0.0/0"] {
        let eam = format!("{MINIMAL}[[eam]]\nipv4 = \"{net}\"\nipv6 = \"2001:db8::/32\"");
        assert!(Config::parse(Path::new("relay.toml"), &eam).is_ok(), "{net}");
    }
}

#[test]
fn the_well_known_prefix_is_legal_and_warned_about() {
    let text = MINIMAL.replace("2001:db8:46::/96", "64:ff9b::/96");
    let (_, warnings) = parse(&format!("{text}translatable_pools = [\"203.0.113.0/24\"]"));
    assert!(
        warnings.iter().any(|warning| warning.contains("prefer a /96 of your own (RFC 7755 section 4.4)"))
    );
    assert!(warnings.iter().any(|warning| warning.contains("IPv4-translatable addresses should not use")));
}

#[test]
fn overlaps_are_refused_shown_or_allowed_by_policy() {
    let rows = "[[eam]]\nipv4 = \"192.0.2.0/24\"\nipv6 = \"2001:db8::/120\"\n[[eam]]\nipv4 = \"192.0.2.1\"\n\
                ipv6 = \"2001:db8:1::1\"";
    let text = |policy: &str| {
        format!("{MINIMAL}eam_overlap = \"{policy}\"\nicmp_source_pool = [\"203.0.113.1\"]\n{rows}")
    };
    assert_eq!(parse(&text("warn")).1.len(), 2);
    assert_eq!(parse(&text("allow")).1.len(), 0);
    let problems = Config::parse(Path::new("relay.toml"), &text("reject")).expect_err("refused");
    assert_eq!(problems.len(), 2, "{problems}");
}

/// RFC 7757 figure 1 and appendix A use what a strict reader might refuse: rows inside the prefix, 192.0.0.1.
#[test]
fn the_tables_of_rfc_7757_load() {
    let figures: &[&[(&str, &str)]] = &[
        &[
            ("192.0.2.1", "2001:db8:aaaa::"),
            ("192.0.2.2/32", "2001:db8:bbbb::b/128"),
            ("192.0.2.16/28", "2001:db8:cccc::/124"),
            ("192.0.2.128/26", "2001:db8:dddd::/64"),
            ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
            ("192.0.2.224/31", "64:ff9b::/127"),
        ],
        &[("0.0.0.0/0", "2001:db8:ff00::/40"), ("198.51.100.64/32", "2001:db8::abcd/128")],
        &[("192.0.0.1/32", "2001:db8::464/128")],
    ];
    for rows in figures {
        let rows: String = rows
            .iter()
            .map(|(ipv4, ipv6)| format!("[[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\n"))
            .collect();
        let text = MINIMAL.replace("2001:db8:46::/96", "64:ff9b::/96");
        parse(&format!("{text}wkp_strict = false\n{rows}"));
    }
}

// The files we ship.

#[test]
fn the_minimal_file_is_good_without_a_warning() {
    let report = check(&shipped("minimal.toml"));
    assert!(report.is_good(), "{report}");
    assert!(report.warnings.is_empty(), "{report}");
    let (config, _) = Config::load(&shipped("minimal.toml")).unwrap();
    assert_eq!((config.ports.len(), config.eams.len()), (2, 1));
}

#[test]
fn the_example_of_an_eam_file_is_good() {
    let text = format!("eam_files = [\"eams.csv\"]\n{MINIMAL}");
    let (config, _) = Config::parse(&shipped("x.toml"), &text).unwrap();
    assert_eq!(config.eams.len(), 4);
    assert_eq!(config.eams.comment(2), Some("load balancer of tenant B, both sites"));
}

#[test]
fn the_full_file_names_every_key_with_its_default() {
    let text = fs::read_to_string(shipped("full.toml")).unwrap();
    Config::parse(&shipped("full.toml"), &text).unwrap_or_else(|problems| panic!("{problems}"));
    let root = DeTable::parse(&text).unwrap();
    let values = values(root.get_ref());
    for key in KEYS {
        let value = values.get(key.path).unwrap_or_else(|| panic!("{} is missing from full.toml", key.path));
        if let Some(default) = key.default {
            assert_eq!(value, &text_of(DeValue::parse(default).unwrap().get_ref()), "{}", key.path);
        }
    }
    assert_eq!(values.len(), KEYS.len());
}

/// Each key of the full file is introduced by at least two lines of comment.
#[test]
fn the_full_file_explains_every_key() {
    let text = fs::read_to_string(shipped("full.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    for (index, line) in
        lines.iter().enumerate().filter(|(_, line)| line.contains(" = ") && !line.starts_with('#'))
    {
        assert!(index >= 2 && lines[index - 2..index].iter().all(|line| line.starts_with('#')), "{line}");
    }
}

/// The defaults that `KEYS` documents are those that apply: giving them all changes nothing.
#[test]
fn documented_defaults_are_the_defaults() {
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    for key in KEYS {
        let line = key.default.map(|default| format!("{} = {default}\n", key.name)).unwrap_or_default();
        tables.entry(key.table).or_default().push_str(&line);
    }
    let text = MINIMAL
        .replace("[dpdk]\n", &format!("{}[dpdk]\n{}", tables[""], tables["dpdk"]))
        .replace("[[port]]\n", &format!("[[port]]\n{}", tables["port"]))
        .replace("[translation]\n", &format!("[translation]\n{}", tables["translation"]));
    let further = ["control", "announce", "metrics", "log"]
        .map(|table| format!("[{table}]\n{}", tables[table]))
        .concat();
    let (given, _) = parse(&format!("{text}{further}"));
    let (left_out, _) = parse(&format!("{MINIMAL}[control]\n[announce]\n"));
    assert!(given.control.is_some() && given.control == left_out.control);
    assert_eq!(parse(MINIMAL).0.control, None, "without the table there is no socket");
    assert!(given.announce.is_some() && given.announce == left_out.announce);
    assert_eq!(parse(MINIMAL).0.announce, None, "without the table nothing is announced");
    assert_eq!((given.metrics, given.log_format), (left_out.metrics, left_out.log_format));
    assert_eq!(given.translation, left_out.translation);
    assert_eq!(given.ports, left_out.ports);
    assert_eq!((given.dpdk.memory, given.dpdk.memory_mb), (left_out.dpdk.memory, left_out.dpdk.memory_mb));
    assert_eq!((given.dpdk.poll, given.dpdk.extra_args), (left_out.dpdk.poll, left_out.dpdk.extra_args));
}

/// A key that is known but never read would be ignored silently: a date is wrong for every one of them.
#[test]
fn every_known_key_is_read() {
    for key in KEYS {
        let line = format!("{} = 1979-05-27", key.name);
        let text = match key.table {
            "" => format!("{line}\n{MINIMAL}"),
            "eam" => format!("{MINIMAL}[[eam]]\n{line}"),
            "port" => format!("{MINIMAL}[[port]]\n{line}"),
            table => format!("{}[{table}]\n{line}", MINIMAL.replace(&format!("[{table}]"), "[[ignored]]")),
        };
        let problems = Config::parse(Path::new("relay.toml"), &text).expect_err("a date is no legal value");
        let is_reported =
            problems.iter().any(|problem| problem.key == key.path && problem.to_string().contains("a date"));
        assert!(is_reported, "{}: {problems}", key.path);
    }
}

fn values(root: &DeTable<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (name, value) in root {
        let name = name.get_ref().to_string();
        let table = match value.get_ref() {
            DeValue::Table(table) => Some(table),
            DeValue::Array(items) => items.first().and_then(|item| item.get_ref().as_table()),
            _ => None,
        };
        match table {
            Some(table) => values.extend(
                table
                    .iter()
                    .map(|(key, value)| (format!("{name}.{}", key.get_ref()), text_of(value.get_ref()))),
            ),
            None => drop(values.insert(name, text_of(value.get_ref()))),
        }
    }
    values
}

fn text_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| text_of(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        other => unreachable!("no key takes {other:?}"),
    }
}

// `borderline check`.

#[test]
fn check_reports_problems_or_a_summary() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    fs::write(&path, format!("{MINIMAL}role = \"x\"")).unwrap();
    let report = check(&path);
    assert!(!report.is_good() && report.summary.is_none() && report.machine.is_empty());
    let text = report.to_string();
    assert!(text.contains("relay.toml:9:1: translation.role = \"x\": not one of the choices"), "{text}");
    assert!(text.ends_with("relay.toml: 1 problem\n"), "{text}");

    fs::write(&path, MINIMAL.replace("[1]", "[0]").replace("2001:db8:46::/96", "64:ff9b::/96")).unwrap();
    let report = check(&path);
    assert!(report.is_good());
    let text = report.to_string();
    for line in [
        "1 port: v4",
        "1 worker: CPU 0",
        "prefix 64:ff9b::/96, checksum neutral: yes",
        "0 EAMs, table hash cbf29ce484222325",
    ] {
        assert!(text.contains(line), "{line:?} is not in {text}");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_one_problem() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.toml");
    assert!(
        check(&path)
            .to_string()
            .contains("relay.toml: cannot be read: there is no such file; check the path")
    );
    fs::write(&path, b"[dpdk]\n\xff\xfe").unwrap();
    assert!(check(&path).to_string().contains("relay.toml: not UTF-8 text; save the file as UTF-8"));
}

#[test]
fn a_cpu_no_machine_has_is_reported_by_check_machine() {
    let (config, _) = parse(&MINIMAL.replace("[1]", "[1023]\nmemory = \"no-huge\""));
    let problems = check_machine(&config);
    assert_eq!(problems.len(), 1, "{problems:?}");
    let text = problems[0].to_string();
    assert!(
        text.starts_with("relay.toml:3:12: dpdk.workers = 1023: this machine has no such CPU online"),
        "{text}"
    );
}

#[test]
fn the_table_hash_depends_on_the_mappings_alone() {
    let rows = [
        ("192.0.2.1", "2001:db8::1", "a"),
        ("192.0.2.2", "2001:db8::2", "b"),
        ("192.0.2.16/28", "2001:db8:c::/124", ""),
    ];
    let hash = |rows: &[(&str, &str, &str)]| {
        let row = |(ipv4, ipv6, comment): &(&str, &str, &str)| {
            format!("[[eam]]\nipv4 = \"{ipv4}\"\nipv6 = \"{ipv6}\"\ncomment = \"{comment}\"\n")
        };
        table_hash(&parse(&format!("{MINIMAL}{}", rows.iter().map(row).collect::<String>())).0.eams)
    };
    let [a, b, c] = rows;
    assert_eq!(hash(&[a, b, c]), hash(&[c, ("192.0.2.2/32", "2001:DB8::2/128", "other"), a]));
    assert_ne!(hash(&[a, b, c]), hash(&[a, b]));
    assert_ne!(hash(&[a, b]), hash(&[(a.0, b.1, ""), (b.0, a.1, "")]));
    // Relays of different versions compare this number.
    assert_eq!(format!("{:016x}", hash(&[a])), "1ee98ab01d798697");
}
