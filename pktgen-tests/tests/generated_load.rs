//! pktgen against the relay over memif: every packet of every kind comes back right, and none is lost at a rate that
//! even a busy machine manages.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pktgen_tests::lab::{
    Cmd, LabError, Namespace, Need, PATIENCE, Relay, TestResult, borderctl, skip_unless, wait_until,
};
use pktgen_tests::pktgen::report::{self, Measurement};

const EAMS: u32 = 200;
const STEADY: &str = "[trial]\nrate = 10000\nseconds = 0.5\ndrain_ms = 1000\n";
/// So many that a reload of them takes a while, and of these so many change each time.
const MANY: u32 = 10_000;
const CHANGING: u32 = 1000;

/// A memif port. The server, which must be there first, is the relay: generators come and go.
fn device(number: u8, role: &str, sockets: &str, name: &str, mac: &str) -> String {
    format!(
        "net_memif{number},role={role},id={number},socket={sockets}/{name}.sock,socket-abstract=no,bsize=2048,rsize=10,\
         mac={mac}"
    )
}

fn relay_config(sockets: &Path) -> String {
    let sockets = sockets.display().to_string();
    format!(
        "[dpdk]\nworkers = [1]\nmemory = \"no-huge\"\nmemory_mb = 256\npoll = \"adaptive\"\n\
         [[port]]\nname = \"v4\"\nmtu = 1520\ndevice = \"{}\"\n[[port]]\nname = \"v6\"\nmtu = 1520\ndevice = \"{}\"\n\
         [translation]\nprefixes = [\"2001:db8:46::/96\"]\nservice_pools = [\"100.64.0.0/10\"]\n\
         icmp_source_pool = [\"198.51.100.1/32\"]\nudp_zero_checksum = \"compute\"\neam_files = [\"{sockets}/eams.csv\"]\n",
        device(0, "server", &sockets, "v4", "02:00:00:00:00:04"),
        device(1, "server", &sockets, "v6", "02:00:00:00:00:06"),
    )
}

fn generator_config(traffic: &str, trial: &str) -> String {
    let ports = [("v4", "ipv4", 0, 4), ("v6", "ipv6", 1, 6)].map(|(name, family, number, last)| {
        let mac = format!("02:00:00:00:00:1{last}");
        format!(
            "[[port]]\nname = \"{name}\"\nfamily = \"{family}\"\nmac = \"{mac}\"\npeer_mac = \"02:00:00:00:00:0{last}\"\n\
             device = \"{}\"\n",
            device(number, "client", "{sockets}", name, &mac)
        )
    });
    format!(
        "[dpdk]\nlcores = [0]\nmemory = \"no-huge\"\nmemory_mb = 256\nsockets = \"SOCKETS\"\n{}\n\
         [traffic]\n{traffic}\n{trial}",
        ports.concat()
    )
}

/// Next hops without anybody to ask: the generator answers no ARP.
fn add_routes(relay: &Namespace) -> TestResult {
    for (family, line) in [
        ("-4", "addr add 198.51.100.1/24 dev bl-v4"),
        ("-4", "addr add 198.51.101.1/24 dev bl-v6"),
        ("-6", "addr add 2001:db8:fd::1/64 dev bl-v4 nodad"),
        ("-6", "addr add 2001:db8:fe::1/64 dev bl-v6 nodad"),
        ("-4", "link set bl-v4 up"),
        ("-4", "link set bl-v6 up"),
        ("-4", "neigh add 198.51.100.253 lladdr 02:00:00:00:00:14 dev bl-v4 nud permanent"),
        ("-4", "neigh add 198.51.101.253 lladdr 02:00:00:00:00:16 dev bl-v6 nud permanent"),
        ("-6", "neigh add 2001:db8:fd::2 lladdr 02:00:00:00:00:14 dev bl-v4 nud permanent"),
        ("-6", "neigh add 2001:db8:fe::2 lladdr 02:00:00:00:00:16 dev bl-v6 nud permanent"),
        ("-4", "route add default via 198.51.100.253"),
        ("-4", "route add 198.19.0.0/16 via 198.51.101.253"),
        ("-6", "route add 2001:db8:b4::/48 via 2001:db8:fd::2"),
        ("-6", "route add default via 2001:db8:fe::2"),
    ] {
        relay.ip(&format!("{family} {line}"))?;
    }
    Ok(())
}

