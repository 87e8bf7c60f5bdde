//! Dropped packets: how many, since when, and samples of them.

use serde::{Deserialize, Serialize};

/// What is known of one drop reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropCount {
    /// The reason, as in reports and counters.
    pub reason: String,
    /// Packets since the start.
    pub count: u64,
    /// Packets a second in the last second or two.
    pub rate: f64,
    /// Packets a second in the last minute, or since the start.
    pub rate_1m: f64,
    /// Packets a second in the last hour, or since the start.
    pub rate_1h: f64,
    /// When the first was counted, RFC 3339, UTC; none without any.
    pub first_seen: Option<String>,
    /// When the last was counted, RFC 3339, UTC; none without any.
    pub last_seen: Option<String>,
    /// Samples that were taken.
    pub sampled: u64,
    /// Drops without a sample, because there were too many or nobody took it in time: `count` less `sampled`.
    pub samples_lost: u64,
    /// One drop in so many is sampled by each worker, or was when there were any.
    pub one_in: u64,
    /// Since when it has grown without a pause, RFC 3339, UTC; none unless it has for a minute.
    pub persistent_since: Option<String>,
    /// What it means, one sentence.
    pub meaning: String,
    /// What to check.
    pub check: String,
}

/// Every drop reason there is, those without a drop included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Drops(pub Vec<DropCount>);

/// One dropped packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropSample {
    /// Its number, for `/v1/drops/samples/{id}`. Counts up.
    pub id: u64,
    /// When it was dropped, RFC 3339, UTC, with microseconds.
    pub time: String,
    /// The same in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The port it was received on; the one that refused it for `transmit_queue_full`.
    pub port: String,
    /// The queue of the port it was received from; 0 if the control thread dropped it.
    pub queue: u16,
    /// The worker, by its place in the configuration; 0 if the control thread dropped it.
    pub worker: u16,
    /// The control thread dropped it: translated already where the reason is about its next hop, and `port` is the one it was
    /// to leave by.
    #[serde(default)]
    pub control: bool,
    /// Why it was dropped.
    pub reason: String,
    /// It stands for so many drops of its reason, itself included.
    pub one_in: u64,
    /// What `bytes` begin with: `ip`, or `ethernet` for what is no IP packet.
    pub layer: String,
    /// Bytes it had, from there on.
    pub length: u64,
    /// The first of them, 2,000 at most, in hexadecimal.
    pub bytes: String,
}

/// Samples, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct DropSamples(pub Vec<DropSample>);

/// A drop reason that keeps growing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PersistentDrop {
    /// The reason.
    pub reason: String,
    /// Packets a second in the last minute.
    pub rate_1m: f64,
    /// Since when, RFC 3339, UTC.
    pub since: String,
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// Bytes of hexadecimal digits; none when it is something else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_hexadecimal() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        for wrong in ["0", "0g", "+1", "é0"] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
