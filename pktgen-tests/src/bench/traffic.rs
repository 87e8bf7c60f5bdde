//! What is sent through the device under test, and how rows are named after it.

use std::fmt;

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the IPv4 port to the IPv6 port.
    V4ToV6,
    /// From the IPv6 port to the IPv4 port.
    V6ToV4,
    /// Both at once, in equal parts.
    Mixed,
}

impl Direction {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::V4ToV6, Self::V6ToV4, Self::Mixed];

    /// As it stands in the names of rows.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::V4ToV6 => "v4_to_v6",
            Self::V6ToV4 => "v6_to_v4",
            Self::Mixed => "mixed",
        }
    }

    /// As it stands in tables.
    #[must_use]
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::V4ToV6 => "v4 to v6",
            Self::V6ToV4 => "v6 to v4",
            Self::Mixed => "mixed",
        }
    }
}

/// How long frames are, in IPv4 and with their checksum; in IPv6 they are 20 bytes longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// All of one size.
    Bytes(u32),
    /// Seven of 64, four of 594 and one of 1518 bytes.
    Imix,
}

impl Size {
    /// The smallest frame there is.
    pub(super) const SMALLEST: Self = Self::Bytes(64);
    /// What the rate is measured for.
    pub(super) const SWEEP: [u32; 6] = [64, 128, 256, 512, 1024, 1280];
    /// Bytes of an average IMIX frame.
    const IMIX_MEAN: f64 = (7.0 * 64.0 + 4.0 * 594.0 + 1518.0) / 12.0;

    /// Bytes of an average frame.
    #[must_use]
    pub(super) fn mean(self) -> f64 {
        match self {
            Self::Bytes(bytes) => f64::from(bytes),
            Self::Imix => Self::IMIX_MEAN,
        }
    }

    /// Millions of frames per second that fit on a wire, whose narrow side is IPv6: 20 bytes of header more, and 20
    /// bytes between frames.
    #[must_use]
    pub(super) fn wire_mpps(self, gigabits: f64) -> f64 {
        gigabits * 1000.0 / ((self.mean() + 20.0 + 20.0) * 8.0)
    }
}

/// How many EAMs the table has and the traffic draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// 1.
    One,
    /// 10,000: what rows that name no number have.
    TenThousand,
    /// 1,000,000.
    Million,
}

impl Table {
    /// The number.
    #[must_use]
    pub(super) fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::TenThousand => 10_000,
            Self::Million => 1_000_000,
        }
    }
}

/// One kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Which way.
    pub(super) direction: Direction,
    /// How long.
    pub(super) size: Size,
    /// To how many services.
    pub(super) table: Table,
    /// Whether UDP over IPv4 has a checksum.
    pub(super) udp_checksum: bool,
}

impl Traffic {
    /// With everything that is not named as it usually is.
    #[must_use]
    pub(super) fn usual(direction: Direction, size: Size, table: Table) -> Self {
        Self { direction, size, table, udp_checksum: true }
    }

    /// The row of that kind for this traffic: `ratio_testpmd_mixed`, `rate_relay_v4_to_v6_eam_1m_imix`. The usual
    /// table and the smallest size are not named.
    #[must_use]
    pub(super) fn row(&self, kind: &str) -> String {
        let table = match self.table {
            Table::One => "_eam_1",
            Table::TenThousand => "",
            Table::Million => "_eam_1m",
        };
        let size = match self.size {
            Size::SMALLEST => String::new(),
            Size::Bytes(bytes) => format!("_{bytes}"),
            Size::Imix => "_imix".into(),
        };
        format!("{kind}_{}{table}{size}", self.direction.name())
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let size = match self.size {
            Size::Bytes(bytes) => format!("{bytes} bytes"),
            Size::Imix => "IMIX".into(),
        };
        write!(formatter, "{}, {size}, {} EAMs", self.direction.title(), self.table.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_the_fixed_names() {
        let usual = |direction| Traffic::usual(direction, Size::SMALLEST, Table::TenThousand);
        let names = Direction::ALL.map(|direction| usual(direction).row("ratio_testpmd"));
        assert_eq!(names, ["ratio_testpmd_v4_to_v6", "ratio_testpmd_v6_to_v4", "ratio_testpmd_mixed"]);
        let other = Traffic { size: Size::Imix, table: Table::Million, ..usual(Direction::Mixed) };
        assert_eq!(other.row("rate_relay"), "rate_relay_mixed_eam_1m_imix");
        assert_eq!(Traffic { size: Size::Bytes(512), ..usual(Direction::Mixed) }.row("x"), "x_mixed_512");
        assert_eq!(other.to_string(), "mixed, IMIX, 1000000 EAMs");
    }

    #[test]
    fn the_wire_limit_is_the_ipv6_side() {
        let limits = [10.0, 25.0, 100.0].map(|gigabits| Size::SMALLEST.wire_mpps(gigabits));
        assert_eq!(limits.map(|limit| format!("{limit:.2}")), ["12.02", "30.05", "120.19"]);
        assert!((Size::Imix.mean() - 361.83).abs() < 0.01);
    }
}
