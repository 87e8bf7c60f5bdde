//! Which kernel interfaces are the relay's, and under which [`InterfaceId`].
//!
//! A twin is an interface of ours, and so is every 802.1Q VLAN directly on a twin. Everything else (bridges,
//! bonds, macvlans, stacked VLANs on top of a twin, and interfaces that have nothing to do with one) is the kernel's:
//! routes over it are [`dataplane::table::routing::RouteAction::Kernel`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dataplane::table::routing::{Interface, InterfaceId, MacAddress, PortId, TableId};

use super::event::Link;

/// What is known of a twin from its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TwinSettings {
    /// Its ifindex. The name may change, this does not.
    pub index: u32,
    /// The port it stands for.
    pub port: PortId,
    /// The port's MTU.
    pub mtu: u16,
}

/// The place of an interface: untagged, or one VLAN of a port.
type Place = (PortId, Option<u16>);

/// All links, and the identities given to those that are ours.
#[derive(Debug)]
pub(super) struct Interfaces {
    twins: Vec<TwinSettings>,
    links: BTreeMap<u32, Link>,
    /// The carrier each twin was last given. The kernel's messages say the same, up to a second later.
    carriers: BTreeMap<PortId, bool>,
    /// Stations of their own on other interfaces, as pairs of the interface below and the station.
    stations: BTreeSet<(u32, u32)>,
    /// Counts changes of links.
    version: u64,
    /// Identities given so far. None is ever taken back or given to another place.
    ids: HashMap<Place, InterfaceId>,
    places: Vec<Place>,
    /// The tables of those that do not look up the main one first, by ifindex.
    tables: HashMap<u32, TableId>,
}

/// What a route needs to know of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    /// Packets can leave by it.
    pub(super) usable: bool,
    /// Its identity and MTU, when it is ours.
    pub(super) ours: Option<(InterfaceId, u16)>,
}

/// What a change of a link means to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkChange {
    /// Something the dataplane sees changed.
    pub(super) visible: bool,
    /// The kernel may have dropped or revived routes without saying so.
    pub(super) routes_in_doubt: bool,
    /// It has dropped the IPv4 routes over the interface.
    pub(super) went_down: bool,
    /// It has dropped the nexthop objects over the interface.
    pub(super) went_dark: bool,
}

impl Interfaces {
    pub(super) fn new(twins: Vec<TwinSettings>) -> Self {
        let mut interfaces = Self {
            twins,
            links: BTreeMap::new(),
            carriers: BTreeMap::new(),
            stations: BTreeSet::new(),
            version: 0,
            ids: HashMap::new(),
            places: Vec::new(),
            tables: HashMap::new(),
        };
        for twin in interfaces.twins.clone() {
            interfaces.identify((twin.port, None));
        }
        interfaces
    }

