//! `bl-up`: the interface that announced routes lead to.
//!
//! A TUN interface of the process, never persistent: when the process ends, however it ends, the kernel removes the interface
//! and with it the routes, and routing daemons withdraw what they told others of. The routes stand in the table main, because
//! FRR redistributes no other, with a protocol number of their own. What the box itself sends to them comes out of the
//! interface and is translated; what is translated for the box goes in by it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use rustix::io::Errno;

use super::netlink::decode::announced;
use super::netlink::request::{AF_INET, AF_INET6, RTM_GETROUTE, Request};
use super::netlink::socket::{self, Caller, short_dump};
use super::tap::Tap;
use super::twin::{TwinError, interface_index, open_tun};

/// Name of the interface.
pub const NAME: &str = "bl-up";
/// The routes' protocol number (`/etc/iproute2/rt_protos.d/borderline.conf` gives it a name). None of those that routing daemons
/// have for their own routes: FRR, whose are 186 to 198, would remove them as its own.
pub const PROTOCOL: u8 = 212;
/// Bytes an IPv4 packet may grow by when it is translated, Fragment header included.
const GROWTH: u16 = 28;
/// Least MTU of an interface with IPv6.
const MTU_MIN: u16 = 1280;
/// Routes looked after in one go: what somebody removed is put back.
const LOOKS: usize = 64;

/// The interface and the routes to it.
pub struct UpLink {
    index: u32,
    device: Arc<Tap>,
    caller: Caller,
    routes: Mutex<Routes>,
}

/// Destinations and metrics.
pub type Announced = BTreeMap<IpNet, u32>;

/// What the kernel has made of the routes it was told of last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InKernel {
    /// Those that are there. None where nobody makes any, or none were asked for yet.
    pub present: Option<Announced>,
    /// Why others are not, one sentence each.
    pub refused: BTreeMap<IpNet, String>,
}

#[derive(Default)]
struct Routes {
    /// Those the kernel has.
    present: Announced,
    /// Older ones of the same destinations that it would not remove.
    left: BTreeSet<(IpNet, u32)>,
    /// Why others are not there.
    refused: BTreeMap<IpNet, String>,
    /// The last one looked after.
    looked: Option<IpNet>,
}

impl UpLink {
    /// Creates the interface in the namespace of the calling thread and brings it up. `port_mtu` is the least of the ports':
    /// what the box sends by it fits there when it is translated.
    ///
    /// Asynchronous only because the device registers with the runtime it is created in.
    ///
    /// # Errors
    /// [`TwinError`] says what is missing and how to get it.
    #[expect(clippy::unused_async, reason = "the device must be registered with a running runtime")]
    pub async fn create(port_mtu: u16) -> Result<Self, TwinError> {
        let name = NAME.to_owned();
        if interface_index(NAME).is_some() {
            return Err(TwinError::NameInUse { name });
        }
        let failed = |source| TwinError::Create { name: NAME.to_owned(), source };
        let device = Arc::new(Tap::made(open_tun(NAME)?));
        let index = interface_index(NAME).ok_or_else(|| failed(Errno::NODEV.into()))?;
        if let Err(error) = socket::call(Request::no_link_local(index)) {
            tracing::debug!(%error, "bl-up may have a link-local address");
        }
        let mtu = Self::mtu(port_mtu);
        socket::call(Request::up(index, mtu)).map_err(failed)?;
        let caller = Caller::new().map_err(failed)?;
        tracing::info!(interface = NAME, mtu, "announcing by");
        Ok(Self { index, device, caller, routes: Mutex::default() })
    }

    /// The interface of a process that is gone, from its open file, with the routes that lead to it. Which of `expected` there
    /// are is found out; of two with the same destination the later one stays.
    ///
    /// # Errors
    /// [`TwinError`], when somebody has removed it, or the kernel refuses the MTU.
    #[expect(clippy::unused_async, reason = "the device must be registered with a running runtime")]
    pub async fn take_over(
        port_mtu: u16,
        file: OwnedFd,
        expected: impl Iterator<Item = (IpNet, u32)>,
    ) -> Result<Self, TwinError> {
        let failed = |source| TwinError::Create { name: NAME.to_owned(), source };
        let index = interface_index(NAME).ok_or_else(|| failed(Errno::NODEV.into()))?;
        let device = Arc::new(Tap::inherited(file).map_err(failed)?);
        let mtu = Self::mtu(port_mtu);
        socket::call(Request::up(index, mtu)).map_err(failed)?;
        let caller = Caller::new().map_err(failed)?;
        let up = Self { index, device, caller, routes: Mutex::default() };
        let expected: BTreeSet<(IpNet, u32)> = expected.collect();
        withdraw_others(index, expected.clone()).map_err(failed)?;
        // The worse metric first: of two routes the better one stays.
        for (to, metric) in expected.into_iter().rev() {
            if up.caller.call(Request::same_route(to, index, PROTOCOL, metric)).is_ok()
                && let Some(other) = up.routes().present.insert(to, metric)
            {
                // It died between the two steps of an exchange.
                up.remove(to, other);
            }
        }
        let routes = up.routes().present.len();
        tracing::info!(interface = NAME, mtu, routes, "announcing as the process before did");
        Ok(up)
    }

