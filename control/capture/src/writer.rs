//! pcap files of raw IP packets.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::file::{CaptureError, STANDARD};
use crate::link::Link;

/// Snapshot length: more than any IP packet has.
const SNAPSHOT: u32 = 262_144;

/// Writes raw IP packets, with microseconds.
pub struct Writer {
    path: PathBuf,
    file: Box<dyn Write>,
    written: usize,
}

impl Writer {
    /// Creates (or overwrites) the file; `-` is standard output.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn create(path: &Path) -> Result<Self, CaptureError> {
        let io = |error| CaptureError::Io { path: shown(path), error };
        let file: Box<dyn Write> = if path.as_os_str() == STANDARD {
            Box::new(BufWriter::new(io::stdout()))
        } else {
            Box::new(BufWriter::new(File::create(path).map_err(io)?))
        };
        let mut writer = Self { path: shown(path), file, written: 0 };
        let version = 2 | 4 << 16;
        let header = [0xa1b2_c3d4, version, 0, 0, SNAPSHOT, u32::from(Link::RAW.0)];
        writer.all(&header.map(u32::to_le_bytes).concat())?;
        Ok(writer)
    }

    /// Appends a packet; returns its index.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn write(&mut self, timestamp: Duration, packet: &[u8]) -> Result<usize, CaptureError> {
        let index = self.written;
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        // The format has 32 bits for the seconds.
        let seconds = u32::try_from(timestamp.as_secs()).unwrap_or(u32::MAX);
        let header = [seconds, timestamp.subsec_micros(), length, length];
        self.all(&header.map(u32::to_le_bytes).concat())?;
        self.all(packet)?;
        self.written += 1;
        Ok(index)
    }

    /// Writes out what is still buffered.
    ///
    /// # Errors
    /// [`CaptureError::Io`].
    pub fn finish(mut self) -> Result<(), CaptureError> {
        let path = self.path.clone();
        self.file.flush().map_err(|error| CaptureError::Io { path, error })
    }

    fn all(&mut self, bytes: &[u8]) -> Result<(), CaptureError> {
        self.file.write_all(bytes).map_err(|error| CaptureError::Io { path: self.path.clone(), error })
    }
}

fn shown(path: &Path) -> PathBuf {
    if path.as_os_str() == STANDARD { "standard output".into() } else { path.to_owned() }
}