    pub(super) fn apply(&mut self, link: Link) -> LinkChange {
        let index = link.index;
        let (usable, admin_up) = (link.usable(), link.admin_up);
        let before = self.links.insert(index, link.clone());
        if before.as_ref() != Some(&link) {
            self.version += 1;
            if let Some(pair) = before.as_ref().and_then(station) {
                self.stations.remove(&pair);
            }
            self.stations.extend(station(&link));
        }
        if let Some(place) = self.place(index) {
            self.identify(place);
        }
        LinkChange {
            visible: before.as_ref() != Some(&link),
            routes_in_doubt: before.as_ref().is_some_and(|before| before.usable() != usable),
            went_down: before.as_ref().is_some_and(|before| before.admin_up) && !admin_up,
            went_dark: before.is_some_and(|before| before.usable()) && !usable,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> LinkChange {
        let removed = self.links.remove(&index);
        if let Some(pair) = removed.as_ref().and_then(station) {
            self.stations.remove(&pair);
        }
        let known = removed.is_some();
        self.version += u64::from(known);
        LinkChange { visible: known, routes_in_doubt: known, went_down: known, went_dark: known }
    }

    /// Starts over from a dump; whether anything is different.
    pub(super) fn replace(&mut self, links: Vec<Link>) -> bool {
        let before = std::mem::take(&mut self.links);
        self.stations.clear();
        for link in links {
            self.apply(link);
        }
        self.links != before
    }

    /// The relay has given a twin carrier, or taken it away.
    pub(super) fn set_carrier(&mut self, port: PortId, carrier: bool) -> LinkChange {
        let before = self.twin(port).is_some_and(|twin| self.usable(twin.index));
        self.carriers.insert(port, carrier);
        let after = self.twin(port).is_some_and(|twin| self.usable(twin.index));
        LinkChange { visible: before != after, routes_in_doubt: false, went_down: false, went_dark: false }
    }

    /// Whether packets can leave by any interface, ours or not.
    pub(super) fn usable(&self, index: u32) -> bool {
        let Some(link) = self.links.get(&index) else {
            return false;
        };
        let Some((port, vlan)) = self.place(index) else {
            return link.usable();
        };
        // A VLAN has its twin's carrier, which the kernel tells of once more and later.
        let twin = self.twin(port).and_then(|twin| self.links.get(&twin.index));
        let carrier = |twin: &Link| self.carriers.get(&port).copied().unwrap_or(twin.carrier);
        twin.is_some_and(|twin| twin.admin_up && carrier(twin)) && (vlan.is_none() || link.admin_up)
    }

    /// The identity of an ifindex, if it is one of ours.
    pub(super) fn id(&self, index: u32) -> Option<InterfaceId> {
        self.ids.get(&self.place(index)?).copied()
    }

    /// The ifindex behind an identity, as long as it exists.
    pub(super) fn index(&self, id: InterfaceId) -> Option<u32> {
        let (port, vlan) = *self.places.get(usize::from(id.0))?;
        let twin = self.twin(port)?;
        let found = match vlan {
            None => self.links.get(&twin.index),
            // A box has few links, and this is asked for unresolved next hops only.
            Some(_) => self.links.values().find(|link| link.parent == Some(twin.index) && link.vlan == vlan),
        };
        found.map(|link| link.index)
    }

    /// An interface of ours, without its addresses.
    pub(super) fn describe(&self, index: u32) -> Option<Interface> {
        let link = self.links.get(&index)?;
        let (port, vlan) = self.place(index)?;
        let twin = self.twin(port)?;
        let twin_mtu = self.links.get(&twin.index).map_or(u32::from(twin.mtu), |link| link.mtu);
        let mtu = link.mtu.min(twin_mtu).min(u32::from(twin.mtu));
        Some(Interface {
            id: *self.ids.get(&(port, vlan))?,
            port,
            vlan,
            table: self.tables.get(&index).copied().unwrap_or_default(),
            mac: link.mac.unwrap_or_default(),
            extra_macs: self.stations_on(index),
            mtu: u16::try_from(mtu).unwrap_or(twin.mtu),
            up: self.usable(index),
            ipv4_source: None,
            ipv6_source: None,
        })
    }

    /// Ethernet addresses of the stations on an interface: macvlans, as VRRP daemons make them.
    fn stations_on(&self, index: u32) -> Vec<MacAddress> {
        let on = self.stations.range((index, 0)..=(index, u32::MAX));
        on.filter_map(|(_, station)| self.links.get(station)).filter_map(|link| link.mac).collect()
    }

    /// The Ethernet addresses each port is to receive, without repetitions: those of its twin, of VLANs, of stations.
    pub(super) fn port_macs(&self) -> Vec<(PortId, Vec<MacAddress>)> {
        let mut ports: Vec<(PortId, Vec<MacAddress>)> =
            self.twins.iter().map(|twin| (twin.port, Vec::new())).collect();
        let ours: Vec<Interface> = self.ours().into_iter().filter_map(|index| self.describe(index)).collect();
        let own = ours.iter().map(|interface| (interface.port, interface.mac));
        let stations =
            ours.iter().flat_map(|interface| interface.extra_macs.iter().map(|mac| (interface.port, *mac)));
        for (port, mac) in own.chain(stations) {
            if let Some((_, macs)) = ports.iter_mut().find(|(known, _)| *known == port)
                && !macs.contains(&mac)
            {
                macs.push(mac);
            }
        }
        ports
    }

    /// Which table each interface looks up, by ifindex; the others the main one.
    pub(super) fn set_tables(&mut self, tables: HashMap<u32, TableId>) {
        self.tables = tables;
    }

    /// Another number whenever links may have changed.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Every link by its ifindex.
    pub(super) fn links(&self) -> &BTreeMap<u32, Link> {
        &self.links
    }

    /// Every interface, as routes see it.
    pub(super) fn exits(&self) -> HashMap<u32, Exit> {
        let exit = |index: u32| Exit {
            usable: self.usable(index),
            ours: self.describe(index).map(|interface| (interface.id, interface.mtu)),
        };
        self.links.keys().map(|index| (*index, exit(*index))).collect()
    }

    /// The ifindexes of ours, in the order of their identities.
    pub(super) fn ours(&self) -> Vec<u32> {
        let mut ours: Vec<_> =
            self.links.keys().filter_map(|index| Some((self.id(*index)?, *index))).collect();
        ours.sort_unstable();
        ours.into_iter().map(|(_, index)| index).collect()
    }

    /// The loopback interface.
    pub(super) fn loopback(&self) -> Option<u32> {
        self.links.values().find(|link| link.loopback).map(|link| link.index)
    }

    pub(super) fn exists(&self, index: u32) -> bool {
        self.links.contains_key(&index)
    }

    /// Its name in log lines.
    pub(super) fn name(&self, index: u32) -> &str {
        self.links.get(&index).map_or("?", |link| &link.name)
    }

    /// The ifindex of a port's twin.
    pub(super) fn twin_index(&self, port: PortId) -> Option<u32> {
        self.twin(port).map(|twin| twin.index)
    }

    fn twin(&self, port: PortId) -> Option<TwinSettings> {
        self.twins.iter().copied().find(|twin| twin.port == port)
    }

    fn place(&self, index: u32) -> Option<Place> {
        let of = |index: u32| self.twins.iter().find(|twin| twin.index == index);
        if let Some(twin) = of(index) {
            return Some((twin.port, None));
        }
        let link = self.links.get(&index)?;
        let twin = of(link.parent?)?;
        Some((twin.port, Some(link.vlan?)))
    }

    fn identify(&mut self, place: Place) {
        if self.ids.contains_key(&place) {
            return;
        }
        let Ok(next) = u16::try_from(self.places.len()) else {
            tracing::error!(
                port = place.0.0,
                vlan = place.1,
                "no interface number left: the VLAN is not served"
            );
            return;
        };
        self.ids.insert(place, InterfaceId(next));
        self.places.push(place);
    }
}

/// The interface below and the station on it, if the link is one.
fn station(link: &Link) -> Option<(u32, u32)> {
    let is_one = link.admin_up && matches!(link.kind.as_str(), "macvlan" | "macvtap");
    link.parent.filter(|_| is_one).map(|parent| (parent, link.index))
}

/// The Ethernet header of packets to a neighbour, from the destination to the EtherType.
pub(super) fn ethernet_header(interface: &Interface, to: MacAddress, ether_type: u16) -> Vec<u8> {
    const DOT1Q: u16 = 0x8100;
    let mut header = Vec::with_capacity(18);
    header.extend_from_slice(&to.0);
    header.extend_from_slice(&interface.mac.0);
    if let Some(vlan) = interface.vlan {
        header.extend_from_slice(&DOT1Q.to_be_bytes());
        header.extend_from_slice(&vlan.to_be_bytes());
    }
    header.extend_from_slice(&ether_type.to_be_bytes());
    header
}
