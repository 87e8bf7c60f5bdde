//! One table of everything that can be wrong with a configuration: the line and key each problem is reported at, what
//! the message says is wrong, and the remedy it names. Each case has exactly one problem, on the line marked `# HERE`.

use std::path::Path;

use control::config::Config;

const DPDK: &str = "[dpdk]\nworkers = [1]\n";
const PORT: &str = "[[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n";
const TRANSLATION: &str = "[translation]\nprefixes = [\"2001:db8:46::/96\"]\n";

struct Case {
    text: String,
    key: &'static str,
    wrong: &'static str,
    remedy: &'static str,
}

/// Lines at the top of an otherwise good file.
fn top(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{lines}\n{DPDK}{PORT}{TRANSLATION}"), key, wrong, remedy }
}

/// Lines in `[dpdk]`.
fn dpdk(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("[dpdk]\n{lines}\n{PORT}{TRANSLATION}"), key, wrong, remedy }
}

/// Lines in `[dpdk]` beside `workers`.
fn dpdk_with_workers(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{DPDK}{lines}\n{PORT}{TRANSLATION}"), key, wrong, remedy }
}

/// Lines in a second `[[port]]`.
fn port(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{DPDK}{PORT}[[port]]\n{lines}\n{TRANSLATION}"), key, wrong, remedy }
}

/// Lines in `[translation]`.
fn translation(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{DPDK}{PORT}[translation]\n{lines}\n"), key, wrong, remedy }
}

/// Lines in `[translation]` beside `prefixes`.
fn with_prefix(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{DPDK}{PORT}{TRANSLATION}{lines}\n"), key, wrong, remedy }
}

/// `translation.prefixes` of that value.
fn prefixes(value: &str, wrong: &'static str, remedy: &'static str) -> Case {
    translation(&format!("prefixes = {value} # HERE"), "translation.prefixes", wrong, remedy)
}

/// One `[[eam]]`.
fn eam(lines: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    Case { text: format!("{DPDK}{PORT}{TRANSLATION}[[eam]]\n{lines}\n"), key, wrong, remedy }
}

fn eam_pair(ipv4: &str, ipv6: &str, key: &'static str, wrong: &'static str, remedy: &'static str) -> Case {
    // On one line, so that the mark fits both keys.
    let text =
        format!("eam = [{{ ipv4 = \"{ipv4}\", ipv6 = \"{ipv6}\" }}] # HERE\n{DPDK}{PORT}{TRANSLATION}");
    Case { text, key, wrong, remedy }
}

fn check(cases: &[Case]) {
    for Case { text, key, wrong, remedy } in cases {
        let problems = Config::parse(Path::new("relay.toml"), text).expect_err(text);
        let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(list.len(), 1, "one problem expected: {list:#?}\n{text}");
        let problem = problems.iter().next().expect("counted above");
        let line = text.lines().position(|line| line.contains("# HERE")).map_or(0, |index| index + 1);
        assert_eq!(problem.place.line as usize, line, "{}\n{text}", list[0]);
        assert_eq!(problem.key, *key, "{}\n{text}", list[0]);
        assert!(list[0].starts_with("relay.toml"), "{}", list[0]);
        assert!(list[0].contains(wrong), "{:?} is not in {}", wrong, list[0]);
        assert!(list[0].contains(remedy), "{:?} is not in {}", remedy, list[0]);
    }
}

