//! The board that is shipped, drawn in a browser. Grafana is not in Debian: each panel stands where the board puts it, and the
//! graphs are drawn by Prometheus' own consoles from the board's queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pktgen_tests::lab::{LabError, TestResult};
use serde::Deserialize;

use super::Metered;
use super::prometheus::{MAY_BE_EMPTY, PROMETHEUS, shipped};

/// The console's file.
pub(crate) const PAGE: &str = "board.html";
/// Where the pictures are left; with it the graphs show five minutes instead of one.
const PICTURES: &str = "BORDERLINE_PICTURES";
/// Pixels of one row and one column of Grafana's grid.
const ROW: u32 = 38;
const COLUMN: u32 = 60;
const HEADING: u32 = 26;

#[derive(Deserialize)]
struct Board {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Panel {
    pub(crate) title: String,
    #[serde(rename = "type")]
    kind: String,
    grid_pos: Place,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    field_config: FieldConfig,
}

#[derive(Deserialize)]
struct Place {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    expr: String,
    legend_format: String,
}

#[derive(Default, Deserialize)]
struct FieldConfig {
    defaults: Defaults,
}

#[derive(Default, Deserialize)]
struct Defaults {
    #[serde(default)]
    unit: String,
}

impl Panel {
    /// Its queries as Grafana sends them, for every instance.
    pub(crate) fn queries(&self) -> impl Iterator<Item = String> {
        let of_target =
            |target: &Target| target.expr.replace("$__rate_interval", "10s").replace("$instance", ".*");
        self.targets.iter().map(of_target)
    }

    /// What the console's page shows for it.
    fn html(&self) -> String {
        let Place { x, y, w, h } = self.grid_pos;
        let (left, top, width, height) = (x * COLUMN, y * ROW, w * COLUMN, h * ROW);
        let mut html = format!(
            "<div class=\"{}\" data-panel=\"{}\" style=\"left:{left}px; top:{top}px; width:{width}px; height:{height}px\">\
             <b>{}</b>",
            self.kind, self.title, self.title
        );
        match self.kind.as_str() {
            "timeseries" => html.push_str(&self.graph(width - 90, height - HEADING - 70)),
            "stat" => self.numbers(&mut html),
            _ => (),
        }
        html + "</div>\n"
    }

    fn graph(&self, width: u32, height: u32) -> String {
        let legends =
            self.targets.iter().map(|target| target.legend_format.replace("{{", "[[").replace("}}", "]]"));
        let quoted = |words: Vec<String>| serde_json::to_string(&words).expect("texts are JSON");
        format!(
            "<script>new PromConsole.Graph({{node: document.currentScript.parentElement, expr: {}, name: {}, \
             yTitle: \"{}\", xTitle: \"\", min: 0, duration: {}, width: {width}, height: {height}}})</script>",
            quoted(self.queries().collect()),
            quoted(legends.collect()),
            self.field_config.defaults.unit,
            span().as_secs(),
        )
    }

