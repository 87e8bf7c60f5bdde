//! What a wire needs, from measured cycles: packets per second times cycles per packet is cycles per second, and a core
//! has so many of them.

use super::report::Report;
use super::table;
use super::traffic::Size;

/// Wires, in gigabits per second.
pub(super) const WIRES: [f64; 3] = [10.0, 25.0, 100.0];
/// The frequency of the cores of the model, in GHz.
pub(super) const GIGAHERTZ: f64 = 3.0;

/// Cores that keep up with one direction of a wire filled with frames of a size.
#[must_use]
pub(super) fn cores(gigabits: f64, size: Size, cycles: f64) -> f64 {
    size.wire_mpps(gigabits) * cycles / (GIGAHERTZ * 1000.0)
}

/// The table: a row for each count of cycles, a column for each wire and size.
#[must_use]
pub(super) fn markdown(report: &Report) -> Option<String> {
    let head = ["cycles per packet", "10G", "25G", "100G", "10G IMIX", "25G IMIX", "100G IMIX"];
    let counts = [
        ("translation alone, 10,000 EAMs", "cycles_mixed_eam_10k"),
        ("translation alone, 1,000,000 EAMs", "cycles_mixed_eam_1m"),
        ("whole relay over this run's wires, 10,000 EAMs", "vdev_cycles_relay_mixed"),
        ("whole relay over this run's wires, 1,000,000 EAMs", "vdev_cycles_relay_mixed_eam_1m"),
    ];
    let rows: Vec<Vec<String>> = counts
        .into_iter()
        .filter_map(|(title, name)| {
            let cycles = report.row(name)?.value;
            let first = format!("{} ({title})", table::number(cycles));
            let cells = [Size::SMALLEST, Size::Imix]
                .into_iter()
                .flat_map(|size| WIRES.map(|wire| table::number(cores(wire, size, cycles))));
            Some(std::iter::once(first).chain(cells).collect())
        })
        .collect();
    (!rows.is_empty()).then(|| table::markdown(&head, &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_packets_times_cycles() {
        // 12.02 million packets of 100 cycles are 1.2 GHz: 0.4 of a core of 3 GHz.
        assert!((cores(10.0, Size::SMALLEST, 100.0) - 0.4006).abs() < 0.0001);
        assert!((cores(100.0, Size::SMALLEST, 100.0) - 4.006).abs() < 0.001);
        assert!(cores(100.0, Size::Imix, 100.0) < 1.1);
    }
}
