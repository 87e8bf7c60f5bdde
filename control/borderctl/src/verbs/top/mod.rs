//! `top`: what moves now, on a screen of its own or once.

mod rates;
mod screen;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use control_api::{Load, path};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use self::rates::Rates;
use self::screen::Screen;
use super::Context;
use crate::args::Top;
use crate::client::Request;
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, percent};

pub(crate) fn top(context: &Context, top: &Top) -> Result<()> {
    let interval = Duration::from_secs(top.interval);
    // Whoever is no terminal gets a reading.
    if top.once || context.json || !io::stdout().is_terminal() {
        return once(context, interval);
    }
    let mut terminal = ratatui::try_init().map_err(Error::Output)?;
    let ended = live(context, interval, &mut terminal);
    ratatui::try_restore().map_err(Error::Output)?;
    ended
}

fn read(context: &Context) -> Result<Load> {
    context.client.ask(&Request::get(path::LOAD))
}

/// Two readings, and what happened between them.
fn once(context: &Context, interval: Duration) -> Result<()> {
    let before = read(context)?;
    std::thread::sleep(interval);
    let after = read(context)?;
    let rates = Rates::between(&before, &before, &after);
    context.print(&rates, Paper::plain(), human)
}

fn human(rates: &Rates, paper: &mut Paper) -> Result<()> {
    use Align::{Left, Right};
    let whole = |value: f64| format!("{value:.0}");
    let mut ports = Table::new(&[
        ("PORT", Left),
        ("LINK", Left),
        ("RX PPS", Right),
        ("RX BIT/S", Right),
        ("TX PPS", Right),
        ("TX BIT/S", Right),
        ("MISSED", Right),
        ("ERRORS", Right),
    ]);
    for port in &rates.ports {
        let link = if port.up { "up" } else { "down" }.to_owned();
        let (received, sent) = (port.receive, port.transmit);
        let numbers = [
            received.packets_per_second,
            received.bits_per_second,
            sent.packets_per_second,
            sent.bits_per_second,
            port.missed_per_second,
            port.errors_per_second,
        ];
        let [a, b, c, d, e, f] = numbers.map(whole);
        ports.row([port.name.clone(), link, a, b, c, d, e, f]);
    }
    ports.print(paper)?;
    paper.line("")?;
    let mut workers = Table::new(&[("CPU", Right), ("LOAD", Right), ("PPS", Right), ("HOLDS PPS", Right)]);
    for worker in &rates.workers {
        let holds = worker.capacity_per_second.map_or_else(|| "-".to_owned(), whole);
        workers.row([worker.cpu.to_string(), percent(worker.load), whole(worker.received_per_second), holds]);
    }
    workers.print(paper)?;
    for (title, rows) in [("CYCLES PER PACKET", costs(rates)), ("DROPS PER SECOND", drops(rates))] {
        if !rows.is_empty() {
            paper.line("")?;
            let mut table = Table::new(&[(title, Left), ("", Right)]);
            rows.into_iter().for_each(|row| table.row(row));
            table.print(paper)?;
        }
    }
    if rates.mappings.is_empty() {
        return Ok(());
    }
    paper.line("")?;
    let mut mappings = Table::new(&[("MAPPING", Left), ("4>6 BIT/S", Right), ("6>4 BIT/S", Right)]);
    for mapping in &rates.mappings {
        let (there, back) = (mapping.v4_to_v6.bits_per_second, mapping.v6_to_v4.bits_per_second);
        mappings.row([mapping.ipv4.clone(), whole(there), whole(back)]);
    }
    mappings.print(paper)
}

fn costs(rates: &Rates) -> Vec<[String; 2]> {
    let row = |cost: &rates::CostRates| {
        [format!("{} {}", cost.verdict, cost.direction), format!("{:.0}", cost.cycles_per_packet)]
    };
    rates.costs.iter().map(row).collect()
}

fn drops(rates: &Rates) -> Vec<[String; 2]> {
    rates.drops.iter().map(|drop| [drop.reason.clone(), format!("{:.1}", drop.packets_per_second)]).collect()
}

/// What a key asks for.
enum Wish {
    Quit,
    Pause,
    Zero,
    Nothing,
}

/// Until somebody quits. A relay that goes is waited for.
fn live(context: &Context, interval: Duration, terminal: &mut DefaultTerminal) -> Result<()> {
    let mut screen = Screen::default();
    let mut before = read(context)?;
    let mut zero = before.clone();
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(Error::Output)?;
        match wish(next.saturating_duration_since(Instant::now())).map_err(Error::Output)? {
            Wish::Quit => return Ok(()),
            Wish::Pause => screen.is_paused = !screen.is_paused,
            Wish::Zero => zero = before.clone(),
            Wish::Nothing => {}
        }
        if Instant::now() < next {
            continue;
        }
        next = Instant::now() + interval;
        if screen.is_paused {
            continue;
        }
        match read(context) {
            Ok(after) => {
                screen.show(Rates::between(&zero, &before, &after));
                before = after;
            }
            Err(error) => screen.trouble = Some(error.summary()),
        }
    }
}

/// Waits for a key, and no longer than that.
fn wish(patience: Duration) -> io::Result<Wish> {
    if !event::poll(patience)? {
        return Ok(Wish::Nothing);
    }
    let Event::Key(key) = event::read()? else { return Ok(Wish::Nothing) };
    Ok(match (key.kind, key.code) {
        (KeyEventKind::Release, _) => Wish::Nothing,
        (_, KeyCode::Char('q') | KeyCode::Esc) => Wish::Quit,
        (_, KeyCode::Char('c')) if key.modifiers.contains(KeyModifiers::CONTROL) => Wish::Quit,
        (_, KeyCode::Char(' ')) => Wish::Pause,
        (_, KeyCode::Char('z')) => Wish::Zero,
        _ => Wish::Nothing,
    })
}
