//! What the file says, before anyone asks whether it makes sense: types checked, unknown keys reported, values as
//! written. Reading never stops at the first problem.

use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem, ProblemKind, Problems};
use super::keys;
use super::tree::{Field, Lines, List, Table, WordOrFlag, WordOrNumber, type_name};

/// The whole file.
pub(super) struct File {
    pub(super) dpdk: Section<DpdkTable>,
    pub(super) ports: Section<Vec<PortTable>>,
    pub(super) translation: Section<TranslationTable>,
    pub(super) eams: Vec<EamTable>,
    pub(super) control: Section<ControlTable>,
    pub(super) announce: Section<AnnounceTable>,
    pub(super) eam_files: Field<List<String>>,
    /// The file as a whole.
    pub(super) place: Place,
}

/// A table of the file.
pub(super) enum Section<T> {
    Absent,
    /// Something else under the table's name; already reported.
    Wrong,
    Given(T),
}

/// `[dpdk]`.
pub(super) struct DpdkTable {
    pub(super) place: Place,
    pub(super) workers: Field<List<i64>>,
    pub(super) memory: Field<String>,
    pub(super) memory_mb: Field<i64>,
    pub(super) poll: Field<String>,
    pub(super) extra_args: Field<List<String>>,
}

/// `[[port]]`.
pub(super) struct PortTable {
    pub(super) place: Place,
    pub(super) name: Field<String>,
    pub(super) device: Field<String>,
    pub(super) mtu: Field<i64>,
}

/// `[translation]`.
pub(super) struct TranslationTable {
    pub(super) place: Place,
    pub(super) role: Field<String>,
    pub(super) prefixes: Field<List<String>>,
    pub(super) service_pools: Field<List<String>>,
    pub(super) translatable_pools: Field<List<String>>,
    pub(super) er_addresses: Field<List<String>>,
    pub(super) hairpin: Field<String>,
    pub(super) lowest_ipv6_mtu: Field<i64>,
    pub(super) udp_zero_checksum: Field<String>,
    pub(super) udp_zero_checksum_ports: Field<List<WordOrNumber>>,
    pub(super) traffic_class: Field<WordOrNumber>,
    pub(super) type_of_service: Field<WordOrNumber>,
    pub(super) icmp_errors: Field<String>,
    pub(super) icmp_error_rate: Field<i64>,
    pub(super) icmp_source_pool: Field<List<String>>,
    pub(super) icmp_source_choice: Field<String>,
    pub(super) icmp_source_default: Field<String>,
    pub(super) icmp_source_extension: Field<WordOrFlag>,
    pub(super) denylist: Field<List<String>>,
    pub(super) wkp_strict: Field<bool>,
    pub(super) anti_spoof: Field<bool>,
    pub(super) guard_protocols: Field<bool>,
    pub(super) mtu_plateaus: Field<List<i64>>,
    pub(super) fragment_df: Field<String>,
    pub(super) eam_overlap: Field<String>,
    pub(super) reload_may_remove: Field<WordOrNumber>,
}

/// `[[eam]]`.
pub(super) struct EamTable {
    pub(super) place: Place,
    pub(super) ipv4: Field<String>,
    pub(super) ipv6: Field<String>,
    pub(super) comment: Field<String>,
}

/// `[control]`.
pub(super) struct ControlTable {
    pub(super) socket: Field<String>,
    pub(super) group: Field<String>,
    pub(super) store: Field<String>,
}

/// `[announce]`.
pub(super) struct AnnounceTable {
    pub(super) enabled: Field<bool>,
    pub(super) metric: Field<i64>,
    pub(super) drain_metric: Field<i64>,
    pub(super) default_route: Field<String>,
    pub(super) drain_lead_seconds: Field<i64>,
    pub(super) drain_quiet_pps: Field<i64>,
    pub(super) drain_quiet_seconds: Field<i64>,
    pub(super) stop_seconds: Field<i64>,
}

/// Reads the text of a configuration. `None` when it is not TOML, which is the one problem reported then.
pub(super) fn parse(file: &Arc<Path>, text: &str, problems: &mut Problems) -> Option<File> {
    let lines = Lines::new(file.clone(), text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let problem = syntax_problem(error, text, &lines);
        let is_fatal = problem.kind != ProblemKind::DuplicateKey;
        problems.push(problem);
        if is_fatal {
            return None;
        }
    }
    let root = Root { entries: root.get_ref(), lines: &lines };
    Some(root.read(Place::file(file), problems))
}

