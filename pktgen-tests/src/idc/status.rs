//! The figure in the terminal, with what the wires carry at the moment.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::daemons;
use super::keeper::State;
use crate::lab::Cmd;

/// Frames and bytes an interface has received and sent.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    in_frames: u64,
    in_bytes: u64,
    out_frames: u64,
    out_bytes: u64,
}

/// What is looked at: node and interface.
const WATCHED: [(&str, &str); 10] = [
    ("inet4", "br1"),
    ("inet4", "br2"),
    ("dc", "br1"),
    ("dc", "br2"),
    ("dc", "net6"),
    ("dc", "a-www"),
    ("dc", "a-mta"),
    ("dc", "a-ftp"),
    ("dc", "b-www-lb"),
    ("dc", "b-er"),
];

const FIGURE: &str = "
                  /--------------------------------\\ /---------------\\
   client4 -------|          IPv4 Internet         | | IPv6 Internet |------- client6
   203.0.113.50   \\-+-------- inet4 -------------+-/ \\--- inet6 -----/        2001:db8:cafe::50
                    | {4br1}  | {4br2}  |
                    |                            |            |
     +-------- 198.51.100.2 --------+ +---- 198.51.100.6 ---+ |
     | br1  192.0.2.0/24            | | br2  192.0.2.0/24   | |
     |      2001:db8:46::/96        | |      2001:db8:46::/96 |
     | 192.0.2.1 2001:db8:12:34::1  | |                     | | {6net6}
     | 192.0.2.2 2001:db8:12:34::2  | |  the same table     | |
     | 192.0.2.3 2001:db8:fe:dc::1  | |                     | |
     | 192.0.2.4 2001:db8:12:34::4  | |                     | |
     | 192.0.2.5 2001:db8:fe:dc::e  | |                     | |
     | {up1}  | | {up2} | |
     +------ 2001:db8:0:1::2 -------+ +-- 2001:db8:0:2::2 --+ |
                    | {6br1}  | {6br2}  |
     /--------------+----------------------------+------------+-----\\
     |                 IPv6 IDC network: dc                         |
     \\-+-- lan-a ------------------------+-- lan-b -----------------/
       | 2001:db8:12:34::/64             | 2001:db8:fe:dc::/64
       +-- www   ::1    {www}  +-- www-lb ::1    {www-lb}
       +-- mta   ::2    {mta}  |     web  ::80:1 behind it
       +-- ftp-a ::3    {ftp}  +-- er-b   ::e    {er}
             er-a  ::4 on the node               ftp-b 192.0.2.5 on its segment
             192.0.2.4
";

/// The figure, and under it what the routing daemons say.
#[must_use]
pub fn draw(state: &State) -> String {
    let rates = rates(state);
    let mut text = FIGURE.to_owned();
    let rate = |node: &str, interface: &str| rates.get(&(node.to_owned(), interface.to_owned())).cloned();
    let places = [
        ("{4br1}", "inet4", "br1"),
        ("{4br2}", "inet4", "br2"),
        ("{6br1}", "dc", "br1"),
        ("{6br2}", "dc", "br2"),
        ("{6net6}", "dc", "net6"),
        ("{www}", "dc", "a-www"),
        ("{mta}", "dc", "a-mta"),
        ("{ftp}", "dc", "a-ftp"),
        ("{www-lb}", "dc", "b-www-lb"),
        ("{er}", "dc", "b-er"),
    ];
    for (mark, node, interface) in places {
        text = text.replace(mark, &rate(node, interface).unwrap_or_else(|| pad("gone")));
    }
    for (mark, node, width) in [("{up1}", "br1", 27), ("{up2}", "br2", 18)] {
        text = text.replace(mark, &format!("{:<width$}", announced(state, node)));
    }
    let heading = format!("{}, up in {:.0} s, kept by process {}\n\n", state.suite, state.seconds, state.pid);
    heading + &text + "\n" + &sessions(state)
}

fn pad(text: &str) -> String {
    format!("{text:<24}")
}

