//! The socket in the file system.
//!
//! A relay that died leaves its socket behind: nobody answers there, and it is replaced. A relay that answers is left alone. Test
//! and replacement happen under a lock on the directory, so two relays that start at once do not replace each other's.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Group, chown};

/// Owner and group may talk to the relay, nobody else.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Its directory.
    #[error("control.socket: directory {path}: {error}; create it, or choose a socket elsewhere")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Somebody is there.
    #[error(
        "control.socket: another relay answers at {0}; stop it first, or give this one another `socket` in [control]"
    )]
    Taken(PathBuf),
    /// Something else is there.
    #[error("control.socket: {0} is there and is no socket; remove it, or choose a socket elsewhere")]
    NotASocket(PathBuf),
    /// No such group.
    #[error(
        "control.group: there is no group {0:?}; create it with `groupadd --system {0}`, or leave `group` out"
    )]
    NoGroup(String),
    /// The group is there, and may not have it.
    #[error(
        "control.group: cannot give {path} to group {group}: {error}; start the relay as root, or as a member of that group"
    )]
    Group {
        /// The socket.
        path: PathBuf,
        /// The group.
        group: String,
        /// Why not.
        error: io::Error,
    },
    /// The system refuses.
    #[error("control.socket: {path}: cannot {what}: {error}")]
    System {
        /// The socket.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// A listening socket. Dropping it removes it from the file system.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Makes the socket, readable and writable for its owner and for `group`.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let gid = group.map(gid).transpose()?;
        let _lock = lock_directory(path)?;
        make_room(path)?;
        let failed = |what| move |error| ListenError::System { path: path.to_owned(), what, error };
        let socket = UnixListener::bind(path).map_err(failed("bind it"))?;
        let inode = fs::symlink_metadata(path).map_err(failed("look at it"))?.ino();
        let listener = Self { socket, path: path.to_owned(), inode };
        if let Some(group) = group {
            let refused = |error: nix::Error| {
                let group = group.to_owned();
                ListenError::Group { path: path.to_owned(), group, error: error.into() }
            };
            chown(path, None, gid).map_err(refused)?;
        }
        fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(failed("set its mode"))?;
        listener.socket.set_nonblocking(true).map_err(failed("make it non-blocking"))?;
        Ok(listener)
    }

    /// What would keep [`Self::bind`] from it, without making anything.
    #[must_use]
    pub fn obstacles(path: &Path, group: Option<&str>) -> Vec<ListenError> {
        let mut found = Vec::new();
        found.extend(group.and_then(|group| gid(group).err()));
        let directory = directory_of(path);
        // It makes one directory, and no more.
        let has_place = directory.is_dir() || !directory.exists() && directory_of(directory).is_dir();
        if !has_place {
            let error = ErrorKind::NotFound.into();
            found.push(ListenError::Directory { path: directory.to_owned(), error });
        }
        match fs::symlink_metadata(path) {
            Ok(there) if !there.file_type().is_socket() => {
                found.push(ListenError::NotASocket(path.to_owned()))
            }
            Ok(_) if UnixStream::connect(path).is_ok() => found.push(ListenError::Taken(path.to_owned())),
            Ok(_) | Err(_) => {}
        }
        found
    }

    /// A second handle, to accept on.
    pub(crate) fn accept_on(&self) -> io::Result<UnixListener> {
        self.socket.try_clone()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever took our place meanwhile keeps his.
        if fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn gid(name: &str) -> Result<nix::unistd::Gid, ListenError> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) | Err(_) => Err(ListenError::NoGroup(name.to_owned())),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn lock_directory(path: &Path) -> Result<Flock<File>, ListenError> {
    let directory = directory_of(path);
    let failed = |error| ListenError::Directory { path: directory.to_owned(), error };
    if let Err(error) = fs::create_dir(directory) {
        match error.kind() {
            ErrorKind::AlreadyExists => {}
            _ => return Err(failed(error)),
        }
    } else {
        fs::set_permissions(directory, Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let handle = File::open(directory).map_err(failed)?;
    Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))
}

/// Removes what a dead relay left behind.
fn make_room(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(there) if !there.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) | Err(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|error| ListenError::System { path: path.to_owned(), what: "replace it", error }),
        Ok(_) => Err(ListenError::Taken(path.to_owned())),
        // A full backlog is a relay that is busy.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ListenError::Taken(path.to_owned())),
        Err(error) => Err(ListenError::System { path: path.to_owned(), what: "connect to it", error }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_for_owner_and_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/control.sock");
        let listener = Listener::bind(&path, None).unwrap();
        let there = fs::symlink_metadata(&path).unwrap();
        assert_eq!(there.permissions().mode() & 0o7777, MODE);
        drop(listener);
        assert!(!path.exists(), "a relay that stops takes its socket with it");
    }

    #[test]
    fn what_a_crash_left_is_replaced_and_a_living_relay_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "std leaves the file: as a crash does");
        let first = Listener::bind(&path, None).unwrap();
        let error = Listener::bind(&path, None).unwrap_err();
        assert!(matches!(&error, ListenError::Taken(_)), "{error}");
        assert!(error.to_string().contains("stop it first"), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "the first still answers");
        drop(first);
    }

    #[test]
    fn a_file_in_its_place_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(ListenError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_group_that_does_not_exist_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error =
            Listener::bind(&directory.path().join("control.sock"), Some("no-such-group-7")).unwrap_err();
        assert!(error.to_string().contains("no-such-group-7"), "{error}");
    }

    #[test]
    fn obstacles_are_seen_beforehand() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let obstacles = |name: &str, group| {
            let found = Listener::obstacles(&path(name), group);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(obstacles("new/control.sock", None).is_empty(), "a directory is made");
        let missing = obstacles("new/deep/control.sock", Some("no-such-group-7"));
        assert!(missing[0].contains("no-such-group-7") && missing[1].contains("new/deep"), "{missing:?}");
        let listener = Listener::bind(&path("control.sock"), None).unwrap();
        assert!(obstacles("control.sock", None)[0].contains("another relay answers"));
        drop(listener);
        fs::write(path("control.sock"), "precious").unwrap();
        assert!(obstacles("control.sock", None)[0].contains("no socket"));
    }

    #[test]
    fn a_newer_relays_socket_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let old = Listener::bind(&path, None).unwrap();
        fs::rename(&path, directory.path().join("kept")).unwrap();
        let new = Listener::bind(&path, None).unwrap();
        drop(old);
        assert!(path.exists());
        drop(new);
    }
}
