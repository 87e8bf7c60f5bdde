//! `[translation]`.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::Report;
use super::port::mtu;
use crate::config::address::{
    WELL_KNOWN_PREFIX, ipv4_prefix, ipv6_prefix, not_unicast4, not_unicast6, overlap4,
    partly_never_forwarded, touches_private,
};
use crate::config::eams::Eams;
use crate::config::error::{Problem, ProblemKind, Warning, WarningKind};
use crate::config::file::TranslationTable;
use crate::config::lint::Table;
use crate::config::model::{
    CopyOr, EamOverlap, FragmentDf, Hairpin, IcmpErrors, IcmpSourceChoice, IcmpSourceDefault,
    IcmpSourceExtension, MayRemove, Port, Role, Translation, UdpZeroChecksum,
};
use crate::config::tree::{At, Field, List, WordOrFlag, WordOrNumber};

/// RFC 1191: no IPv4 link has a smaller MTU.
const PLATEAU_MIN: u16 = 68;

pub(in crate::config) fn translation(table: &TranslationTable, report: &mut Report) -> Translation {
    let roles = &[Role::BorderRelay, Role::EdgeRelay, Role::Siit];
    let role = report.choice(&table.role, &["br", "er", "siit"], roles);
    let prefixes = prefixes(table, report);
    let service_pools = pools(&table.service_pools, report);
    disjoint(&service_pools, report);
    let translatable_pools = pools(&table.translatable_pools, report);
    let icmp_source_pool = pools(&table.icmp_source_pool, report);
    let denylist = report_list(&table.denylist, report, ipv4_prefix);

    warn_well_known_prefix(&prefixes, &translatable_pools, report);
    warn_translatable(role, &translatable_pools, &service_pools, report);
    warn_service(&service_pools, report);
    warn_icmp_source(&icmp_source_pool, &service_pools, report);
    needs_prefix(table, &translatable_pools, report);
    Translation {
        role,
        er_addresses: er_addresses(table, role, report),
        hairpin: hairpin(table, role, report),
        prefixes: values(prefixes),
        service_pools: values(service_pools),
        translatable_pools: values(translatable_pools),
        icmp_source_pool: values(icmp_source_pool),
        denylist: values(denylist),
        lowest_ipv6_mtu: mtu(&table.lowest_ipv6_mtu, 1280, "RFC 7915 section 4", report),
        udp_zero_checksum: report.choice(
            &table.udp_zero_checksum,
            &["drop", "compute", "forward"],
            &[UdpZeroChecksum::Drop, UdpZeroChecksum::Compute, UdpZeroChecksum::Forward],
        ),
        udp_zero_checksum_ports: port_choices(&table.udp_zero_checksum_ports, report),
        traffic_class: copy_or(&table.traffic_class, report),
        type_of_service: copy_or(&table.type_of_service, report),
        icmp_errors: report.choice(
            &table.icmp_errors,
            &["limit", "send", "off"],
            &[IcmpErrors::Limit, IcmpErrors::Send, IcmpErrors::Off],
        ),
        icmp_error_rate: report.ranged(&table.icmp_error_rate, 1, 1_000_000, 1000),
        icmp_source_choice: report.choice(
            &table.icmp_source_choice,
            &["hash", "random"],
            &[IcmpSourceChoice::Hash, IcmpSourceChoice::Random],
        ),
        icmp_source_default: report.choice(
            &table.icmp_source_default,
            &["dummy", "own"],
            &[IcmpSourceDefault::Dummy, IcmpSourceDefault::Own],
        ),
        icmp_source_extension: icmp_source_extension(&table.icmp_source_extension, report),
        wkp_strict: flag(&table.wkp_strict, true),
        anti_spoof: flag(&table.anti_spoof, true),
        guard_protocols: flag(&table.guard_protocols, true),
        forward_native: flag(&table.forward_native, true),
        mtu_plateaus: mtu_plateaus(&table.mtu_plateaus, report),
        fragment_df: report.choice(
            &table.fragment_df,
            &["respect", "ignore"],
            &[FragmentDf::Respect, FragmentDf::Ignore],
        ),
        eam_overlap: report.choice(
            &table.eam_overlap,
            &["warn", "reject", "allow"],
            &[EamOverlap::Warn, EamOverlap::Reject, EamOverlap::Allow],
        ),
    }
}

// Lists of prefixes.

/// The legal entries of a list, each once.
fn report_list<N: Copy + Eq + std::hash::Hash>(
    field: &Field<List<String>>,
    report: &mut Report,
    parse: impl Fn(&str) -> Result<N, ProblemKind>,
) -> Vec<At<N>> {
    let Some(list) = field.given() else {
        return Vec::new();
    };
    let mut nets = Vec::with_capacity(list.value.items.len());
    for at in &list.value.items {
        match parse(&at.value) {
            Ok(net) => nets.push((at, net)),
            Err(kind) => report.problems.push(at.finding(kind)),
        }
    }
    report.distinct(nets)
}