    /// Its open file, for whoever gives it to a process that is to take over.
    #[must_use]
    pub fn device(&self) -> &Arc<Tap> {
        &self.device
    }

    /// The MTU of the interface, in bytes.
    #[must_use]
    pub fn mtu(port_mtu: u16) -> u16 {
        port_mtu.saturating_sub(GROWTH).max(MTU_MIN)
    }

    /// Makes the kernel's routes these: first those that are new, then those with another metric are exchanged without a gap,
    /// then others go. What is there already costs nothing, but for a look after a few of them. Blocks as long as the kernel takes
    /// to get at its lock.
    pub fn announce(&self, wanted: &Announced) {
        let mut routes = self.routes();
        let left = std::mem::take(&mut routes.left);
        routes.left = left.into_iter().filter(|(to, metric)| !self.remove(*to, *metric)).collect();
        for (to, metric) in wanted {
            let before = routes.present.get(to).copied();
            if before == Some(*metric) {
                continue;
            }
            if self.add(&mut routes, *to, *metric)
                && let Some(before) = before
                && !self.remove(*to, before)
            {
                routes.left.insert((*to, before));
            }
        }
        let gone: Vec<(IpNet, u32)> = routes
            .present
            .iter()
            .filter(|(to, _)| !wanted.contains_key(to))
            .map(|(to, m)| (*to, *m))
            .collect();
        for (to, metric) in gone {
            if self.remove(to, metric) {
                routes.present.remove(&to);
                tracing::info!(route = %to, "withdrawn");
            }
        }
        routes.refused.retain(|to, _| wanted.contains_key(to));
        self.look_after(&mut routes);
    }

    /// The routes the kernel has.
    #[must_use]
    pub fn announced(&self) -> Announced {
        self.routes().present.clone()
    }

    /// The same, and why routes are missing.
    #[must_use]
    pub fn in_kernel(&self) -> InKernel {
        let routes = self.routes();
        InKernel { present: Some(routes.present.clone()), refused: routes.refused.clone() }
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next packet the kernel sends. Cancel-safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.device.receive(buffer).await
    }

    /// Gives a packet to the kernel, which takes or refuses it at once.
    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet)
    }

    /// Whether the route is there now.
    fn add(&self, routes: &mut Routes, to: IpNet, metric: u32) -> bool {
        match self.caller.call(Request::add_route(to, self.index, PROTOCOL, metric)) {
            Ok(()) => {
                tracing::info!(route = %to, metric, "announced");
                routes.present.insert(to, metric);
                routes.refused.remove(&to);
                true
            }
            Err(error) => {
                let text = refusal(to, metric, &error);
                if routes.refused.insert(to, text.clone()).as_ref() != Some(&text) {
                    tracing::warn!("{text}");
                }
                false
            }
        }
    }

    /// Whether the route is gone now.
    fn remove(&self, to: IpNet, metric: u32) -> bool {
        let removed = self.caller.call(Request::remove_route(to, self.index, PROTOCOL, metric));
        // Gone already, with a link that went down or by somebody's hand.
        let gone = [Some(Errno::SRCH), Some(Errno::NODEV)];
        if let Err(error) = removed
            && !gone.contains(&error.raw_os_error().map(Errno::from_raw_os_error))
        {
            tracing::error!(route = %to, %error, "cannot be withdrawn");
            return false;
        }
        true
    }

    /// The kernel removes routes without a word when an interface goes down, and so may anybody: puts a few back if they are
    /// missing.
    fn look_after(&self, routes: &mut Routes) {
        let after = routes.looked.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let some: Vec<(IpNet, u32)> = routes
            .present
            .range((after, std::ops::Bound::Unbounded))
            .take(LOOKS)
            .map(|(to, m)| (*to, *m))
            .collect();
        routes.looked = (some.len() == LOOKS).then(|| some.last().map(|(to, _)| *to)).flatten();
        for (to, metric) in some {
            match self.caller.call(Request::add_route(to, self.index, PROTOCOL, metric)) {
                Err(error) if error.raw_os_error() == Some(Errno::EXIST.raw_os_error()) => {}
                Ok(()) => tracing::warn!(route = %to, "was removed by somebody else: announced again"),
                Err(error) => {
                    routes.present.remove(&to);
                    let text = refusal(to, metric, &error);
                    tracing::warn!("{text}");
                    routes.refused.insert(to, text);
                }
            }
        }
    }
}

