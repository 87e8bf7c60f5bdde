//! Whether a port's twin has carrier: what the port's driver says and what the kernel says of the interface behind it.
//!
//! Drivers that sit on a kernel interface (net_af_xdp, net_af_packet) do not know its state, so the kernel is asked. A twin has no
//! carrier until something says that its port's link is up.

use std::collections::BTreeMap;

use dataplane::table::routing::PortId;

use super::event::Link;

/// A port whose twin's carrier is looked after.
#[derive(Debug, Clone)]
struct Port {
    port: PortId,
    behind: Option<Behind>,
    driver: Option<bool>,
    /// What the twin was last set to. None before that: one that was taken over has what it had.
    set: Option<bool>,
}

/// A kernel interface behind a port.
#[derive(Debug, Clone)]
struct Behind {
    name: String,
    /// Its ifindex, once it has been seen. A later interface of the same name is another one: the port's sockets are on this.
    index: Option<u32>,
}

/// All ports.
#[derive(Debug, Default)]
pub(super) struct Carriers(Vec<Port>);

impl Carriers {
    /// Ports with the names of the interfaces behind them.
    pub(super) fn new(ports: impl Iterator<Item = (PortId, Option<String>)>) -> Self {
        let port = |(port, behind): (PortId, Option<String>)| Port {
            port,
            behind: behind.map(|name| Behind { name, index: None }),
            driver: None,
            set: None,
        };
        Self(ports.map(port).collect())
    }

    /// What a port's driver says of its link; none when it cannot tell.
    pub(super) fn driver(&mut self, port: PortId, up: Option<bool>) {
        if let Some(found) = self.0.iter_mut().find(|found| found.port == port) {
            found.driver = up;
        }
    }

    /// The twins whose carrier is to change, which counts as done.
    pub(super) fn changes(&mut self, links: &BTreeMap<u32, Link>) -> Vec<(PortId, bool)> {
        self.0.iter_mut().filter_map(|port| port.change(links)).collect()
    }

    /// Whether a port's twin has carrier.
    pub(super) fn of(&self, port: PortId) -> bool {
        self.0.iter().any(|known| known.port == port && known.set == Some(true))
    }

    /// The ports whose kernel interface was there and is gone, with its name. Known ports come without.
    pub(super) fn gone<'a>(
        &'a self,
        links: &'a BTreeMap<u32, Link>,
    ) -> impl Iterator<Item = (PortId, Option<&'a str>)> {
        self.0.iter().map(|port| {
            let lost = |behind: &&Behind| behind.index.is_some_and(|index| !links.contains_key(&index));
            (port.port, port.behind.as_ref().filter(lost).map(|behind| behind.name.as_str()))
        })
    }
}

impl Port {
    fn change(&mut self, links: &BTreeMap<u32, Link>) -> Option<(PortId, bool)> {
        let behind = self.behind.as_mut().map(|behind| behind.is_up(links));
        let up = match (self.driver, behind) {
            (Some(driver), Some(behind)) => driver && behind,
            (driver, behind) => driver.or(behind).unwrap_or(false),
        };
        // Nothing is known yet: a twin that was made has no carrier, and one that was taken over keeps what it has.
        if self.set.is_none() && !up && !self.is_known() {
            return None;
        }
        (self.set.replace(up) != Some(up)).then_some((self.port, up))
    }

    /// Whether anybody has said how its link is.
    fn is_known(&self) -> bool {
        self.behind.as_ref().map_or(self.driver.is_some(), |behind| behind.index.is_some())
    }
}

impl Behind {
    fn is_up(&mut self, links: &BTreeMap<u32, Link>) -> bool {
        if self.index.is_none() {
            self.index = links.values().find(|link| link.name == self.name).map(|link| link.index);
        }
        self.index.and_then(|index| links.get(&index)).is_some_and(Link::usable)
    }
}
