//! What the control thread hands to a worker: frames of the kernel, which leave as they are, and packets of the box itself,
//! which take the way of received ones.

use crate::buffer::{Buffer, BufferPool};
use crate::counters::Event;
use crate::exception::{InjectReceiver, Injected};
use crate::io::{BURST, TransmitQueue};
use crate::sink::Sink;
use crate::stage::parse::Ingress;
use crate::table::routing::InterfaceId;
use crate::table::snapshot::Snapshot;
use crate::transmit::Transmit;
use crate::verdict::{DropReason, Verdict};
use crate::walk::{End, LcoreState, Native, Walk};

/// How packets of the box come in: by no interface of ours. They are as large as the kernel made them.
const FROM_THE_BOX: Ingress = Ingress { interface: InterfaceId(u16::MAX), mtu: u16::MAX, group: false };

/// A worker's things, for what the control thread injects.
pub(super) struct Own<'a, T: TransmitQueue, P> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) lcore: &'a mut LcoreState,
    pub(super) sink: &'a mut Sink<T::Buffer>,
    pub(super) pool: &'a mut P,
    pub(super) transmit: &'a mut Transmit<T>,
}

impl<B: Buffer, T: TransmitQueue<Buffer = B>, P: BufferPool<Buffer = B>> Own<'_, T, P> {
    /// Takes up to a burst from the ring; whether there was anything. Before anything that was received.
    pub(super) fn take(mut self, ring: &mut InjectReceiver) -> bool {
        let mut any = false;
        for _ in 0..BURST {
            let Some(injected) = ring.receive() else {
                break;
            };
            any = true;
            match injected {
                Injected::Frame { port, bytes } => {
                    if let Some(frame) = self.originate(bytes) {
                        self.transmit.enqueue(port, frame, self.sink);
                    }
                }
                Injected::Packet(bytes) => {
                    if let Some(packet) = self.originate(bytes) {
                        self.walk(packet);
                    }
                }
            }
        }
        any
    }

    /// A buffer with these bytes, counted as the box's own.
    fn originate(&mut self, bytes: &[u8]) -> Option<B> {
        self.sink.counts.count(Event::OriginatedKernel);
        let copied = copy(self.pool, bytes);
        if copied.is_none() {
            self.sink.finish_without_buffer();
        }
        copied
    }

    fn walk(&mut self, packet: B) {
        let version = packet.data().first().map(|byte| byte >> 4);
        let mut walk = Walk {
            snapshot: self.snapshot,
            lcore: self.lcore,
            sink: self.sink,
            pool: self.pool,
            output: self.transmit,
            native: Native::Forward,
        };
        let end = match version {
            Some(6) => walk.ipv6(packet, FROM_THE_BOX),
            _ => walk.ipv4(packet, FROM_THE_BOX),
        };
        // It came from the kernel: back there it would only turn round.
        if let End::Punted(packet, _) = end {
            self.sink.finish(packet, Verdict::Dropped(DropReason::NoRoute));
        }
    }
}

/// A buffer with these bytes, if there is one.
fn copy<P: BufferPool>(pool: &mut P, bytes: &[u8]) -> Option<P::Buffer> {
    let mut buffer = pool.allocate()?;
    buffer.push_back(bytes.len()).ok()?;
    buffer.data_mut().copy_from_slice(bytes);
    Some(buffer)
}
