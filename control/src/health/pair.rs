//! Two hosts that speak to each other in a probe.

use std::net::Ipv6Addr;

use dataplane::table::translation::Translation;

use super::audit::Mapped;

/// A client and the host it speaks to, each with the address it has in the other family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pair {
    pub(super) client: Mapped,
    pub(super) host: Mapped,
}

impl Pair {
    /// Whether both have these addresses by the tables.
    pub(super) fn is_in(&self, translation: &Translation) -> bool {
        is_translated(self.client, translation) && is_translated(self.host, translation)
    }
}

/// Whether mappings make either address of the other.
pub(super) fn is_mapped((ipv4, ipv6): Mapped, translation: &Translation) -> bool {
    translation.eams.lookup_ipv4(ipv4).is_some_and(|best| best.address == ipv6)
        && translation.eams.lookup_ipv6(ipv6).is_some_and(|best| best.address == ipv4)
}

/// Whether mappings do, or where there are none the prefix.
fn is_translated((ipv4, ipv6): Mapped, translation: &Translation) -> bool {
    let eams = &translation.eams;
    if eams.lookup_ipv4(ipv4).is_some() || eams.lookup_ipv6(ipv6).is_some() {
        return is_mapped((ipv4, ipv6), translation);
    }
    let is = |form: Option<Ipv6Addr>| form == Some(ipv6);
    let is_translatable = translation.translatable_pools.contains(ipv4);
    is(translation.embed_plain(ipv4).map(|form| form.address))
        || is_translatable && is(translation.prefix.as_ref().map(|prefix| prefix.embed(ipv4).address))
}
