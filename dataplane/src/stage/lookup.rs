//! Addresses: EAM first, translation prefix second (RFC 7757 3.3), for every address of a packet on its own,
//! quoted ones included. Nothing is written here.
//!
//! Refuses: spoofed and denylisted sources, sources without a mapping, the Well-Known Prefix with non-global
//! addresses, and what is never forwarded ([`crate::table::special`]).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Pass, Refusal};
use crate::table::prefix::{NON_GLOBAL, TranslationPrefix};
use crate::table::special::{
    DUMMY_IPV4, is_martian_ipv4, never_destination_ipv4, never_forwarded_ipv6, never_source_ipv4,
};
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
    /// Not at all: an ICMP error speaks with an address that stands for any router (RFC 6791).
    StandIn,
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
    // Without a prefix every client has an EAM of its own.
    let guarded = settings.anti_spoof
        && settings.role == Role::BorderRelay
        && translation.prefix.is_some()
        && pass == Pass::First
        && quoted.is_none();
    match eam {
        Some(mapped) if eam_allowed => {
            if guarded && translation.eams.covers_service(source) {
                return Err(DropReason::SpoofedSource.into());
            }
            if never_forwarded_ipv6(mapped.address) {
                return Err(DropReason::IllegalSource.into());
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

/// Maps the source of an ICMPv4 error; none when it has no IPv6 form although the error should pass: without a
/// translation prefix, for the dummy address, which the Well-Known Prefix must not represent, and for whatever stands in for
/// a router in the second pass, which nobody outside has sent.
///
/// # Errors
/// The source may not be translated.
pub fn error_source_v4_to_v6(
    translation: &Translation,
    source: Ipv4Addr,
    pass: Pass,
    quoted: Quoted<Ipv4Addr>,
) -> Result<Option<MappedV6>, Refusal> {
    let outlaw = match &translation.prefix {
        None => translation.eams.lookup_ipv4(source).is_none(),
        Some(prefix) if pass == Pass::Hairpin => {
            translation.eams.lookup_ipv4(source).is_none()
                && never_through_prefix(translation, prefix, source)
        }
        Some(prefix) => source == DUMMY_IPV4 && refused_by_well_known_prefix(translation, prefix, source),
    };
    if outlaw {
        return Ok(None);
    }
    if let (Some(prefix), DUMMY_IPV4) = (&translation.prefix, source) {
        return Ok(Some(prefix.embed(source)));
    }
    source_v4_to_v6(translation, source, pass, Some(quoted)).map(Some)
}

/// Maps a quoted IPv4 source.
///
/// # Errors
/// It has no IPv6 form.
#[inline]
pub fn quoted_source_v4_to_v6(translation: &Translation, source: Ipv4Addr) -> Result<MappedV6, Refusal> {
    if never_source_ipv4(source) {
        return Err(DropReason::IcmpInnerUntranslatable.into());
    }
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
    if never_destination_ipv4(destination) {
        return Err(DropReason::IcmpInnerUntranslatable.into());
    }
    let turned = pass == Pass::Hairpin || translation.settings.hairpin == Hairpin::Simple;
    match translation.eams.lookup_ipv4(destination) {
        Some(mapped) if !turned => Ok(mapped),
        _ => embed_quoted(translation, destination),
    }
}

/// The IPv4-embedded form of an address, if policy lets it have one.
///
/// # Errors
/// No prefix, denylisted, or not global in the Well-Known Prefix.
#[inline]
pub fn embed(translation: &Translation, address: Ipv4Addr) -> Result<MappedV6, Refusal> {
    let Some(prefix) = &translation.prefix else {
        return Err(Refusal::prohibited_v4(DropReason::SourceNotMapped));
    };
    let refused = if translation.denylist.contains(address) {
        Some(DropReason::Denylisted)
    } else if refused_by_well_known_prefix(translation, prefix, address) {
        Some(DropReason::WellKnownPrefixNonGlobal)
    } else {
        None
    };
    if let Some(reason) = refused
        && !passes_by_row(translation, prefix, address)
    {
        return Err(Refusal::prohibited_v4(reason));
    }
    Ok(prefix.embed(address))
}

fn embed_quoted(translation: &Translation, address: Ipv4Addr) -> Result<MappedV6, Refusal> {
    match &translation.prefix {
        Some(prefix)
            if !never_through_prefix(translation, prefix, address)
                || passes_by_row(translation, prefix, address) =>
        {
            Ok(prefix.embed(address))
        }
        _ => Err(DropReason::IcmpInnerUntranslatable.into()),
    }
}

/// Whether a row covers the very address that the prefix has for an IPv4 address: packets to it pass, whatever policy says
/// about the prefix, so answers and errors come back from it.
#[cold]
fn passes_by_row(translation: &Translation, prefix: &TranslationPrefix, address: Ipv4Addr) -> bool {
    let back = translation.eams.lookup_ipv6(prefix.embed(address).address);
    back.is_some_and(|back| back.address == address)
}

/// The IPv4 destination embedded in `address`, if policy lets it be used.
///
/// # Errors
/// Never forwarded, denylisted, or not global in the Well-Known Prefix.
#[inline]
pub fn extract(
    translation: &Translation,
    prefix: &TranslationPrefix,
    address: Ipv6Addr,
) -> Result<MappedV4, Refusal> {
    let mapped = extract_unchecked(prefix, address);
    if never_destination_ipv4(mapped.address) {
        return Err(DropReason::IllegalDestination.into());
    }
    permitted(translation, prefix, mapped)
}

fn permitted(
    translation: &Translation,
    prefix: &TranslationPrefix,
    mapped: MappedV4,
) -> Result<MappedV4, Refusal> {
    if refused_by_well_known_prefix(translation, prefix, mapped.address) {
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

/// Maps the source of an IPv6 packet that is no ICMP error.
///
/// # Errors
/// The source may not be translated.
#[inline]
pub fn source_v6_to_v4(translation: &Translation, source: Ipv6Addr) -> Result<MappedV4, Refusal> {
    match mapped_source(translation, source, false)? {
        Some((mapped, _)) => Ok(mapped),
        None => Err(Refusal::prohibited_v6(DropReason::SourceNotMapped)),
    }
}

/// Maps the source of an ICMPv6 error. `random` chooses from the pool of RFC 6791, and `stand_in` is asked for an address
/// when there is none.
///
/// # Errors
/// The source may not be translated.
pub fn error_source_v6_to_v4(
    translation: &Translation,
    source: Ipv6Addr,
    random: u32,
    stand_in: impl FnOnce() -> Ipv4Addr,
) -> Result<(MappedV4, Mapping), Refusal> {
    if let Some(mapped) = mapped_source(translation, source, true)? {
        return Ok(mapped);
    }
    let address = translation.icmp_sources.pick(source, random).unwrap_or_else(stand_in);
    let delta = Delta::new(Sum::of_ipv6(source), Sum::of_ipv4(address));
    Ok((MappedV4 { address, delta, default_eam: false }, Mapping::StandIn))
}

/// EAM first, prefix second; none when neither has the source.
#[inline]
fn mapped_source(
    translation: &Translation,
    source: Ipv6Addr,
    is_icmp_error: bool,
) -> Result<Option<(MappedV4, Mapping)>, Refusal> {
    if never_forwarded_ipv6(source) {
        return Err(DropReason::IllegalSource.into());
    }
    if let Some(mapped) = translation.eams.lookup_ipv6(source) {
        check_source(mapped.address, is_icmp_error)?;
        if translation.settings.role == Role::EdgeRelay
            && (translation.is_er_ipv6(source) || translation.is_er_ipv4(mapped.address))
        {
            return Err(DropReason::SpoofedSource.into());
        }
        return Ok(Some((mapped, Mapping::Eam)));
    }
    let Some((prefix, _)) = translation.prefix_of(source) else {
        return Ok(None);
    };
    embedded_source(translation, prefix, source, is_icmp_error).map(|mapped| Some((mapped, Mapping::Prefix)))
}

/// ICMP errors may come from link-local routers, for the sake of traceroute.
fn check_source(address: Ipv4Addr, is_icmp_error: bool) -> Result<(), Refusal> {
    let illegal = if is_icmp_error { is_martian_ipv4(address) } else { never_source_ipv4(address) };
    if illegal { Err(DropReason::IllegalSource.into()) } else { Ok(()) }
}

/// RFC 6052 5.1: an IPv6 host must not choose any IPv4 source it likes by using a prefix address.
fn embedded_source(
    translation: &Translation,
    prefix: &TranslationPrefix,
    source: Ipv6Addr,
    is_icmp_error: bool,
) -> Result<MappedV4, Refusal> {
    let mapped = extract_unchecked(prefix, source);
    check_source(mapped.address, is_icmp_error)?;
    match translation.settings.role {
        Role::BorderRelay
            if translation.settings.anti_spoof
                && !is_icmp_error
                && !translation.translatable_pools.contains(mapped.address) =>
        {
            Err(DropReason::SpoofedSource.into())
        }
        Role::EdgeRelay if translation.is_er_ipv4(mapped.address) => Err(DropReason::SpoofedSource.into()),
        _ => permitted(translation, prefix, mapped),
    }
}

/// Maps a quoted IPv6 source.
///
/// # Errors
/// It has no IPv4 form.
pub fn quoted_source_v6_to_v4(
    translation: &Translation,
    address: Ipv6Addr,
) -> Result<(MappedV4, Mapping), Refusal> {
    quoted_v6_to_v4(translation, address, never_source_ipv4)
}

/// Maps a quoted IPv6 destination.
///
/// # Errors
/// It has no IPv4 form.
pub fn quoted_destination_v6_to_v4(
    translation: &Translation,
    address: Ipv6Addr,
) -> Result<(MappedV4, Mapping), Refusal> {
    quoted_v6_to_v4(translation, address, never_destination_ipv4)
}

fn quoted_v6_to_v4(
    translation: &Translation,
    address: Ipv6Addr,
    never: fn(Ipv4Addr) -> bool,
) -> Result<(MappedV4, Mapping), Refusal> {
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
    if never_forwarded_ipv6(address) || never(mapped.address) {
        return Err(UNTRANSLATABLE);
    }
    Ok((mapped, by))
}

/// Whether the relay sends no packet with this address through the prefix, so that no error about one can return.
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
