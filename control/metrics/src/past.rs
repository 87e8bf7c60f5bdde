//! What was before: the last reload, the relay before this one, and files that are newer than what was read.

use crate::health::timestamp;
use crate::page::{Kind, Page};
use crate::{LastExit, Readings};

/// Characters of a cause on a page at most.
const CAUSE: usize = 200;

pub(crate) fn families(page: &mut Page, readings: &Readings<'_>) {
    page.family(
        "last_reload_applied",
        Kind::Gauge,
        "Whether the last reload took over; absent when there was none.",
    );
    let reload = readings.status.last_reload.as_ref();
    if let Some(reload) = reload {
        page.sample(&[], u64::from(reload.applied));
    }
    page.family("last_reload_timestamp_seconds", Kind::Gauge, "When it was over.");
    if let Some(reload) = reload {
        page.real(&[], timestamp(reload.at));
    }
    let Some(store) = &readings.store else { return };
    page.family(
        "files_changed",
        Kind::Gauge,
        "Files of the configuration that are not as they were when they were read.",
    );
    page.sample(&[], store.files_changed);
    exit(page, store.last_exit.as_ref());
}

fn exit(page: &mut Page, last: Option<&LastExit>) {
    page.family("last_exit", Kind::Info, "How the relay before this one ended; absent when nobody knows.");
    if let Some(last) = last {
        let cause: String = last.cause.chars().take(CAUSE).collect();
        page.sample(&[("cause", &cause)], 1);
    }
    type Number = fn(&LastExit) -> u64;
    let families: [(&str, &str, Number); 3] = [
        ("last_exit_orderly", "Whether it ended as it was asked to.", |last| u64::from(last.orderly)),
        (
            "last_exit_timestamp_seconds",
            "When; of one that was killed, when it was last seen alive.",
            |last| last.at,
        ),
        ("last_exit_ran_seconds", "How long it ran.", |last| last.ran),
    ];
    for (name, help, number) in families {
        page.family(name, Kind::Gauge, help);
        if let Some(last) = last {
            page.sample(&[], number(last));
        }
    }
}
