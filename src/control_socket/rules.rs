//! Mappings of the store, held against `[translation]`.

use std::net::{IpAddr, Ipv4Addr};

use control::config::{self, EamOverlap, EamRules};
use control_server::mappings::Rules;
use dataplane::table::prefix::TranslationPrefix;
use eam_store::{Eam, Lint, Overlaps};
use ipnet::{IpNet, Ipv4Net};

/// What a configuration says about mappings and addresses.
#[derive(Debug)]
pub(super) struct ConfiguredRules {
    eams: EamRules,
    overlap: EamOverlap,
    pools: Vec<Ipv4Net>,
    prefixes: Vec<TranslationPrefix>,
    denylist: Vec<Ipv4Net>,
}

impl ConfiguredRules {
    pub(super) fn new(settings: &config::Translation) -> Self {
        let prefixes = settings.prefixes.iter().filter_map(|prefix| TranslationPrefix::new(*prefix).ok());
        Self {
            eams: EamRules::new(settings),
            overlap: settings.eam_overlap,
            pools: settings.service_pools.clone(),
            prefixes: prefixes.collect(),
            denylist: settings.denylist.clone(),
        }
    }
}

impl Rules for ConfiguredRules {
    fn pools(&self) -> Vec<Ipv4Net> {
        self.pools.clone()
    }

    fn by_prefix(&self, address: IpAddr) -> Option<(IpAddr, IpNet)> {
        let is_denied = |address: Ipv4Addr| self.denylist.iter().any(|denied| denied.contains(&address));
        let (result, ipv4, prefix) = match address {
            IpAddr::V4(address) => {
                let prefix = self.prefixes.first()?;
                (IpAddr::V6(prefix.embed(address).address), address, prefix)
            }
            IpAddr::V6(address) => {
                let prefix = self.prefixes.iter().find(|prefix| prefix.contains(address))?;
                let extracted = prefix.extract(address);
                (IpAddr::V4(extracted), extracted, prefix)
            }
        };
        (!is_denied(ipv4)).then_some((result, IpNet::V6(prefix.network())))
    }

    fn of_store(&self) -> eam_store::Rules {
        let overlaps = match self.overlap {
            EamOverlap::Reject => Overlaps::Reject,
            EamOverlap::Warn => Overlaps::Warn,
            EamOverlap::Allow => Overlaps::Allow,
        };
        let lint = Some(Box::new(ByConfiguration(self.eams.clone())) as Box<dyn Lint>);
        eam_store::Rules { overlaps, lint, ..eam_store::Rules::default() }
    }
}

#[derive(Debug)]
struct ByConfiguration(EamRules);

impl Lint for ByConfiguration {
    fn check(&self, eam: &Eam) -> Result<Vec<String>, String> {
        self.0.check(config::Eam { ipv4: eam.ipv4(), ipv6: eam.ipv6() })
    }
}
