//! Undoes what nobody confirms in time. The store's clock is the monotonic one: setting the wall clock neither undoes nor keeps.

use std::thread;
use std::time::Duration;

use super::Mappings;

/// How often the store is asked whether the time is over, at least.
const LOOK: Duration = Duration::from_secs(1);

impl Mappings {
    /// On a thread that ends with the relay.
    pub(super) fn watch_the_clock(&self) {
        let shared = self.downgrade();
        let watch = move || {
            while let Some(mappings) = shared.upgrade() {
                let left = mappings.time_left();
                if left.is_some_and(|left| left.is_zero())
                    && let Err(error) = mappings.expire()
                {
                    tracing::error!("a change that nobody confirmed cannot be undone for good yet: {error}");
                    drop(mappings);
                    thread::sleep(LOOK);
                    continue;
                }
                drop(mappings);
                thread::sleep(left.unwrap_or(LOOK).clamp(Duration::from_millis(10), LOOK));
            }
        };
        if let Err(error) = thread::Builder::new().name("confirm".into()).spawn(watch) {
            tracing::error!("changes cannot be undone by time: {error}");
        }
    }
}
