//! The screen of `top`.

use std::collections::VecDeque;

use control_api::MappingCounters;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Row, Sparkline, Table};

use super::rates::{Flow, Rates};

/// Readings that the curves show.
const HISTORY: usize = 240;

/// What is shown.
#[derive(Default)]
pub(super) struct Screen {
    rates: Option<Rates>,
    /// Packets per second received by each port, newest last.
    curves: Vec<VecDeque<u64>>,
    pub(super) is_paused: bool,
    /// Why there are no new numbers, if there are none.
    pub(super) trouble: Option<String>,
}

impl Screen {
    pub(super) fn show(&mut self, rates: Rates) {
        self.curves.resize(rates.ports.len(), VecDeque::new());
        for (curve, port) in self.curves.iter_mut().zip(&rates.ports) {
            curve.push_back(whole(port.receive.packets_per_second));
            if curve.len() > HISTORY {
                curve.pop_front();
            }
        }
        (self.rates, self.trouble) = (Some(rates), None);
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        let ports = self.rates.as_ref().map_or(1, |rates| rates.ports.len());
        let ports = u16::try_from(ports).unwrap_or(u16::MAX).min(8);
        let [head, port_area, curve_area, middle, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(ports.saturating_add(3)),
            Constraint::Length(5),
            Constraint::Min(6),
            Constraint::Min(4),
        ])
        .areas(frame.area());
        self.head(frame, head);
        let Some(rates) = &self.rates else { return };
        frame.render_widget(port_table(rates), port_area);
        self.curves(frame, curve_area, rates);
        let [workers, costs, drops] =
            Layout::horizontal([Constraint::Ratio(1, 3), Constraint::Ratio(1, 3), Constraint::Ratio(1, 3)])
                .areas(middle);
        frame.render_widget(worker_table(rates), workers);
        frame.render_widget(cost_table(rates), costs);
        frame.render_widget(drop_table(rates), drops);
        frame.render_widget(mapping_table(rates), bottom);
    }

    fn head(&self, frame: &mut Frame<'_>, area: Rect) {
        let state = match (&self.trouble, &self.rates) {
            (Some(trouble), _) => trouble.clone(),
            (None, None) => "reading".to_owned(),
            (None, Some(rates)) => format!("{} packets/s", si(rates.received())),
        };
        let paused = if self.is_paused { ", paused" } else { "" };
        let line = format!("borderline  {state}{paused}   q quit  space pause  z zero");
        let colour = if self.trouble.is_some() { Color::Red } else { Color::Reset };
        frame.render_widget(Line::styled(line, Style::new().fg(colour)), area);
    }

    fn curves(&self, frame: &mut Frame<'_>, area: Rect, rates: &Rates) {
        let shown = self.curves.len().min(4);
        let columns = Layout::horizontal(vec![Constraint::Fill(1); shown]).split(area);
        for ((curve, port), column) in self.curves.iter().zip(&rates.ports).zip(columns.iter()) {
            let width = usize::from(column.width);
            let newest = curve.len().saturating_sub(width);
            let most = curve.iter().max().copied().unwrap_or(0);
            let title = format!("{} received, to {}/s", port.name, si_whole(most));
            let data: Vec<u64> = curve.iter().skip(newest).copied().collect();
            let block = Block::new().borders(Borders::TOP).title(title);
            frame.render_widget(Sparkline::default().block(block).data(data), *column);
        }
    }
}

fn table<'t>(title: &'t str, head: &[&'t str], rows: Vec<Row<'t>>, widths: &[u16]) -> Table<'t> {
    let widths = widths.iter().enumerate().map(|(column, width)| match column {
        0 => Constraint::Min(*width),
        _ => Constraint::Length(*width),
    });
    let head = Row::new(head.iter().copied().map(Cell::from).collect::<Vec<_>>());
    Table::new(rows, widths.collect::<Vec<_>>())
        .header(head.style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::new().borders(Borders::TOP).title(title))
}

fn port_table(rates: &Rates) -> Table<'_> {
    let rows = rates.ports.iter().map(|port| {
        let cells = [
            port.name.clone(),
            if port.up { "up" } else { "down" }.to_owned(),
            si(port.receive.packets_per_second),
            si(port.receive.bits_per_second),
            si(port.transmit.packets_per_second),
            si(port.transmit.bits_per_second),
            si(port.missed_per_second),
            si(port.errors_per_second),
            si(port.no_mbuf_per_second),
        ];
        let is_bad = !port.up || port.missed_per_second > 0.0 || port.errors_per_second > 0.0;
        Row::new(cells).style(Style::new().fg(if is_bad { Color::Red } else { Color::Reset }))
    });
    let head = ["PORT", "LINK", "RX PPS", "RX BIT/S", "TX PPS", "TX BIT/S", "MISSED", "ERRORS", "NO BUF"];
    table("Ports", &head, rows.collect(), &[12, 4, 8, 8, 8, 8, 7, 7, 7])
}

