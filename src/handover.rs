//! Interfaces that go from one process to the next.
//!
//! A twin's TAP and `bl-up` live as long as anybody has them open. A relay gives copies of these open files to one that stands by
//! for it (SCM_RIGHTS over the sockets of its claims, to processes of its own user), so when it ends, however it does, they stay: their
//! addresses, the routes over them, the sessions of routing daemons and what is announced. Whoever holds them goes on, or ends as
//! well, and then everything vanishes as it does without one.
//!
//! ```text
//!   standby -- connects to the claim of each twin -------> relay
//!           <------------------------- one byte, the file --
//!           -- one byte: it has prepared everything, ----->      `ready`: SIGUSR2 may hand over
//!              or could not start any more
//!           the connection ends with the relay
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use control::kernel::Tap;
use rustix::io::Errno;
use rustix::net::{
    self, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, sockopt,
};
use rustix::process::geteuid;
use tokio::task::spawn_local;

use crate::preflight::{Claims, TWIN, connect, wait_for};

/// Connections of relays that stand by, one for each twin; later ones are refused and have to look again and again.
const CONNECTIONS: usize = 64;
/// One that stands by has prepared everything.
const READY: u8 = b'r';
/// It has not, or not any more.
const NOT_READY: u8 = b'n';
/// How long a relay that is asked for a file may take. An old one does not know the question.
const PATIENCE: Duration = Duration::from_millis(500);

/// Those who stand by for this process.
#[derive(Clone, Default)]
pub(crate) struct Successors(Rc<RefCell<Vec<Successor>>>);

/// A connection of one, and what it last said of itself.
struct Successor {
    connection: OwnedFd,
    is_ready: bool,
}

impl Successors {
    /// Gives these devices to whoever stands by and asks, as long as they are there. Needs a local task set.
    pub(crate) fn serve(&self, claims: &Claims, devices: Vec<(String, Weak<Tap>)>) {
        for (name, socket) in claims.twins() {
            let Some((_, device)) = devices.iter().find(|(twin, _)| twin == name) else { continue };
            match socket.try_clone() {
                Ok(socket) => {
                    drop(spawn_local(answer(self.clone(), socket, name.to_owned(), device.clone())))
                }
                Err(error) => tracing::warn!(twin = name, %error, "nobody can take over without a gap"),
            }
        }
    }

    /// Whether one has prepared everything.
    pub(crate) fn ready(&self) -> bool {
        let mut successors = self.0.borrow_mut();
        successors.retain_mut(Successor::listen);
        successors.iter().any(|successor| successor.is_ready)
    }

    /// It is closed when there are too many.
    fn keep(&self, connection: OwnedFd) {
        let mut successors = self.0.borrow_mut();
        successors.retain_mut(Successor::listen);
        if successors.len() < CONNECTIONS {
            successors.push(Successor { connection, is_ready: false });
        }
    }
}

impl Successor {
    /// Takes in what it has said meanwhile, whose last word counts; false when it is gone.
    fn listen(&mut self) -> bool {
        let mut words = [0; 64];
        loop {
            match net::recv(&self.connection, &mut words, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return false,
                Ok((length, _)) => self.is_ready = words[length - 1] == READY,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }
}

/// Answers everybody who connects to the claim of a twin.
async fn answer(successors: Successors, socket: OwnedFd, name: String, device: Weak<Tap>) {
    let Ok(socket) = wait_for(socket) else { return };
    while let Ok(mut ready) = socket.readable().await {
        match net::accept_with(socket.get_ref(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(connection) => {
                // It is over: whoever connects now gets nothing, and sees the claim end.
                let Some(device) = device.upgrade() else { return };
                // Others can connect as well: they are neither given anything nor counted on.
                if let Err(error) = is_trusted(&connection) {
                    tracing::debug!(twin = name, %error, "not given away");
                    continue;
                }
                if let Err(error) = give(&connection, &device) {
                    tracing::debug!(twin = name, %error, "not given away");
                }
                successors.keep(connection);
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(error) => {
                tracing::debug!(twin = name, %error, "a connection failed");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

fn give(connection: &OwnedFd, device: &Tap) -> io::Result<()> {
    let file = device.share()?;
    let files = [file.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    net::sendmsg(connection, &[IoSlice::new(b"t")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Whether it is of a process of this one's user, or of root.
fn is_trusted(connection: &OwnedFd) -> io::Result<()> {
    let peer = sockopt::socket_peercred(connection)?;
    let trusted = peer.uid == geteuid() || peer.uid.is_root();
    if trusted { Ok(()) } else { Err(io::Error::from(Errno::PERM)) }
}

/// What the relay that is stood by for has given.
#[derive(Default)]
pub(crate) struct Held {
    files: BTreeMap<String, OwnedFd>,
    /// To the relay that gave or did not give the file of a twin; each ends with it.
    connections: BTreeMap<String, Arc<OwnedFd>>,
    is_ready: bool,
}

impl Held {
    /// Whether the interface of a twin is in this process' hands.
    pub(crate) fn has(&self, twin: &str) -> bool {
        self.files.contains_key(twin)
    }

    /// The file of a twin's interface.
    pub(crate) fn take(&mut self, twin: &str) -> Option<OwnedFd> {
        self.files.remove(twin)
    }

    /// A connection that ends with the owner of a twin.
    pub(crate) fn connection(&self, twin: &str) -> Option<Arc<OwnedFd>> {
        self.connections.get(twin).cloned()
    }

    /// Whether everything else is prepared, so that the relay may hand over. One that comes later is told at once.
    pub(crate) fn set_ready(&mut self, is_ready: bool) {
        if std::mem::replace(&mut self.is_ready, is_ready) != is_ready {
            self.connections.values().for_each(|connection| tell(connection, is_ready));
        }
    }
}

fn tell(connection: &OwnedFd, is_ready: bool) {
    // It is gone by now, then: that is noticed elsewhere.
    net::send(connection, &[if is_ready { READY } else { NOT_READY }], SendFlags::NOSIGNAL).ok();
}

/// Asks the owner of these twins for their files, and keeps what it gives. What it does not give will be made anew.
pub(crate) async fn ask(twins: Vec<String>, held: &RefCell<Held>) {
    let mut lacking = Vec::new();
    held.borrow_mut().connections.clear();
    for twin in twins {
        let given = tokio::time::timeout(PATIENCE, ask_for(&twin)).await;
        match given.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut))) {
            Ok((connection, file)) => {
                let mut held = held.borrow_mut();
                if held.is_ready {
                    tell(&connection, true);
                }
                held.files.insert(twin.clone(), file);
                held.connections.insert(twin, connection);
            }
            Err(error) => lacking.push(format!("{twin} ({error})")),
        }
    }
    let held = held.borrow();
    if lacking.is_empty() {
        tracing::info!(twins = held.files.len(), "the twins will stay when that relay ends");
    } else {
        tracing::warn!(
            "twins that will be made anew when that relay ends, without addresses: {}",
            lacking.join(", ")
        );
    }
}

async fn ask_for(twin: &str) -> io::Result<(Arc<OwnedFd>, OwnedFd)> {
    let connection = connect(TWIN, twin)?;
    is_trusted(&connection)?;
    let readable = wait_for(connection.try_clone()?)?;
    let ready = readable.readable().await?;
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    net::recvmsg(&connection, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    drop(ready);
    let mut files = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let file = files.next().and_then(|mut files| files.next());
    let file = file.ok_or_else(|| io::Error::other("that relay is ending"))?;
    Ok((Arc::new(connection), file))
}
