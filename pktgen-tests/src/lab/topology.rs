//! Where the namespaces are and how they are wired.
//!
//! ```text
//! on link:  client --------------------- relay ---------------------- server
//!           203.0.113.50    203.0.113.1 v4   v6 2001:db8:12:34::ffff  2001:db8:12:34::1
//!
//! routed:   client --- near4 --- far4 --- relay --- far6 --- near6 --- server
//!           203.0.113.0/24 | 100.64.0.0/30 | 100.64.1.0/30 || 2001:db8:fe:1::/64 | 2001:db8:fe::/64 | 2001:db8:12:34::/64
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::evidence::Evidence;
use super::{Cmd, Config, Driver, LabError, Namespace, PATIENCE, Port, Relay, TestResult, namespace, veth};

/// The IPv4-only client.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 50);
/// The service address that stands for the server.
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The IPv6-only server.
pub const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 1);

/// An IPv4 address inside the translation prefix 2001:db8:46::/96.
#[must_use]
pub fn embedded(address: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = address.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0x46, 0, 0, 0, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// MTUs of the links between the two routers of each side.
#[derive(Debug, Clone, Copy)]
pub struct Middle {
    /// Between the IPv4 routers.
    pub v4_mtu: u32,
    /// Between the IPv6 routers.
    pub v6_mtu: u32,
}

/// What a test wants.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The relay's driver.
    pub driver: Driver,
    /// CPUs of its workers.
    pub workers: Vec<u32>,
    /// MTU of the relay's IPv6 port and its link.
    pub v6_mtu: u32,
    /// With two routers on each side, or on link.
    pub middle: Option<Middle>,
    /// Further lines of the section `[translation]`.
    pub translation: String,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            driver: Driver::AfXdp,
            workers: vec![1],
            v6_mtu: 1520,
            middle: None,
            translation: String::new(),
        }
    }
}

impl Shape {
    /// Client and server behind two routers each, with a default route in the relay.
    #[must_use]
    pub fn routed(v4_mtu: u32, v6_mtu: u32) -> Self {
        Self { v6_mtu: 1500, middle: Some(Middle { v4_mtu, v6_mtu }), ..Self::default() }
    }

    /// Two workers, two queues on every port.
    #[must_use]
    pub fn two_workers() -> Self {
        Self { driver: Driver::AfPacket { queues: 2 }, workers: vec![0, 1], ..Self::default() }
    }
}

/// The wired laboratory. Its fields are dropped in order: the relay first, then the namespaces.
#[derive(Debug)]
pub struct Lab {
    relay: Option<Relay>,
    /// IPv4 only: `c4`.
    pub client: Namespace,
    /// IPv6 only: `s6`.
    pub server: Namespace,
    /// The relay's namespace: veth ends `r4` and `r6`, twins `bl-v4` and `bl-v6`.
    pub relay_ns: Namespace,
    /// near4, far4, far6, near6 when there are routers.
    pub routers: Vec<Namespace>,
    /// The relay's configuration, to be changed before it is started.
    pub config: Config,
    /// What `ip` is told once the twins are there: addresses and routes. To be changed before the relay is started.
    pub twins: Vec<String>,
    /// What is started instead of the relay's own binary, with the same arguments.
    pub program: Option<PathBuf>,
    evidence: Evidence,
    /// The last check has been passed, or the test has ended the relay itself.
    ended_well: bool,
    _alone: MutexGuard<'static, ()>,
}

impl Lab {
    /// Lays everything out; the relay is not started yet.
    ///
    /// # Errors
    /// When the machine refuses a step.
    pub fn wire(shape: &Shape) -> Result<Self, LabError> {
        // Two processors: one laboratory at a time measures something.
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        namespace::sweep();
        let mut lab = Self {
            relay: None,
            client: Namespace::new("client")?,
            server: Namespace::new("server")?,
            relay_ns: Namespace::new("relay")?,
            routers: Vec::new(),
            config: config(shape),
            twins: Vec::new(),
            program: None,
            evidence: Evidence::default(),
            ended_well: false,
            _alone: alone,
        };
        match shape.middle {
            None => lab.wire_on_link(shape)?,
            Some(middle) => lab.wire_routed(shape, middle)?,
        }
        for interface in ["r4", "r6"] {
            lab.relay_ns.deafen(interface)?;
        }
        lab.evidence = Evidence::record(&[(&lab.client, "c4"), (&lab.server, "s6")]);
        Ok(lab)
    }

