//! The table of `docs/deployment.md`: every scenario, with both routing daemons.

use std::fs;
use std::path::Path;

use super::scenario::{HEAD, SCENARIOS};
use super::{Idc, Kit, Routing, Suite};
use crate::lab::LabError;

const OPEN: &str = "<!-- lab:table -->";
const CLOSE: &str = "<!-- /lab:table -->";

/// Runs everything and renews what stands between the marks; whether everything held.
pub(super) fn renew(tree: &Path) -> Result<bool, LabError> {
    let mut table = HEAD.to_owned();
    let mut held = true;
    let bgp = Suite { routing: Routing::Bird, kit: Kit::Bgp };
    for suite in [bgp, Suite::figure(Routing::Bird), Suite::figure(Routing::Frr)] {
        let mut idc = Idc::up(suite)?;
        for scenario in SCENARIOS {
            let outcome = scenario.run(&mut idc)?;
            print!("{}", outcome.row());
            held &= outcome.held();
            table += &outcome.row();
        }
    }
    write(tree, &table)?;
    Ok(held)
}

fn write(tree: &Path, table: &str) -> Result<(), LabError> {
    let path = tree.join("docs/deployment.md");
    let page = fs::read_to_string(&path).map_err(LabError::io(path.display().to_string()))?;
    let (Some(open), Some(close)) = (page.find(OPEN), page.find(CLOSE)) else {
        let what = format!("{}: the marks {OPEN} and {CLOSE}", path.display());
        return Err(LabError::Unreadable { what, text: String::new() });
    };
    let renewed = format!("{}{OPEN}\n{table}{}", &page[..open], &page[close..]);
    fs::write(&path, renewed).map_err(LabError::io(path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("docs")).unwrap();
        let path = tree.path().join("docs/deployment.md");
        fs::write(&path, format!("before\n{OPEN}\nold\n{CLOSE}\nbehind\n")).unwrap();
        write(tree.path(), "new\n").unwrap();
        let page = fs::read_to_string(&path).unwrap();
        assert_eq!(page, format!("before\n{OPEN}\nnew\n{CLOSE}\nbehind\n"));
        fs::write(&path, "no marks").unwrap();
        assert!(write(tree.path(), "").is_err());
    }
}