#[test]
fn files_tables_and_keys() {
    check(&[
        top("= 3 # HERE", "", "not TOML", "correct this line"),
        top("a = \"no end # HERE", "", "not TOML", "correct this line"),
        top("[dpdk # HERE", "", "not TOML", "correct this line"),
        top("colour = 1 # HERE", "colour", "unknown key", "remove it"),
        top("worker = [1] # HERE", "worker", "unknown key", "remove it"),
        top("lowest_ipv6_mtu = 1280 # HERE", "lowest_ipv6_mtu", "unknown key", "move it to [translation]"),
        top("eam_file = [] # HERE", "eam_file", "unknown key", "did you mean `eam_files`?"),
        top("eam_files = 1 # HERE", "eam_files", "a whole number where a list is expected", "eam_files = ["),
        top("eam_files = [1] # HERE", "eam_files", "a text in quotes is expected", "eam_files = ["),
        top("eam_files = [\"\"] # HERE", "eam_files", "empty text", "remove it"),
        top(
            "eam_files = [\"/nowhere/x.csv\"] # HERE",
            "eam_files",
            "cannot be read: there is no such file",
            "check the path",
        ),
        with_prefix(
            "[translations] # HERE\nrole = \"br\"",
            "translations",
            "unknown table",
            "did you mean `[translation]`?",
        ),
        with_prefix("[ports] # HERE\nname = \"v6\"", "ports", "unknown table", "did you mean `[[port]]`?"),
        with_prefix("[logging] # HERE\nlevel = 1", "logging", "unknown table", "remove it"),
        with_prefix("[control]\nsocket = \"\" # HERE", "control.socket", "empty text", "remove it"),
        with_prefix("[control]\nsockets = \"/x\" # HERE", "control.sockets", "unknown key", "did you mean"),
        with_prefix(
            "[metrics]\nlisten = \"0.0.0.0:9466\" # HERE",
            "metrics.listen",
            "others than this machine",
            "add `remote = true`",
        ),
        with_prefix(
            "[metrics]\nlisten = \"localhost\" # HERE",
            "metrics.listen",
            "no address with a port",
            "write 127.0.0.1:9466",
        ),
        with_prefix("[metrics]\nmappings = \"all\" # HERE", "metrics.mappings", "not one of", "use"),
        with_prefix("[log]\nformat = \"xml\" # HERE", "log.format", "not one of", "use"),
        with_prefix("role = \"br\"\nrole = \"br\" # HERE", "role", "given twice", "keep one"),
        Case {
            text: format!("{DPDK}{PORT}"),
            key: "translation",
            wrong: "missing",
            remedy: "add a [translation]",
        },
        Case { text: format!("{PORT}{TRANSLATION}"), key: "dpdk", wrong: "missing", remedy: "add a [dpdk]" },
        Case {
            text: format!("{DPDK}{TRANSLATION}"),
            key: "port",
            wrong: "missing",
            remedy: "add a [[port]]",
        },
        Case {
            text: format!("port = []\n{DPDK}{TRANSLATION}"),
            key: "port",
            wrong: "missing",
            remedy: "add a [[port]]",
        },
        Case {
            text: format!("{DPDK}{TRANSLATION}[port] # HERE\nname = \"v4\""),
            key: "port",
            wrong: "a table where a table [[port]] for each port is expected",
            remedy: "[[port]]",
        },
        Case {
            text: format!("dpdk = 3 # HERE\n{PORT}{TRANSLATION}"),
            key: "dpdk",
            wrong: "a whole number where one table [dpdk] is expected",
            remedy: "[dpdk]",
        },
    ]);
}

