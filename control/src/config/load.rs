//! Loading: file, tables, EAM files, then what only the whole can show.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::eam_file;
use super::eams::Eams;
use super::error::{Place, Problem, Problems, Warnings};
use super::file::{self, File, Section};
use super::input;
use super::model::{Announce, Config, Control, Dpdk, MayRemove, Port, TranslateConfig, Translation};
use super::tree::At;
use super::validate::{self, EamSink, Report, TableRules};

/// How long the stages of loading took.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadTimes {
    /// Reading the files, each row on its own included.
    pub read: Duration,
    /// Comparing the rows with each other and with everything else.
    pub check: Duration,
}

impl Config {
    /// Loads and validates everything the relay needs.
    pub fn load(path: &Path) -> Result<(Self, Warnings), Problems> {
        Self::load_timed(path).0
    }

    /// As [`load`](Self::load), with the time it took.
    pub fn load_timed(path: &Path) -> (Result<(Self, Warnings), Problems>, LoadTimes) {
        let started = Instant::now();
        let mut loader = Loader::new(path, true);
        let (parts, report) = loader.read();
        let result = Self::finish((Self::from_parts(parts), report));
        let check = loader.check_time;
        (result, LoadTimes { read: started.elapsed().saturating_sub(check), check })
    }

    /// As [`load`](Self::load), from a text. `path` names it in messages and is where `eam_files` are looked up.
    pub fn parse(path: &Path, text: &str) -> Result<(Self, Warnings), Problems> {
        let (parts, report) = Loader::new(path, true).text(text);
        Self::finish((Self::from_parts(parts), report))
    }

    pub(super) fn read(path: &Path) -> (Option<Self>, Report) {
        let (parts, report) = Loader::new(path, true).read();
        (Self::from_parts(parts), report)
    }

    fn from_parts(parts: Option<Parts>) -> Option<Self> {
        let Parts { dpdk, ports, translation, eams, reload_may_remove, control, announce } = parts?;
        Some(Self {
            dpdk: dpdk?,
            ports,
            translation: translation?,
            eams,
            reload_may_remove,
            control,
            announce,
        })
    }

    fn finish((config, report): (Option<Self>, Report)) -> Result<(Self, Warnings), Problems> {
        match config {
            Some(config) if report.problems.is_empty() => Ok((config, report.warnings)),
            _ => Err(report.problems),
        }
    }
}

impl TranslateConfig {
    /// Loads and validates `[translation]`, `[[eam]]` and `eam_files`. `[dpdk]` and `[[port]]` may be missing; where
    /// they are given they must be right.
    pub fn load(path: &Path) -> Result<(Self, Warnings), Problems> {
        Self::finish(Loader::new(path, false).read())
    }

    /// As [`load`](Self::load), from a text. `path` names it in messages and is where `eam_files` are looked up.
    pub fn parse(path: &Path, text: &str) -> Result<(Self, Warnings), Problems> {
        Self::finish(Loader::new(path, false).text(text))
    }

    fn finish((parts, report): (Option<Parts>, Report)) -> Result<(Self, Warnings), Problems> {
        match parts {
            Some(Parts { translation: Some(translation), eams, .. }) if report.problems.is_empty() => {
                Ok((Self { translation, eams }, report.warnings))
            }
            _ => Err(report.problems),
        }
    }
}

/// What a file yields, complete or not.
struct Parts {
    dpdk: Option<Dpdk>,
    ports: Vec<Port>,
    translation: Option<Translation>,
    eams: Eams,
    control: Option<Control>,
    announce: Option<Announce>,
    reload_may_remove: MayRemove,
}

struct Loader<'p> {
    path: &'p Path,
    /// Whether `[dpdk]` and `[[port]]` are required.
    needs_relay: bool,
    check_time: Duration,
}

impl<'p> Loader<'p> {
    fn new(path: &'p Path, needs_relay: bool) -> Self {
        Self { path, needs_relay, check_time: Duration::ZERO }
    }

    fn read(&mut self) -> (Option<Parts>, Report) {
        let mut report = Report::default();
        let kind = match input::read_text(self.path, input::CONFIG_BYTES) {
            Ok(text) => return self.text(&text),
            Err(kind) => kind,
        };
        let place = Place::file(self.path);
        report.problems.push(Problem { place, key: String::new(), value: None, kind });
        (None, report)
    }

    fn text(&mut self, text: &str) -> (Option<Parts>, Report) {
        let mut report = Report::default();
        let name: Arc<Path> = self.path.into();
        let parts =
            file::parse(&name, text, &mut report.problems).map(|file| self.validate(file, &mut report));
        report.problems.sort(self.path);
        report.warnings.sort(self.path);
        (parts, report)
    }

    fn validate(&mut self, mut file: File, report: &mut Report) -> Parts {
        let dpdk = self.dpdk(&mut file, report);
        let ports = validate::ports(&file, self.needs_relay, report);
        let section = std::mem::replace(&mut file.translation, Section::Absent);
        let table = report.required_table(
            section,
            &file.place,
            "translation",
            "a [translation] with at least `prefixes = [\"2001:db8:46::/96\"]`",
        );
        let translation = table.as_ref().map(|table| validate::translation(table, report));
        let eams = self.eams(&file, report);
        let control = validate::control(&file.control, self.directory(), report);
        let announce = validate::announce(&file, &ports, report);
        if let (Some(table), Some(translation)) = (&table, &translation) {
            let started = Instant::now();
            let index = validate::table(&eams, &TableRules::new(translation), report);
            validate::check_with_eams(table, translation, &eams, &index, report);
            validate::check_with_ports(table, &ports, report);
            self.check_time = started.elapsed();
        }
        let reload_may_remove =
            table.as_ref().map(|table| validate::reload_may_remove(table, report)).unwrap_or_default();
        Parts { dpdk, ports, translation, eams, reload_may_remove, control, announce }
    }

    fn dpdk(&self, file: &mut File, report: &mut Report) -> Option<Dpdk> {
        let section = std::mem::replace(&mut file.dpdk, Section::Absent);
        if !self.needs_relay && matches!(section, Section::Absent) {
            return None;
        }
        let example = "a [dpdk] with at least `workers = [1]`";
        let table = report.required_table(section, &file.place, "dpdk", example)?;
        Some(validate::dpdk(&table, report))
    }

    /// `[[eam]]`, then every EAM file.
    fn eams(&self, file: &File, report: &mut Report) -> Eams {
        let mut sink = EamSink { eams: Eams::default(), report: std::mem::take(report) };
        for table in &file.eams {
            sink.table(table);
        }
        for at in self.eam_files(file, &mut sink.report) {
            if let Err(kind) = eam_file::read(&self.directory().join(&at.value), &mut sink) {
                sink.report.problems.push(at.finding(kind));
            }
        }
        *report = sink.report;
        sink.eams
    }

    fn eam_files(&self, file: &File, report: &mut Report) -> Vec<At<String>> {
        file.eam_files.given().map_or_else(Vec::new, |list| report.distinct_texts(&list.value.items))
    }

    /// What relative paths in the file are relative to.
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }
}
