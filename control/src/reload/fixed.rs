//! What only a start can change: the workers, their memory, the ports, the control socket, what is announced how, and what
//! is counted.

use crate::config::{Announce, Control, Dpdk, Metrics, Port};

/// What the machine and the socket are.
type Fixed<'c> = (&'c Dpdk, &'c [Port], Option<&'c Control>, Option<&'c Announce>, Metrics);

/// The keys that differ, as the configuration calls them, with the port they belong to. Where they stand in the file
/// does not count.
pub(super) fn differences(old: Fixed<'_>, new: Fixed<'_>) -> Vec<String> {
    let mut keys = dpdk(old.0, new.0);
    keys.extend(ports(old.1, new.1));
    keys.extend(control(old.2, new.2));
    keys.extend(announce(old.3, new.3));
    keys.extend(metrics(old.4, new.4));
    keys
}

/// Whether DPDK that was started for one of them is what the other asks for.
#[must_use]
pub fn same_machine(old: (&Dpdk, &[Port]), new: (&Dpdk, &[Port])) -> bool {
    dpdk(old.0, new.0).is_empty() && ports(old.1, new.1).is_empty()
}

fn dpdk(old: &Dpdk, new: &Dpdk) -> Vec<String> {
    // A key added to the table must be decided about here: it does not compile otherwise.
    let Dpdk { workers, memory, memory_mb, poll, extra_args, places: _ } = new;
    let keys = [
        ("dpdk.workers", old.workers == *workers),
        ("dpdk.memory", old.memory == *memory),
        ("dpdk.memory_mb", old.memory_mb == *memory_mb),
        ("dpdk.poll", old.poll == *poll),
        ("dpdk.extra_args", old.extra_args == *extra_args),
    ];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key.to_owned()).collect()
}

fn control(old: Option<&Control>, new: Option<&Control>) -> Vec<String> {
    let (Some(old), Some(new)) = (old, new) else {
        return if old == new { Vec::new() } else { vec!["control".to_owned()] };
    };
    let Control { socket, group, store } = new;
    let keys = [
        ("control.socket", old.socket == *socket),
        ("control.group", old.group == *group),
        ("control.store", old.store == *store),
    ];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key.to_owned()).collect()
}

fn metrics(old: Metrics, new: Metrics) -> Vec<String> {
    let Metrics { listen, mappings } = new;
    let keys = [("metrics.listen", old.listen == listen), ("metrics.mappings", old.mappings == mappings)];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key.to_owned()).collect()
}

fn announce(old: Option<&Announce>, new: Option<&Announce>) -> Vec<String> {
    let (Some(old), Some(new)) = (old, new) else {
        return if old == new { Vec::new() } else { vec!["announce".to_owned()] };
    };
    let Announce { metric, drain_metric, default_route, drain_lead, drain_quiet_pps, drain_quiet, stop } =
        new;
    let keys = [
        ("announce.metric", old.metric == *metric),
        ("announce.drain_metric", old.drain_metric == *drain_metric),
        ("announce.default_route", old.default_route == *default_route),
        ("announce.drain_lead_seconds", old.drain_lead == *drain_lead),
        ("announce.drain_quiet_pps", old.drain_quiet_pps == *drain_quiet_pps),
        ("announce.drain_quiet_seconds", old.drain_quiet == *drain_quiet),
        ("announce.stop_seconds", old.stop == *stop),
    ];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key.to_owned()).collect()
}

fn ports(old: &[Port], new: &[Port]) -> Vec<String> {
    let names = |ports: &[Port]| ports.iter().map(|port| port.name.clone()).collect::<Vec<_>>();
    let (old_names, new_names) = (names(old), names(new));
    if old_names == new_names {
        return old.iter().zip(new).flat_map(|(old, new)| port(old, new)).collect();
    }
    let gone = old_names.iter().filter(|name| !new_names.contains(name));
    let come = new_names.iter().filter(|name| !old_names.contains(name));
    let mut keys: Vec<String> = gone.map(|name| format!("port {name} (gone)")).collect();
    keys.extend(come.map(|name| format!("port {name} (new)")));
    if keys.is_empty() {
        keys.push("the order of the ports".to_owned());
    }
    keys
}

