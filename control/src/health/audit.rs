//! Goes through the tables in use: what they hash to, and a few mappings of each destination to try.
//!
//! A thread of its own does it, for a million mappings take it a tenth of a second: at each publication, and from then on
//! again and again. A digest that changes without a publication is damage.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use dataplane::table::eam::Eam;
use dataplane::table::translation::{Role, Translation};
use ipnet::IpNet;

use super::pair::is_mapped;

/// How long the auditor rests between two looks at the same tables; longer when a look takes long.
const REST: Duration = Duration::from_secs(10);
/// A look takes no more than one part in so many of the time.
const SHARE: u32 = 100;
/// Mappings to try for each destination.
const SAMPLES: usize = 4;
/// IPv4 clients of all parts of the address space; the first one that the configuration says nothing about is used.
const CLIENTS: [[u8; 4]; 12] = [
    [9, 9, 9, 9],
    [1, 1, 1, 1],
    [8, 8, 8, 8],
    [51, 15, 0, 1],
    [77, 88, 8, 8],
    [101, 101, 101, 101],
    [129, 250, 35, 250],
    [151, 101, 0, 1],
    [185, 1, 1, 1],
    [203, 119, 1, 1],
    [208, 67, 222, 222],
    [216, 239, 32, 10],
];

/// What all mappings hash to: the sum, modulo 2^256, of one BLAKE3 hash for each, over IPv4 address and length, IPv6 address
/// and length (22 bytes, network order). Least significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableDigest(pub [u8; 32]);

impl TableDigest {
    /// Of these mappings, in any order.
    #[must_use]
    pub fn of(eams: impl Iterator<Item = Eam>) -> Self {
        let mut sum = Self::default();
        eams.for_each(|eam| sum.add(&eam));
        sum
    }

    fn add(&mut self, eam: &Eam) {
        let mut bytes = [0; 22];
        bytes[..4].copy_from_slice(&eam.ipv4.network().octets());
        bytes[4] = eam.ipv4.prefix_len();
        bytes[5..21].copy_from_slice(&eam.ipv6.network().octets());
        bytes[21] = eam.ipv6.prefix_len();
        let mut carry = 0;
        for (byte, more) in self.0.iter_mut().zip(blake3::hash(&bytes).as_bytes()) {
            let sum = u16::from(*byte) + u16::from(*more) + carry;
            [*byte] = [sum.to_le_bytes()[0]];
            carry = sum >> 8;
        }
    }
}

impl std::fmt::Display for TableDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A host that is mapped.
pub type Mapped = (Ipv4Addr, Ipv6Addr);

/// What the auditor found.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Publication of the tables it looked at.
    pub generation: u64,
    /// Mappings in them.
    pub mappings: usize,
    /// What they hash to.
    pub digest: TableDigest,
    /// What they hashed to at first, when that was something else: they were damaged since.
    pub damaged_since: Option<TableDigest>,
    /// Mappings to try, by destination: of each pool its own, of each prefix any.
    pub samples: BTreeMap<IpNet, Vec<Mapped>>,
    /// Who speaks to them.
    pub clients: Clients,
    /// What the mappings of each 16 bits of IPv4 hash to, and how many they are; of shorter prefixes under none.
    pub parts: Arc<BTreeMap<Option<u16>, (TableDigest, u64)>>,
}

/// Who can speak to mapped hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clients {
    /// Nobody that could be made up: an Edge Relay, or a configuration that has a say about all addresses.
    #[default]
    Nobody,
    /// A client that the configuration says nothing about, with its IPv6 form.
    Anybody(Mapped),
    /// Other mapped hosts alone: there is no prefix.
    Mapped,
}

/// The tables to look at.
struct Order {
    generation: u64,
    translation: Arc<Translation>,
    destinations: BTreeSet<IpNet>,
}

/// Its senders' end.
pub struct Auditor(Sender<Order>);

impl Auditor {
    /// Starts the thread. Findings go to `found`; it ends with the auditor.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(found: impl Fn(Audit) + Send + 'static) -> std::io::Result<Self> {
        let (sender, orders) = channel::<Order>();
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            let mut current: Option<(Order, Audit, Duration)> = None;
            loop {
                let rest = current.as_ref().map_or(REST, |(_, _, took)| REST.max(*took * SHARE));
                match orders.recv_timeout(rest) {
                    // Only the newest tables matter, and whoever waits for older ones waits for these.
                    Ok(order) => {
                        let order = orders.try_iter().last().unwrap_or(order);
                        let started = Instant::now();
                        let audit = look(&order);
                        found(audit.clone());
                        current = Some((order, audit, started.elapsed()));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some((order, first, took)) = &mut current {
                            let started = Instant::now();
                            let digest = TableDigest::of(order.translation.eams.iter());
                            *took = started.elapsed();
                            let damaged_since = (digest != first.digest).then_some(first.digest);
                            found(Audit { digest, damaged_since, ..first.clone() });
                        }
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })?;
        Ok(Self(sender))
    }

    /// These tables are in use from now on.
    pub fn published(&self, generation: u64, translation: Arc<Translation>, destinations: BTreeSet<IpNet>) {
        // It ends with the process.
        self.0.send(Order { generation, translation, destinations }).ok();
    }
}

