//! Which kernel interfaces are the relay's, and under which [`InterfaceId`].
//!
//! A twin is an interface of ours, and so is every 802.1Q VLAN directly on a twin. Everything else (bridges,
//! bonds, macvlans, stacked VLANs on top of a twin, and interfaces that have nothing to do with one) is the kernel's:
//! routes over it are [`dataplane::table::routing::RouteAction::Kernel`].

use std::collections::{BTreeMap, HashMap};

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
    /// Identities given so far. None is ever taken back or given to another place.
    ids: HashMap<Place, InterfaceId>,
    places: Vec<Place>,
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
}

impl Interfaces {
    pub(super) fn new(twins: Vec<TwinSettings>) -> Self {
        let mut interfaces = Self { twins, links: BTreeMap::new(), ids: HashMap::new(), places: Vec::new() };
        for twin in interfaces.twins.clone() {
            interfaces.identify((twin.port, None));
        }
        interfaces
    }

    pub(super) fn apply(&mut self, link: Link) -> LinkChange {
        let index = link.index;
        let (usable, admin_up) = (link.usable(), link.admin_up);
        let before = self.links.insert(index, link.clone());
        if let Some(place) = self.place(index) {
            self.identify(place);
        }
        LinkChange {
            visible: before.as_ref() != Some(&link),
            routes_in_doubt: before.as_ref().is_some_and(|before| before.usable() != usable),
            went_down: before.is_some_and(|before| before.admin_up) && !admin_up,
        }
    }

    pub(super) fn remove(&mut self, index: u32) -> LinkChange {
        let known = self.links.remove(&index).is_some();
        LinkChange { visible: known, routes_in_doubt: known, went_down: known }
    }

    /// Starts over from a dump; whether anything is different.
    pub(super) fn replace(&mut self, links: Vec<Link>) -> bool {
        let before = std::mem::take(&mut self.links);
        for link in links {
            self.apply(link);
        }
        self.links != before
    }

    /// Whether packets can leave by any interface, ours or not.
    pub(super) fn usable(&self, index: u32) -> bool {
        let Some(link) = self.links.get(&index) else {
            return false;
        };
        let below = self.place(index).and_then(|(port, _)| self.twin(port));
        link.usable() && below.is_none_or(|twin| self.links.get(&twin.index).is_some_and(Link::usable))
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
            table: TableId::MAIN,
            mac: link.mac.unwrap_or_default(),
            mtu: u16::try_from(mtu).unwrap_or(twin.mtu),
            up: self.usable(index),
            ipv4_source: None,
            ipv6_source: None,
        })
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
