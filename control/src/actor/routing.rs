//! The kernel's routing on its way to the workers: changes are compiled, a turn at a time.

use std::time::{Duration, Instant};
use std::vec::IntoIter;

use dataplane::table::compiler::Compiler;
use dataplane::table::fib::Fib;
use dataplane::table::routing::{Change, Update};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::yield_now;

/// How long it works before others have their turn.
const TURN: Duration = Duration::from_micros(500);

/// Owner of the compiled routing.
pub(super) struct Routing {
    compiler: Compiler,
    told: Sender<Update>,
    updates: Receiver<Update>,
    underway: Option<Underway>,
}

/// An update, without the changes that were taken in.
struct Underway {
    changes: IntoIter<Change>,
    publish: bool,
}

impl Routing {
    pub(super) fn new() -> Self {
        let (told, updates) = channel(1);
        Self { compiler: Compiler::default(), told, updates, underway: None }
    }

    /// Where changes are told. There is room for one update while another is taken in: whoever tells them waits, and what
    /// changes twice meanwhile is told once.
    pub(super) fn updates(&self) -> Sender<Update> {
        self.told.clone()
    }

    /// Waits for something to do: for changes, or, where there is something left of them, until others had their turn.
    pub(super) async fn ready(&mut self) {
        let is_busy = self.underway.is_some() || self.compiler.is_unsettled();
        if is_busy {
            yield_now().await;
        }
        if self.underway.is_none() {
            let update = if is_busy { self.updates.try_recv().ok() } else { self.updates.recv().await };
            self.underway =
                update.map(|Update { changes, publish }| Underway { changes: changes.into_iter(), publish });
        }
    }

    /// Works for a turn: takes changes in, then rewrites hosts of changed links. What workers are to have now, if it is news;
    /// hosts are rewritten step by step for those who have routing already (`is_translating`).
    ///
    /// A change costs some microseconds, whatever the size of the tables; but one after another in distant parts of a full table,
    /// each waits for other memory.
    pub(super) fn turn(&mut self, is_translating: bool) -> Option<Fib> {
        let started = Instant::now();
        let mut publish = false;
        while let Some(underway) = &mut self.underway {
            match underway.changes.next() {
                Some(change) => self.compiler.apply(change),
                None => {
                    publish |= underway.publish;
                    self.underway = None;
                }
            }
            if started.elapsed() >= TURN {
                break;
            }
        }
        while self.compiler.is_unsettled() && started.elapsed() < TURN {
            self.compiler.settle();
            publish |= is_translating;
        }
        publish.then(|| self.compiler.version())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use dataplane::table::routing::{Hop, InterfaceId, Route, RouteAction, TableId};

    use super::*;

    fn route(number: u32) -> Change {
        let hop =
            Hop { interface: InterfaceId(1), gateway: Some(Ipv4Addr::new(192, 0, 2, 1).into()), weight: 1 };
        // Neighbouring numbers are far from each other.
        let destination = ipnet::Ipv4Net::new((number.reverse_bits() >> 8 << 8).into(), 24).unwrap().into();
        let route = Route { destination, action: RouteAction::Via(vec![hop]), mtu: None };
        Change::Route { table: TableId::MAIN, route }
    }

    #[tokio::test]
    async fn many_changes_take_many_turns_and_are_shown_together() {
        const ROUTES: u32 = 100_000;
        let mut routing = Routing::new();
        let updates = routing.updates();
        updates.send(Update { changes: (0..ROUTES).map(route).collect(), publish: true }).await.unwrap();
        routing.ready().await;
        let (mut turns, mut shown) = (1, routing.turn(true));
        assert!(updates.try_send(Update { changes: vec![route(7)], publish: true }).is_ok(), "one may wait");
        while shown.is_none() {
            assert!(updates.try_send(Update { changes: Vec::new(), publish: true }).is_err(), "and no other");
            routing.ready().await;
            shown = routing.turn(true);
            turns += 1;
        }
        assert!(turns > 1, "100,000 changes in half a millisecond?");
        assert_eq!(routing.compiler.routes(), ROUTES as usize);
        routing.ready().await;
        assert!(routing.turn(true).is_some(), "the one that waited");
    }
}
