//! What a test named in the sheet must be: a golden packet, a test function, a configuration of the comparison.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;

use super::{path, read};

#[derive(Deserialize)]
struct Vector {
    name: String,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    nptv6: Option<serde_json::Value>,
}

/// The packages whose tests may be named, and where they are.
const PACKAGES: [(&str, &str); 4] = [
    ("borderline", "."),
    ("control", "control"),
    ("dataplane", "dataplane"),
    ("pktgen-tests", "pktgen-tests"),
];

/// Everything that can be named.
pub(crate) struct Sources {
    /// Golden packets; true for those that apply to what is built.
    pub(crate) vectors: BTreeMap<String, bool>,
    configurations: BTreeSet<String>,
}

impl Sources {
    pub(crate) fn read() -> Self {
        let vectors: Vec<Vector> = serde_json::from_str(&read("pktgen-tests/vectors/vectors.json")).unwrap();
        let generator = read("pktgen-tests/reference/generate.py");
        let (_, configurations) = generator.split_once("\nCONFIGS = {\n").expect("the configurations");
        let (configurations, _) = configurations.split_once("\n}\n").expect("their end");
        Self {
            vectors: vectors.into_iter().map(|vector| (vector.name, vector.config.nptv6.is_none())).collect(),
            configurations: keys(configurations),
        }
    }

    /// Why there is no such test.
    pub(crate) fn complaint(&self, test: &str) -> Option<String> {
        if let Some(vector) = test.strip_prefix("V:") {
            let known = self.vectors.contains_key(vector);
            return (!known).then(|| format!("there is no golden packet {vector}"));
        }
        if let Some(configuration) = test.strip_prefix("compare.py:") {
            let known = self.configurations.contains(configuration);
            return (!known).then(|| format!("compare.py has no configuration {configuration}"));
        }
        let (place, function) = test.rsplit_once("::")?;
        let files = files(place);
        if files.is_empty() {
            return Some(format!("there is no file for {test}"));
        }
        let found = files.iter().any(|file| has_test(&fs::read_to_string(file).unwrap(), function));
        (!found).then(|| format!("there is no test {test}"))
    }
}

/// The keys of a Python dictionary written one level deep.
fn keys(dictionary: &str) -> BTreeSet<String> {
    let lines = dictionary.lines().filter_map(|line| line.strip_prefix("    \"")?.split_once('"'));
    lines.map(|(key, _)| key.to_owned()).collect()
}

/// The names of the reference model's second readings.
pub(crate) fn readings() -> BTreeSet<String> {
    let model = read("pktgen-tests/reference/model.py");
    let (_, readings) = model.split_once("\nREADINGS = {\n").expect("the readings");
    let (readings, _) = readings.split_once("\n}\n").expect("their end");
    keys(readings)
}

/// Where the tests of `package::module::...` may stand: a module of the library, its test module, a test target.
fn files(place: &str) -> Vec<std::path::PathBuf> {
    let (package, modules) = place.split_once("::").unwrap_or((place, ""));
    let Some((_, directory)) = PACKAGES.iter().find(|(name, _)| *name == package) else {
        return Vec::new();
    };
    let modules = modules.replace("::", "/");
    let parent = modules.strip_suffix("/tests").unwrap_or(&modules);
    let mut files = Vec::new();
    for module in [modules.as_str(), parent] {
        for form in ["src/{}.rs", "src/{}/mod.rs", "tests/{}.rs", "tests/{}/main.rs"] {
            let file = path(directory).join(form.replace("{}", module));
            if file.is_file() && !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

/// Whether `source` has a function of this name with the attribute of a test.
fn has_test(source: &str, function: &str) -> bool {
    let start = format!("fn {function}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let attributed = |at: usize| {
        let above = lines[..at].iter().rev();
        above
            .take_while(|line| line.starts_with('#') || line.starts_with("//"))
            .any(|line| *line == "#[test]")
    };
    (0..lines.len()).any(|at| lines[at].trim_start_matches("async ").starts_with(&start) && attributed(at))
}

#[test]
fn tests_are_told_from_other_functions() {
    let source =
        "#[test]\n/// Why.\n#[ignore = \"slow\"]\nfn a_test() {}\n\nfn helper() {}\nfn a_test_helper() {}\n";
    assert!(has_test(source, "a_test"));
    assert!(!has_test(source, "helper") && !has_test(source, "a_test_helper") && !has_test(source, "a_"));
}

#[test]
fn names_are_looked_up_where_they_stand() {
    let sources = Sources::read();
    for test in [
        "V:46_udp_typo",
        "compare.py:typo",
        "dataplane::documents::sources::typo",
        "dataplane::documents::typo::names_are_looked_up_where_they_stand",
        "elsewhere::documents::sources::names_are_looked_up_where_they_stand",
        "dataplane::documents::sources::has_test",
    ] {
        assert!(sources.complaint(test).is_some(), "{test}");
    }
    for test in [
        "V:64_udp",
        "compare.py:default",
        "dataplane::documents::sources::names_are_looked_up_where_they_stand",
        "dataplane::stage::fragment::tests::ipv6_pieces_reassemble",
    ] {
        assert_eq!(sources.complaint(test), None);
    }
}