/// One pass over the mappings.
fn look(order: &Order) -> Audit {
    let translation = &order.translation;
    let mut audit = Audit {
        generation: order.generation,
        mappings: translation.eams.len(),
        clients: clients(translation),
        samples: order.destinations.iter().map(|to| (*to, Vec::new())).collect(),
        ..Audit::default()
    };
    let mut any: Vec<Mapped> = Vec::new();
    let mut parts: BTreeMap<Option<u16>, (TableDigest, u64)> = BTreeMap::new();
    for eam in translation.eams.iter() {
        audit.digest.add(&eam);
        let part = parts.entry(part_of(&eam)).or_default();
        part.0.add(&eam);
        part.1 += 1;
        let Some(mapped) = representative(&eam, translation) else { continue };
        if any.len() < SAMPLES {
            any.push(mapped);
        }
        let pools = audit
            .samples
            .iter_mut()
            .filter(|(to, kept)| kept.len() < SAMPLES && to.contains(&std::net::IpAddr::V4(mapped.0)));
        pools.for_each(|(_, kept)| kept.push(mapped));
    }
    audit.parts = Arc::new(parts);
    for (to, kept) in &mut audit.samples {
        if matches!(to, IpNet::V6(_)) {
            kept.clone_from(&any);
        } else if let (IpNet::V4(pool), true) = (to, kept.is_empty()) {
            kept.extend(translatable(*pool, translation));
        }
    }
    audit
}

/// The first 16 bits of its IPv4 prefix, if it has so many.
fn part_of(eam: &Eam) -> Option<u16> {
    let [high, low, ..] = eam.ipv4.network().octets();
    (eam.ipv4.prefix_len() >= 16).then_some(u16::from_be_bytes([high, low]))
}

/// The first host of a mapping and its form by RFC 7757 3.3, unless a longer mapping takes it.
fn representative(eam: &Eam, translation: &Translation) -> Option<Mapped> {
    let (ipv4, ipv6) = (eam.ipv4.network(), eam.ipv6.network());
    is_mapped((ipv4, ipv6), translation).then_some((ipv4, ipv6))
}

/// A host of a pool that is reached through the prefix.
fn translatable(pool: ipnet::Ipv4Net, translation: &Translation) -> Option<Mapped> {
    let host = pool.hosts().next()?;
    let prefix = translation.prefix.as_ref()?;
    translation.translatable_pools.contains(host).then(|| (host, prefix.embed(host).address))
}

fn clients(translation: &Translation) -> Clients {
    if translation.settings.role == Role::EdgeRelay {
        return Clients::Nobody;
    }
    if translation.prefix.is_none() {
        return Clients::Mapped;
    }
    let mut candidates = CLIENTS.iter().map(|octets| Ipv4Addr::from(*octets));
    let client = candidates.find_map(|client| Some((client, translation.embed_plain(client)?.address)));
    client.map_or(Clients::Nobody, Clients::Anybody)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::table::eam::EamTable;
    use dataplane::testing;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn destinations() -> BTreeSet<IpNet> {
        ["192.0.2.0/24", "198.51.100.0/24", "2001:db8:46::/96"]
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect()
    }

    #[test]
    fn digests_do_not_depend_on_the_order_and_differ_in_any_bit() {
        let eam = |v4: &str, v6: &str| Eam { ipv4: v4.parse().unwrap(), ipv6: v6.parse().unwrap() };
        let [a, b] = [eam("192.0.2.1/32", "2001:db8::1/128"), eam("192.0.2.0/28", "2001:db8::/124")];
        let of = |eams: &[Eam]| TableDigest::of(eams.iter().copied());
        assert_eq!(of(&[a, b]), of(&[b, a]));
        assert_ne!(of(&[a]), of(&[a, b]));
        assert_ne!(of(&[a]), of(&[eam("192.0.2.1/32", "2001:db8::2/128")]));
        let table = EamTable::build(&[a, b]).unwrap();
        assert_eq!(TableDigest::of(table.iter()), of(&[a, b]));
        assert_eq!(of(&[]).to_string(), "0".repeat(64));
    }

    #[test]
    fn each_destination_gets_mappings_to_try() {
        let translation = testing::translation(&[
            ("192.0.2.1/32", "2001:db8:12:34::1/128"),
            ("192.0.2.128/28", "2001:db8:12:35::/124"),
        ]);
        let (found, findings) = channel();
        let auditor = Auditor::start(move |audit| found.send(audit).unwrap()).unwrap();
        auditor.published(7, Arc::new(translation), destinations());
        let audit = findings.recv_timeout(PATIENCE).unwrap();
        assert_eq!((audit.generation, audit.mappings, audit.damaged_since), (7, 2, None));
        let part = Some(u16::from_be_bytes([192, 0]));
        assert_eq!(audit.parts.iter().collect::<Vec<_>>(), [(&part, &(audit.digest, 2))]);
        let of = |to: &str| audit.samples[&to.parse::<IpNet>().unwrap()].len();
        assert_eq!((of("192.0.2.0/24"), of("198.51.100.0/24"), of("2001:db8:46::/96")), (2, 0, 2));
        let client = ("9.9.9.9".parse().unwrap(), "2001:db8:46::909:909".parse().unwrap());
        assert_eq!(audit.clients, Clients::Anybody(client));
    }
}