fn port(old: &Port, new: &Port) -> Vec<String> {
    let Port { name, device, mtu } = new;
    let keys = [("port.device", old.device == *device), ("port.mtu", old.mtu == *mtu)];
    keys.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| format!("{key} of port {name}")).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    const BASE: &str = "[dpdk]\nworkers = [1]\nmemory = \"no-huge\"\n\
        [[port]]\nname = \"v4\"\ndevice = \"net_null0\"\n[[port]]\nname = \"v6\"\ndevice = \"net_null1\"\n\
        [translation]\nprefixes = [\"2001:db8:46::/96\"]\n";

    fn against_base(text: &str) -> Vec<String> {
        let load = |text| Config::parse(Path::new("relay.toml"), text).expect("a good file").0;
        let (old, new) = (load(BASE), load(text));
        differences(
            (&old.dpdk, &old.ports, old.control.as_ref(), old.announce.as_ref(), old.metrics),
            (&new.dpdk, &new.ports, new.control.as_ref(), new.announce.as_ref(), new.metrics),
        )
    }

    #[test]
    fn where_keys_stand_and_what_the_translation_says_does_not_count() {
        let moved = BASE.replace("workers = [1]", "\n# moved\nworkers = [ 1 ]\nmemory_mb = 512");
        assert_eq!(against_base(&format!("{moved}anti_spoof = false\n")), [] as [String; 0]);
    }

    #[test]
    fn every_key_of_the_machine_is_named() {
        let dpdk = "workers = [1, 0]\nmemory_mb = 64\npoll = \"busy\"\nextra_args = [\"-v\"]\n";
        let text = BASE.replace("workers = [1]\nmemory = \"no-huge\"\n", dpdk);
        let expected = ["dpdk.workers", "dpdk.memory", "dpdk.memory_mb", "dpdk.poll", "dpdk.extra_args"];
        assert_eq!(against_base(&text), expected);
    }

    #[test]
    fn the_socket_takes_a_restart() {
        assert_eq!(against_base(&format!("{BASE}[control]\n")), ["control"]);
        let load = |text: &str| Config::parse(Path::new("relay.toml"), text).expect("a good file").0.control;
        let old = load(&format!("{BASE}[control]\n"));
        let new = load(&format!("{BASE}[control]\nsocket = \"/x\"\ngroup = \"x\"\nstore = \"/y\"\n"));
        assert_eq!(control(old.as_ref(), new.as_ref()), ["control.socket", "control.group", "control.store"]);
        assert_eq!(control(new.as_ref(), new.as_ref()), [] as [String; 0]);
    }

    #[test]
    fn what_is_counted_and_where_it_is_asked_takes_a_restart() {
        let text = format!("{BASE}[metrics]\nlisten = \"127.0.0.1:9466\"\nmappings = \"exact\"\n");
        assert_eq!(against_base(&text), ["metrics.listen", "metrics.mappings"]);
        assert_eq!(against_base(&format!("{BASE}[metrics]\n[log]\nformat = \"json\"\n")), [] as [String; 0]);
    }

    #[test]
    fn ports_are_named_with_what_happened_to_them() {
        let changed = BASE.replace("\"net_null1\"", "\"net_null2\"\nmtu = 1520");
        assert_eq!(against_base(&changed), ["port.device of port v6", "port.mtu of port v6"]);
        let renamed = BASE.replace("\"v6\"", "\"inside\"");
        assert_eq!(against_base(&renamed), ["port v6 (gone)", "port inside (new)"]);
        let turned = BASE.replace("\"v4\"", "\"x\"").replace("\"v6\"", "\"v4\"").replace("\"x\"", "\"v6\"");
        assert_eq!(against_base(&turned), ["the order of the ports"]);
    }
}
