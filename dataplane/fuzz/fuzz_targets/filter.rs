//! Filters of captures: any text is a filter of bounded size that answers for any frame, or one sentence about its first mistake.
//!
//! The input is a text, a byte of zero, and the frame a packet came as; behind another byte of zero the one it left as.
#![no_main]

use control::observe::filter::{Names, parse};
use dataplane::sink::filter::{Fate, Filter, MOST_NODES, Seen, Side};
use dataplane::table::routing::PortId;
use dataplane::verdict::DropReason;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

struct Lab;

impl Names for Lab {
    fn port(&self, name: &str) -> Option<PortId> {
        name.strip_prefix('v').and_then(|number| number.parse().ok()).map(PortId)
    }

    fn eam(&self, prefix: IpNet) -> Option<(Ipv4Net, Ipv6Net)> {
        let eam: (Ipv4Net, Ipv6Net) = ("192.0.2.0/28".parse().ok()?, "2001:db8::/124".parse().ok()?);
        let covers = match prefix {
            IpNet::V4(prefix) => eam.0.contains(&prefix),
            IpNet::V6(prefix) => eam.1.contains(&prefix),
        };
        covers.then_some(eam)
    }
}

/// What a filter says of a packet that was dropped, and of one that was translated.
fn answers(filter: &Filter, before: &[u8], after: &[u8]) -> [bool; 2] {
    let seen = |fate| Seen {
        before: Side::of_frame(before),
        after: Side::of_frame(after),
        port: PortId(0),
        out: Some(PortId(1)),
        fate,
    };
    [Fate::Dropped(DropReason::NoRoute), Fate::Translated].map(|fate| filter.matches(&seen(fate)))
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0);
    let Some(Ok(text)) = parts.next().map(std::str::from_utf8) else { return };
    let (before, after) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match parse(text, &Lab) {
        Err(error) => {
            let told = format!("{error}; {}", error.remedy);
            assert!(!told.chars().any(char::is_control), "{told:?}");
            assert!(error.column <= text.chars().count() && told.len() < 20_000, "{told}");
        }
        Ok(filter) => {
            assert!(filter.nodes().len() <= MOST_NODES);
            let answer = answers(&filter, before, after);
            // What is denied is the other way round, as long as it may be so long and so deep.
            if let Ok(denied) = parse(&format!("not ({text})"), &Lab)
                && !text.trim().is_empty()
            {
                assert_eq!(answers(&denied, before, after), answer.map(|answer| !answer), "{text}");
            }
            if let Ok(twice) = parse(&format!("({text}) and ({text})"), &Lab) {
                assert_eq!(answers(&twice, before, after), answer, "{text}");
            }
        }
    }
});