#[test]
fn dpdk_table() {
    check(&[
        Case {
            text: format!("{PORT}{TRANSLATION}[dpdk] # HERE"),
            key: "dpdk.workers",
            wrong: "missing",
            remedy: "add `workers = [1, 2]`",
        },
        dpdk("workers = [] # HERE", "dpdk.workers", "empty", "workers = [1, 2]"),
        dpdk(
            "workers = 1 # HERE",
            "dpdk.workers",
            "a whole number where a list is expected",
            "workers = [1, 2]",
        ),
        dpdk(
            "workers = [1,\n\"2\" # HERE\n]",
            "dpdk.workers",
            "a whole number is expected",
            "workers = [1, 2]",
        ),
        dpdk("workers = [1, 1] # HERE", "dpdk.workers", "listed twice", "remove one"),
        dpdk("workers = [1, 1024] # HERE", "dpdk.workers", "out of range", "0 to 1023"),
        dpdk("workers = [-1] # HERE", "dpdk.workers", "= -1: out of range", "0 to 1023"),
        dpdk("workers = [1.5] # HERE", "dpdk.workers", "a number with a fraction", "workers = [1, 2]"),
        dpdk(
            &format!("workers = {:?} # HERE", (0..128).collect::<Vec<u16>>()),
            "dpdk.workers",
            "128 workers",
            "use 127 or fewer",
        ),
        dpdk_with_workers(
            "memory = \"huge\" # HERE",
            "dpdk.memory",
            "not one of the choices",
            "\"hugepages\" or \"no-huge\"",
        ),
        dpdk_with_workers(
            "memory = \"no_huge\" # HERE",
            "dpdk.memory",
            "not one",
            "did you mean \"no-huge\"?",
        ),
        dpdk_with_workers(
            "memory = true # HERE",
            "dpdk.memory",
            "true or false where a text",
            "memory = \"hugepages\"",
        ),
        dpdk_with_workers("memory_mb = 63 # HERE", "dpdk.memory_mb", "= 63: out of range", "64 to 1048576"),
        dpdk_with_workers("memory_mb = 1_048_577 # HERE", "dpdk.memory_mb", "out of range", "64 to 1048576"),
        dpdk_with_workers(
            "memory_mb = 99999999999999999999 # HERE",
            "dpdk.memory_mb",
            "out of range",
            "64 to",
        ),
        dpdk_with_workers(
            "poll = \"idle\" # HERE",
            "dpdk.poll",
            "not one",
            "\"adaptive\" or \"busy\" or \"sleep\"",
        ),
        dpdk_with_workers(
            "extra_args = [\"--vdev=net_null1\"] # HERE",
            "dpdk.extra_args",
            "sets --vdev itself",
            "use port.device",
        ),
        dpdk_with_workers(
            "extra_args = [\"-l\", \"1\"] # HERE",
            "dpdk.extra_args",
            "sets -l itself",
            "use dpdk.workers",
        ),
        dpdk_with_workers(
            "extra_args = [\"--lcores=1@1\"] # HERE",
            "dpdk.extra_args",
            "sets --lcores itself",
            "use dpdk.workers",
        ),
        dpdk_with_workers(
            "extra_args = [\"-m512\"] # HERE",
            "dpdk.extra_args",
            "sets -m itself",
            "use dpdk.memory_mb",
        ),
        dpdk_with_workers(
            "extra_args = [\"--no-huge\"] # HERE",
            "dpdk.extra_args",
            "sets --no-huge itself",
            "use dpdk.memory",
        ),
        dpdk_with_workers(
            "extra_args = [\"--in-memory\"] # HERE",
            "dpdk.extra_args",
            "sets --in-memory itself",
            "use dpdk.memory",
        ),
        dpdk_with_workers(
            "extra_args = [\"--file-prefix=x\"] # HERE",
            "dpdk.extra_args",
            "sets --file-prefix",
            "remove it",
        ),
        dpdk_with_workers(
            "extra_args = [\"-a\", \"00:00.0\"] # HERE",
            "dpdk.extra_args",
            "sets -a itself",
            "use port.device",
        ),
        dpdk_with_workers(
            "extra_args = [\"a\\u0000b\"] # HERE",
            "dpdk.extra_args",
            "control character",
            "remove it",
        ),
        dpdk_with_workers("mtu = 1500 # HERE", "dpdk.mtu", "unknown key", "move it to [[port]]"),
        dpdk_with_workers(
            "memory-mb = 512 # HERE",
            "dpdk.memory-mb",
            "unknown key",
            "did you mean `memory_mb`?",
        ),
    ]);
}

#[test]
fn port_table() {
    let device = "device = \"net_null1\"";
    let named = |line: &str| format!("name = \"v6\"\n{device}\n{line}");
    let name = |name: &str| format!("name = {name} # HERE\n{device}");
    let of_device = |device: &str| format!("name = \"v6\"\ndevice = {device} # HERE");
    check(&[
        Case {
            text: format!("{DPDK}{TRANSLATION}[[port]] # HERE\n{device}"),
            key: "port.name",
            wrong: "missing",
            remedy: "add `name = ",
        },
        Case {
            text: format!("{DPDK}{TRANSLATION}[[port]] # HERE\nname = \"v6\""),
            key: "port.device",
            wrong: "missing",
            remedy: "add `device = ",
        },
        port(&name("\"v4\""), "port.name", "the port at line 4 has this name", "names must differ"),
        port(&name("\"thirteenchars\""), "port.name", "13 characters", "use 12 or fewer"),
        port(&name("\"a/b\""), "port.name", "'/' cannot be part", "use letters, digits"),
        port(&name("\"a b\""), "port.name", "' ' cannot be part", "use letters, digits"),
        port(&name("\"p%d\""), "port.name", "'%' cannot be part", "use letters, digits"),
        port(&name("\"é\""), "port.name", "'é' cannot be part", "use letters, digits"),
        port(&name("\"\""), "port.name", "empty text", "remove it"),
        port(&of_device("\"eth0\""), "port.device", "neither a PCI address nor", "\"0000:3b:00.0\""),
        port(&of_device("\"0000:3b:00.8\""), "port.device", "neither a PCI address nor", "net_af_xdp0"),
        port(
            &of_device("\"net_null0,copy=1\""),
            "port.device",
            "the port at line 5 uses this device",
            "its own",
        ),
        port(
            &of_device(&format!("\"net_{}\"", "x".repeat(60))),
            "port.device",
            "64 characters",
            "63 or fewer",
        ),
        port(
            &named("mtu = 1279 # HERE"),
            "port.mtu",
            "= 1279: less than the IPv6 minimum",
            "use 1280 or more (RFC 8200",
        ),
        port(&named("mtu = 9001 # HERE"), "port.mtu", "= 9001: more than", "use 9000 or less"),
        port(&named("mtu = \"1500\" # HERE"), "port.mtu", "= \"1500\": a text", "mtu = 1500"),
        port(&named("mut = 1500 # HERE"), "port.mut", "unknown key", "did you mean `mtu`?"),
    ]);
}

