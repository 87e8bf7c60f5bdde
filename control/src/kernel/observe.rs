//! The kernel's view at one moment, for people: asked anew each time, so that nothing is kept for it and the follower is not
//! disturbed.

use std::io;

use super::event::Dump;
use super::netlink::dump::Dumper;

/// Asks the kernel for every link, address, neighbour and route. Blocks until it has answered: not for the control thread.
///
/// # Errors
/// When the kernel does not answer.
pub fn observe() -> io::Result<Dump> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let mut dumper = Dumper::start()?;
        loop {
            if let Some(dumped) = dumper.advance().await? {
                return Ok(dumped.dump);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_there() {
        let dump = observe().unwrap();
        assert!(dump.links.iter().any(|link| link.loopback), "{:?}", dump.links);
    }
}