/// One run of the generator; the status must be 0.
fn generate(sockets: &Path, traffic: &str, trial: &str) -> Result<Measurement, LabError> {
    let config = sockets.join("pktgen.toml");
    let text = generator_config(traffic, trial).replace("SOCKETS", &sockets.display().to_string());
    fs::write(&config, text)?;
    let json = sockets.join("result.json");
    pktgen()
        .args("run --config")
        .arg(config.display().to_string())
        .arg("--json")
        .arg(json.display().to_string())
        .timeout(120)
        .ok()?;
    Ok(report::read(&json).expect("the results just written").pop().expect("one result"))
}

/// Waits until the relay's kernel knows that the generator is gone. It tells so up to a second late, and a relay that
/// hears it only when the next generator is there drops packets of an interface that seems to be down.
fn wait_for_links_down(relay: &Namespace) {
    let is_up = |twin| relay.ip(&format!("link show dev {twin}")).is_ok_and(|text| text.contains("LOWER_UP"));
    let gone = wait_until(PATIENCE, || !is_up("bl-v4") && !is_up("bl-v6"));
    assert!(gone, "the twins still have a carrier");
    // What the kernel says by netlink is behind what it shows here.
    thread::sleep(Duration::from_millis(300));
}

/// The relay's mappings.
fn write_eams(sockets: &Path, count: u32) -> TestResult {
    let file = sockets.join("eams.csv").display().to_string();
    pktgen().args(&format!("eams --count {count} --out")).arg(file).ok().map(drop)
}

fn pktgen() -> Cmd {
    Cmd::new(env!("CARGO_BIN_EXE_pktgen"))
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn the_relay_translates_all_of_a_generated_load() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let sockets = directory.path();
    write_eams(sockets, EAMS)?;
    let namespace = Namespace::new("relay")?;
    let mut relay = Relay::start_with(&namespace, &relay_config(sockets), &["v4", "v6"])?;
    add_routes(&namespace)?;

    let mut packets = 0;
    for (traffic, streams) in [
        ("frame_bytes = \"imix\"\nflows = 1000\nnative_ipv6 = 10\nnative_ipv4 = 10", 6),
        ("protocol = \"tcp\"\nfragments = true\nframe_bytes = 70\npattern = \"skewed\"", 2),
        ("protocol = \"icmp\"\npattern = \"sequential\"", 2),
        ("udp_checksum = false\ndirection = \"v4_to_v6\"", 1),
    ] {
        let result = generate(sockets, &format!("eams = {EAMS}\n{traffic}"), STEADY)?;
        assert_eq!(
            (result.lost, result.corrupt.total(), result.reordered),
            (0, 0, 0),
            "{traffic}: {result:#?}"
        );
        assert_eq!(result.streams.len(), streams, "{traffic}");
        assert!(result.streams.iter().all(|stream| stream.received > 0), "{traffic}: {result:#?}");
        assert!(result.sent > 1000, "{traffic}: {result:#?}");
        packets += result.received;
        wait_for_links_down(&namespace);
    }
    let counters = relay.settled_counters()?;
    assert!(counters.balance() && counters.sent >= packets, "{counters:#?}");
    Ok(())
}

#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn nothing_is_lost_while_mappings_change_again_and_again() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let sockets = directory.path();
    write_eams(sockets, MANY)?;
    let file = sockets.join("eams.csv");
    // The last ones change; the generator sends to the others.
    let here = fs::read_to_string(&file)?;
    let (kept, changing) = here.split_at(line_start(&here, MANY - CHANGING));
    let elsewhere = format!("{kept}{}", changing.replace("2001:db8:e:", "2001:db8:f:"));
    let namespace = Namespace::new("relay")?;
    let mut relay = Relay::start_with(&namespace, &relay_config(sockets), &["v4", "v6"])?;
    add_routes(&namespace)?;
    relay.prefer()?;

    let result = thread::scope(|scope| {
        let traffic = format!("eams = {}", MANY - CHANGING);
        let trial = "[trial]\nrate = 20000\nseconds = 3\ndrain_ms = 1000\n";
        let load = scope.spawn(move || generate(sockets, &traffic, trial));
        for text in [&elsewhere, &here].into_iter().cycle() {
            if load.is_finished() {
                break;
            }
            let next = sockets.join("next.csv");
            fs::write(&next, text)?;
            fs::rename(&next, &file)?;
            let log = relay.reload()?;
            assert!(log.contains(&format!("changed={CHANGING}")) && log.contains("tables=applied"), "{log}");
        }
        load.join().expect("the thread does not panic")
    })?;
    assert_eq!((result.lost, result.corrupt.total(), result.reordered), (0, 0, 0), "{result:#?}");
    let reloads = relay.settled_counters()?.reloads;
    println!("{} reloads, {} packets, none lost", reloads.applied, result.sent);
    assert!(reloads.applied > 3 && reloads.refused == 0, "{reloads:?}");
    Ok(())
}

