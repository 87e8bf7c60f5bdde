//! What is known of each drop reason beside its count: since when, how much of it was sampled. Its rates are those of the count.

use std::time::SystemTime;

use control::observe::DropRow;

use crate::health::timestamp;
use crate::page::{Kind, Page};

/// A moment of a reason, if it had one.
type Moment = fn(&DropRow) -> Option<SystemTime>;
/// A number of a reason.
type Number = fn(&DropRow) -> u64;

/// Reasons without a drop are left out: their counts say so.
pub(crate) fn families(page: &mut Page, drops: &[DropRow]) {
    let seen = || drops.iter().filter(|row| row.rates.count > 0);
    let moments: [(&str, &str, Moment); 3] = [
        ("dropped_first_timestamp_seconds", "When the first packet was dropped for the reason.", |row| {
            row.rates.first_seen
        }),
        ("dropped_last_timestamp_seconds", "When the last one was.", |row| row.rates.last_seen),
        (
            "dropped_persistent_since_timestamp_seconds",
            "Since when it has grown without a pause, if it has for a minute.",
            |row| row.rates.persistent_since,
        ),
    ];
    for (name, help, moment) in moments {
        page.family(name, Kind::Gauge, help);
        for (row, at) in seen().filter_map(|row| Some((row, moment(row)?))) {
            page.real(&[("reason", row.reason.name())], timestamp(at));
        }
    }
    let numbers: [(&str, &str, Kind, Number); 2] = [
        (
            "drop_samples",
            "Samples of dropped packets that were taken; the other drops have none.",
            Kind::Counter,
            |row| row.sampled,
        ),
        (
            "drop_sampled_one_in",
            "One drop in so many is sampled, or was when there were any.",
            Kind::Gauge,
            |row| row.one_in,
        ),
    ];
    for (name, help, kind, number) in numbers {
        page.family(name, kind, help);
        for row in seen() {
            page.sample(&[("reason", row.reason.name())], number(row));
        }
    }
}