#[test]
fn too_many_ports() {
    let ports: String =
        (0..257).map(|i| format!("[[port]]\nname = \"p{i}\"\ndevice = \"net_null{i}\"\n")).collect();
    let text = format!("{DPDK}{TRANSLATION}{}", ports.replacen("[[port]]", "[[port]] # HERE", 1));
    check(&[Case { text, key: "port", wrong: "257 ports", remedy: "use 32 or fewer" }]);
}

#[test]
fn prefixes_of_rfc_6052() {
    check(&[
        translation(
            "# nothing",
            "translation.prefixes",
            "missing",
            "add `prefixes = [\"2001:db8:46::/96\"]`",
        )
        .at_header(),
        prefixes("\"2001:db8:46::/96\"", "a text where a list is expected", "prefixes = ["),
        prefixes("[\"2001:db8::/44\"]", "/44 is no RFC 6052 length", "/32, /40, /48, /56, /64 or /96"),
        prefixes("[\"2001:db8::/95\"]", "/95 is no RFC 6052 length", "/96"),
        prefixes("[\"2001:db8:46::1\"]", "/128 is no RFC 6052 length", "/96"),
        prefixes("[\"2001:db8:46::1/96\"]", "bits are set after the prefix length", "write 2001:db8:46::/96"),
        prefixes("[\"2001:db8:1:2:ff00::/96\"]", "bits 64 to 71 must be zero", "write 2001:db8:1:2::/96"),
        prefixes("[\"2001:db8:1:2:100::/64\"]", "bits are set after", "write 2001:db8:1:2::/64"),
        prefixes("[\"64:ff9b::/64\"]", "exists only as 64:ff9b::/96", "use that"),
        prefixes("[\"64:ff9b::/32\"]", "exists only as 64:ff9b::/96", "use that"),
        prefixes("[\"2001:db8::/32\", \"2001:db8:46::/96\"]", "overlaps 2001:db8::/32", "remove one"),
        prefixes("[\"2001:db8:46::/96\", \"2001:db8:46::/96\"]", "listed twice", "remove one"),
        prefixes("[\"192.0.2.0/24\"]", "the other family", "an IPv6 prefix is expected here"),
        prefixes("[\"2001:db8:46\"]", "not an IPv6 prefix", "such as 2001:db8:46::/96"),
        prefixes("[\"2001:db8::/129\"]", "prefix length out of range", "/0 to /128"),
        prefixes("[\"ff00::/32\"]", "multicast (ff00::/8)", "use a global unicast prefix"),
        prefixes("[\"::ffff:0:0/96\"]", "IPv4-mapped", "use a global unicast prefix"),
    ]);
}

