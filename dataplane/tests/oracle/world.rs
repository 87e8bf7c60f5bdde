//! Configurations: everything the translation tables take, and the MTUs and addresses of the box.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::OnceLock;

use dataplane::table::eam::{Eam, EamTable};
use dataplane::table::icmp_source::{Choice, IcmpSourcePool};
use dataplane::table::prefix::TranslationPrefix;
use dataplane::table::translation::{
    Hairpin, IcmpErrors, IcmpSourceDefault, IcmpSourceExtension, Role, Settings, Translation,
    TranslationParts, UdpZeroChecksum,
};
use ipnet::{Ipv4Net, Ipv6Net};

use super::bytes::Bytes;
use super::naive;

/// How many bytes of an input choose the configuration.
pub const BYTES: usize = 44;

/// A configuration.
#[derive(Debug, Clone)]
pub struct World {
    pub settings: Settings,
    pub prefixes: Vec<Ipv6Net>,
    pub eams: Vec<Eam>,
    pub service_pools: Vec<Ipv4Net>,
    pub translatable_pools: Vec<Ipv4Net>,
    pub denylist: Vec<Ipv4Net>,
    pub er_addresses: Vec<Ipv6Net>,
    pub icmp_sources: Vec<Ipv4Net>,
    pub random_source: bool,
    pub mtu4: u16,
    pub mtu6: u16,
    pub own4: Ipv4Addr,
    pub own6: Ipv6Addr,
}

const PREFIXES: [&str; 10] = [
    "2001:db8:46::/96",
    "64:ff9b::/96",
    "2001:db8::/32",
    "2001:db8:100::/40",
    "2001:db8:122::/48",
    "2001:db8:122:300::/56",
    "2001:db8:122:344::/64",
    "2001:db8:122:344::/96",
    "2001:db9:46::/96",
    "fd00:1234::/32",
];

/// RFC 7755 appendix A, RFC 7757 figure 7 and 9, RFC 7756 figure 5, and rows that nest, overlap prefixes, have
/// long IPv6 suffixes or stand for all of IPv4.
const EAMS: [(&str, &str); 32] = [
    ("192.0.2.1/32", "2001:db8:12:34::1/128"),
    ("192.0.2.2/32", "2001:db8:12:34::2/128"),
    ("192.0.2.3/32", "2001:db8:fe:dc::1/128"),
    ("192.0.2.4/32", "2001:db8:12:34::4/128"),
    ("192.0.2.5/32", "2001:db8:fe:dc::e/128"),
    ("198.51.100.7/32", "2001:db8:f00d::1/128"),
    ("192.0.2.16/28", "2001:db8:cccc::/124"),
    ("192.0.2.128/26", "2001:db8:dddd::/64"),
    ("192.0.2.192/29", "2001:db8:eeee:8::/62"),
    ("192.0.2.224/31", "64:ff9b::/127"),
    ("0.0.0.0/0", "2001:db8:ff00::/40"),
    ("198.51.100.64/32", "2001:db8::abcd/128"),
    ("198.18.0.0/15", "2001:db8:1800::/64"),
    ("198.18.4.0/22", "2001:db8:1800:0:8000::/66"),
    ("198.18.4.1/32", "2001:db8:1800::/128"),
    ("198.18.4.2/32", "2001:db8:1800:0:8000::/127"),
    ("192.0.2.0/24", "2001:db8:46::c000:200/120"),
    ("192.0.2.8/29", "2001:db8:46::/125"),
    ("10.0.0.0/8", "fd00::/8"),
    ("10.1.0.0/16", "fd00:a01::/112"),
    ("203.0.113.99/32", "2001:db8:f00d::63/128"),
    ("100.64.0.0/10", "2001:db8:6400::/106"),
    ("192.0.0.0/29", "2001:db8:c1a7::/125"),
    ("198.51.100.128/25", "2001:db8:122:344:8000::/65"),
    ("192.0.2.32/30", "2001:db8:ffff:ffff::/126"),
    ("192.0.2.33/32", "2001:db8:ffff:ffff::2/128"),
    ("203.0.113.0/25", "2001:db8:203::/121"),
    ("128.0.0.0/1", "2001:db8:8000::/33"),
    ("198.51.100.0/31", "2001:db8::ffff:ffff:ffff:fffe/127"),
    ("192.0.2.64/27", "::/3"),
    ("8.8.8.8/32", "2001:4860:4860::8888/128"),
    ("192.0.2.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"),
];

const POOLS: [&[&str]; 6] = [
    &[],
    &["192.0.2.0/24"],
    &["192.0.2.0/24", "198.51.100.0/24"],
    &["0.0.0.0/0"],
    &["203.0.113.0/24"],
    &["10.0.0.0/8", "10.2.0.0/16", "192.0.2.8/32"],
];

