//! The configuration file: from text to a [`Config`] nothing downstream has to check again.
//!
//! What enters: the path of a TOML file, and the EAM files it names. What leaves: a validated [`Config`] (or, for
//! `borderline translate`, a [`TranslateConfig`]) with [`Warnings`], or every [`Problem`] there is, at once, each
//! with file, line, key, value and remedy. What this module refuses to know: the dataplane, DPDK and the kernel.
//!
//! Reading order:
//! * `keys.rs` names every key and its default; `tree.rs` reads typed values out of the TOML tree and
//!   remembers where they stood; `file.rs` is the shape of what the file says;
//! * `validate/` turns that into `model.rs`, one file per table; `address.rs` reads prefixes;
//! * `input.rs` opens files; `eam_file.rs` (rows, by the crate `eamfile`) and `jool.rs` (JSON) read EAM tables into `eams.rs`; `lint.rs` compares the rows with each other, on the
//!   forests of `forest.rs`;
//! * `problem.rs` and `warning.rs` hold every message, `error.rs` puts them in their place;
//! * `theirs.rs` answers names of other translators; `machine.rs` asks whether this machine has the CPUs and the memory; `report.rs` is `borderline check`.

mod address;
mod eam_file;
mod eams;
mod error;
mod file;
mod forest;
mod input;
mod jool;
mod keys;
mod lint;
mod load;
mod machine;
mod model;
mod problem;
mod report;
mod theirs;
mod tree;
mod validate;
mod warning;

pub use eams::Eams;
pub use error::{
    EamRef, Family, Finding, Findings, Hint, Lint, Near, Nested, Place, Problem, ProblemKind, Problems,
    Warning, WarningKind, Warnings,
};
pub use keys::{KEYS, Key};
pub use load::LoadTimes;
pub use machine::check_machine;
pub use model::{
    Announce, Config, Control, CopyOr, DefaultRoute, Device, Dpdk, DpdkPlaces, Eam, EamOverlap, FragmentDf,
    Hairpin, IcmpErrors, IcmpSourceChoice, IcmpSourceDefault, IcmpSourceExtension, MayRemove, Memory, Poll,
    Port, Role, TranslateConfig, Translation, UdpZeroChecksum,
};
pub use report::{CheckReport, Summary, check, table_hash};
pub use validate::EamRules;
