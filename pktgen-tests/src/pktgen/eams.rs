//! `pktgen eams`: the mapping file a relay needs for the generator's traffic.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::Ipv4Addr;
use std::path::Path;

use super::address::{service_v4, service_v6};
use super::error::PktgenError;

/// Writes EAMs 0 to `count - 1` as CSV, one `ipv4,ipv6` a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, base: Ipv4Addr, count: u32) -> Result<(), PktgenError> {
    let lines = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for number in 0..count {
            writeln!(file, "{}/32,{}/128", service_v4(base, number), service_v6(number))?;
        }
        file.flush()
    };
    lines().map_err(PktgenError::file(path))
}