const ICMP_SOURCES: [&[&str]; 4] =
    [&["198.51.100.1/32"], &[], &["198.51.100.4/30", "198.51.100.9/32"], &["0.0.0.0/0"]];

fn networks<N: std::str::FromStr<Err: std::fmt::Debug>>(texts: &[&str]) -> Vec<N> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

impl World {
    /// The configuration that `bytes` choose. All bytes zero: a Border Relay with RFC 7755's mappings.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut from = Bytes(bytes);
        let settings = settings(&mut from);
        let prefixes = prefixes(&mut from);
        let eams = eams(&mut from);
        let er_addresses = match settings.role {
            Role::BorderRelay | Role::Siit => Vec::new(),
            Role::EdgeRelay => er_addresses(&mut from, &eams),
        };
        Self {
            settings,
            prefixes,
            eams,
            er_addresses,
            service_pools: networks(from.pick(&[POOLS[1], POOLS[0], POOLS[2], POOLS[3], POOLS[5]])),
            translatable_pools: networks(from.pick(&[POOLS[3], POOLS[0], POOLS[4], POOLS[2]])),
            denylist: networks(from.pick(&[POOLS[0], POOLS[0], POOLS[4], POOLS[5]])),
            icmp_sources: networks(from.pick(&ICMP_SOURCES)),
            random_source: from.once_in(8),
            mtu4: from.pick(&[1500, 1500, 1280, 1260, 1261, 576, 1000, 1400, 1499, 1520, 9000, 296, 65535]),
            mtu6: from.pick(&[1500, 1500, 1280, 1281, 1400, 1501, 1520, 9000, 65535]),
            own4: Ipv4Addr::new(198, 51, 100, 254),
            own6: Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 1),
        }
    }

    /// The tables of the relay.
    pub fn translation(&self) -> Translation {
        let choice = if self.random_source { Choice::Random } else { Choice::Hash };
        let prefixes = self.prefixes.iter().map(|prefix| TranslationPrefix::new(*prefix).unwrap());
        Translation::new(TranslationParts {
            settings: self.settings.clone(),
            prefixes: prefixes.collect(),
            eams: EamTable::build(&self.eams).unwrap(),
            service_pools: self.service_pools.clone(),
            translatable_pools: self.translatable_pools.clone(),
            denylist: self.denylist.clone(),
            er_addresses: self.er_addresses.clone(),
            icmp_sources: IcmpSourcePool::new(&self.icmp_sources, choice),
        })
    }

    /// The IPv6 form of an address: by EAM, or embedded in the first prefix.
    pub fn to_v6(&self, address: Ipv4Addr) -> Ipv6Addr {
        naive::eam_to_v6(&self.eams, address).unwrap_or_else(|| self.embed(address))
    }

    /// The IPv4 form of an address: by EAM, or extracted from the prefix it is in.
    pub fn to_v4(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        naive::eam_to_v4(&self.eams, address).or_else(|| {
            let prefix = self.prefixes.iter().find(|prefix| prefix.contains(&address))?;
            Some(naive::extract(*prefix, address))
        })
    }

    /// The form of an address in the first prefix. Where there is none it is one that nothing of the relay may show.
    pub fn embed(&self, address: Ipv4Addr) -> Ipv6Addr {
        let nowhere = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0x404, 0, 0, 0, 0, 0), 96);
        naive::embed(self.prefixes.first().copied().unwrap_or(nowhere), address)
    }

    /// Whether the address is in the pool of RFC 6791, or stands in for one.
    pub fn is_icmp_source(&self, address: Ipv4Addr) -> bool {
        if self.icmp_sources.is_empty() {
            let own = self.settings.icmp_source_default == IcmpSourceDefault::Own;
            return address == if own { self.own4 } else { Ipv4Addr::new(192, 0, 0, 8) };
        }
        self.icmp_sources.iter().any(|pool| pool.contains(&address))
    }

    /// Whether the pool of RFC 6791 has an address that has no form in the prefix.
    pub fn denies_an_icmp_source(&self) -> bool {
        let well_known = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);
        let is_strict = self.prefixes.first().is_some_and(|prefix| prefix.addr() == well_known)
            && self.settings.wkp_strict;
        let are_one = |one: &Ipv4Net, other: &Ipv4Net| one.contains(other) || other.contains(one);
        is_strict
            || self.icmp_sources.iter().any(|pool| self.denylist.iter().any(|denied| are_one(pool, denied)))
    }
}

