//! The store's mappings in reloads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use control::actor::MappingSource;
use control::config::{self, EamRef, Eams, Place, Problem, ProblemKind, Problems};
use control_server::mappings::Source;
use dataplane::table::eam;
use eam_store::{Conflict, Eam, Family, Foreign, OwnedRow, Owner, Row};

use super::condition::FilesInForce;
use super::rules::ConfiguredRules;

/// Talks to the store for reloads.
pub(super) struct StoredMappings {
    source: Source,
    /// The file of the configuration.
    config: PathBuf,
    /// What the tables in force were made of.
    files: FilesInForce,
}

impl StoredMappings {
    pub(super) fn new(source: Source, config: PathBuf, files: FilesInForce) -> Self {
        Self { source, config, files }
    }
}

impl MappingSource for StoredMappings {
    fn check(&self, files: &Eams) -> Result<(), Problems> {
        let mut problems = Problems::default();
        match self.source.check(&foreign(files)) {
            Ok(conflicts) => conflicts.iter().for_each(|conflict| problems.push(problem(files, conflict))),
            // What cannot be read cannot be compared; the store says so itself, to whoever changes it.
            Err(error) => {
                tracing::error!("mappings of files are not compared with those of the store: {error}")
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn rows(&self) -> Result<Vec<eam::Eam>, String> {
        let rows = self.source.rows().map_err(|error| error.to_string())?;
        Ok(rows.iter().map(|row| eam::Eam { ipv4: row.ipv4(), ipv6: row.ipv6() }).collect())
    }

    fn accept(&mut self, files: Eams, settings: &config::Translation) {
        self.source.rules(Arc::new(ConfiguredRules::new(settings)));
        self.files.set_all(&self.config, &files);
        match self.source.accept(foreign(&files)) {
            Ok(conflicts) => {
                for conflict in conflicts {
                    tracing::error!("{conflict}");
                }
            }
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// The mappings of files as the store knows them. Of a file its name is shown, not where it lies.
fn foreign(files: &Eams) -> Foreign {
    let mut name: (Option<Arc<Path>>, Arc<str>) = (None, "".into());
    Foreign::new(files.iter().enumerate().filter_map(move |(at, row)| {
        let place = files.place(at);
        if name.0.as_ref() != Some(&place.file) {
            let shown = place.file.file_name().unwrap_or_default().to_string_lossy();
            name = (Some(Arc::clone(&place.file)), shown.into());
        }
        let is_config = place.file.extension().is_some_and(|extension| extension == "toml");
        let owner = if is_config {
            Owner::Config { file: Arc::clone(&name.1), line: place.line }
        } else {
            Owner::File { name: Arc::clone(&name.1), line: place.line }
        };
        let eam = Eam::new(row.ipv4, row.ipv6).ok()?;
        let row = Row::new(eam, files.comment(at)).unwrap_or_else(|_| eam.into());
        Some(OwnedRow { row, owner })
    }))
}

/// A conflict as a problem of the file, at its line.
fn problem(files: &Eams, conflict: &Conflict) -> Problem {
    let store = Place::file(Path::new("the store"));
    let (value, place, kind) = match conflict {
        Conflict::Duplicate { eam, family, other } => {
            // One of the two is the file's, whichever was looked at first.
            let (ours, theirs) =
                if other.owner == Owner::Store { (other.row.eam(), *eam) } else { (*eam, other.row.eam()) };
            let first = EamRef { ipv4: ours.ipv4(), ipv6: ours.ipv6(), place: store.clone() };
            let kind = match family {
                Family::Ipv4 => ProblemKind::DuplicateIpv4 { first },
                Family::Ipv6 => ProblemKind::DuplicateIpv6 { first },
            };
            let at = files.iter().position(|row| (row.ipv4, row.ipv6) == (theirs.ipv4(), theirs.ipv6()));
            (theirs, at.map_or(store, |at| files.place(at)), kind)
        }
        other => {
            let text = other.to_string();
            return Problem { place: store, key: text, value: None, kind: ProblemKind::NotWithTheStore };
        }
    };
    let value = Some(format!("{} {}", value.ipv4(), value.ipv6()));
    Problem { place, key: "eam".to_owned(), value, kind }
}
