//! A TAP or TUN interface as an open file. The interface lives as long as anybody has that file open: one who is to take over
//! from this process is given it ([`Tap::share`]), and then the interface outlives the process, with its addresses, its routes
//! and the sessions of routing daemons over it.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::io::unix::AsyncFd;

/// The open file of an interface.
pub struct Tap(Device);

enum Device {
    /// Made by this process.
    Made(tokio_tun::Tun),
    /// Made by one before it.
    Inherited(AsyncFd<OwnedFd>),
}

impl Tap {
    pub(super) const fn made(device: tokio_tun::Tun) -> Self {
        Self(Device::Made(device))
    }

    /// What another process made and gave to this one. Needs a runtime.
    #[allow(
        deprecated,
        reason = "its replacement is unsafe, which this crate forbids; what it asks for holds: an OwnedFd, never replaced"
    )]
    pub(super) fn inherited(file: OwnedFd) -> io::Result<Self> {
        Ok(Self(Device::Inherited(AsyncFd::new(file)?)))
    }

    /// The same open file once more, for another process.
    ///
    /// # Errors
    /// What the kernel said: it is too old (before 5.6), or does not allow this to processes of a container.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match &self.0 {
            Device::Made(device) => {
                let own = pidfd_open(getpid(), PidfdFlags::empty())?;
                Ok(pidfd_getfd(own, device.as_raw_fd(), PidfdGetfdFlags::empty())?)
            }
            Device::Inherited(file) => file.get_ref().try_clone(),
        }
    }

    /// The next frame or packet of the kernel. Cancel-safe.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Device::Made(device) => device.recv(buffer).await,
            Device::Inherited(file) => loop {
                let mut guard = file.readable().await?;
                match rustix::io::read(file.get_ref(), &mut *buffer) {
                    Err(Errno::AGAIN) => guard.clear_ready(),
                    result => return Ok(result?),
                }
            },
        }
    }

    /// Gives a frame or packet to the kernel, which takes or refuses it at once.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.0 {
            Device::Made(device) => device.try_send(bytes).map(drop),
            Device::Inherited(file) => Ok(rustix::io::write(file.get_ref(), bytes).map(drop)?),
        }
    }
}
