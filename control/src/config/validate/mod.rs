//! From what the file says to what is legal: one file per table. Every function reports all it finds and carries on
//! with what is left, so that one run shows everything.

mod announce;
mod control;
mod dpdk;
mod eam;
mod port;
mod translation;

pub(super) use announce::announce;
pub(super) use control::control;
pub(super) use dpdk::dpdk;
pub use eam::EamRules;
pub(super) use eam::{EamSink, TableRules, table};
pub(super) use port::ports;
pub(super) use translation::{check_with_eams, check_with_ports, reload_may_remove, translation};

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use super::error::{Near, Place, Problem, ProblemKind, Problems, Warnings};
use super::file::Section;
use super::keys;
use super::tree::{At, Field, List, Literal};

/// Where findings go.
#[derive(Default)]
pub(super) struct Report {
    pub(super) problems: Problems,
    pub(super) warnings: Warnings,
}

impl Report {
    /// The value of a required key; its absence is a problem.
    fn required<'f, T>(
        &mut self,
        field: &'f Field<T>,
        table: &Place,
        path: &'static str,
    ) -> Option<&'f At<T>> {
        if matches!(field, Field::Absent) {
            self.problems.push(missing_key(table, path));
        }
        field.given()
    }

    /// The table's content, its absence being a problem.
    pub(super) fn required_table<T>(
        &mut self,
        section: Section<T>,
        file: &Place,
        name: &'static str,
        example: &'static str,
    ) -> Option<T> {
        match section {
            Section::Given(table) => Some(table),
            Section::Wrong => None,
            Section::Absent => {
                let kind = ProblemKind::MissingTable { example };
                self.problems.push(Problem { place: file.clone(), key: name.to_owned(), value: None, kind });
                None
            }
        }
    }

    /// The choice a word stands for, or the default (the first choice) if it stands for none.
    fn choice<T: Copy>(&mut self, field: &Field<String>, words: &'static [&'static str], values: &[T]) -> T {
        debug_assert_eq!(words.len(), values.len());
        let Some(at) = field.given() else { return values[0] };
        if let Some(index) = words.iter().position(|word| *word == at.value) {
            return values[index];
        }
        let hint = Near(keys::nearest(&at.value, words.iter().copied()));
        self.problems.push(at.finding(ProblemKind::NotAChoice { choices: words, hint }));
        values[0]
    }

    /// A number within a range, or the default.
    fn ranged<N: Copy + TryFrom<i64> + Into<i64>>(
        &mut self,
        field: &Field<i64>,
        min: N,
        max: N,
        default: N,
    ) -> N {
        let Some(at) = field.given() else { return default };
        let (low, high) = (min.into(), max.into());
        match N::try_from(at.value) {
            Ok(number) if (low..=high).contains(&at.value) => number,
            _ => {
                self.problems.push(at.finding(ProblemKind::OutOfRange { min: low, max: high }));
                default
            }
        }
    }

    /// A list that must have at least one entry.
    fn not_empty<T>(&mut self, list: &At<List<T>>) {
        if list.value.whole && list.value.items.is_empty() {
            let kind = ProblemKind::EmptyList { example: example(list.key) };
            self.problems.push(list.key_finding(kind));
        }
    }

    /// Text that a system call or an EAL argument can carry.
    fn usable_text(&mut self, at: &At<String>) -> bool {
        let empty = at.value.is_empty();
        let usable = !empty && !at.value.chars().any(char::is_control);
        if !usable {
            self.problems.push(at.finding(ProblemKind::UnusableText { empty }));
        }
        usable
    }

    /// The usable texts of a list, each once.
    pub(super) fn distinct_texts(&mut self, items: &[At<String>]) -> Vec<At<String>> {
        let usable =
            items.iter().filter(|at| self.usable_text(at)).map(|at| (at, at.value.as_str())).collect();
        self.distinct(usable).into_iter().map(|at| at.map(at.value.to_owned())).collect()
    }

    /// Keeps the first of equal entries and reports the others.
    fn distinct<T: Literal, V: Eq + Hash + Copy>(&mut self, items: Vec<(&At<T>, V)>) -> Vec<At<V>> {
        let mut first: HashMap<V, Place> = HashMap::with_capacity(items.len());
        let mut kept = Vec::with_capacity(items.len());
        for (at, value) in items {
            match first.entry(value) {
                Entry::Occupied(other) => {
                    self.problems.push(at.finding(ProblemKind::Repeated { first: other.get().clone() }));
                }
                Entry::Vacant(free) => {
                    free.insert(at.place.clone());
                    kept.push(at.map(value));
                }
            }
        }
        kept
    }
}

fn missing_key(table: &Place, path: &'static str) -> Problem {
    let kind = ProblemKind::MissingKey { example: example(path) };
    Problem { place: table.clone(), key: path.to_owned(), value: None, kind }
}

fn example(path: &'static str) -> &'static str {
    keys::KEYS.iter().find(|key| key.path == path).map_or("", |key| key.example)
}
