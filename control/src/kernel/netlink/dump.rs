//! Asking the kernel for everything, one datagram at a time, on a thread that may wait: dumps take the lock that every change of
//! an interface or a route takes.

use std::io;

use rustix::io::Errno;
use tokio::sync::mpsc;

use super::attribute::Messages;
use super::decode;
use super::request::{
    AF_INET, AF_INET6, AF_UNSPEC, RTM_GETADDR, RTM_GETLINK, RTM_GETNEIGH, RTM_GETNEXTHOP, RTM_GETROUTE,
    RTM_GETRULE, Request,
};
use super::socket::{AskingSocket, NLMSG_DONE, NLMSG_ERROR, error_of};
use crate::errands::Errands;
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

/// Pieces that wait to be taken: the thread reads no further ahead than that.
const AHEAD: usize = 4;

/// A dump in progress on a thread of its own. Dropped, it ends.
pub(in crate::kernel) struct Dumper(mpsc::Receiver<io::Result<Piece>>);

/// What one datagram told.
#[derive(Default)]
pub(in crate::kernel) struct Piece {
    /// Its routes: a full table is too much to be looked at all at once.
    pub(in crate::kernel) routes: Vec<KernelRoute>,
    /// Everything else, with the last piece.
    pub(in crate::kernel) dumped: Option<Dumped>,
}

/// A finished dump.
pub(in crate::kernel) struct Dumped {
    /// What it found, without the routes.
    pub(in crate::kernel) dump: Dump,
    /// The kernel says it changed meanwhile: good enough to go on with, to be repeated before long.
    pub(in crate::kernel) doubtful: bool,
    /// Records that could not be read.
    pub(in crate::kernel) unreadable: usize,
}

impl Dumper {
    /// Has `errands` ask the questions.
    pub(in crate::kernel) fn start(errands: &Errands) -> Self {
        let (pieces, taken) = mpsc::channel(AHEAD);
        errands.send(move || {
            let read = read(|piece| pieces.blocking_send(Ok(piece)).is_ok());
            if let Err(error) = read {
                // Whoever wanted to know may have lost interest.
                pieces.blocking_send(Err(error)).ok();
            }
        });
        Self(taken)
    }

    /// The next piece. Cancel-safe. There is none after that with [`Piece::dumped`], or an error.
    pub(in crate::kernel) async fn advance(&mut self) -> io::Result<Piece> {
        let ended = || Err(io::Error::other("the dump has ended"));
        self.0.recv().await.unwrap_or_else(ended)
    }
}

/// Asks every question and hands over what the answers tell, as long as that is wanted. Blocks until the kernel has answered.
pub(in crate::kernel) fn read(mut wanted: impl FnMut(Piece) -> bool) -> io::Result<()> {
    let mut socket = AskingSocket::new()?;
    let (mut dump, mut next_hops) = (Dump::default(), NextHops::default());
    let (mut doubtful, mut unreadable) = (false, 0);
    for (asked, (kind, family)) in QUESTIONS.into_iter().enumerate() {
        socket.send(Request::dump(kind, family, sequence(asked)))?;
        let mut answered = false;
        while !answered {
            for message in Messages(socket.receive()?) {
                if message.sequence != sequence(asked) {
                    continue;
                }
                doubtful |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        // Kernels before 5.3 know no nexthop objects, and some are built without rules.
                        error_of(message.payload).or_else(|error| unless_unknown(asked, error))?;
                        answered = true;
                    }
                    _ => match decode::event(message) {
                        Ok(event) => collect(&mut dump, &mut next_hops, event),
                        Err(decode::Malformed) => unreadable += 1,
                    },
                }
            }
            let routes = std::mem::take(&mut dump.routes);
            if !routes.is_empty() && !wanted(Piece { routes, dumped: None }) {
                return Ok(());
            }
        }
    }
    wanted(Piece { routes: Vec::new(), dumped: Some(Dumped { dump, doubtful, unreadable }) });
    Ok(())
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