/// IPv4 prefixes of which at least something can be translated.
fn pools(field: &Field<List<String>>, report: &mut Report) -> Vec<At<Ipv4Net>> {
    report_list(field, report, |text| {
        let net = ipv4_prefix(text)?;
        not_unicast4(net).map_or(Ok(net), |what| Err(ProblemKind::NotUnicast { what }))
    })
}

/// An empty list is a decision, a missing one is not.
fn prefixes(table: &TranslationTable, report: &mut Report) -> Vec<At<Ipv6Net>> {
    if let Some(list) = report.required(&table.prefixes, &table.place, "translation.prefixes")
        && lists_nothing(list)
    {
        report.warnings.push(list.key_finding(WarningKind::NoPrefix));
    }
    let prefixes = report_list(&table.prefixes, report, translation_prefix);
    disjoint(&prefixes, report);
    prefixes
}

fn lists_nothing<T>(list: &At<List<T>>) -> bool {
    list.value.whole && list.value.items.is_empty()
}

fn needs_prefix(table: &TranslationTable, translatable: &[At<Ipv4Net>], report: &mut Report) {
    if let (Some(list), Some(pool)) = (table.prefixes.given(), translatable.first())
        && lists_nothing(list)
    {
        report.problems.push(about(pool, pool.value, ProblemKind::TranslatableWithoutPrefix));
    }
}

/// RFC 6052 sections 2.1 and 2.2.
fn translation_prefix(text: &str) -> Result<Ipv6Net, ProblemKind> {
    let net = ipv6_prefix(text)?;
    let length = net.prefix_len();
    if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
        return Err(ProblemKind::Rfc6052Length { length });
    }
    if length < 96 && net.contains(&WELL_KNOWN_PREFIX) {
        return Err(ProblemKind::WellKnownPrefixLength);
    }
    let mut octets = net.addr().octets();
    if octets[8] != 0 {
        octets[8] = 0;
        return Err(ProblemKind::ReservedOctet { suggestion: Ipv6Net::new_assert(octets.into(), length) });
    }
    not_unicast6(net).map_or(Ok(net), |what| Err(ProblemKind::NotUnicast { what }))
}

/// Reports entries that overlap another one. Sorted, an enclosing prefix comes before what it encloses.
fn disjoint<N: Copy + Ord + Into<IpNet>>(nets: &[At<N>], report: &mut Report) {
    let mut sorted: Vec<(IpNet, &At<N>)> = nets.iter().map(|at| (at.value.into(), at)).collect();
    sorted.sort_by_key(|(net, _)| (net.network(), net.prefix_len()));
    let mut outer: Option<&(IpNet, &At<N>)> = None;
    for entry in &sorted {
        match outer {
            Some((other, place)) if other.contains(&entry.0) => {
                let kind = ProblemKind::PrefixOverlap { other: *other, place: place.place.clone() };
                report.problems.push(about(entry.1, entry.0, kind));
            }
            _ => outer = Some(entry),
        }
    }
}

fn about<N, K>(at: &At<N>, net: impl Into<IpNet>, kind: K) -> crate::config::error::Finding<K> {
    let value = Some(format!("\"{}\"", net.into()));
    crate::config::error::Finding { place: at.place.clone(), key: at.key.to_owned(), value, kind }
}

fn values<N>(nets: Vec<At<N>>) -> Vec<N> {
    nets.into_iter().map(|at| at.value).collect()
}

// What is legal and probably not meant.

fn warn_well_known_prefix(prefixes: &[At<Ipv6Net>], translatable: &[At<Ipv4Net>], report: &mut Report) {
    let Some(prefix) = prefixes.iter().find(|at| at.value == WELL_KNOWN_PREFIX) else {
        return;
    };
    report.warnings.push(about(prefix, prefix.value, WarningKind::WellKnownPrefix));
    if let Some(pool) = translatable.first() {
        report.warnings.push(about(pool, pool.value, WarningKind::WellKnownPrefixTranslatable));
    }
}

fn warn_translatable(role: Role, pools: &[At<Ipv4Net>], service_pools: &[At<Ipv4Net>], report: &mut Report) {
    for pool in pools {
        let looped = service_pools.iter().find(|service| overlap4(service.value, pool.value));
        let kind = match (role, looped) {
            (Role::EdgeRelay, _) => WarningKind::TranslatableOnEdgeRelay,
            (Role::BorderRelay | Role::Siit, Some(service)) => {
                WarningKind::TranslatableLoop { pool: service.value }
            }
            (Role::BorderRelay | Role::Siit, None) => WarningKind::Translatable,
        };
        report.warnings.push(about(pool, pool.value, kind));
    }
}