#[test]
fn translation_table() {
    let table = |line: &str, key, wrong, remedy| with_prefix(&format!("{line} # HERE"), key, wrong, remedy);
    check(&[
        table("role = \"relay\"", "translation.role", "not one of the choices", "\"br\" or \"er\""),
        table(
            "service_pools = [\"192.0.2.1/24\"]",
            "translation.service_pools",
            "bits are set",
            "write 192.0.2.0/24",
        ),
        table("service_pools = [\"192.0.2.0/33\"]", "translation.service_pools", "out of range", "/0 to /32"),
        table(
            "service_pools = [\"2001:db8::/32\"]",
            "translation.service_pools",
            "other family",
            "an IPv4 prefix is expected",
        ),
        table(
            "service_pools = [\"192.0.2.0/24\", \"192.0.2.128/25\"]",
            "translation.service_pools",
            "overlaps 192.0.2.0/24",
            "remove one",
        ),
        table(
            "service_pools = [\"192.0.2.0/24\", \"192.0.2.0/24\"]",
            "translation.service_pools",
            "listed twice",
            "remove one",
        ),
        table(
            "service_pools = [\"224.1.0.0/16\"]",
            "translation.service_pools",
            "multicast (224.0.0.0/4)",
            "global unicast",
        ),
        table(
            "translatable_pools = [\"127.0.0.1\"]",
            "translation.translatable_pools",
            "loopback",
            "global unicast",
        ),
        table(
            "er_addresses = [\"2001:db8::1\"]",
            "translation.er_addresses",
            "only an Edge Relay",
            "set role = \"er\"",
        ),
        table(
            "hairpin = \"full\"",
            "translation.hairpin",
            "not one",
            "\"intrinsic\" or \"simple\" or \"off\"",
        ),
        table(
            "lowest_ipv6_mtu = 1279",
            "translation.lowest_ipv6_mtu",
            "= 1279: less than the IPv6 minimum MTU",
            "use 1280 or more (RFC 7915 section 4)",
        ),
        table("lowest_ipv6_mtu = 9001", "translation.lowest_ipv6_mtu", "more than", "use 9000 or less"),
        table(
            "udp_zero_checksum = \"pass\"",
            "translation.udp_zero_checksum",
            "not one",
            "\"drop\" or \"compute\" or \"forward\"",
        ),
        table(
            "reload_may_remove = -1",
            "translation.reload_may_remove",
            "= -1: out of range",
            "0 to 4294967295",
        ),
        table("reload_may_remove = \"none\"", "translation.reload_may_remove", "neither a number", "\"all\""),
        table("traffic_class = 256", "translation.traffic_class", "= 256: out of range", "0 to 255"),
        table(
            "traffic_class = \"46\"",
            "translation.traffic_class",
            "neither \"copy\" nor a number",
            "0 to 255 without quotes",
        ),
        table("type_of_service = -1", "translation.type_of_service", "= -1: out of range", "0 to 255"),
        table(
            "type_of_service = true",
            "translation.type_of_service",
            "true or false where",
            "type_of_service = \"copy\"",
        ),
        table(
            "icmp_errors = true",
            "translation.icmp_errors",
            "true or false where a text",
            "icmp_errors = \"limit\"",
        ),
        table(
            "icmp_errors = \"on\"",
            "translation.icmp_errors",
            "not one",
            "\"limit\" or \"send\" or \"off\"",
        ),
        table("icmp_error_rate = 0", "translation.icmp_error_rate", "= 0: out of range", "1 to 1000000"),
        table("icmp_error_rate = 1000001", "translation.icmp_error_rate", "out of range", "1 to 1000000"),
        table(
            "icmp_source_pool = [\"0.0.0.0\"]",
            "translation.icmp_source_pool",
            "\"this network\"",
            "global unicast",
        ),
        table(
            "udp_zero_checksum_ports = [\"4789\"]",
            "translation.udp_zero_checksum_ports",
            "not a port",
            "\"4789=forward\"",
        ),
        table(
            "udp_zero_checksum_ports = [0]",
            "translation.udp_zero_checksum_ports",
            "not a port",
            "a port number",
        ),
        table(
            "udp_zero_checksum_ports = [53, \"53=drop\"]",
            "translation.udp_zero_checksum_ports",
            "port 53 is listed twice",
            "keep one",
        ),
        table(
            "icmp_source_default = \"mine\"",
            "translation.icmp_source_default",
            "not one",
            "\"dummy\" or \"own\"",
        ),
        table(
            "icmp_source_choice = \"rand\"",
            "translation.icmp_source_choice",
            "not one",
            "\"hash\" or \"random\"",
        ),
        table(
            "icmp_source_extension = 1",
            "translation.icmp_source_extension",
            "a text, true or false is expected",
            "icmp_source_extension = \"node-id\"",
        ),
        table("denylist = [\"10.0.0.1/8\"]", "translation.denylist", "bits are set", "write 10.0.0.0/8"),
        table("wkp_strict = 1", "translation.wkp_strict", "true or false is expected", "wkp_strict = true"),
        table(
            "anti_spoof = \"on\"",
            "translation.anti_spoof",
            "true or false is expected",
            "anti_spoof = true",
        ),
        table(
            "guard_protocols = []",
            "translation.guard_protocols",
            "a list where true or false",
            "guard_protocols = true",
        ),
        table(
            "forward_native = \"no\"",
            "translation.forward_native",
            "true or false is expected",
            "forward_native = false",
        ),
        table("mtu_plateaus = []", "translation.mtu_plateaus", "empty", "mtu_plateaus = ["),
        table(
            "mtu_plateaus = [1492, 1492]",
            "translation.mtu_plateaus",
            "not less than the plateau before it, 1492",
            "decreasing order",
        ),
        table(
            "mtu_plateaus = [1006, 1492]",
            "translation.mtu_plateaus",
            "not less than the plateau before it, 1006",
            "decreasing order",
        ),
        table("mtu_plateaus = [1492, 67]", "translation.mtu_plateaus", "= 67: out of range", "68 to 65535"),
        table("mtu_plateaus = [65536]", "translation.mtu_plateaus", "= 65536: out of range", "68 to 65535"),
        table("fragment_df = \"obey\"", "translation.fragment_df", "not one", "\"respect\" or \"ignore\""),
        table(
            "eam_overlap = \"deny\"",
            "translation.eam_overlap",
            "not one",
            "\"warn\" or \"reject\" or \"allow\"",
        ),
        table(
            "lowest_mtu = 1280",
            "translation.lowest_mtu",
            "unknown key",
            "did you mean `lowest_ipv6_mtu`?",
        ),
        table("workers = [1]", "translation.workers", "unknown key", "move it to [dpdk]"),
    ]);
}

