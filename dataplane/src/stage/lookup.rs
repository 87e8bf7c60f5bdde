//! Addresses: EAM first, translation prefix second (RFC 7757 3.3), for every address of a packet on its own,
//! quoted ones included. Nothing is written here.
//!
//! Refuses: spoofed and denylisted sources, sources without a mapping, the Well-Known Prefix with non-global
//! addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::classify::{is_illegal_source_ipv4, is_illegal_source_ipv6};
use super::{Pass, Refusal};
use crate::table::prefix::{NON_GLOBAL, TranslationPrefix};
use crate::table::translation::{Hairpin, Role, Translation};
use crate::table::{MappedV4, MappedV6};
use crate::verdict::DropReason;
use crate::wire::checksum::{Delta, Sum};

/// How an IPv6 address was mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// By an explicit address mapping.
    Eam,
    /// By a translation prefix.
    Prefix,
    /// By the pool of RFC 6791.
    IcmpSourcePool,
}

/// What an ICMP error quotes, for the rules that look at both headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<A> {
    /// Destination of the quoted packet.
    pub destination: A,
}

/// Maps the source of an IPv4 packet. `quoted` is given for ICMP errors.
///
/// # Errors
/// The source may not be translated.
#[inline]
pub fn source_v4_to_v6(
    translation: &Translation,
    source: Ipv4Addr,
    pass: Pass,
    quoted: Option<Quoted<Ipv4Addr>>,
) -> Result<MappedV6, Refusal> {
    let settings = &translation.settings;
    let turned = pass == Pass::Hairpin || settings.hairpin == Hairpin::Simple;
    // RFC 7757 4.2.1 rules 1 and 3: never by EAM, unless it is an error from somebody else than the quoted
    // destination.
    let eam_allowed = !turned || quoted.is_some_and(|quoted| quoted.destination != source);
    let eam = translation.eams.lookup_ipv4(source);
    let guarded =
        settings.anti_spoof && settings.role == Role::BorderRelay && pass == Pass::First && quoted.is_none();
    match eam {
        Some(mapped) if eam_allowed => {
            if guarded && translation.eams.covers_service(source) {
                return Err(DropReason::SpoofedSource.into());
            }
            return Ok(mapped);
        }
        // The simple hairpin comes back from the IPv4 network with a service address as its source.
        Some(_) => {}
        None if guarded && translation.service_pools.contains(source) => {
            return Err(DropReason::SpoofedSource.into());
        }
        None if settings.role == Role::EdgeRelay => return Err(DropReason::SpoofedSource.into()),
        None => {}
    }
    embed(translation, source)
}

/// Maps a quoted IPv4 source.
///
/// # Errors
/// It has no IPv6 form.
#[inline]
pub fn quoted_source_v4_to_v6(translation: &Translation, source: Ipv4Addr) -> Result<MappedV6, Refusal> {
    match translation.eams.lookup_ipv4(source) {
        Some(mapped) => Ok(mapped),
        None => embed_quoted(translation, source),
    }
}

/// Maps a quoted IPv4 destination; never by EAM when the packet is turned round (RFC 7757 4.2.1 rule 2).
///
/// # Errors
/// It has no IPv6 form.
#[inline]
pub fn quoted_destination_v4_to_v6(
    translation: &Translation,
    destination: Ipv4Addr,
    pass: Pass,
) -> Result<MappedV6, Refusal> {
    let turned = pass == Pass::Hairpin || translation.settings.hairpin == Hairpin::Simple;
    match translation.eams.lookup_ipv4(destination) {
        Some(mapped) if !turned => Ok(mapped),
        _ => embed_quoted(translation, destination),
    }
}

/// The IPv4-embedded form of an address, if policy lets it have one.
///
/// # Errors
/// Denylisted, or not global in the Well-Known Prefix.
#[inline]
pub fn embed(translation: &Translation, address: Ipv4Addr) -> Result<MappedV6, Refusal> {
    if translation.denylist.contains(address) {
        return Err(Refusal::prohibited_v4(DropReason::Denylisted));
    }
    if refused_by_well_known_prefix(translation, &translation.prefix, address) {
        return Err(Refusal::prohibited_v4(DropReason::WellKnownPrefixNonGlobal));
    }
    Ok(translation.prefix.embed(address))
}

fn embed_quoted(translation: &Translation, address: Ipv4Addr) -> Result<MappedV6, Refusal> {
    if never_through_prefix(translation, &translation.prefix, address) {
        return Err(DropReason::IcmpInnerUntranslatable.into());
    }
    Ok(translation.prefix.embed(address))
}

/// The IPv4 address embedded in `address`, if policy lets it be used.
///
/// # Errors
/// Denylisted, or not global in the Well-Known Prefix.
#[inline]
pub fn extract(
    translation: &Translation,
    prefix: &TranslationPrefix,
    address: Ipv6Addr,
) -> Result<MappedV4, Refusal> {
    let mapped = extract_unchecked(prefix, address);
    if refused_by_well_known_prefix(translation, prefix, mapped.address)
        && !is_illegal_source_ipv4(mapped.address)
    {
        return Err(Refusal::prohibited_v6(DropReason::WellKnownPrefixNonGlobal));
    }
    if translation.denylist.contains(mapped.address) {
        return Err(Refusal::prohibited_v6(DropReason::Denylisted));
    }
    Ok(mapped)
}