fn settings(from: &mut Bytes<'_>) -> Settings {
    let role = from.pick(&[Role::BorderRelay, Role::BorderRelay, Role::Siit, Role::EdgeRelay]);
    Settings {
        role,
        hairpin: match (role, from.byte() % 3) {
            (_, 1) => Hairpin::Off,
            (Role::BorderRelay | Role::Siit, 2) => Hairpin::Simple,
            _ => Hairpin::Intrinsic,
        },
        lowest_ipv6_mtu: from.pick(&[1280, 1280, 1281, 1287, 1288, 1400, 1500, 1520, 9000, 65535]),
        udp_zero_checksum: from.pick(&[
            UdpZeroChecksum::Compute,
            UdpZeroChecksum::Forward,
            UdpZeroChecksum::Drop,
        ]),
        traffic_class: from.once_in(6).then_some(0xb8),
        type_of_service: from.once_in(6).then_some(0x10),
        icmp_errors: from.pick(&[IcmpErrors::Send, IcmpErrors::Send, IcmpErrors::Limit(10), IcmpErrors::Off]),
        icmp_source_default: from.pick(&[IcmpSourceDefault::Dummy, IcmpSourceDefault::Own]),
        icmp_source_extension: from.pick(&[
            IcmpSourceExtension::Off,
            IcmpSourceExtension::NodeId,
            IcmpSourceExtension::Rfc5837,
        ]),
        wkp_strict: from.byte() & 1 == 1,
        anti_spoof: from.once_in(4),
        guard_protocols: !from.once_in(4),
        respect_fragment_df: !from.once_in(4),
        mtu_plateaus: from
            .pick::<&[u16]>(&[
                &[65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
                &[1492, 68],
            ])
            .to_vec(),
        ..Settings::default()
    }
}

/// One prefix, two that do not overlap, or now and then none at all: the EAMs do all the work.
fn prefixes(from: &mut Bytes<'_>) -> Vec<Ipv6Net> {
    let mut chosen: Vec<Ipv6Net> = networks(&[from.pick(&PREFIXES)]);
    let number = from.byte();
    if number >= 0xe8 {
        return Vec::new();
    }
    let second: Ipv6Net = PREFIXES[usize::from(number) % PREFIXES.len()].parse().unwrap();
    if !chosen[0].contains(&second) && !second.contains(&chosen[0]) {
        chosen.push(second);
    }
    chosen
}

/// Any of the rows above and one of the fuzzer's own, as far as RFC 7757 allows them side by side.
fn eams(from: &mut Bytes<'_>) -> Vec<Eam> {
    let mask = from.long() ^ 0x0000_001f;
    // Tables take long to build with these.
    let has_wide = from.once_in(8);
    let mut rows: Vec<Eam> = Vec::new();
    let chosen = (0..).zip(listed()).filter(|(number, _)| mask >> number & 1 == 1);
    let chosen = chosen.map(|(_, eam)| *eam).filter(|eam| has_wide || eam.ipv4.prefix_len() >= 10);
    for eam in chosen.chain(own_eam(from)) {
        let fits = 32 - eam.ipv4.prefix_len() <= 128 - eam.ipv6.prefix_len();
        if fits && rows.iter().all(|row| row.ipv4 != eam.ipv4 && row.ipv6 != eam.ipv6) {
            rows.push(eam);
        }
    }
    rows
}

fn listed() -> &'static [Eam] {
    static LISTED: OnceLock<Vec<Eam>> = OnceLock::new();
    LISTED.get_or_init(|| {
        let row =
            |(ipv4, ipv6): &(&str, &str)| Eam { ipv4: ipv4.parse().unwrap(), ipv6: ipv6.parse().unwrap() };
        EAMS.iter().map(row).collect()
    })
}

fn own_eam(from: &mut Bytes<'_>) -> Option<Eam> {
    let (length4, length6) = (from.byte(), from.byte());
    let bits4 = 0xc000_0200 ^ u32::from(from.word());
    let bits6 = 0x2001_0db8_0000_0000_0000_0000_0000_0000 ^ u128::from(from.long()) << 48;
    (length4 != 0).then(|| Eam {
        ipv4: Ipv4Net::new(bits4.into(), 10 + length4 % 23).unwrap().trunc(),
        ipv6: Ipv6Net::new(bits6.into(), length6 % 129).unwrap().trunc(),
    })
}

/// Some of the mapped prefixes.
fn er_addresses(from: &mut Bytes<'_>, eams: &[Eam]) -> Vec<Ipv6Net> {
    let mask = from.byte();
    (0..8).zip(eams).filter(|(number, _)| mask >> number & 1 == 0).map(|(_, eam)| eam.ipv6).collect()
}
