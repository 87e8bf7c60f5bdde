//! Routing daemons with the kits: one BIRD, or a set of FRR's daemons, for each router and relay.

use std::path::{Path, PathBuf};

use super::kit::{Routing, Suite};
use super::topology::Nodes;
use crate::lab::{Cmd, Daemon, LabError, Namespace, bird, directory, write};

/// Who routes.
const ROUTERS: [&str; 5] = ["inet4", "inet6", "dc", "br1", "br2"];
const FRR: &str = "/usr/lib/frr";

/// The daemons of one node.
pub(super) struct Router {
    node: &'static str,
    daemons: Vec<Daemon>,
    ask: Ask,
}

/// How to ask.
enum Ask {
    Bird,
    /// The directory of the vty sockets.
    Frr(tempfile::TempDir),
}

/// Starts all of them.
pub(super) fn start(nodes: &Nodes, suite: Suite) -> Result<Vec<Router>, LabError> {
    ROUTERS.into_iter().map(|node| Router::start(node, nodes.get(node), suite)).collect()
}

impl Router {
    fn start(node: &'static str, namespace: &Namespace, suite: Suite) -> Result<Self, LabError> {
        let text = suite.text(node)?;
        let router = match suite.routing {
            Routing::Bird => Self { node, daemons: vec![bird(namespace, &text)?], ask: Ask::Bird },
            Routing::Frr => {
                let (daemons, place) = frr(namespace, &text)?;
                Self { node, daemons, ask: Ask::Frr(place) }
            }
        };
        for daemon in &router.daemons {
            first(daemon.pid())?;
        }
        Ok(router)
    }

    /// The node it belongs to.
    pub(super) const fn node(&self) -> &'static str {
        self.node
    }

    /// Where to ask it: BIRD's socket, or FRR's directory.
    pub(super) fn place(&self) -> PathBuf {
        match &self.ask {
            Ask::Bird => self.daemons[0].path().join("bird.ctl"),
            Ask::Frr(place) => place.path().to_owned(),
        }
    }

    /// Sessions as they are, and what was logged.
    pub(super) fn log(&self) -> String {
        let logs = self.daemons.iter().map(Daemon::log);
        std::iter::once(self.summary()).chain(logs).collect()
    }

    /// Sessions as the daemon shows them; what it logged, when it does not answer.
    pub(super) fn summary(&self) -> String {
        let text = sessions(&self.place(), matches!(self.ask, Ask::Bird));
        text.unwrap_or_else(|_| self.daemons.iter().map(Daemon::log).collect())
    }
}

/// BFD at 3 x 100 ms on a machine whose two processors do everything: as on a router, daemons and the relay come before whatever
/// else runs here.
pub(super) fn first(pid: u32) -> Result<(), LabError> {
    let threads = format!("renice -n -15 -p $(ls /proc/{pid}/task)");
    Cmd::new("sh").arg("-c").arg(threads).ok().map(drop)
}

/// Asks the daemon at `place` about its sessions.
pub(super) fn sessions(place: &Path, is_bird: bool) -> Result<String, LabError> {
    if is_bird {
        let ask =
            |question: &str| Cmd::new("birdc").arg("-s").arg(place.display().to_string()).args(question);
        let protocols = ask("show protocols").ok()?.stdout;
        let bfd = ask("show bfd sessions").ok()?.stdout;
        return Ok(protocols + &bfd);
    }
    // One by one: vtysh ends at the first daemon that does not run.
    let questions =
        ["show bgp summary", "show ip ospf neighbor", "show ipv6 ospf6 neighbor", "show bfd peers brief"];
    let answers =
        questions.map(|question| vtysh(place).arg("-c").arg(question).run().map(|told| told.stdout));
    answers.into_iter().collect()
}

fn vtysh(place: &Path) -> Cmd {
    Cmd::new("vtysh").arg("--vty_socket").arg(place.display().to_string())
}

/// FRR with an integrated configuration: the daemons that the head of the file names, then `vtysh` hands it to them.
fn frr(namespace: &Namespace, text: &str) -> Result<(Vec<Daemon>, tempfile::TempDir), LabError> {
    let place = directory()?;
    let root = place.path().display().to_string();
    Cmd::new("chown").arg("frr:frr").arg(&root).ok()?;
    let mut daemons = Vec::new();
    for name in names(text)? {
        let mut command = namespace
            .cmd(&format!("{FRR}/{name}"))
            .args("-u frr -g frr -f /dev/null --log stdout")
            .args(&format!("--vty_socket {root} -z {root}/zserv.api -i {root}/{name}.pid"));
        if name == "bfdd" {
            command = command.args(&format!("--bfdctl {root}/bfdd.sock"));
        }
        let mut daemon = Daemon::start(name, &command, directory()?)?;
        let socket = place.path().join(format!("{name}.vty"));
        daemon.wait_for("vty socket", |_| socket.exists())?;
        daemons.push(daemon);
    }
    let file = write(place.path().join("frr.conf"), text)?;
    let loaded = vtysh(place.path()).arg("-f").arg(file.display().to_string()).ok()?;
    let refused = loaded.text().lines().any(|line| line.contains("% "));
    if refused {
        return Err(LabError::Unreadable { what: "FRR's kit".into(), text: loaded.text() });
    }
    Ok((daemons, place))
}

/// The line `Daemons: zebra, bgpd.` of the kit.
fn names(text: &str) -> Result<Vec<&str>, LabError> {
    let unreadable = || LabError::Unreadable { what: "the kit's daemons".into(), text: text.into() };
    let (_, after) = text.split_once("Daemons: ").ok_or_else(unreadable)?;
    let (list, _) = after.split_once('.').ok_or_else(unreadable)?;
    Ok(list.split(", ").collect())
}