fn worker_table(rates: &Rates) -> Table<'_> {
    let rows = rates.workers.iter().map(|worker| {
        let holds = worker.capacity_per_second.map_or_else(|| "-".to_owned(), si);
        let load = format!("{:.1} %", worker.load * 100.0);
        let style = Style::new().fg(if worker.load > 0.9 { Color::Red } else { Color::Reset });
        Row::new([worker.cpu.to_string(), load, si(worker.received_per_second), holds]).style(style)
    });
    table("Workers", &["CPU", "LOAD", "PPS", "HOLDS"], rows.collect(), &[3, 7, 7, 7])
}

fn cost_table(rates: &Rates) -> Table<'_> {
    let rows = rates.costs.iter().map(|cost| {
        let what = match cost.direction.as_str() {
            "none" => cost.verdict.clone(),
            direction => format!("{} {direction}", cost.verdict),
        };
        Row::new([what, format!("{:.0}", cost.cycles_per_packet)])
    });
    table("Cycles per packet", &["PACKETS", "CYCLES"], rows.collect(), &[12, 7])
}

fn drop_table(rates: &Rates) -> Table<'_> {
    let rows = rates
        .drops
        .iter()
        .map(|drop| Row::new([drop.reason.clone(), si(drop.packets_per_second), si_whole(drop.since_zero)]));
    table("Drops", &["REASON", "PPS", "SINCE"], rows.collect(), &[12, 7, 7])
}

fn mapping_table(rates: &Rates) -> Table<'_> {
    let flow = |flow: Flow| [si(flow.packets_per_second), si(flow.bits_per_second)];
    let rows = rates.mappings.iter().map(|mapping| {
        let ipv6 = mapping.ipv6.clone().unwrap_or_else(|| "removed".to_owned());
        let name = format!("{} = {ipv6}", mapping.ipv4);
        let ([in_packets, in_bits], [out_packets, out_bits]) =
            (flow(mapping.v4_to_v6), flow(mapping.v6_to_v4));
        Row::new([name, in_packets, in_bits, out_packets, out_bits])
    });
    let title = match rates.mapping_counters {
        MappingCounters::Off => "Mappings are not counted: mappings = \"busiest\" in [metrics]",
        MappingCounters::Busiest => "Busiest mappings, estimated from a sample",
        MappingCounters::Exact => "Busiest mappings",
    };
    let head = ["MAPPING", "4>6 PPS", "4>6 BIT/S", "6>4 PPS", "6>4 BIT/S"];
    table(title, &head, rows.collect(), &[20, 8, 9, 8, 9])
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive, and far below 2^63"
)]
fn whole(value: f64) -> u64 {
    value.round().max(0.0) as u64
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn si_whole(value: u64) -> String {
    si(value as f64)
}

/// Three digits and a prefix: `1.23 M`.
fn si(value: f64) -> String {
    let (mut value, mut prefixes) = (value, ["", " k", " M", " G", " T"].iter());
    let mut prefix = prefixes.next().copied().unwrap_or_default();
    while value >= 999.5
        && let Some(next) = prefixes.next()
    {
        (value, prefix) = (value / 1000.0, next);
    }
    let digits = match (prefix, value) {
        ("", value) if value.fract() == 0.0 => 0,
        (_, value) if value >= 99.95 => 0,
        (_, value) if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{prefix}")
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::rates::tests::load;
    use super::*;

    fn drawn(screen: &Screen, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        let shown = [0.0, 7.0, 0.5, 999.0, 999.6, 1234.0, 99_960.0, 1e6, 8e8, 1.234e13].map(si);
        assert_eq!(
            shown,
            ["0", "7", "0.50", "999", "1.00 k", "1.23 k", "100 k", "1.00 M", "800 M", "12.3 T"]
        );
    }

    #[test]
    fn everything_has_its_place_on_the_screen() {
        let mut screen = Screen::default();
        assert!(drawn(&screen, 100, 30).starts_with("borderline  reading   q quit"));
        for halves in 1..6 {
            screen.show(Rates::between(&load(0), &load(halves), &load(halves + 1)));
        }
        let text = drawn(&screen, 100, 30);
        let expected = [
            "borderline  1.00 M packets/s   q quit  space pause  z zero",
            "up   1.00 M   800 M    500 k    400 M    10      0       0",
            "uplink received, to 1.00 M/s",
            "Cycles per packet",
            "translated v4_to_v6",
            "source_not_mapped",
            "192.0.2.7/32 = 2001:db8:12:34::7/128",
        ];
        for line in expected {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains("█"), "a curve\n{text}");
        assert!(text.lines().any(|line| line.contains("25.0 %") && line.contains("123")), "{text}");
        screen.trouble = Some("the relay does not answer".into());
        assert!(drawn(&screen, 100, 30).contains("borderline  the relay does not answer"));
        // However small the terminal is, nothing goes wrong.
        for (width, height) in [(1, 1), (20, 3), (40, 10)] {
            drawn(&screen, width, height);
        }
    }
}