#[test]
fn edge_relays() {
    let covered = "[[eam]]\nipv4 = \"192.0.2.4\"\nipv6 = \"2001:db8:12:34::4\"";
    check(&[
        translation(
            "prefixes = [\"2001:db8:46::/96\"]\nrole = \"er\"",
            "translation.er_addresses",
            "needs its IPv6 Service Addresses",
            "add `er_addresses = ",
        )
        .at_header(),
        with_prefix(
            "role = \"er\"\ner_addresses = [] # HERE",
            "translation.er_addresses",
            "needs its IPv6 Service Addresses",
            "add `er_addresses = ",
        ),
        with_prefix(
            &format!("role = \"er\"\ner_addresses = [\"2001:db8:12:34::5\"] # HERE\n{covered}"),
            "translation.er_addresses",
            "no EAM covers it",
            "add the EAM",
        ),
        with_prefix(
            &format!("role = \"er\"\ner_addresses = [\"2001:db8:12:34::4/126\"] # HERE\n{covered}"),
            "translation.er_addresses",
            "no EAM covers it",
            "add the EAM",
        ),
        with_prefix(
            &format!(
                "role = \"er\"\nhairpin = \"simple\" # HERE\ner_addresses = [\"2001:db8:12:34::4\"]\n{covered}"
            ),
            "translation.hairpin",
            "cannot use simple hairpinning",
            "use \"intrinsic\" or \"off\"",
        ),
    ]);
}