fn warn_service(pools: &[At<Ipv4Net>], report: &mut Report) {
    for pool in pools {
        if let Some(part) = partly_never_forwarded(pool.value) {
            report.warnings.push(about(pool, pool.value, WarningKind::ServicePoolTooWide { part }));
        }
    }
}

fn warn_icmp_source(pools: &[At<Ipv4Net>], service_pools: &[At<Ipv4Net>], report: &mut Report) {
    for pool in pools {
        if touches_private(pool.value) {
            report.warnings.push(about(pool, pool.value, WarningKind::PrivateIcmpSource));
        }
        if let Some(service) = service_pools.iter().find(|service| overlap4(service.value, pool.value)) {
            let kind = WarningKind::IcmpSourceInServicePool { pool: service.value };
            report.warnings.push(about(pool, pool.value, kind));
        }
    }
}

// Single values.

fn hairpin(table: &TranslationTable, role: Role, report: &mut Report) -> Hairpin {
    let words = &["intrinsic", "simple", "off"];
    let hairpin = report.choice(&table.hairpin, words, &[Hairpin::Intrinsic, Hairpin::Simple, Hairpin::Off]);
    if let (Role::EdgeRelay, Hairpin::Simple, Some(at)) = (role, hairpin, table.hairpin.given()) {
        report.problems.push(at.finding(ProblemKind::SimpleHairpinOnEdgeRelay));
    }
    if let (Hairpin::Simple, Some(at)) = (hairpin, table.hairpin.given())
        && table.prefixes.given().is_some_and(lists_nothing)
    {
        report.warnings.push(at.finding(WarningKind::SimpleHairpinWithoutPrefix));
    }
    hairpin
}

fn er_addresses(table: &TranslationTable, role: Role, report: &mut Report) -> Vec<Ipv6Net> {
    let list = table.er_addresses.given();
    let is_empty = list.is_none_or(|list| list.value.items.is_empty() && list.value.whole);
    match (role, list) {
        (Role::EdgeRelay, _) if is_empty && !matches!(table.er_addresses, Field::Wrong) => {
            let place = list.map_or(&table.place, |list| &list.place).clone();
            let key = "translation.er_addresses".to_owned();
            report.problems.push(Problem { place, key, value: None, kind: ProblemKind::NoErAddresses });
        }
        (Role::BorderRelay | Role::Siit, Some(list)) if !is_empty => {
            report.problems.push(list.key_finding(ProblemKind::ErAddressesOnBorderRelay));
        }
        _ => {}
    }
    values(report_list(&table.er_addresses, report, ipv6_prefix))
}

/// `true` and `false` are what the key took before there was a choice.
fn icmp_source_extension(field: &Field<WordOrFlag>, report: &mut Report) -> IcmpSourceExtension {
    const WORDS: &[&str] = &["off", "node-id", "rfc5837"];
    let values = [IcmpSourceExtension::Off, IcmpSourceExtension::NodeId, IcmpSourceExtension::Rfc5837];
    match field {
        Field::Absent | Field::Wrong => values[0],
        Field::Given(at) => match &at.value {
            WordOrFlag::Flag(flag) => values[if *flag { 2 } else { 0 }],
            WordOrFlag::Word(word) => report.choice(&Field::Given(at.map(word.clone())), WORDS, &values),
        },
    }
}

/// Ports with a choice of their own: a bare number has its checksums computed.
fn port_choices(field: &Field<List<WordOrNumber>>, report: &mut Report) -> Vec<(u16, UdpZeroChecksum)> {
    let mut choices: Vec<(u16, UdpZeroChecksum)> = Vec::new();
    for at in field.given().map(|list| list.value.items.as_slice()).unwrap_or_default() {
        match port_choice(&at.value) {
            Some((port, _)) if choices.iter().any(|(other, _)| *other == port) => {
                report.problems.push(at.finding(ProblemKind::RepeatedPort { port }));
            }
            Some(choice) => choices.push(choice),
            None => report.problems.push(at.finding(ProblemKind::NotAPortChoice)),
        }
    }
    choices.sort_unstable_by_key(|(port, _)| *port);
    choices
}

fn port_choice(value: &WordOrNumber) -> Option<(u16, UdpZeroChecksum)> {
    let (port, choice) = match value {
        WordOrNumber::Number(port) => (u16::try_from(*port).ok()?, UdpZeroChecksum::Compute),
        WordOrNumber::Word(text) => {
            let (port, choice) = text.split_once('=')?;
            let choice = match choice.trim() {
                "drop" => UdpZeroChecksum::Drop,
                "compute" => UdpZeroChecksum::Compute,
                "forward" => UdpZeroChecksum::Forward,
                _ => return None,
            };
            (port.trim().parse().ok()?, choice)
        }
    };
    (port > 0).then_some((port, choice))
}

