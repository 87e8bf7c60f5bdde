//! The witness flow: numbered datagrams at an even pace, and who of them arrived.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::lab::probe::udp_socket;
use crate::lab::{LabError, Namespace};

/// Datagrams per second.
pub(crate) const RATE: u32 = 1000;
const PACE: Duration = Duration::from_micros(1_000_000 / RATE as u64);
/// How long after the last datagram others may still arrive on a busy machine.
const GRACE: Duration = Duration::from_secs(2);

/// A flow on its way.
pub(crate) struct Flow {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<Vec<bool>>,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    /// Most of them in a row.
    pub(crate) gap: u64,
}

impl Flow {
    /// Starts sending from a host to `to`, where the socket of `receiver` hears it under its own `address`.
    pub(crate) fn start(
        sender: (&Namespace, IpAddr),
        to: SocketAddr,
        receiver: (&Namespace, IpAddr),
    ) -> Result<Self, LabError> {
        let stop = Arc::<AtomicBool>::default();
        let hears = udp_socket(receiver.0, receiver.1, to.port())?;
        hears.set_read_timeout(Some(Duration::from_millis(100)))?;
        let speaks = udp_socket(sender.0, sender.1, to.port())?;
        let (over, done) = (Arc::clone(&stop), Arc::clone(&stop));
        Ok(Self {
            stop,
            sender: thread::spawn(move || send(&speaks, to, &over)),
            receiver: thread::spawn(move || receive(&hears, &done)),
        })
    }

    /// Ends it and counts.
    pub(crate) fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender does not panic");
        let mut arrived = self.receiver.join().expect("the receiver does not panic");
        arrived.resize(usize::try_from(sent).expect("a small number"), false);
        let gaps = arrived.split(|arrived| *arrived).map(|gap| gap.len() as u64);
        let lost = arrived.iter().filter(|arrived| !**arrived).count() as u64;
        Seen { sent, lost, gap: gaps.max().unwrap_or(0) }
    }
}

/// Keeps the pace on average: what a busy machine delayed is made up for at once.
fn send(socket: &UdpSocket, to: SocketAddr, stop: &AtomicBool) -> u64 {
    let start = Instant::now();
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_micros() / PACE.as_micros();
        while u128::from(number) < due && socket.send_to(&number.to_be_bytes(), to).is_ok() {
            number += 1;
        }
        thread::sleep(PACE);
    }
    number
}

fn receive(socket: &UdpSocket, stop: &AtomicBool) -> Vec<bool> {
    let mut arrived = Vec::new();
    let mut buffer = [0; 64];
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) || last.elapsed() < GRACE {
        let Ok((8, _)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        last = Instant::now();
        let number = u64::from_be_bytes(*buffer.first_chunk().expect("eight bytes"));
        let at = usize::try_from(number).expect("a small number");
        if arrived.len() <= at {
            arrived.resize(at + 1, false);
        }
        arrived[at] = true;
    }
    arrived
}