    /// Numbers are filled in by Prometheus when it serves the page.
    fn numbers(&self, html: &mut String) {
        for query in self.queries() {
            write!(html, "{{{{ range query `{query}` }}}}<p>{{{{ .Value }}}}</p>{{{{ end }}}}")
                .expect("text takes text");
        }
    }
}

/// The panels of the board that is shipped.
pub(crate) fn panels() -> Vec<Panel> {
    let text = fs::read_to_string(shipped("grafana/borderline.json")).expect("the board is there");
    serde_json::from_str::<Board>(&text).expect("the board is a board").panels
}

/// How long the graphs look back.
fn span() -> Duration {
    Duration::from_secs(if std::env::var_os(PICTURES).is_some() { 300 } else { 60 })
}

/// The board as a console of Prometheus.
pub(crate) fn page(panels: &[Panel]) -> String {
    let files = "/classic/static";
    let scripts = [
        "d3/d3.min.js",
        "vendor/rickshaw/vendor/d3.layout.min.js",
        "rickshaw/rickshaw.min.js",
        "jquery/jquery.min.js",
    ];
    let mut html = format!(
        "<!doctype html><meta charset=utf-8><title>Borderline</title>\n\
         <link rel=stylesheet href={files}/rickshaw/rickshaw.min.css>\n\
         <link rel=stylesheet href={files}/css/prom_console.css>\n\
         <style>body {{ font: 13px sans-serif; margin: 0 }} body > div {{ position: absolute; box-sizing: border-box; \
         padding: 4px 8px; overflow: hidden }} .stat, .timeseries {{ border: 1px solid #ccc }} \
         .stat p {{ font-size: 32px; margin: 8px; text-align: center }} .row b {{ font-size: 16px }}</style>\n"
    );
    for script in scripts {
        writeln!(html, "<script src={files}/{script}></script>").expect("text takes text");
    }
    writeln!(html, "<script>var PATH_PREFIX = \"\"</script><script src={files}/js/prom_console.js></script>")
        .expect("text takes text");
    panels.iter().for_each(|panel| html.push_str(&panel.html()));
    html
}

/// A page of Prometheus as a browser shows it: the document after its scripts ran, and the picture.
fn show(lab: &Metered, path: &str, size: (u32, u32), picture: &Path) -> Result<String, LabError> {
    let profile = tempfile::tempdir().expect("there is room for a directory");
    let browser = lab
        .lab
        .relay_ns
        .cmd("chromium")
        .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking")
        .args("--disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=20000 --dump-dom")
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={},{}", size.0, size.1))
        .arg(format!("--screenshot={}", picture.display()));
    Ok(browser.arg(format!("http://{PROMETHEUS}/{path}")).timeout(120).ok()?.stdout)
}

/// Width and height of a PNG file.
fn size_of(picture: &Path) -> (u32, u32) {
    let png = fs::read(picture).expect("the browser left a picture");
    assert_eq!(png.get(..8), Some(&b"\x89PNG\r\n\x1a\n"[..]), "{} is no PNG", picture.display());
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// Draws the board and the alerts. Every panel must have a graph or a number; those of which the laboratory has nothing say so.
pub(crate) fn draw(lab: &Metered, panels: &[Panel]) -> TestResult {
    let kept = tempfile::tempdir()?;
    let directory = std::env::var_os(PICTURES).map_or_else(|| kept.path().to_owned(), PathBuf::from);
    if std::env::var_os(PICTURES).is_some() {
        std::thread::sleep(span());
    }
    let rows = panels.iter().map(|panel| panel.grid_pos.y + panel.grid_pos.h).max().unwrap_or_default();
    let size = (24 * COLUMN, rows * ROW);
    let picture = directory.join("board.png");
    let document = show(lab, &format!("consoles/{PAGE}"), size, &picture)?;
    assert_eq!(size_of(&picture), size);
    let drawn: BTreeMap<&str, &str> =
        document.split("data-panel=\"").skip(1).filter_map(|panel| panel.split_once('"')).collect();
    for panel in panels.iter().filter(|panel| panel.kind != "row") {
        let shown = drawn.get(panel.title.as_str()).copied().unwrap_or_default();
        let is_drawn = match panel.kind.as_str() {
            "stat" => shown.contains("<p>"),
            _ => shown.contains("<svg") && !shown.contains("prom_graph_error"),
        };
        assert!(
            is_drawn || MAY_BE_EMPTY.contains(&panel.title.as_str()),
            "{} is not drawn: {shown}",
            panel.title
        );
    }
    assert!(drawn["Drops by reason"].contains("unassigned"), "{}", drawn["Drops by reason"]);

    let picture = directory.join("alerts.png");
    let document = show(lab, "classic/alerts", (1440, 900), &picture)?;
    assert_eq!(size_of(&picture), (1440, 900));
    let rules = fs::read_to_string(shipped("prometheus/borderline.rules.yml"))?;
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(document.contains(alert), "{alert} is not among the alerts");
    }
    Ok(())
}
