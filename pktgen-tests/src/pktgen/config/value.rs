//! Values with a form of their own: frame sizes, rates, MAC addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::LARGEST_FRAME;

/// A frame size on the IPv4 side, frame check sequence included, or a mix of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "NumberOrText", into = "NumberOrText")]
pub enum FrameBytes {
    /// One size.
    Bytes(u16),
    /// 7 of 64, 4 of 594 and 1 of 1518 bytes.
    Imix,
}

impl FrameBytes {
    /// The sizes, as often as they occur in a round.
    #[must_use]
    pub fn round(self) -> Vec<u16> {
        match self {
            Self::Bytes(bytes) => vec![bytes],
            Self::Imix => vec![64, 594, 64, 594, 64, 594, 64, 594, 64, 64, 64, 1518],
        }
    }

    /// The largest of them.
    #[must_use]
    pub fn largest(self) -> u16 {
        self.round().into_iter().max().unwrap_or(0)
    }
}

impl fmt::Display for FrameBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Imix => f.write_str("imix"),
        }
    }
}

impl std::str::FromStr for FrameBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "imix" => Ok(Self::Imix),
            _ => text
                .parse()
                .map(Self::Bytes)
                .map_err(|_| format!("`{text}` is no frame size: give 64 to {LARGEST_FRAME} bytes, or imix")),
        }
    }
}

/// Packets per second.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub enum Rate {
    /// As many as the driver takes.
    Max,
    /// So many.
    PerSecond(f64),
}

impl std::str::FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => text
                .parse()
                .ok()
                .filter(|rate: &f64| rate.is_finite() && *rate >= 1.0)
                .map(Self::PerSecond)
                .ok_or_else(|| format!("`{text}` is no rate: give packets per second, or max")),
        }
    }
}

/// What TOML and JSON write for a size or a rate.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum NumberOrText {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl NumberOrText {
    fn text(self) -> String {
        match self {
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl TryFrom<NumberOrText> for FrameBytes {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        value.text().parse()
    }
}

impl From<FrameBytes> for NumberOrText {
    fn from(value: FrameBytes) -> Self {
        match value {
            FrameBytes::Bytes(bytes) => Self::Integer(bytes.into()),
            FrameBytes::Imix => Self::Text("imix".into()),
        }
    }
}

impl TryFrom<NumberOrText> for Rate {
    type Error = String;

    fn try_from(value: NumberOrText) -> Result<Self, String> {
        value.text().parse()
    }
}

/// A MAC address, written `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bytes: Vec<u8> = text
            .split(':')
            .filter(|part| part.len() == 2)
            .filter_map(|part| u8::from_str_radix(part, 16).ok())
            .collect();
        match <[u8; 6]>::try_from(bytes) {
            Ok(bytes) if text.len() == 17 && bytes[0] & 1 == 0 => Ok(Self(bytes)),
            _ => Err(format!("`{text}` is no MAC address of one station: write it as 02:00:00:00:00:01")),
        }
    }
}
