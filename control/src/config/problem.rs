//! What must be corrected: one variant per kind, each message naming the fault and the remedy.

use std::fmt;
use std::io::ErrorKind;

use ipnet::{IpNet, Ipv6Net};
use thiserror::Error;

use super::error::{EamRef, Family, Place};
use super::warning::Lint;

/// What is wrong, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProblemKind {
    // Announcing.
    /// A drained relay would be preferred.
    #[error(
        "not greater than metric = {metric}: while it is drained, the relay's routes must be worse than usual"
    )]
    DrainMetricTooSmall {
        /// `announce.metric`.
        metric: u32,
    },
    /// The same, told at the other key.
    #[error("not less than drain_metric = {drain_metric}; set drain_metric to more than this")]
    MetricTooLarge {
        /// `announce.drain_metric`.
        drain_metric: u32,
    },
    /// The twin's name is that of the interface the announced routes go to.
    #[error("its twin would be called bl-up, as the interface that [announce] makes; choose another name")]
    PortNameAnnounces,
    // Files.
    /// The file cannot be read.
    #[error("cannot be read: {}", unreadable(*reason))]
    Unreadable {
        /// What the system said.
        reason: ErrorKind,
    },
    /// Nothing that has an end.
    #[error("cannot be read: it is {what}, not a regular file; write the rows to a file and name that")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// More than anybody needs.
    #[error("larger than {} MB ({bytes} bytes); is it the right file?", max >> 20)]
    FileTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// Somebody writes to it.
    #[error("changed while it was read; write to a file beside it and rename that, then reload")]
    ChangedWhileRead,
    /// More mappings than the tables are made for.
    #[error("more than {max} mappings; split them over several relays, or map prefixes instead of hosts")]
    TooManyRows {
        /// The limit.
        max: usize,
    },
    /// The file is not text.
    #[error("not UTF-8 text; save the file as UTF-8")]
    NotUtf8,
    /// TOML syntax.
    #[error("not TOML: {}; correct this line, nothing after it was checked", message.trim())]
    Syntax {
        /// What the parser said.
        message: String,
    },

    // Keys and tables.
    /// A key given twice in one table.
    #[error("given twice; keep one of the two")]
    DuplicateKey,
    /// A key nobody knows.
    #[error("unknown key; {hint}")]
    UnknownKey {
        /// What may have been meant.
        hint: Hint,
    },
    /// A table nobody knows.
    #[error("unknown table; {hint}")]
    UnknownTable {
        /// What may have been meant.
        hint: Hint,
    },
    /// A table of a later version.
    #[error("not supported yet: remove the table")]
    NotSupportedYet,
    /// A required table.
    #[error("missing; add {example}")]
    MissingTable {
        /// The table to add.
        example: &'static str,
    },
    /// A required key.
    #[error("missing; add `{example}`")]
    MissingKey {
        /// The line to add.
        example: &'static str,
    },
    /// A value of another type.
    #[error("{found} where {expected} is expected; write for example `{example}`")]
    WrongType {
        /// What the file has.
        found: &'static str,
        /// What the key takes.
        expected: &'static str,
        /// A legal line.
        example: &'static str,
    },
    /// A word that is not one of the choices.
    #[error("not one of the choices; {hint}use {}", Choices(choices))]
    NotAChoice {
        /// The legal words.
        choices: &'static [&'static str],
        /// The nearest of them.
        hint: Near,
    },
    /// A number outside its range.
    #[error("out of range; use {min} to {max}")]
    OutOfRange {
        /// Least legal value.
        min: i64,
        /// Greatest legal value.
        max: i64,
    },
    /// An empty list where at least one entry is needed.
    #[error("empty; give at least one entry, for example `{example}`")]
    EmptyList {
        /// A legal line.
        example: &'static str,
    },
    /// An entry repeated in a list.
    #[error("listed twice, first at line {}; remove one of the two", first.line)]
    Repeated {
        /// The first of the two.
        first: Place,
    },
    /// Something else stands against it.
    #[error("does not go with the mappings of the store; change one of the two")]
    NotWithTheStore,
    /// The kernel has so much room for the path of a socket.
    #[error("the path has {length} bytes and a socket's may have {max}; choose a shorter one")]
    SocketPathTooLong {
        /// Bytes, with the configuration's directory where it is relative.
        length: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// Text that no system call or EAL argument can carry.
    #[error("{}; remove it", if *empty { "empty text" } else { "contains a control character" })]
    UnusableText {
        /// Empty, rather than with a control character.
        empty: bool,
    },

    // Addresses.
    /// Not a prefix of the family.
    #[error("not an {family} prefix; write an address and a length, such as {}", example(family))]
    NotAPrefix {
        /// The family expected.
        family: Family,
    },
    /// A prefix of the other family.
    #[error(
        "an address of the other family; an {family} prefix is expected here, such as {}",
        example(family)
    )]
    WrongFamily {
        /// The family expected.
        family: Family,
    },
    /// A prefix length beyond the family's.
    #[error("prefix length out of range; use /0 to /{max}")]
    PrefixLength {
        /// The greatest length.
        max: u8,
    },
    /// Host bits set.
    #[error("bits are set after the prefix length; write {masked}")]
    HostBits {
        /// The same with those bits cleared.
        masked: IpNet,
    },
    /// Addresses that never identify a host on the wire.
    #[error("{what} addresses are never translated; use a global unicast prefix")]
    NotUnicast {
        /// Their name.
        what: &'static str,
    },
    /// Two prefixes of one list overlap.
    #[error("overlaps {other} at line {}; remove one of the two", place.line)]
    PrefixOverlap {
        /// The other prefix.
        other: IpNet,
        /// Where it is.
        place: Place,
    },

    // [dpdk]
    /// More workers than EAL has lcores.
    #[error("{count} workers; use {max} or fewer")]
    TooManyWorkers {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// An EAL argument we set ourselves.
    #[error("the relay sets {argument} itself; remove it and use {instead}")]
    ReservedArgument {
        /// The argument.
        argument: &'static str,
        /// The key that decides about it.
        instead: &'static str,
    },

    // [[port]]
    /// A name Linux or the twin cannot carry.
    #[error(
        "{length} characters; use {max} or fewer, since the kernel interface is called bl-<name> and Linux allows 15"
    )]
    PortNameTooLong {
        /// Its length.
        length: usize,
        /// The greatest length.
        max: usize,
    },
    /// A character an interface name should not have.
    #[error("{character:?} cannot be part of an interface name; use letters, digits, `-`, `_` and `.`")]
    PortNameCharacter {
        /// The first such character.
        character: char,
    },
    /// A name that is a directory of every path it becomes part of.
    #[error("dots alone are no name: files under /proc/sys could not be told apart; add a letter or a digit")]
    PortNameDots,
    /// A name in use.
    #[error("the port at line {} has this name; names must differ", first.line)]
    DuplicatePortName {
        /// The other port.
        first: Place,
    },
    /// A device in use.
    #[error("the port at line {} uses this device; give each port its own", first.line)]
    DuplicateDevice {
        /// The other port.
        first: Place,
    },
    /// Neither PCI address nor virtual device.
    #[error(
        "neither a PCI address nor a virtual device; write for example \"0000:3b:00.0\" or \
         \"net_af_xdp0,iface=veth0\""
    )]
    NotADevice,
    /// A virtual device name longer than DPDK's.
    #[error("device name of {length} characters; use {max} or fewer")]
    DeviceNameTooLong {
        /// Its length.
        length: usize,
        /// The greatest length.
        max: usize,
    },
    /// More ports than port numbers.
    #[error("{count} ports; use {max} or fewer")]
    TooManyPorts {
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// Less than IPv6 requires of a link.
    #[error("less than the IPv6 minimum MTU; use 1280 or more ({reference})")]
    BelowIpv6Minimum {
        /// Where it is written.
        reference: &'static str,
    },
    /// More than the buffers hold.
    #[error("more than the relay's buffers hold; use {max} or less")]
    AboveMaximumMtu {
        /// The greatest MTU.
        max: u16,
    },

    // [translation]
    /// A length RFC 6052 does not define.
    #[error("/{length} is no RFC 6052 length; use /32, /40, /48, /56, /64 or /96 (RFC 6052 section 2.2)")]
    Rfc6052Length {
        /// Its length.
        length: u8,
    },
    /// Bits 64 to 71.
    #[error("bits 64 to 71 must be zero; write {suggestion} (RFC 6052 section 2.2)")]
    ReservedOctet {
        /// The same with the octet cleared.
        suggestion: Ipv6Net,
    },
    /// The Well-Known Prefix with another length.
    #[error(
        "the Well-Known Prefix exists only as 64:ff9b::/96; use that, or a prefix of your own (RFC 6052 section 2.1)"
    )]
    WellKnownPrefixLength,
    /// Not a port with a choice.
    #[error("not a port; write a port number for \"compute\", or \"PORT=CHOICE\", such as \"4789=forward\"")]
    NotAPortChoice,
    /// One port twice.
    #[error("port {port} is listed twice; keep one of the two")]
    RepeatedPort {
        /// The port.
        port: u16,
    },
    /// Ranges to reach through a prefix that is not there.
    #[error("only a prefix can represent these addresses; add one to translation.prefixes, or remove them")]
    TranslatableWithoutPrefix,
    /// Neither "copy" nor an octet.
    #[error("neither \"copy\" nor a number; write \"copy\", or 0 to 255 without quotes")]
    NotCopyOrOctet,
    /// Neither a word nor a number of mappings.
    #[error("neither a number nor a word; write a number of mappings, or \"tenth\" or \"all\"")]
    NotAnAmount,
    /// RFC 7757 4.2.1 rule 1 would undo an Edge Relay's own mapping.
    #[error("an Edge Relay cannot use simple hairpinning; use \"intrinsic\" or \"off\" (RFC 7756 section 3)")]
    SimpleHairpinOnEdgeRelay,
    /// An Edge Relay that serves nothing.
    #[error(
        "an Edge Relay needs its IPv6 Service Addresses; add `er_addresses = [\"2001:db8:12:34::4\"]` (RFC 7756)"
    )]
    NoErAddresses,
    /// Edge Relay addresses on a Border Relay.
    #[error("only an Edge Relay has these; remove them, or set role = \"er\" (RFC 7756)")]
    ErAddressesOnBorderRelay,
    /// An Edge Relay address nothing maps.
    #[error("no EAM covers it; add the EAM the Border Relay has for it (RFC 7756 section 3)")]
    ErAddressWithoutEam,
    /// A plateau table that does not decrease.
    #[error(
        "not less than the plateau before it, {previous}; list plateaus in decreasing order (RFC 1191 section 7)"
    )]
    PlateauOrder {
        /// The one before.
        previous: i64,
    },

    // EAMs.
    /// RFC 7757 section 3.2.
    #[error(
        "the IPv4 suffix of {ipv4_bits} bits is longer than the IPv6 suffix of {ipv6_bits}; use an IPv6 prefix of \
         /{longest} or shorter (RFC 7757 section 3.2)"
    )]
    SuffixTooLong {
        /// 32 less the IPv4 length.
        ipv4_bits: u8,
        /// 128 less the IPv6 length.
        ipv6_bits: u8,
        /// Longest legal IPv6 prefix.
        longest: u8,
    },
    /// An IPv4 prefix mapped twice.
    #[error("its IPv4 prefix is already mapped by {first}; remove one of the two (RFC 7757 section 5)")]
    DuplicateIpv4 {
        /// The first EAM.
        first: EamRef,
    },
    /// An IPv6 prefix mapped twice.
    #[error("its IPv6 prefix is already mapped by {first}; remove one of the two (RFC 7757 section 5)")]
    DuplicateIpv6 {
        /// The first EAM.
        first: EamRef,
    },
    /// The same EAM twice.
    #[error("repeats {first}; remove one of the two")]
    DuplicateEam {
        /// The first EAM.
        first: EamRef,
    },
    /// Refused by `eam_overlap = "reject"`.
    #[error(transparent)]
    Lint(Lint),

    // EAM files.
    /// A line that is no row.
    #[error(transparent)]
    EamRow(eamfile::RowError),
    /// JSON syntax or shape.
    #[error("not the JSON of a Jool SIIT configuration: {}; write it with `jool_siit file`, or use CSV", message.trim())]
    Json {
        /// What the parser said.
        message: String,
    },
    /// JSON without EAMs.
    #[error("no `eamt` in this Jool configuration; add it, or remove the file from eam_files")]
    NoEamt,

    // The machine.
    /// A worker's CPU is not there.
    #[error("this machine has no such CPU online; use CPUs out of {online}")]
    CpuOffline {
        /// The kernel's list.
        online: String,
    },
    /// Not enough hugepages.
    #[error(
        "{reserved_mb} MB of hugepages are reserved and memory_mb asks for {needed_mb}; run `sysctl -w \
         vm.nr_hugepages={pages}` ({page_kb} kB each), or use memory = \"no-huge\""
    )]
    Hugepages {
        /// Reserved, in megabytes.
        reserved_mb: u64,
        /// `memory_mb`.
        needed_mb: u64,
        /// Pages of the default size to reserve.
        pages: u64,
        /// The default page size.
        page_kb: u64,
    },
}