#[test]
fn eam_rows() {
    check(&[
        eam("ipv4 = \"192.0.2.1\"", "eam.ipv6", "missing", "add `ipv6 = ").at_last_header(),
        eam("ipv6 = \"2001:db8::1\"", "eam.ipv4", "missing", "add `ipv4 = ").at_last_header(),
        eam(
            "ipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"\nname = \"x\" # HERE",
            "eam.name",
            "unknown key",
            "move it to [[port]]",
        ),
        eam(
            "ipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"\neam_files = [] # HERE",
            "eam.eam_files",
            "unknown key",
            "move it to the top of the file",
        ),
        eam(
            "ipv4 = \"192.0.2.1\"\nipv6 = \"2001:db8::1\"\ncomment = 3 # HERE",
            "eam.comment",
            "a text in quotes",
            "comment = ",
        ),
        eam(
            "ipv4 = 3 # HERE\nipv6 = \"2001:db8::1\"",
            "eam.ipv4",
            "a whole number where",
            "ipv4 = \"192.0.2.1/32\"",
        ),
        eam_pair("192.0.2.1/24", "2001:db8::/120", "eam.ipv4", "bits are set", "write 192.0.2.0/24"),
        eam_pair("192.0.2.0/24", "2001:db8::1/120", "eam.ipv6", "bits are set", "write 2001:db8::/120"),
        eam_pair("192.0.2", "2001:db8::1", "eam.ipv4", "not an IPv4 prefix", "such as 192.0.2.0/24"),
        eam_pair("192.0.2.01", "2001:db8::1", "eam.ipv4", "not an IPv4 prefix", "such as"),
        eam_pair("192.0.2.1", "2001:db8::g", "eam.ipv6", "not an IPv6 prefix", "such as"),
        eam_pair("192.0.2.1", "192.0.2.2", "eam.ipv6", "the other family", "an IPv6 prefix is expected"),
        eam_pair(
            "192.0.2.0/24",
            "2001:db8::/121",
            "eam",
            "the IPv4 suffix of 8 bits is longer than the IPv6 suffix of 7",
            "/120 or shorter (RFC 7757 section 3.2)",
        ),
        eam_pair("0.0.0.0/0", "2001:db8::/97", "eam", "suffix of 32 bits", "/96 or shorter"),
        eam_pair("127.0.0.1", "2001:db8::1", "eam.ipv4", "loopback", "global unicast"),
        eam_pair("240.0.0.0/8", "2001:db8::/96", "eam.ipv4", "reserved (240.0.0.0/4)", "global unicast"),
        eam_pair("192.0.2.1", "::1", "eam.ipv6", "loopback", "global unicast"),
        eam_pair("192.0.2.1", "fe80::1", "eam.ipv6", "link-local", "global unicast"),
        eam_pair("192.0.2.1", "ff02::1", "eam.ipv6", "multicast", "global unicast"),
    ]);
}

#[test]
fn eam_tables() {
    let rows = |first: [&str; 2], second: [&str; 2], policy: &str, key, wrong, remedy| {
        let row = |pair: [&str; 2], mark| {
            format!("  {{ ipv4 = \"{}\", ipv6 = \"{}\" }},{mark}\n", pair[0], pair[1])
        };
        let rows = format!("eam = [\n{}{}]\n", row(first, ""), row(second, " # HERE"));
        let text = format!("{rows}{DPDK}{PORT}{TRANSLATION}eam_overlap = \"{policy}\"\n");
        Case { text, key, wrong, remedy }
    };
    check(&[
        rows(
            ["192.0.2.1", "2001:db8::1"],
            ["192.0.2.1", "2001:db8::2"],
            "allow",
            "eam",
            "IPv4 prefix is already mapped by EAM 192.0.2.1/32 2001:db8::1/128 (relay.toml:2)",
            "remove one",
        ),
        rows(
            ["198.51.100.8", "2001:db8::1"],
            ["198.51.100.9", "2001:db8::1"],
            "allow",
            "eam",
            "IPv6 prefix is already mapped by EAM 198.51.100.8/32 2001:db8::1/128 (relay.toml:2)",
            "remove one",
        ),
        rows(
            ["192.0.2.1", "2001:db8::1"],
            ["192.0.2.1", "2001:db8::1"],
            "allow",
            "eam",
            "repeats EAM 192.0.2.1/32 2001:db8::1/128 (relay.toml:2)",
            "remove one",
        ),
        rows(
            ["192.0.2.0/24", "2001:db8::/120"],
            ["192.0.2.1", "2001:db8::1"],
            "reject",
            "eam",
            "pair of prefixes lies inside EAM 192.0.2.0/24 2001:db8::/120 (relay.toml:2)",
            "eam_overlap = \"allow\"",
        ),
        rows(
            ["192.0.2.1", "2001:db8::1"],
            ["192.0.2.2", "2001:db8:46::2"],
            "reject",
            "eam",
            "overlaps the translation prefix 2001:db8:46::/96",
            "use IPv6 addresses outside it",
        ),
    ]);
}

impl Case {
    /// Marks `[translation]`, where a missing key of it is reported.
    fn at_header(mut self) -> Self {
        self.text = self.text.replace("[translation]", "[translation] # HERE");
        self
    }

    fn at_last_header(mut self) -> Self {
        self.text = self.text.replace("[[eam]]", "[[eam]] # HERE");
        self
    }
}