fn syntax_problem(error: &toml::de::Error, text: &str, lines: &Lines<'_>) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let (key, kind) = match error.message() {
        "duplicate key" => (text.get(span.clone()).unwrap_or_default(), ProblemKind::DuplicateKey),
        message => ("", ProblemKind::Syntax { message: message.to_owned() }),
    };
    let place = lines.place(span.start.min(text.len()));
    Problem { place, key: key.to_owned(), value: None, kind }
}

struct Root<'t, 'i> {
    entries: &'t DeTable<'i>,
    lines: &'t Lines<'i>,
}

impl<'t, 'i> Root<'t, 'i> {
    fn read(&self, place: Place, problems: &mut Problems) -> File {
        self.report_strangers(problems);
        File {
            dpdk: self.one("dpdk", problems, dpdk),
            ports: self.many("port", problems, port),
            translation: self.one("translation", problems, translation),
            eams: match self.many("eam", problems, eam) {
                Section::Given(eams) => eams,
                Section::Absent | Section::Wrong => Vec::new(),
            },
            control: self.one("control", problems, control),
            announce: self.one("announce", problems, announce),
            eam_files: self.eam_files(place.clone(), problems),
            place,
        }
    }

    /// `eam_files` stands at the top of the file; inside `[translation]`, where many expect it, it is as good.
    fn eam_files(&self, place: Place, problems: &mut Problems) -> Field<List<String>> {
        let inner = self.entries.get("translation").and_then(|value| value.get_ref().as_table());
        let top = Table::top(place.clone(), self.entries, self.lines).texts("eam_files", problems);
        let Some(inner) = inner else { return top };
        match (top, Table::top(place, inner, self.lines).texts("eam_files", problems)) {
            (top, Field::Absent) => top,
            (Field::Absent, inner) => inner,
            (top, Field::Given(inner)) => {
                problems.push(inner.key_finding(ProblemKind::DuplicateKey));
                top
            }
            (top, Field::Wrong) => top,
        }
    }

    /// Tables and keys nobody knows, and tables of a later version.
    fn report_strangers(&self, problems: &mut Problems) {
        for (key, value) in self.entries {
            let name = key.get_ref().as_ref();
            let is_table = matches!(value.get_ref(), DeValue::Table(_))
                || value
                    .get_ref()
                    .as_array()
                    .is_some_and(|array| array.iter().any(|item| item.get_ref().is_table()));
            let kind = if keys::LATER.contains(&name) {
                ProblemKind::NotSupportedYet
            } else if keys::TABLES.iter().any(|(table, _)| *table == name) || keys::find("", name).is_some() {
                continue;
            } else if is_table {
                ProblemKind::UnknownTable { hint: keys::table_hint(name) }
            } else {
                ProblemKind::UnknownKey { hint: keys::table_hint(name) }
            };
            let place = self.lines.place(key.span().start);
            problems.push(Problem { place, key: name.to_owned(), value: None, kind });
        }
    }

    fn one<T>(
        &self,
        name: &'static str,
        problems: &mut Problems,
        read: impl Fn(Table<'_, '_>, &mut Problems) -> T,
    ) -> Section<T> {
        let Some((key, value)) = self.entries.get_key_value(name) else {
            return Section::Absent;
        };
        let place = self.lines.place(key.span().start);
        match value.get_ref() {
            DeValue::Table(entries) => {
                Section::Given(read(Table::open(name, place, entries, self.lines, problems), problems))
            }
            other => {
                problems.push(wrong_section(name, place, other));
                Section::Wrong
            }
        }
    }

    fn many<T>(
        &self,
        name: &'static str,
        problems: &mut Problems,
        read: impl Fn(Table<'_, '_>, &mut Problems) -> T,
    ) -> Section<Vec<T>> {
        let Some((key, value)) = self.entries.get_key_value(name) else {
            return Section::Absent;
        };
        let DeValue::Array(items) = value.get_ref() else {
            problems.push(wrong_section(name, self.lines.place(key.span().start), value.get_ref()));
            return Section::Wrong;
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            let place = self.lines.place(item.span().start);
            match item.get_ref() {
                DeValue::Table(entries) => {
                    tables.push(read(Table::open(name, place, entries, self.lines, problems), problems));
                }
                other => problems.push(wrong_section(name, place, other)),
            }
        }
        Section::Given(tables)
    }
}

