//! What is explained of a frame, held against what a worker does with it.

use dataplane::explain::{self, Ending, Explained, To};
use dataplane::walk::Way;

use super::*;

/// What came of the frames that were compared.
#[derive(Debug, Default)]
pub struct Seen {
    pub frames: u64,
    pub plain: u64,
    /// By verdict: translated, hairpinned, native, answered, dropped, punted, waiting.
    pub endings: [u64; 7],
}

/// Frames that `from` describes, one after the other through a worker; each is explained before, on the worker's tables and
/// with its keys. Both send the same frames by the same ports, give the kernel the same, and count the same.
pub fn explained(world: &World, from: &mut Bytes<'_>, seen: &mut Seen) -> Judgement {
    let snapshot = snapshot(world, &further_routes(from));
    let mut bench = Bench::with(snapshot.clone(), 1 << 17, usize::MAX, usize::MAX);
    let local_mtu = from.pick(&[None, Some(1500), Some(1280)]);
    bench.worker = bench.worker.delivering(local_mtu);
    for _ in 0..20 {
        let port = usize::from(from.byte() & 1);
        let frame = changed(frame(world, &mut Bytes(take(from, 100)), port), from);
        let mut lcore = bench.worker.lcore();
        let explained =
            explain::frame(&snapshot, PortId(u16::try_from(port).unwrap()), &frame, &mut lcore, local_mtu);
        same(&mut bench, port, &frame, &explained)
            .map_err(|why| format!("{why}\n{frame:02x?}\n{explained:?}"))?;
        seen.count(&explained);
    }
    Ok(())
}

fn same(bench: &mut Bench, port: usize, frame: &[u8], explained: &Explained) -> Judgement {
    let before = bench.worker.counts().clone();
    bench.receive[port].borrow_mut().push_back(frame.to_vec());
    while bench.worker.turn() {}
    for (port, wire) in bench.sent.iter().enumerate() {
        let sent: Vec<Vec<u8>> = std::mem::take(&mut *wire.borrow_mut()).into();
        let by_port = |to: &To| matches!(to, To::Ready(adjacency) if usize::from(adjacency.port.0) == port);
        let said: Vec<_> = explained.sent.iter().filter(|sent| by_port(&sent.to)).collect();
        let said: Vec<Vec<u8>> = said.into_iter().map(|sent| sent.frame.clone()).collect();
        ensure!(sent == said, "port {port} sent {sent:02x?}");
    }
    let mut kernel = Vec::new();
    let take = |punted: Punted<'_>| match punted {
        Punted::Frame { bytes, reason, .. } => Some((format!("punted {}", reason.name()), bytes.to_vec())),
        Punted::Unresolved { interface, next_hop, packet } => {
            Some((format!("waits for {next_hop} on {interface:?}"), packet.to_vec()))
        }
        Punted::Translated { reason, packet } => {
            Some((format!("delivered as {}", reason.name()), packet.to_vec()))
        }
        Punted::Probed { .. } | Punted::Sample { .. } | Punted::ZeroChecksum(_) => None,
    };
    while let Some(punted) = bench.punted.receive(take) {
        kernel.extend(punted);
    }
    let waits = explained.sent.iter().filter_map(|sent| match &sent.to {
        To::Ready(_) => None,
        To::Box(reason) => Some((format!("delivered as {}", reason.name()), sent.frame.clone())),
        To::Waits(Wanted { interface, next_hop, .. }) => {
            Some((format!("waits for {next_hop} on {interface:?}"), sent.frame.clone()))
        }
    });
    let punted = match explained.ending {
        Ending::Punted(reason) => Some((format!("punted {}", reason.name()), frame.to_vec())),
        _ => None,
    };
    let mut said: Vec<_> = waits.chain(punted).collect();
    // Two rings lead to the kernel: their order is not the walk's.
    kernel.sort();
    said.sort();
    ensure!(kernel == said, "the kernel got {kernel:02x?}");
    counted(&before, bench.worker.counts(), &explained.counts)
}

/// A worker counts the same, and besides what came and was sent.
fn counted(before: &Counts, after: &Counts, explained: &Counts) -> Judgement {
    let of_ports = [
        Event::Received,
        Event::ReceivedBytes,
        Event::Sent,
        Event::SentBytes,
        Event::Bursts,
        Event::BusyCycles,
        Event::IdleCycles,
        Event::SleepCycles,
    ];
    for event in Event::ALL.iter().filter(|event| !of_ports.contains(event)) {
        let (worker, said) = (after.event(*event) - before.event(*event), explained.event(*event));
        ensure!(worker == said, "a worker counts {} {worker} times, not {said}", event.name());
    }
    for reason in DropReason::ALL {
        let (worker, said) = (after.dropped(*reason) - before.dropped(*reason), explained.dropped(*reason));
        ensure!(worker == said, "a worker drops {worker} as {}, not {said}", reason.name());
    }
    for reason in PuntReason::ALL {
        let (worker, said) = (after.punted(*reason) - before.punted(*reason), explained.punted(*reason));
        ensure!(worker == said, "a worker punts {worker} as {}, not {said}", reason.name());
    }
    Ok(())
}

impl Seen {
    fn count(&mut self, explained: &Explained) {
        self.frames += 1;
        self.plain += u64::from(explained.is_plain);
        let at = match explained.ending {
            Ending::Forwarded(_) if explained.sent.iter().any(|sent| matches!(sent.to, To::Waits(_))) => 6,
            Ending::Forwarded(Way::Translated) => 0,
            Ending::Forwarded(Way::Hairpinned) => 1,
            Ending::Forwarded(Way::Native) => 2,
            Ending::Answered(_) => 3,
            Ending::Dropped(_) => 4,
            Ending::Punted(_) => 5,
        };
        self.endings[at] += 1;
    }
}
