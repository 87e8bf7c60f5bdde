//! `explain`: what the data path would do with a packet.

mod view;

use std::path::{Path, PathBuf};

use capture::{Capture, Content};
use clap::Args;
use control_api::{Explanation, Question, Sampled, path};
use serde_json::Value;

use super::Context;
use crate::client::Request;
use crate::error::{Error, Result};
use crate::view::Paper;

/// Where packets are that were dropped.
const SAMPLES: &str = "/v1/drops/samples";
/// Bytes of an Ethernet header without tags.
const ETHERNET: usize = 14;

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["src", "hex", "pcap", "last_drop"]))]
pub(crate) struct Explain {
    /// Source address, as the relay receives it
    #[arg(long, value_name = "ADDRESS", requires = "dst")]
    src: Option<String>,
    /// Destination address
    #[arg(long, value_name = "ADDRESS", requires = "src")]
    dst: Option<String>,
    /// tcp, udp, icmp (an echo request) or a protocol number [default: tcp]
    #[arg(long, value_name = "PROTOCOL", requires = "src")]
    proto: Option<String>,
    /// Source port, or the identifier of the echo request [default: 49152]
    #[arg(long, value_name = "PORT", requires = "src")]
    sport: Option<u16>,
    /// Destination port [default: 443]
    #[arg(long, value_name = "PORT", requires = "src")]
    dport: Option<u16>,
    /// Bytes of the whole IP packet [default: as few as there must be]
    #[arg(long, value_name = "BYTES", requires = "src")]
    size: Option<u32>,
    /// DF of an IPv4 packet, true or false [default: true]
    #[arg(long, value_name = "BOOL", requires = "src", num_args = 0..=1, default_missing_value = "true")]
    df: Option<bool>,
    /// Time to Live or hop limit [default: 64]
    #[arg(long, value_name = "NUMBER", requires = "src")]
    ttl: Option<u8>,
    /// Type of Service or Traffic Class [default: 0]
    #[arg(long, value_name = "NUMBER", requires = "src")]
    tos: Option<u8>,
    /// The port that receives it [default: the one its source is reached by]
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// The VLAN it comes in
    #[arg(long, value_name = "ID")]
    vlan: Option<u16>,
    /// It comes as a broadcast or multicast of the link layer
    #[arg(long)]
    group: bool,
    /// The packet as hexadecimal digits, from its IP header or from its Ethernet header on
    #[arg(long, value_name = "DIGITS")]
    hex: Option<String>,
    /// The packet is in this capture file (pcap or pcapng; - is standard input)
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Which one of the file, as Wireshark counts them
    #[arg(long, value_name = "NUMBER", requires = "pcap", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    packet: u64,
    /// The dropped packet with this number of `borderctl drops --last`: would it still be dropped?
    #[arg(long, value_name = "ID")]
    last_drop: Option<u64>,
}

pub(crate) fn explain(context: &Context, explain: &Explain) -> Result<()> {
    let mut question = Question {
        port: explain.port.clone(),
        vlan: explain.vlan,
        group: explain.group,
        hex: explain.hex.clone(),
        frame: None,
        src: explain.src.clone(),
        dst: explain.dst.clone(),
        proto: explain.proto.clone(),
        sport: explain.sport,
        dport: explain.dport,
        size: explain.size,
        df: explain.df,
        ttl: explain.ttl,
        tos: explain.tos,
    };
    if let Some(file) = &explain.pcap {
        captured(file, explain.packet, &mut question)?;
    }
    let sample = explain.last_drop.map(|id| sampled(context, id, &mut question)).transpose()?;
    let mut answer = ask(context, &question)?;
    answer.sample = sample.map(|sample| {
        let still = answer.reason.as_ref() == Some(&sample.reason);
        Sampled { still, ..sample }
    });
    context.print(&answer, Paper::paged(), view::human)
}

/// Puts a packet that was dropped into the question.
fn sampled(context: &Context, id: u64, question: &mut Question) -> Result<Sampled> {
    let sample: Value = context.client.ask(&Request::get(&format!("{SAMPLES}/{id}")))?;
    let text = |name: &str| sample[name].as_str().unwrap_or_default().to_owned();
    let bytes = text("bytes");
    if sample["control"] == true && sample["layer"] == "ip" {
        return Err(Error::Usage(format!(
            "the packet {id} was translated already and waited for its next hop in vain ({}); `borderctl neighbors` and \
             `borderctl status` name who does not answer",
            text("reason")
        )));
    }
    if sample["length"].as_u64().is_some_and(|length| length * 2 > bytes.len() as u64) {
        return Err(Error::Usage(format!(
            "of the packet {id} only the first {} bytes were kept: what would become of it cannot be said",
            bytes.len() / 2
        )));
    }
    question.hex = Some(bytes);
    question.frame = Some(sample["layer"] == "ethernet");
    question.port = question.port.take().or_else(|| sample["port"].as_str().map(str::to_owned));
    Ok(Sampled { id, reason: text("reason"), time: text("time"), still: false })
}

fn ask(context: &Context, question: &Question) -> Result<Explanation> {
    let body = serde_json::to_vec(question).map_err(|error| Error::Broken { what: error.to_string() })?;
    context.client.ask(&Request::post(path::EXPLAIN).body(&body))
}

/// Puts a packet of a capture into the question: its IP packet where it is one, the frame as it is where it is not. A capture is
/// taken anywhere, so the addresses of the link layer say nothing but whether it came to a group.
fn captured(file: &Path, number: u64, question: &mut Question) -> Result<()> {
    let capture = Capture::read(file).map_err(|error| Error::Usage(error.to_string()))?;
    let mut packets = capture.packets();
    let count = packets.len();
    let at = usize::try_from(number - 1).unwrap_or(usize::MAX);
    let packet = packets.nth(at).ok_or_else(|| {
        Error::Usage(format!("{}: there is no packet {number}: it has {count}", file.display()))
    })?;
    if packet.is_cut() {
        return Err(Error::Usage(format!(
            "{}: packet {number} was captured in part; capture whole packets (tcpdump -s 0)",
            file.display()
        )));
    }
    let (bytes, is_frame, group) = match packet.content() {
        Content::Ip(packet) => (packet, false, false),
        Content::Ethernet(frame) => match ip_of(frame) {
            Some(packet) => (packet, false, frame[0] & 1 == 1),
            None => (frame, true, false),
        },
        Content::Cooked { group, packet, ether_type: 0x0800 | 0x86dd } => (packet, false, group),
        Content::Cooked { .. } | Content::TooShort | Content::Unknown => {
            return Err(Error::Usage(format!("{}: packet {number} is no IP packet", file.display())));
        }
    };
    question.hex = Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
    question.frame = Some(is_frame);
    question.group |= group;
    Ok(())
}

/// The IP packet in a frame, tags and all before it left out.
fn ip_of(frame: &[u8]) -> Option<&[u8]> {
    let mut at = ETHERNET;
    loop {
        let ether_type = frame.get(at - 2..at).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))?;
        match ether_type {
            0x0800 | 0x86dd => return frame.get(at..).filter(|packet| !packet.is_empty()),
            0x8100 | 0x88a8 => at += 4,
            _ => return None,
        }
    }
}