fn wrong_section(name: &'static str, place: Place, value: &DeValue<'_>) -> Problem {
    let (expected, example) = match name {
        "dpdk" => ("one table [dpdk]", "[dpdk]"),
        "translation" => ("one table [translation]", "[translation]"),
        "control" => ("one table [control]", "[control]"),
        "announce" => ("one table [announce]", "[announce]"),
        "port" => ("a table [[port]] for each port", "[[port]]"),
        _ => ("a table [[eam]] for each EAM", "[[eam]]"),
    };
    let kind = ProblemKind::WrongType { found: type_name(value), expected, example };
    Problem { place, key: name.to_owned(), value: None, kind }
}

fn dpdk(table: Table<'_, '_>, problems: &mut Problems) -> DpdkTable {
    DpdkTable {
        workers: table.numbers("workers", problems),
        memory: table.text("memory", problems),
        memory_mb: table.number("memory_mb", problems),
        poll: table.text("poll", problems),
        extra_args: table.texts("extra_args", problems),
        place: table.place,
    }
}

fn control(table: Table<'_, '_>, problems: &mut Problems) -> ControlTable {
    ControlTable {
        socket: table.text("socket", problems),
        group: table.text("group", problems),
        store: table.text("store", problems),
    }
}

fn announce(table: Table<'_, '_>, problems: &mut Problems) -> AnnounceTable {
    AnnounceTable {
        enabled: table.boolean("enabled", problems),
        metric: table.number("metric", problems),
        drain_metric: table.number("drain_metric", problems),
        default_route: table.text("default_route", problems),
        drain_lead_seconds: table.number("drain_lead_seconds", problems),
        drain_quiet_pps: table.number("drain_quiet_pps", problems),
        drain_quiet_seconds: table.number("drain_quiet_seconds", problems),
        stop_seconds: table.number("stop_seconds", problems),
    }
}

fn port(table: Table<'_, '_>, problems: &mut Problems) -> PortTable {
    PortTable {
        name: table.text("name", problems),
        device: table.text("device", problems),
        mtu: table.number("mtu", problems),
        place: table.place,
    }
}

fn translation(table: Table<'_, '_>, problems: &mut Problems) -> TranslationTable {
    TranslationTable {
        role: table.text("role", problems),
        prefixes: table.texts("prefixes", problems),
        service_pools: table.texts("service_pools", problems),
        translatable_pools: table.texts("translatable_pools", problems),
        er_addresses: table.texts("er_addresses", problems),
        hairpin: table.text("hairpin", problems),
        lowest_ipv6_mtu: table.number("lowest_ipv6_mtu", problems),
        udp_zero_checksum: table.text("udp_zero_checksum", problems),
        udp_zero_checksum_ports: table.words_or_numbers("udp_zero_checksum_ports", problems),
        traffic_class: table.word_or_number("traffic_class", problems),
        type_of_service: table.word_or_number("type_of_service", problems),
        icmp_errors: table.text("icmp_errors", problems),
        icmp_error_rate: table.number("icmp_error_rate", problems),
        icmp_source_pool: table.texts("icmp_source_pool", problems),
        icmp_source_choice: table.text("icmp_source_choice", problems),
        icmp_source_default: table.text("icmp_source_default", problems),
        icmp_source_extension: table.word_or_flag("icmp_source_extension", problems),
        denylist: table.texts("denylist", problems),
        wkp_strict: table.boolean("wkp_strict", problems),
        anti_spoof: table.boolean("anti_spoof", problems),
        guard_protocols: table.boolean("guard_protocols", problems),
        mtu_plateaus: table.numbers("mtu_plateaus", problems),
        fragment_df: table.text("fragment_df", problems),
        eam_overlap: table.text("eam_overlap", problems),
        reload_may_remove: table.word_or_number("reload_may_remove", problems),
        place: table.place,
    }
}

fn eam(table: Table<'_, '_>, problems: &mut Problems) -> EamTable {
    EamTable {
        ipv4: table.text("ipv4", problems),
        ipv6: table.text("ipv6", problems),
        comment: table.text("comment", problems),
        place: table.place,
    }
}