/// Mappings of the store come and go in commits of one, of a hundred and of ten thousand, each durable and in force before the
/// next, while the generator sends to those of a file that stay.
#[test]
#[ignore = "needs root, namespaces and the release binary; scripts/test runs it"]
fn nothing_is_lost_while_commits_of_all_sizes_are_made() -> TestResult {
    if skip_unless(&[Need::Root, Need::Relay]) {
        return Ok(());
    }
    let directory = tempfile::tempdir()?;
    let sockets = directory.path();
    write_eams(sockets, MANY)?;
    let path = |name: &str| sockets.join(name).display().to_string();
    let socket = path("control.sock");
    let control = format!("\n[control]\nsocket = \"{socket}\"\nstore = \"{}\"\n", path("mappings.db"));
    let namespace = Namespace::new("relay")?;
    let config = format!("{}{control}", relay_config(sockets));
    let relay = Relay::start_with(&namespace, &config, &["v4", "v6"])?;
    add_routes(&namespace)?;
    prefer_workers(relay.pid())?;
    let lines = |op: &str, count: u32| {
        (0..count).fold(String::new(), |mut text, number| {
            let [_, a, b, c] = number.to_be_bytes();
            let ipv4 = format!("100.127.{b}.{c}");
            writeln!(
                text,
                "{{\"op\":\"{op}\",\"ipv4\":\"{ipv4}\",\"ipv6\":\"2001:db8:77::{a:x}:{b:x}:{c:x}\"}}"
            )
            .ok();
            text
        })
    };
    let mut commits = Vec::new();
    for count in [1, 100, 10_000] {
        for op in ["add", "remove"] {
            let file = path(&format!("{op}-{count}"));
            fs::write(&file, lines(op, count))?;
            commits.push(file);
        }
    }
    let ctl = borderctl().expect("it is built with the relay").display().to_string();
    let (result, made) = thread::scope(|scope| {
        let traffic = format!("eams = {MANY}");
        let trial = "[trial]\nrate = 20000\nseconds = 6\ndrain_ms = 1000\n";
        let load = scope.spawn(move || generate(sockets, &traffic, trial));
        let mut made = 0_usize;
        // The last one is answered while the generator is there: net_memif unmaps its memory under a worker when its peer goes,
        // which a worker that had to wait for a processor does not survive.
        let started = Instant::now();
        while !load.is_finished() && (started.elapsed() < Duration::from_secs(4) || made < commits.len()) {
            let file = &commits[made % commits.len()];
            Cmd::new(&ctl).arg("--socket").arg(&socket).args("eam import").arg(file).ok()?;
            made += 1;
            // The generator shares its processor with whatever makes the commits.
            thread::sleep(Duration::from_millis(20));
        }
        Ok::<_, LabError>((load.join().expect("the thread does not panic")?, made))
    })?;
    assert_eq!((result.lost, result.corrupt.total(), result.reordered), (0, 0, 0), "{result:#?}");
    println!("{made} commits, {} packets, none lost", result.sent);
    assert!(made >= commits.len(), "{made} commits");
    Ok(())
}

/// The workers come first, and no other thread of the relay.
fn prefer_workers(process: u32) -> TestResult {
    let each = "case $(cat $task/comm) in worker-*) renice -n -15 -p ${task##*/};; esac";
    let line = format!("for task in /proc/{process}/task/*; do {each}; done");
    Cmd::new("sh").arg("-c").arg(line).ok().map(drop)
}

/// Where the line of this number starts, the first being 0.
fn line_start(text: &str, number: u32) -> usize {
    text.split_inclusive('\n').take(number as usize).map(str::len).sum()
}