fn refusal(to: IpNet, metric: u32, error: &io::Error) -> String {
    let remedy = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::EXIST) => {
            return format!(
                "{to} is not announced: the table main has another route to it with metric {metric}; remove that one, or \
                 choose another announce.metric"
            );
        }
        Some(Errno::NODEV | Errno::NXIO) => "somebody deleted it: restart borderline",
        Some(Errno::NETDOWN) => "somebody took it down: `ip link set bl-up up`",
        Some(Errno::ACCESS | Errno::AFNOSUPPORT | Errno::INVAL) if matches!(to, IpNet::V6(_)) => {
            "IPv6 is switched off there: see net.ipv6.conf.bl-up.disable_ipv6"
        }
        _ => "see `ip -d link show bl-up`",
    };
    format!("{to} is not announced: the kernel takes no route by bl-up ({error}); {remedy}")
}

/// Brings the interface up, or takes it down and the routes with it: for whoever watches over a control thread that hangs.
///
/// # Errors
/// What the kernel said.
pub fn switch(up: bool) -> io::Result<()> {
    let index = interface_index(NAME).ok_or(Errno::NODEV)?;
    socket::call(Request::admin(index, up))
}

/// Whether a packet of the kernel is one to translate: what it says to all neighbours is not.
pub(super) fn is_for_the_relay(packet: &[u8]) -> bool {
    match packet.first().map(|byte| byte >> 4) {
        Some(4) => packet.get(16).is_some_and(|first| *first < 224),
        Some(6) => {
            packet.get(24).is_some_and(|first| *first != 0xff) && packet.get(24..26) != Some(&[0xfe, 0x80])
        }
        _ => false,
    }
}

/// Takes routes away that a configuration before had: nobody else would, and they would attract traffic as long as the
/// interface is there. The kernel has to tell of all its routes for that, so nobody waits for it.
fn withdraw_others(index: u32, expected: BTreeSet<(IpNet, u32)>) -> io::Result<()> {
    let look = move || {
        for family in [AF_INET, AF_INET6] {
            let mut others = Vec::new();
            let dumped = short_dump(Request::dump(RTM_GETROUTE, family, 1), |message| {
                others.extend(announced(message.payload, index).filter(|route| !expected.contains(route)));
            });
            if let Err(error) = dumped {
                tracing::warn!(%error, "routes that a configuration before has announced may still be there");
            }
            for (to, metric) in others {
                match socket::call(Request::remove_route(to, index, PROTOCOL, metric)) {
                    Ok(()) => tracing::info!(route = %to, metric, "withdrawn: of a configuration before"),
                    Err(error) => tracing::warn!(route = %to, metric, %error, "cannot be withdrawn"),
                }
            }
        }
    };
    std::thread::Builder::new().name("routes-before".to_owned()).spawn(look).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unicast_packets_are_the_relays() {
        let v4 = |destination: [u8; 4]| [&[0x45; 16][..], &destination].concat();
        assert!(is_for_the_relay(&v4([192, 0, 2, 1])));
        assert!(!is_for_the_relay(&v4([224, 0, 0, 22])) && !is_for_the_relay(&v4([255; 4])));
        let v6 = |first: [u8; 2]| [&[0x60; 24][..], &first, &[0; 14]].concat();
        assert!(is_for_the_relay(&v6([0x20, 0x01])));
        assert!(!is_for_the_relay(&v6([0xff, 0x02])) && !is_for_the_relay(&v6([0xfe, 0x80])));
        assert!(!is_for_the_relay(&[]) && !is_for_the_relay(&[0x45]));
    }

    #[test]
    fn what_the_box_sends_fits_the_ports_once_translated() {
        assert_eq!((UpLink::mtu(1500), UpLink::mtu(9000), UpLink::mtu(1280)), (1472, 8972, 1280));
    }

    #[test]
    fn refusals_name_the_route_and_the_remedy() {
        let of = |to: &str, errno: Errno| refusal(to.parse().unwrap(), 4242, &errno.into());
        assert!(of("192.0.2.0/24", Errno::EXIST).contains("another route to it with metric 4242"));
        assert!(of("192.0.2.0/24", Errno::NODEV).contains("restart borderline"));
        assert!(of("192.0.2.0/24", Errno::NETDOWN).contains("ip link set bl-up up"));
        assert!(of("2001:db8:46::/96", Errno::ACCESS).contains("disable_ipv6"));
    }
}
