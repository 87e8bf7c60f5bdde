//! Packets that go round through the relay as fast as it returns them, each one looked at.
//!
//! There are never more on the way than any ring or socket on it holds: a sender waits for what it has sent before. So the
//! rate is the highest at which this machine can carry them, whatever else runs on it; nobody has to be
//! scheduled in time; and what does not come back was lost by the relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::moving::{self, Checker, Packet, Received};
use crate::lab::{Lab, LabError, Namespace, RawLink, frame};

/// Packets on the way at most: fewer than the smallest queue of an interface on it holds.
const WINDOW: u64 = 90;
/// How long the last ones may take. What is not back by then is lost.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    returned: AtomicU64,
    /// No more shall be sent.
    is_ending: AtomicBool,
    /// No more will come back.
    is_over: AtomicBool,
}

impl Shared {
    fn on_the_way(&self) -> u64 {
        // Returned first: a packet is counted as sent before it can return.
        let returned = self.returned.load(Ordering::Acquire);
        self.sent.load(Ordering::Acquire).saturating_sub(returned)
    }
}

/// The packets of [`super::moving`] on their way, until [`Self::end`].
pub struct Circuit {
    shared: Arc<Shared>,
    sender: JoinHandle<()>,
    checkers: [JoinHandle<Result<Checker, String>>; 2],
}

/// What became of the packets.
#[derive(Debug)]
pub struct Passed {
    /// Packets sent.
    pub sent: u64,
    /// Those of them that did not come back.
    pub lost: u64,
    /// What was seen on the servers' link and on the client's.
    pub links: [Checker; 2],
}

impl Circuit {
    /// Starts it in a laboratory whose relay has the mappings of a table of [`super::moving`] and has resolved its neighbours.
    ///
    /// # Errors
    /// When a packet socket cannot be opened.
    pub fn start(lab: &Lab) -> Result<Self, LabError> {
        let shared = Arc::new(Shared::default());
        let checkers = [check(&lab.server, "s6", &shared)?, check(&lab.client, "c4", &shared)?];
        let relay =
            [RawLink::open(&lab.relay_ns, "bl-v4")?.mac(), RawLink::open(&lab.relay_ns, "bl-v6")?.mac()];
        let links = [RawLink::open(&lab.client, "c4")?, RawLink::open(&lab.server, "s6")?];
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || send(&shared, links, relay)
        });
        Ok(Self { shared, sender, checkers })
    }

    /// Packets that have come back so far.
    #[must_use]
    pub fn returned(&self) -> u64 {
        self.shared.returned.load(Ordering::Acquire)
    }

    /// Sends no more, and waits for those on the way.
    ///
    /// # Errors
    /// What was wrong with a packet that came back.
    ///
    /// # Panics
    /// When one of its threads has.
    pub fn end(self) -> Result<Passed, String> {
        self.shared.is_ending.store(true, Ordering::Release);
        self.sender.join().expect("the sender does not panic");
        let [servers, client] =
            self.checkers.map(|checker| checker.join().expect("the checker does not panic"));
        let links = [servers?, client?];
        let sent = self.shared.sent.load(Ordering::Acquire);
        Ok(Passed { sent, lost: sent - links[0].packets - links[1].packets, links })
    }
}

/// Sends turn after turn; ends when all are back, or no more are to be expected.
fn send(shared: &Shared, links: [RawLink; 2], relay: [[u8; 6]; 2]) {
    let [mut client, mut server] = links;
    for turn in (0..=u16::MAX).cycle() {
        let packets = moving::packets(turn);
        while shared.on_the_way() + packets.len() as u64 > WINDOW && !shared.is_ending.load(Ordering::Acquire)
        {
            thread::sleep(Duration::from_micros(20));
        }
        if shared.is_ending.load(Ordering::Acquire) {
            break;
        }
        for packet in packets {
            shared.sent.fetch_add(1, Ordering::AcqRel);
            let is_sent = match packet {
                Packet::V4(packet) => {
                    client.send(&frame::ethernet(relay[0], client.mac(), frame::IPV4, &packet))
                }
                Packet::V6(packet) => {
                    server.send(&frame::ethernet(relay[1], server.mac(), frame::IPV6, &packet))
                }
            };
            if !is_sent {
                shared.sent.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
    let ended = Instant::now();
    while shared.on_the_way() > 0 && ended.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    shared.is_over.store(true, Ordering::Release);
}

fn check(
    namespace: &Namespace,
    interface: &str,
    shared: &Arc<Shared>,
) -> Result<JoinHandle<Result<Checker, String>>, LabError> {
    let mut link = RawLink::open(namespace, interface)?;
    let shared = Arc::clone(shared);
    Ok(thread::spawn(move || {
        let mut checker = Checker::default();
        loop {
            let Some(frame) = link.receive() else {
                if shared.is_over.load(Ordering::Acquire) {
                    return Ok(checker);
                }
                continue;
            };
            if let Some(received) = Received::read(&frame) {
                checker.take(received)?;
                shared.returned.fetch_add(1, Ordering::AcqRel);
            }
        }
    }))
}