    /// Lays everything out and starts the relay.
    ///
    /// # Errors
    /// As [`Lab::wire`] and [`Lab::start_relay`].
    pub fn up(shape: &Shape) -> Result<Self, LabError> {
        let mut lab = Self::wire(shape)?;
        lab.start_relay()?;
        Ok(lab)
    }

    /// Starts the relay and does what an operator does then: addresses and routes on the twins.
    ///
    /// # Errors
    /// When the relay does not come up.
    pub fn start_relay(&mut self) -> TestResult {
        self.relay = Some(match &self.program {
            None => Relay::start(&self.relay_ns, &self.config)?,
            Some(program) => {
                let ports: Vec<&str> = self.config.ports.iter().map(|port| port.name.as_str()).collect();
                Relay::run(program, &self.relay_ns, &self.config.to_toml(), &ports)?
            }
        });
        self.configure_twins()?;
        // Until the relay has heard of the last address.
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    fn configure_twins(&self) -> TestResult {
        self.twins.iter().try_for_each(|line| self.relay_ns.ip(line).map(drop))
    }

    /// The running relay.
    ///
    /// # Panics
    /// When it was not started: a mistake in the test.
    pub fn relay(&mut self) -> &mut Relay {
        self.relay.as_mut().expect("the test has started the relay")
    }

    /// Takes the relay out, to stop or kill it.
    ///
    /// # Panics
    /// When it was not started: a mistake in the test.
    pub fn take_relay(&mut self) -> Relay {
        self.ended_well = true;
        self.relay.take().expect("the test has started the relay")
    }

    /// Pings until an answer comes; false after [`PATIENCE`].
    #[must_use]
    pub fn pings(&self, from: &Namespace, to: &str) -> bool {
        let ping = from.cmd("ping").args("-n -c1 -W1").arg(to);
        super::wait_until(PATIENCE, || ping.run().is_ok_and(|output| output.success()))
    }

    /// Sets the relay's check at the end of a test: still running, and every packet accounted for.
    ///
    /// # Errors
    /// When it has ended or does not answer.
    ///
    /// # Panics
    /// When packets are missing.
    pub fn assert_healthy(&mut self) -> TestResult {
        let relay = self.relay();
        if !relay.is_running() {
            return Err(relay.error("has ended during the test"));
        }
        let counters = relay.settled_counters()?;
        assert!(counters.balance(), "received + originated != sent + punted + dropped: {counters:#?}");
        self.ended_well = true;
        Ok(())
    }

    /// The end of a test that has failed: what there is to look at is kept.
    fn keep_evidence(&mut self) {
        let log = self.relay.as_mut().map(|relay| {
            relay.counters().ok();
            relay.log()
        });
        let hosts = [&self.client, &self.server, &self.relay_ns];
        let namespaces: Vec<&Namespace> = hosts.into_iter().chain(&self.routers).collect();
        match self.evidence.keep(&log.unwrap_or_default(), &namespaces) {
            Ok(place) => eprintln!("counters, log and captures are in {}", place.display()),
            Err(error) => eprintln!("the evidence of this failure is lost: {error}"),
        }
    }

    fn wire_on_link(&mut self, shape: &Shape) -> TestResult {
        veth(&self.client, "c4", &self.relay_ns, "r4", 1500)?;
        veth(&self.server, "s6", &self.relay_ns, "r6", shape.v6_mtu)?;
        self.address_hosts("2001:db8:12:34::ffff")?;
        self.twin("v4", &["203.0.113.1/24"]);
        self.twin("v6", &["2001:db8:12:34::ffff/64"]);
        Ok(())
    }

    fn wire_routed(&mut self, shape: &Shape, middle: Middle) -> TestResult {
        for role in ["near4", "far4", "far6", "near6"] {
            let router = Namespace::new(role)?;
            router.sysctl("net.ipv4.ip_forward=1")?;
            router.sysctl("net.ipv6.conf.all.forwarding=1")?;
            // A router that limits its ICMP errors would make the tests slow and the hops of traceroute vanish.
            router.sysctl("net.ipv4.icmp_ratelimit=0")?;
            router.sysctl("net.ipv6.icmp.ratelimit=0")?;
            self.routers.push(router);
        }
        let [near4, far4, far6, near6] = &self.routers[..] else {
            unreachable!("four routers were just made");
        };
        veth(&self.client, "c4", near4, "host", 1500)?;
        veth(near4, "mid", far4, "mid", middle.v4_mtu)?;
        veth(far4, "out", &self.relay_ns, "r4", 1500)?;
        veth(far6, "out", &self.relay_ns, "r6", shape.v6_mtu)?;
        veth(near6, "mid", far6, "mid", middle.v6_mtu)?;
        veth(&self.server, "s6", near6, "host", 1500)?;
        for (router, interfaces) in [(near4, ["host", "mid"]), (far4, ["mid", "out"])] {
            interfaces.iter().try_for_each(|interface| router.plain_frames(interface))?;
        }
        for (router, interfaces) in [(near6, ["host", "mid"]), (far6, ["mid", "out"])] {
            interfaces.iter().try_for_each(|interface| router.plain_frames(interface))?;
        }
        near4.ip("addr add 203.0.113.1/24 dev host")?;
        near4.ip("addr add 100.64.0.1/30 dev mid")?;
        near4.ip("route add default via 100.64.0.2")?;
        far4.ip("addr add 100.64.0.2/30 dev mid")?;
        far4.ip("addr add 100.64.1.1/30 dev out")?;
        far4.ip("route add 203.0.113.0/24 via 100.64.0.1")?;
        far4.ip("route add default via 100.64.1.2")?;
        near6.ip("addr add 2001:db8:12:34::ffff/64 dev host")?;
        near6.ip("addr add 2001:db8:fe::1/64 dev mid")?;
        near6.ip("route add default via 2001:db8:fe::2")?;
        far6.ip("addr add 2001:db8:fe::2/64 dev mid")?;
        far6.ip("addr add 2001:db8:fe:1::1/64 dev out")?;
        far6.ip("route add 2001:db8:12:34::/64 via 2001:db8:fe::1")?;
        far6.ip("route add default via 2001:db8:fe:1::2")?;
        self.address_hosts("2001:db8:12:34::ffff")?;
        self.twin("v4", &["100.64.1.2/30"]);
        self.twin("v6", &["2001:db8:fe:1::2/64"]);
        self.twins.push("route add default via 100.64.1.1".into());
        self.twins.push("-6 route add default via 2001:db8:fe:1::1".into());
        Ok(())
    }

    fn address_hosts(&self, router6: &str) -> TestResult {
        self.client.sysctl("net.ipv6.conf.c4.disable_ipv6=1")?;
        self.client.plain_frames("c4")?;
        self.client.ip(&format!("addr add {CLIENT}/24 dev c4"))?;
        self.client.ip("route add default via 203.0.113.1")?;
        self.server.plain_frames("s6")?;
        self.server.ip(&format!("addr add {SERVER}/64 dev s6 nodad"))?;
        self.server.ip(&format!("route add 2001:db8:46::/96 via {router6}"))?;
        // The server answers every ping and unreachable port, however fast the test asks.
        self.server.sysctl("net.ipv6.icmp.ratelimit=0")?;
        self.client.sysctl("net.ipv4.icmp_ratelimit=0")
    }

    fn twin(&mut self, port: &str, addresses: &[&str]) {
        for address in addresses {
            let nodad = if address.contains(':') { " nodad" } else { "" };
            self.twins.push(format!("addr add {address} dev bl-{port}{nodad}"));
        }
        self.twins.push(format!("link set bl-{port} up"));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let failed = std::thread::panicking() || self.relay.is_some() && !self.ended_well;
        if failed {
            self.keep_evidence();
        }
    }
}

fn config(shape: &Shape) -> Config {
    let port = |name: &str, mtu| Port { name: name.into(), interface: name.replace('v', "r"), mtu };
    Config {
        driver: shape.driver,
        workers: shape.workers.clone(),
        ports: vec![port("v4", 1500), port("v6", shape.v6_mtu)],
        prefix: "2001:db8:46::/96".into(),
        translation: shape.translation.clone(),
        eams: vec![(format!("{SERVICE}/32"), format!("{SERVER}/128"))],
    }
}

/// The hops `traceroute` lists, one string each: an address, or `*`.
///
/// # Errors
/// When traceroute fails.
pub fn traceroute(from: &Namespace, how: &str, to: &str) -> Result<Vec<String>, LabError> {
    let command: Cmd = from.cmd("traceroute").args("-n -q1 -w2 -m12").args(how).arg(to).timeout(40);
    let text = command.ok()?.stdout;
    Ok(text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).map(String::from).collect())
}