/// Rates over half a second, as they are drawn: packets per second away from the router, and towards it.
fn rates(state: &State) -> BTreeMap<(String, String), String> {
    let start = Instant::now();
    let before = counts(state);
    thread::sleep(Duration::from_millis(500));
    let after = counts(state);
    let seconds = start.elapsed().as_secs_f64();
    let mut rates = BTreeMap::new();
    for (key, now) in after {
        let then = before.get(&key).copied().unwrap_or_default();
        let per_second = |new: u64, old: u64| {
            #[allow(clippy::cast_precision_loss, reason = "shown with three digits")]
            let difference = new.saturating_sub(old) as f64;
            difference / seconds
        };
        let out = short(per_second(now.out_frames, then.out_frames));
        let back = short(per_second(now.in_frames, then.in_frames));
        let bits =
            8.0 * (per_second(now.out_bytes, then.out_bytes) + per_second(now.in_bytes, then.in_bytes));
        rates.insert(key, pad(&format!("v{out} ^{back} pps {}bit/s", short(bits))));
    }
    rates
}

/// Three digits and a unit.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn counts(state: &State) -> BTreeMap<(String, String), Seen> {
    let mut counts = BTreeMap::new();
    for node in ["inet4", "dc"] {
        let Some(namespace) = state.nodes.get(node) else { continue };
        let text =
            Cmd::new("ip").arg("-n").arg(namespace).args("-s -j link").ok().map(|output| output.stdout);
        let links: Value = text.ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        for link in links.as_array().into_iter().flatten() {
            let name = link["ifname"].as_str().unwrap_or_default();
            if !WATCHED.contains(&(node, name)) {
                continue;
            }
            let number = |side: &str, what: &str| link["stats64"][side][what].as_u64().unwrap_or(0);
            let seen = Seen {
                in_frames: number("rx", "packets"),
                in_bytes: number("rx", "bytes"),
                out_frames: number("tx", "packets"),
                out_bytes: number("tx", "bytes"),
            };
            counts.insert((node.to_owned(), name.to_owned()), seen);
        }
    }
    counts
}

/// What a relay has its routing daemon announce.
fn announced(state: &State, node: &str) -> String {
    let Some(namespace) = state.nodes.get(node) else { return "gone".into() };
    let show = |family: &str| {
        let question = format!("{family} route show dev bl-up proto {}", super::relays::ANNOUNCED);
        let command = Cmd::new("ip").arg("-n").arg(namespace).args(&question);
        command.ok().map(|output| output.stdout).unwrap_or_default()
    };
    let (ipv4, ipv6) = (show("-4"), show("-6"));
    let metric = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        words.iter().position(|word| *word == "metric").and_then(|at| words.get(at + 1)?.parse::<u32>().ok())
    };
    match (metric(&ipv4), metric(&ipv6)) {
        (Some(four), Some(six)) if four.max(six) >= 14_242 => "draining".into(),
        (Some(_), Some(_)) => "announced".into(),
        (None, None) => "withdrawn".into(),
        _ => "half announced".into(),
    }
}

fn sessions(state: &State) -> String {
    let mut text = String::new();
    for (node, place) in &state.routers {
        let told = daemons::sessions(place, state.is_bird).unwrap_or_default();
        let lines = told.lines().filter(|line| {
            ["Established", "Running", "Full", "Up", "up", "start", "Connect", "Idle", "Active", "Down"]
                .iter()
                .any(|word| line.contains(word))
        });
        for line in lines
            .filter(|line| !["Device", "Kernel", "Direct", "Static"].iter().any(|word| line.contains(word)))
        {
            text += &format!("  {node:<6} {line}\n");
        }
    }
    text
}

/// What to try.
#[must_use]
pub fn hints() -> &'static str {
    "
  scripts/lab shell client4 curl http://192.0.2.1/
  scripts/lab shell client4 curl http://192.0.2.3/
  scripts/lab shell client4 curl ftp://192.0.2.5/large -o /dev/null
  scripts/lab shell client4 traceroute -n 192.0.2.1
  scripts/lab shell client6 curl -g http://[2001:db8:12:34::1]/
  scripts/lab shell br1                            # a shell: ip route, ip addr, birdc or vtysh
  scripts/lab status
  scripts/lab down"
}
