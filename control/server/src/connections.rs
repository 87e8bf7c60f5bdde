//! Who is connected.
//!
//! There is room for so many connections, and for half as many of one user, so that no user keeps the others out. When a user's
//! half is full, the one of his connections that waits longest without asking anything makes room; when all of them ask, the new
//! one is refused.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::Notify;

/// The connections there are.
pub(crate) struct Connections {
    most: usize,
    open: Mutex<Vec<Arc<Connection>>>,
}

/// One of them.
pub(crate) struct Connection {
    uid: u32,
    /// Requests being answered.
    busy: AtomicUsize,
    leave: Notify,
    /// The socket once more, to be asked whether anybody is at its other end.
    line: Option<OwnedFd>,
}

/// Takes its connection off the list.
pub(crate) struct Seat {
    connections: Arc<Connections>,
    pub(crate) connection: Arc<Connection>,
}

/// Says that its connection is answering.
pub(crate) struct Busy(Arc<Connection>);

impl Connections {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, open: Mutex::default() })
    }

    /// Room for a connection of that user; none when there is none.
    pub(crate) fn enter(self: &Arc<Self>, uid: u32, line: Option<OwnedFd>) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = open.iter().filter(|other| other.uid == uid).count();
        if of_user >= self.most.div_ceil(2) || open.len() >= self.most {
            let idle =
                open.iter().position(|other| other.uid == uid && other.busy.load(Ordering::Relaxed) == 0)?;
            open.remove(idle).leave.notify_one();
        }
        let connection = Arc::new(Connection { uid, busy: AtomicUsize::new(0), leave: Notify::new(), line });
        open.push(Arc::clone(&connection));
        drop(open);
        Some(Seat { connections: Arc::clone(self), connection })
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Connection {
    /// While the answer lives, this connection is not asked to leave.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether nobody is there any more to be answered. Who only says no more is still there.
    pub(crate) fn has_left(&self) -> bool {
        let Some(line) = &self.line else { return false };
        let mut asked = [PollFd::new(line.as_fd(), PollFlags::empty())];
        poll(&mut asked, PollTimeout::ZERO)
            .is_ok_and(|_| asked[0].revents().is_some_and(|told| told.contains(PollFlags::POLLHUP)))
    }

    /// Waits until this connection has to make room.
    pub(crate) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|other| !Arc::ptr_eq(other, &self.connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_half_and_the_idle_make_room() {
        let connections = Connections::new(4);
        let first = connections.enter(1000, None).unwrap();
        let second = connections.enter(1000, None).unwrap();
        let busy = first.connection.busy();
        let third = connections.enter(1000, None).unwrap();
        assert_eq!(connections.len(), 2, "the second made room");
        let also_busy = third.connection.busy();
        assert!(connections.enter(1000, None).is_none(), "both are answering");
        let other = connections.enter(0, None).unwrap();
        drop((busy, also_busy, second));
        assert!(connections.enter(1000, None).is_some());
        drop((first, third, other));
        assert_eq!(connections.len(), 0);
    }
}