fn unreadable(reason: ErrorKind) -> String {
    match reason {
        ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
        ErrorKind::PermissionDenied => "this user may not read it; check its permissions".to_owned(),
        ErrorKind::IsADirectory => "it is a directory; name a file".to_owned(),
        reason => format!("{reason}; check the path and its permissions"),
    }
}

/// What may have been meant instead of an unknown word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Nothing comes near.
    None,
    /// A near miss.
    DidYouMean(&'static str),
    /// The word is right, the table is not.
    BelongsTo(&'static str),
    /// Another translator's word for a key of ours, or for something that is not there.
    Theirs {
        /// Whose word it is.
        whose: &'static str,
        /// What says the same here.
        instead: Option<&'static str>,
    },
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("remove it"),
            Self::DidYouMean(word) => write!(f, "did you mean `{word}`?"),
            Self::BelongsTo("") => f.write_str("move it to the top of the file, before the first table"),
            Self::BelongsTo(table) => write!(f, "move it to {table}"),
            Self::Theirs { whose, instead: Some(key) } => write!(f, "it is {whose}'s name; set {key}"),
            Self::Theirs { whose, instead: None } => {
                write!(f, "it is {whose}'s name; nothing here corresponds to it, remove it")
            }
        }
    }
}

/// The nearest of several choices, as the start of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near(pub Option<&'static str>);

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |word| write!(f, "did you mean {word:?}? "))
    }
}

struct Choices<'a>(&'a [&'static str]);

impl fmt::Display for Choices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { " or " };
            write!(f, "{separator}{word:?}")?;
        }
        Ok(())
    }
}

fn example(family: &Family) -> &'static str {
    match family {
        Family::Ipv4 => "192.0.2.0/24",
        Family::Ipv6 => "2001:db8:46::/96",
    }
}
