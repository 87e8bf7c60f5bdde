//! Asking the kernel for everything, one datagram at a time, so that notifications are read in between.

use std::io;

use rustix::io::Errno;

use super::attribute::Messages;
use super::decode;
use super::request::{
    AF_INET, AF_INET6, AF_UNSPEC, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE,
    RTM_GETRULE, Request,
};
use super::socket::{NLMSG_DONE, NLMSG_ERROR, ReceiveError, Socket, error_of};
use crate::kernel::event::{Dump, Event, KernelRoute};
use crate::kernel::next_hops::NextHops;

/// What is asked, in this order: links first, for the others refer to them, and nexthop objects before routes.
const QUESTIONS: [(u16, u8); 8] = [
    (RTM_GETLINK, AF_UNSPEC),
    (RTM_GETADDR, AF_UNSPEC),
    (RTM_GETNEIGH, AF_UNSPEC),
    (RTM_GETRULE, AF_INET),
    (RTM_GETRULE, AF_INET6),
    (RTM_GETNEXTHOP, AF_UNSPEC),
    (RTM_GETROUTE, AF_INET),
    (RTM_GETROUTE, AF_INET6),
];
/// Set by the kernel when something changed while it dumped.
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A dump in progress.
pub(in crate::kernel) struct Dumper {
    socket: Socket,
    asked: usize,
    collected: Dump,
    next_hops: NextHops,
    doubtful: bool,
    unreadable: usize,
}

/// A finished dump.
pub(in crate::kernel) struct Dumped {
    /// What it found, without the routes that were taken out before.
    pub(in crate::kernel) dump: Dump,
    /// The kernel says it changed meanwhile: good enough to go on with, to be repeated before long.
    pub(in crate::kernel) doubtful: bool,
    /// Records that could not be read.
    pub(in crate::kernel) unreadable: usize,
}

impl Dumper {
    /// Asks the first question.
    pub(in crate::kernel) fn start() -> io::Result<Self> {
        let dumper = Self {
            socket: Socket::ask()?,
            asked: 0,
            collected: Dump::default(),
            next_hops: NextHops::default(),
            doubtful: false,
            unreadable: 0,
        };
        dumper.ask()?;
        Ok(dumper)
    }

    /// Reads on; the result is there once all questions are answered. Cancel-safe.
    pub(in crate::kernel) async fn advance(&mut self) -> io::Result<Option<Dumped>> {
        let datagram = match self.socket.receive().await {
            Ok(datagram) => datagram,
            Err(ReceiveError::Overrun) => return Err(io::Error::other("the kernel's answer was cut short")),
            Err(ReceiveError::Io(error)) => return Err(error),
        };
        let mut answered = false;
        for message in Messages(datagram) {
            if message.sequence != sequence(self.asked) {
                continue;
            }
            self.doubtful |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    // Kernels before 5.3 know no nexthop objects, and some are built without rules.
                    error_of(message.payload).or_else(|error| unless_unknown(self.asked, error))?;
                    answered = true;
                }
                _ => match decode::event(message) {
                    Ok(event) => collect(&mut self.collected, &mut self.next_hops, event),
                    Err(decode::Malformed) => self.unreadable += 1,
                },
            }
        }
        if answered {
            self.asked += 1;
            if self.asked == QUESTIONS.len() {
                let dump = std::mem::take(&mut self.collected);
                return Ok(Some(Dumped { dump, doubtful: self.doubtful, unreadable: self.unreadable }));
            }
            self.ask()?;
        }
        Ok(None)
    }

    /// Takes out the routes read so far: a full table is too much to be looked at all at once.
    pub(in crate::kernel) fn take_routes(&mut self) -> Vec<KernelRoute> {
        std::mem::take(&mut self.collected.routes)
    }

    fn ask(&self) -> io::Result<()> {
        let (kind, family) = QUESTIONS[self.asked];
        self.socket.send(Request::dump(kind, family, sequence(self.asked)))
    }
}

fn unless_unknown(asked: usize, error: io::Error) -> io::Result<()> {
    let unknown = error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error());
    if unknown && matches!(QUESTIONS[asked].0, RTM_GETNEXTHOP | RTM_GETRULE) { Ok(()) } else { Err(error) }
}

fn sequence(asked: usize) -> u32 {
    u32::try_from(asked + 1).expect("a handful of questions")
}

fn collect(dump: &mut Dump, next_hops: &mut NextHops, event: Option<Event>) {
    match event {
        Some(Event::Link(link)) => dump.links.push(link),
        Some(Event::Address(address)) => dump.addresses.push(address),
        Some(Event::Neighbor(neighbor)) => dump.neighbors.push(neighbor),
        Some(Event::Rule(rule)) => dump.rules.push(rule),
        Some(Event::NextHop(object)) => {
            next_hops.put(object.clone());
            dump.next_hops.push(object);
        }
        Some(Event::Route { mut route, .. }) => {
            next_hops.expand(&mut route);
            dump.routes.push(route);
        }
        _ => {}
    }
}
