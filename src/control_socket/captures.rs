//! Captures as the socket shows them: what the relay calls by number has its name, and a packet the mappings it took.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use control::actor::ControlHandle;
use control::observe::filter::{self, FilterError, Names};
use control::observe::{self, CaptureEvent, CaptureOrder, Delivery, Frame, Over};
use control_api::{
    CaptureLine, CaptureTotals, CapturedFrame, CapturedPacket, CapturedPort, Code, Refusal, hex,
    rfc3339_micros,
};
use control_server::CaptureQuery;
use dataplane::sink::filter::Side;
use dataplane::table::routing::PortId;
use dataplane::table::snapshot::Snapshot;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, channel};

use super::observed::{Observed, nanoseconds};
use super::tables::stopping;

/// Lines between relay and client.
const QUEUE: usize = 256;
/// How long tables are looked at before newer ones are asked for.
const FRESH: Duration = Duration::from_secs(1);

/// Starts a capture.
pub(super) fn start(
    observed: &Observed,
    handle: &ControlHandle,
    query: &CaptureQuery,
) -> Result<Receiver<CaptureLine>, Refusal> {
    let snapshot = handle.snapshot().map_err(|_| stopping())?;
    let known = Known { ports: &observed.ports, snapshot: &snapshot };
    let filter = filter::parse(&query.filter, &known).map_err(wrong_filter)?;
    let snap = usize::try_from(query.snap).unwrap_or(usize::MAX);
    let order = CaptureOrder { filter, count: query.count, time: query.time, rate: query.rate, snap };
    let (sender, receiver) = channel(QUEUE);
    let begin = CaptureLine::Begin {
        filter: query.filter.clone(),
        count: query.count,
        seconds: query.time.as_secs(),
        rate: query.rate,
        snap: query.snap,
        ports: observed.ports.clone(),
    };
    // The queue is empty.
    drop(sender.try_send(begin));
    let mut view =
        View { ports: observed.ports.clone(), handle: handle.clone(), snapshot, since: Instant::now() };
    let deliver = move |event| {
        if sender.is_closed() {
            return Delivery::Gone;
        }
        if sender.capacity() == 0 {
            return Delivery::Full;
        }
        match sender.try_send(view.line(event)) {
            Ok(()) => Delivery::Taken,
            Err(TrySendError::Full(_)) => Delivery::Full,
            Err(TrySendError::Closed(_)) => Delivery::Gone,
        }
    };
    observed.observatory.capture(&order, Box::new(deliver)).map_err(|full| {
        let seconds = full.ends_in.as_secs() + 1;
        let remedy = format!("wait {seconds} s at most, or end one: a capture ends with its client");
        Refusal::new(Code::Unavailable, full.to_string(), remedy)
    })?;
    Ok(receiver)
}

fn wrong_filter(error: FilterError) -> Refusal {
    Refusal::new(Code::InvalidRequest, error.to_string(), error.remedy)
}

/// What a filter may name.
struct Known<'a> {
    ports: &'a [String],
    snapshot: &'a Snapshot,
}

impl Names for Known<'_> {
    fn port(&self, name: &str) -> Option<PortId> {
        let place = self.ports.iter().position(|port| port == name)?;
        u16::try_from(place).ok().map(PortId)
    }

    fn eam(&self, prefix: IpNet) -> Option<(Ipv4Net, Ipv6Net)> {
        mapping(self.snapshot, prefix.network()).filter(|(ipv4, ipv6)| match prefix {
            IpNet::V4(prefix) => ipv4.contains(&prefix),
            IpNet::V6(prefix) => ipv6.contains(&prefix),
        })
    }
}

/// The mapping that translates an address.
fn mapping(snapshot: &Snapshot, address: IpAddr) -> Option<(Ipv4Net, Ipv6Net)> {
    let eams = &snapshot.translation.eams;
    let eam = match address {
        IpAddr::V4(address) => eams.eam_of_ipv4(address),
        IpAddr::V6(address) => eams.eam_of_ipv6(address),
    }?;
    Some((eam.ipv4, eam.ipv6))
}