fn extract_unchecked(prefix: &TranslationPrefix, address: Ipv6Addr) -> MappedV4 {
    let extracted = prefix.extract(address);
    let delta = Delta::new(Sum::of_ipv6(address), Sum::of_ipv4(extracted));
    MappedV4 { address: extracted, delta, default_eam: false }
}

/// Maps the source of an IPv6 packet. `random` chooses from the pool of RFC 6791.
///
/// # Errors
/// The source may not be translated.
#[inline]
pub fn source_v6_to_v4(
    translation: &Translation,
    source: Ipv6Addr,
    is_icmp_error: bool,
    random: u32,
) -> Result<(MappedV4, Mapping), Refusal> {
    if is_illegal_source_ipv6(source) {
        return Err(DropReason::IllegalSource.into());
    }
    if let Some(mapped) = translation.eams.lookup_ipv6(source) {
        if is_illegal_source_ipv4(mapped.address) {
            return Err(DropReason::IllegalSource.into());
        }
        if translation.settings.role == Role::EdgeRelay
            && (translation.is_er_ipv6(source) || translation.is_er_ipv4(mapped.address))
        {
            return Err(DropReason::SpoofedSource.into());
        }
        return Ok((mapped, Mapping::Eam));
    }
    if let Some((prefix, _)) = translation.prefix_of(source) {
        return embedded_source(translation, prefix, source, is_icmp_error);
    }
    if !is_icmp_error {
        return Err(Refusal::prohibited_v6(DropReason::SourceNotMapped));
    }
    let address = translation
        .icmp_sources
        .pick(source, random)
        .ok_or(Refusal::silent(DropReason::IcmpSourcePoolEmpty))?;
    let delta = Delta::new(Sum::of_ipv6(source), Sum::of_ipv4(address));
    Ok((MappedV4 { address, delta, default_eam: false }, Mapping::IcmpSourcePool))
}

/// RFC 6052 5.1: an IPv6 host must not choose any IPv4 source it likes by using a prefix address.
fn embedded_source(
    translation: &Translation,
    prefix: &TranslationPrefix,
    source: Ipv6Addr,
    is_icmp_error: bool,
) -> Result<(MappedV4, Mapping), Refusal> {
    let address = prefix.extract(source);
    if is_illegal_source_ipv4(address) {
        return Err(DropReason::IllegalSource.into());
    }
    match translation.settings.role {
        Role::BorderRelay
            if translation.settings.anti_spoof
                && !is_icmp_error
                && !translation.translatable_pools.contains(address) =>
        {
            Err(DropReason::SpoofedSource.into())
        }
        Role::EdgeRelay if translation.is_er_ipv4(address) => Err(DropReason::SpoofedSource.into()),
        _ => Ok((extract(translation, prefix, source)?, Mapping::Prefix)),
    }
}

/// Maps a quoted IPv6 address.
///
/// # Errors
/// It has no IPv4 form.
#[inline]
pub fn quoted_v6_to_v4(translation: &Translation, address: Ipv6Addr) -> Result<(MappedV4, Mapping), Refusal> {
    const UNTRANSLATABLE: Refusal = Refusal::silent(DropReason::IcmpInnerUntranslatable);
    let (mapped, by) = match (translation.eams.lookup_ipv6(address), translation.prefix_of(address)) {
        (Some(mapped), _) => (mapped, Mapping::Eam),
        (None, Some((prefix, _))) => {
            let mapped = extract_unchecked(prefix, address);
            if never_through_prefix(translation, prefix, mapped.address) {
                return Err(UNTRANSLATABLE);
            }
            (mapped, Mapping::Prefix)
        }
        (None, None) => return Err(UNTRANSLATABLE),
    };
    if is_illegal_source_ipv4(mapped.address) {
        return Err(UNTRANSLATABLE);
    }
    Ok((mapped, by))
}

/// Whether no packet with this address can have come through the prefix, so that quoting one is nonsense.
fn never_through_prefix(translation: &Translation, prefix: &TranslationPrefix, address: Ipv4Addr) -> bool {
    translation.denylist.contains(address) || refused_by_well_known_prefix(translation, prefix, address)
}

/// RFC 6052 3.1: the Well-Known Prefix must not represent non-global IPv4 addresses.
fn refused_by_well_known_prefix(
    translation: &Translation,
    prefix: &TranslationPrefix,
    address: Ipv4Addr,
) -> bool {
    prefix.is_well_known() && translation.settings.wkp_strict && !is_global_ipv4(address)
}

fn is_global_ipv4(address: Ipv4Addr) -> bool {
    !NON_GLOBAL.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn non_global_addresses_are_those_of_rfc_6052() {
        for (address, global) in [
            ("8.8.8.8", true),
            ("9.255.255.255", true),
            ("10.0.0.1", false),
            ("100.63.255.255", true),
            ("100.64.0.0", false),
            ("100.127.255.255", false),
            ("100.128.0.0", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("172.15.255.255", true),
            ("172.31.255.255", false),
            ("192.0.0.9", false),
            ("192.0.1.0", true),
            ("192.0.2.1", false),
            ("192.88.99.1", false),
            ("192.168.0.1", false),
            ("198.17.255.255", true),
            ("198.19.255.255", false),
            ("198.51.100.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("240.0.0.1", false),
            ("0.1.2.3", false),
        ] {
            assert_eq!(is_global_ipv4(address.parse().unwrap()), global, "{address}");
        }
    }
}
