//! `[[port]]`.

use std::collections::HashMap;

use super::Report;
use crate::config::error::{Place, Problem, ProblemKind};
use crate::config::file::{File, PortTable, Section};
use crate::config::model::{Device, Port};
use crate::config::tree::{At, Field};

/// `RTE_MAX_ETHPORTS` of DPDK as the distributions build it.
const PORTS_MAX: usize = 32;
/// `RTE_DEV_NAME_MAX_LEN` less its terminator.
const DEVICE_NAME_MAX: usize = 63;
/// Least MTU of a link that carries IPv6 (RFC 8200 section 5), and the most a buffer of ours holds.
pub(super) const MTU_MIN: u16 = 1280;
pub(super) const MTU_MAX: u16 = 9000;

/// Validates every port; at least one is needed when `is_needed`.
pub(in crate::config) fn ports(file: &File, is_needed: bool, report: &mut Report) -> Vec<Port> {
    let tables = match &file.ports {
        Section::Given(tables) => tables.as_slice(),
        Section::Wrong => return Vec::new(),
        Section::Absent => &[],
    };
    let place = tables.first().map_or(&file.place, |table| &table.place);
    let finding = |kind| Problem { place: place.clone(), key: "port".to_owned(), value: None, kind };
    if is_needed && tables.is_empty() {
        let example = "a [[port]] with name and device";
        report.problems.push(finding(ProblemKind::MissingTable { example }));
    }
    if tables.len() > PORTS_MAX {
        report.problems.push(finding(ProblemKind::TooManyPorts { count: tables.len(), max: PORTS_MAX }));
    }
    let mut taken = Taken::default();
    tables.iter().filter_map(|table| port(table, &mut taken, report)).collect()
}

/// Names and devices in use so far.
#[derive(Default)]
struct Taken {
    names: HashMap<String, Place>,
    devices: HashMap<String, Place>,
}

fn port(table: &PortTable, taken: &mut Taken, report: &mut Report) -> Option<Port> {
    let name = report.required(&table.name, &table.place, "port.name").and_then(|at| name(at, taken, report));
    let device = report.required(&table.device, &table.place, "port.device");
    let device = device.and_then(|at| device_of(at, taken, report));
    let mtu = mtu(&table.mtu, 1500, "RFC 8200 section 5", report);
    Some(Port { name: name?, device: device?, mtu })
}

fn name(at: &At<String>, taken: &mut Taken, report: &mut Report) -> Option<String> {
    if !report.usable_text(at) {
        return None;
    }
    let length = at.value.chars().count();
    let allowed = |character: &char| character.is_ascii_alphanumeric() || "-_.".contains(*character);
    if let Some(character) = at.value.chars().find(|character| !allowed(character)) {
        report.problems.push(at.finding(ProblemKind::PortNameCharacter { character }));
    } else if at.value.chars().all(|character| character == '.') {
        report.problems.push(at.finding(ProblemKind::PortNameDots));
    } else if length > Port::NAME_MAX {
        report.problems.push(at.finding(ProblemKind::PortNameTooLong { length, max: Port::NAME_MAX }));
    } else if let Some(first) = taken.names.insert(at.value.clone(), at.place.clone()) {
        report.problems.push(at.finding(ProblemKind::DuplicatePortName { first: first.clone() }));
        taken.names.insert(at.value.clone(), first);
    } else {
        return Some(at.value.clone());
    }
    None
}

fn device_of(at: &At<String>, taken: &mut Taken, report: &mut Report) -> Option<Device> {
    if !report.usable_text(at) {
        return None;
    }
    let Some(device) = pci(&at.value).or_else(|| vdev(&at.value)) else {
        report.problems.push(at.finding(ProblemKind::NotADevice));
        return None;
    };
    let length = device.name().len();
    if length > DEVICE_NAME_MAX {
        report.problems.push(at.finding(ProblemKind::DeviceNameTooLong { length, max: DEVICE_NAME_MAX }));
        return None;
    }
    if let Some(first) = taken.devices.get(device.name()) {
        report.problems.push(at.finding(ProblemKind::DuplicateDevice { first: first.clone() }));
        return None;
    }
    taken.devices.insert(device.name().to_owned(), at.place.clone());
    Some(device)
}

/// `[domain:]bus:device.function[,arguments]`, brought to the form with a domain and lower case.
fn pci(text: &str) -> Option<Device> {
    let (address, arguments) = match text.split_once(',') {
        Some((address, arguments)) => (address, Some(arguments)),
        None => (text, None),
    };
    let (rest, function) = address.rsplit_once('.')?;
    let mut fields = rest.rsplit(':');
    let (device, bus) = (fields.next()?, fields.next()?);
    let domain = fields.next().unwrap_or("0000");
    let is_hex =
        |text: &str, digits: usize| text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    let is_function = matches!(function.as_bytes(), [b'0'..=b'7']);
    if fields.next().is_some() || !is_hex(domain, 4) || !is_hex(bus, 2) || !is_hex(device, 2) || !is_function
    {
        return None;
    }
    let mut argument = format!("{domain}:{bus}:{device}.{function}").to_ascii_lowercase();
    if let Some(arguments) = arguments {
        argument.push(',');
        argument.push_str(arguments);
    }
    Some(Device::Pci(argument))
}

/// `net_<driver>[,arguments]`: DPDK's virtual Ethernet drivers are all called so (`eth_` in older releases).
fn vdev(text: &str) -> Option<Device> {
    let name = text.split(',').next()?;
    let driver = name.strip_prefix("net_").or_else(|| name.strip_prefix("eth_"))?;
    let is_name =
        !driver.is_empty() && driver.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| Device::Vdev(text.to_owned()))
}

/// An MTU of an interface that carries IPv6.
pub(super) fn mtu(field: &Field<i64>, default: u16, reference: &'static str, report: &mut Report) -> u16 {
    let Some(at) = field.given() else { return default };
    let kind = if at.value < MTU_MIN.into() {
        ProblemKind::BelowIpv6Minimum { reference }
    } else if at.value > MTU_MAX.into() {
        ProblemKind::AboveMaximumMtu { max: MTU_MAX }
    } else {
        return u16::try_from(at.value).unwrap_or(default);
    };
    report.problems.push(at.finding(kind));
    default
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_addresses_take_one_form() {
        assert_eq!(pci("0000:3B:00.0"), Some(Device::Pci("0000:3b:00.0".to_owned())));
        assert_eq!(pci("3b:00.1"), Some(Device::Pci("0000:3b:00.1".to_owned())));
        assert_eq!(pci("3b:00.1,txq=2").as_ref().map(Device::name), Some("0000:3b:00.1"));
        for text in
            ["", "3b:00", "3b:00.8", "0:3b:00.0", "1:0000:3b:00.0", "3b:0.0", ".0", "3b:00.00", "é3b:00.0"]
        {
            assert_eq!(pci(text), None, "{text}");
        }
    }

    #[test]
    fn virtual_devices_are_known_by_their_prefix() {
        let device = vdev("net_af_xdp0,iface=veth0").unwrap();
        assert_eq!((device.name(), device.argument()), ("net_af_xdp0", "net_af_xdp0,iface=veth0"));
        for text in ["net_", "net", "veth0", "net_a b", "crypto_null0", "net_é"] {
            assert_eq!(vdev(text), None, "{text}");
        }
    }
}