/// Names for numbers.
struct View {
    ports: Vec<String>,
    handle: ControlHandle,
    snapshot: Arc<Snapshot>,
    since: Instant,
}

impl View {
    fn line(&mut self, event: CaptureEvent) -> CaptureLine {
        match event {
            CaptureEvent::Packet(packet) => CaptureLine::Packet(Box::new(self.packet(&packet))),
            CaptureEvent::Progress(totals) => CaptureLine::Progress(self.totals(&totals)),
            CaptureEvent::End(totals, over) => {
                let cause = match over {
                    Over::Count => "count",
                    Over::Time => "time",
                    Over::Stopping => "stopping",
                };
                CaptureLine::End { cause: cause.to_owned(), totals: self.totals(&totals) }
            }
        }
    }

    fn packet(&mut self, packet: &observe::CapturedPacket) -> CapturedPacket {
        let unix_ns = nanoseconds(packet.time);
        CapturedPacket {
            id: packet.id,
            time: rfc3339_micros(unix_ns),
            unix_ns,
            queue: packet.worker,
            verdict: packet.fate.verdict().to_owned(),
            reason: packet.fate.reason().map(ToOwned::to_owned),
            mappings: self.mappings(packet),
            path: self.path(packet),
            lost: packet.lost,
            before: self.frame(packet.port, &packet.before),
            after: packet.after.iter().map(|(port, frame)| self.frame(*port, frame)).collect(),
            sent: packet.pieces as u64,
        }
    }

    fn port(&self, port: PortId) -> String {
        self.ports.get(usize::from(port.0)).cloned().unwrap_or_else(|| port.0.to_string())
    }

    fn frame(&self, port: PortId, frame: &Frame) -> CapturedFrame {
        CapturedFrame { port: self.port(port), length: frame.length as u64, bytes: hex(&frame.bytes) }
    }

    /// The mappings of its addresses, as they are in the tables of the last second.
    fn mappings(&mut self, packet: &observe::CapturedPacket) -> Vec<String> {
        if self.since.elapsed() >= FRESH
            && let Ok(snapshot) = self.handle.snapshot()
        {
            (self.snapshot, self.since) = (snapshot, Instant::now());
        }
        let Some((source, destination)) = Side::of_frame(&packet.before.bytes).addresses() else {
            return Vec::new();
        };
        let mut mappings = Vec::new();
        for (ipv4, ipv6) in
            [source, destination].into_iter().filter_map(|address| mapping(&self.snapshot, address))
        {
            let mapping = format!("{ipv4} = {ipv6}");
            if !mappings.contains(&mapping) {
                mappings.push(mapping);
            }
        }
        mappings
    }

    fn path(&self, packet: &observe::CapturedPacket) -> String {
        let family = |frame: &Frame| match Side::of_frame(&frame.bytes).version() {
            4 => "ipv4",
            6 => "ipv6",
            _ => "other",
        };
        let mut words = vec![
            self.port(packet.port),
            family(&packet.before).to_owned(),
            if packet.express { "express" } else { "walk" }.to_owned(),
        ];
        words.push(match packet.fate.reason() {
            Some(reason) => format!("{} {reason}", packet.fate.verdict()),
            None => packet.fate.verdict().to_owned(),
        });
        if packet.pieces > 1 {
            words.push(format!("{} fragments", packet.pieces));
        }
        if let Some((port, frame)) = packet.after.first() {
            words.push(family(frame).to_owned());
            words.push(self.port(*port));
        }
        words.join(" > ")
    }

    fn totals(&self, totals: &observe::CaptureTotals) -> CaptureTotals {
        let port = |(port, totals): (&String, &observe::PortTotals)| CapturedPort {
            port: port.clone(),
            received: totals.received,
            received_lost: totals.received_lost,
            sent: totals.sent,
            sent_lost: totals.sent_lost,
        };
        CaptureTotals {
            matched: totals.matched,
            captured: totals.captured,
            lost: totals.lost,
            ports: self.ports.iter().zip(&totals.ports).map(port).collect(),
        }
    }
}