fn copy_or(field: &Field<WordOrNumber>, report: &mut Report) -> CopyOr {
    let Some(at) = field.given() else {
        return CopyOr::Copy;
    };
    let kind = match &at.value {
        WordOrNumber::Word(word) if word == "copy" => return CopyOr::Copy,
        WordOrNumber::Word(_) => ProblemKind::NotCopyOrOctet,
        WordOrNumber::Number(number) => match u8::try_from(*number) {
            Ok(octet) => return CopyOr::Octet(octet),
            Err(_) => ProblemKind::OutOfRange { min: 0, max: 255 },
        },
    };
    report.problems.push(at.finding(kind));
    CopyOr::Copy
}

/// How many mappings a reload may remove.
pub(in crate::config) fn reload_may_remove(table: &TranslationTable, report: &mut Report) -> MayRemove {
    let Some(at) = table.reload_may_remove.given() else {
        return MayRemove::default();
    };
    let kind = match &at.value {
        WordOrNumber::Word(word) if word == "tenth" => return MayRemove::Tenth,
        WordOrNumber::Word(word) if word == "all" => return MayRemove::All,
        WordOrNumber::Word(_) => ProblemKind::NotAnAmount,
        WordOrNumber::Number(number) => match u32::try_from(*number) {
            Ok(number) => return MayRemove::Number(number),
            Err(_) => ProblemKind::OutOfRange { min: 0, max: i64::from(u32::MAX) },
        },
    };
    report.problems.push(at.finding(kind));
    MayRemove::default()
}

fn flag(field: &Field<bool>, default: bool) -> bool {
    field.given().map_or(default, |at| at.value)
}

fn mtu_plateaus(field: &Field<List<i64>>, report: &mut Report) -> Vec<u16> {
    let Some(list) = field.given() else {
        return Translation::MTU_PLATEAUS.to_vec();
    };
    report.not_empty(list);
    let mut plateaus = Vec::with_capacity(list.value.items.len());
    let mut previous = i64::MAX;
    for at in &list.value.items {
        match u16::try_from(at.value) {
            Ok(plateau) if plateau >= PLATEAU_MIN && at.value < previous => plateaus.push(plateau),
            Ok(plateau) if plateau >= PLATEAU_MIN => {
                report.problems.push(at.finding(ProblemKind::PlateauOrder { previous }));
            }
            _ => {
                let kind = ProblemKind::OutOfRange { min: PLATEAU_MIN.into(), max: u16::MAX.into() };
                report.problems.push(at.finding(kind));
            }
        }
        previous = at.value;
    }
    plateaus
}

// What depends on other tables.

/// What the EAMs decide: whether there is anything to translate, and whose addresses are whose.
pub(in crate::config) fn check_with_eams(
    file: &TranslationTable,
    translation: &Translation,
    eams: &Eams,
    index: &Table,
    report: &mut Report,
) {
    let texts =
        |field: &Field<List<String>>| field.given().map(|list| list.value.items.clone()).unwrap_or_default();
    if translation.role == Role::EdgeRelay {
        for at in texts(&file.er_addresses) {
            if ipv6_prefix(&at.value).is_ok_and(|net| index.covering_ipv6(net).is_none()) {
                report.problems.push(at.finding(ProblemKind::ErAddressWithoutEam));
            }
        }
    }
    for at in texts(&file.icmp_source_pool) {
        if let Some(row) = ipv4_prefix(&at.value).ok().and_then(|net| index.touching_ipv4(net)) {
            let eam = eams.reference(row);
            report.warnings.push(at.finding(WarningKind::IcmpSourceMapped { eam }));
        }
    }
    let without_eams = match translation.role {
        Role::BorderRelay => !translation.translatable_pools.is_empty(),
        Role::Siit => !translation.prefixes.is_empty(),
        Role::EdgeRelay => true,
    };
    if eams.is_empty() && !without_eams && report.problems.is_empty() {
        let key = "translation".to_owned();
        let kind = WarningKind::NothingToTranslate;
        report.warnings.push(Warning { place: file.place.clone(), key, value: None, kind });
    }
}

/// What the ports decide: `lowest_ipv6_mtu` above every port's MTU never applies.
pub(in crate::config) fn check_with_ports(table: &TranslationTable, ports: &[Port], report: &mut Report) {
    let (Some(at), Some(greatest)) = (table.lowest_ipv6_mtu.given(), ports.iter().map(|port| port.mtu).max())
    else {
        return;
    };
    if at.value > greatest.into() {
        report.warnings.push(at.finding(WarningKind::LowestMtuUnreachable { greatest }));
    }
}
