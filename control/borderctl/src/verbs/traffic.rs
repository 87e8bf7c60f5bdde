//! `eam counters`.

use control_api::{MappingLoad, path};

use super::Context;
use crate::args::{Traffic, TrafficFormat};
use crate::client::{Request, Response};
use crate::error::{Error, Result};
use crate::view::{Align, Paper, Table, or_dash};

/// Mappings whose columns are measured together.
const PAGE: usize = 1000;

pub(crate) fn counters(context: &Context, which: &Traffic) -> Result<()> {
    let request =
        Request::get(path::EAM_COUNTERS).query("within", which.within.as_ref()).query("top", which.top);
    let response = context.client.send(&request, &mut |_| {})?;
    if context.json {
        let mut paper = Paper::plain();
        for line in response.lines() {
            paper.line(&line?)?;
        }
        return paper.flush();
    }
    match which.format {
        TrafficFormat::Csv => csv(response),
        TrafficFormat::Table => table(response),
    }
}

fn mappings(response: Response) -> impl Iterator<Item = Result<MappingLoad>> {
    response.lines().map(|line| {
        serde_json::from_str(&line?)
            .map_err(|error| Error::Broken { what: format!("a line is no traffic of a mapping: {error}") })
    })
}

fn csv(response: Response) -> Result<()> {
    let mut paper = Paper::plain();
    paper.line("ipv4,ipv6,owner,v4_to_v6_packets,v4_to_v6_bytes,v6_to_v4_packets,v6_to_v4_bytes")?;
    for mapping in mappings(response) {
        let MappingLoad { ipv4, ipv6, owner, v4_to_v6: there, v6_to_v4: back } = mapping?;
        let (ipv6, owner) = (ipv6.unwrap_or_default(), super::eam::quoted(&owner.unwrap_or_default()));
        let numbers = format!("{},{},{},{}", there.packets, there.bytes, back.packets, back.bytes);
        paper.line(&format!("{ipv4},{ipv6},{owner},{numbers}"))?;
    }
    paper.flush()
}

fn table(response: Response) -> Result<()> {
    use Align::{Left, Right};
    let mut paper = Paper::paged();
    let mut table = Table::new(&[
        ("IPV4", Left),
        ("IPV6", Left),
        ("4>6 PACKETS", Right),
        ("4>6 BYTES", Right),
        ("6>4 PACKETS", Right),
        ("6>4 BYTES", Right),
    ]);
    let mut widths = vec![18, 20, 11, 11, 11, 11];
    let mut is_first = true;
    let mut print = |table: &mut Table, paper: &mut Paper| -> Result<()> {
        widths = table.widths(&widths);
        if std::mem::take(&mut is_first) {
            table.print_header(&widths, paper)?;
        }
        table.print_rows(&widths, paper)?;
        table.clear();
        Ok(())
    };
    for mapping in mappings(response) {
        let MappingLoad { ipv4, ipv6, v4_to_v6: there, v6_to_v4: back, .. } = mapping?;
        let numbers = [there.packets, there.bytes, back.packets, back.bytes].map(|number| number.to_string());
        let [a, b, c, d] = numbers;
        table.row([ipv4, or_dash(ipv6), a, b, c, d]);
        if table.len() == PAGE {
            print(&mut table, &mut paper)?;
        }
    }
    print(&mut table, &mut paper)?;
    paper.flush()
}
