//! Which addresses may be the box's own, kept while they come and go.

use std::collections::HashMap;
use std::sync::Arc;

use ipnet::IpNet;

use crate::table::fib::LocalFilter;

/// Local routes of one table, by the place of their address in the filter.
#[derive(Default)]
pub(super) struct LocalAddresses {
    filter: Arc<LocalFilter>,
    /// How many addresses share each place, where there are any.
    counts: HashMap<usize, u32>,
    /// Prefixes of which every address may be local (AnyIP).
    prefixes: usize,
}

impl LocalAddresses {
    pub(super) fn filter(&self) -> Arc<LocalFilter> {
        Arc::clone(&self.filter)
    }

    /// A local route has come, or gone.
    pub(super) fn note(&mut self, destination: IpNet, local: bool) {
        let address = destination.addr();
        if destination.prefix_len() == destination.max_prefix_len() {
            let place = LocalFilter::place(address);
            let count = self.counts.entry(place).or_default();
            *count = if local { *count + 1 } else { *count - 1 };
            let any = *count > 0;
            if !any {
                self.counts.remove(&place);
            }
            if self.prefixes == 0 {
                Arc::make_mut(&mut self.filter).set(place, any);
            }
        } else if !address.is_loopback() && !address.is_multicast() {
            self.prefixes = if local { self.prefixes + 1 } else { self.prefixes - 1 };
            match (self.prefixes, local) {
                (1, true) => self.filter = Arc::new(LocalFilter::full()),
                (0, _) => self.filter = Arc::new(self.counted()),
                _ => {}
            }
        }
    }

    fn counted(&self) -> LocalFilter {
        let mut filter = LocalFilter::default();
        self.counts.keys().for_each(|place| filter.set(*place, true));
        filter
    }
}
