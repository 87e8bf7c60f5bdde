//! Runs trials: a time of sending at a rate, then a time of waiting for what is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread;

use dataplane::dpdk::{pin_current_thread, tsc, tsc_hz};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::config::{self, Config, FrameBytes, Rate};
use super::error::PktgenError;
use super::outcome::Outcome;
use super::ports::Ports;
use super::receiver::Receiver;
use super::sender::{Offer, Sender};
use super::stream::{Stream, streams};

/// How long the ports may refuse the last packets of a trial.
const LAST_PACKETS_SECONDS: f64 = 0.05;
/// Time between two tries of a device that does not answer yet.
const READY_STEP_SECONDS: f64 = 0.05;
/// Packets of each try, over all streams.
const READY_PACKETS: u64 = 256;
/// How often in a row they must come back.
const READY_TIMES: u32 = 10;

/// One trial.
#[derive(Debug, Clone, Copy)]
pub struct Trial {
    /// Packets per second over all streams.
    pub rate: Rate,
    /// How long packets are sent.
    pub seconds: f64,
    /// How many packets are sent at most.
    pub most: u64,
    /// How long late ones are waited for.
    pub drain_seconds: f64,
}

impl Trial {
    /// At `rate`, as long as the configuration says.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a minute at most")]
    pub fn at(rate: Rate, trial: &config::Trial) -> Self {
        Self { rate, seconds: trial.seconds, most: u64::MAX, drain_seconds: trial.drain_ms as f64 / 1e3 }
    }
}

/// The generator and the receiver with their ports.
pub struct Engine {
    // Queues before the ports they keep open.
    sender: Sender,
    receiver: Receiver,
    ports: Ports,
    streams: Arc<[Stream]>,
    config: Config,
    /// Set by SIGINT and SIGTERM. A trial then ends early but in order: a peer may not survive ports that vanish.
    stop: Arc<AtomicBool>,
}

impl Engine {
    /// Opens the ports. The calling thread becomes the first lcore.
    ///
    /// # Errors
    /// What DPDK refuses, or a link that stays down.
    pub fn start(config: &Config) -> Result<Self, PktgenError> {
        let stop = Arc::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&stop)).map_err(PktgenError::Signals)?;
        }
        let sizes = config.sizes();
        let largest = sizes.iter().map(|size| size.largest()).max().unwrap_or(64);
        let (ports, queues) = Ports::open(config, largest)?;
        let streams: Arc<[Stream]> = streams(config, sizes[0]).into();
        let sender = Sender::new(config, &streams, queues.tx, ports.pool());
        let receiver = Receiver::new(&streams, queues.rx);
        ports.wait_for_links(config.trial.ready_seconds, &stop)?;
        Ok(Self { sender, receiver, ports, streams, config: config.clone(), stop })
    }

    /// Sends other traffic from now on: `[traffic]` of `config`, with frames of `size`.
    pub fn change(&mut self, config: &Config, size: FrameBytes) {
        self.config = config.clone();
        self.streams = streams(config, size).into();
        self.sender.replace(config, &self.streams);
        self.receiver.replace(&self.streams);
    }

    /// Sends a few packets again and again until some of every stream come back each time: a link that has just come up
    /// makes a router's routes come and go for a while.
    ///
    /// # Errors
    /// [`PktgenError::Silence`].
    pub fn wait_until_ready(&mut self) -> Result<(), PktgenError> {
        let seconds = self.config.trial.ready_seconds;
        let hertz = tsc_hz();
        let end = tsc() + cycles(seconds, hertz);
        let mut good = 0;
        loop {
            let trial = Trial {
                rate: Rate::Max,
                seconds: READY_STEP_SECONDS,
                most: READY_PACKETS,
                drain_seconds: READY_STEP_SECONDS,
            };
            let outcome = self.run(&trial)?;
            let Some(silent) = outcome.streams.iter().find(|stream| stream.sent == 0 || stream.received == 0)
            else {
                good += 1;
                if good == READY_TIMES {
                    return Ok(());
                }
                continue;
            };
            good = 0;
            if tsc() >= end {
                return Err(PktgenError::Silence { stream: silent.name, seconds, seen: outcome.summary() });
            }
        }
    }

    /// Runs a trial.
    ///
    /// # Errors
    /// When the second lcore cannot be had, or a signal ended the trial.
    pub fn run(&mut self, trial: &Trial) -> Result<Outcome, PktgenError> {
        let before = self.ports.stats();
        let bases = self.sender.prepare();
        self.receiver.begin(&bases);
        let hertz = tsc_hz();
        let plan = Plan { trial: *trial, hertz, stop: &self.stop };
        let ran = match self.config.dpdk.lcores.get(1) {
            None => one_lcore(&mut self.sender, &mut self.receiver, &plan),
            Some(&cpu) => two_lcores(&mut self.sender, &mut self.receiver, &plan, &self.ports, cpu)?,
        };
        if self.stop.load(Ordering::Relaxed) {
            return Err(PktgenError::Interrupted);
        }
        Ok(Outcome::new(trial, &self.streams, &self.sender, self.receiver.judge(), ran, hertz)
            .with_ports(&before, &self.ports.stats()))
    }
}

/// What both ways to run a trial need.
struct Plan<'a> {
    trial: Trial,
    hertz: u64,
    stop: &'a AtomicBool,
}

impl Plan<'_> {
    /// How long late packets are waited for, in cycles.
    fn drain(&self) -> u64 {
        cycles(self.trial.drain_seconds, self.hertz)
    }
}

/// How the trial went for this program itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ran {
    /// How long packets were sent, in cycles.
    pub sending: u64,
    /// The longest time between two turns of sending, in cycles: how long the machine kept this program from running.
    pub longest_pause: u64,
    /// Packets written in time, and refused by the ports to the end.
    pub abandoned: u64,
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "checked to be positive and an hour at most"
)]
pub(super) fn cycles(seconds: f64, hertz: u64) -> u64 {
    (seconds * hertz as f64) as u64
}

/// Sends and receives in turns.
fn one_lcore(sender: &mut Sender, receiver: &mut Receiver, plan: &Plan<'_>) -> Ran {
    let mut clock = SendClock::start(sender, plan);
    loop {
        let more = clock.turn(sender);
        receiver.turn(tsc);
        if !more {
            break;
        }
    }
    let sent: u64 = sender.sent().iter().sum();
    let end = tsc() + plan.drain();
    while receiver.judge().received() < sent && tsc() < end {
        receiver.turn(tsc);
    }
    clock.ran
}

/// Sends here and receives on another CPU.
fn two_lcores(
    sender: &mut Sender,
    receiver: &mut Receiver,
    plan: &Plan<'_>,
    ports: &Ports,
    cpu: usize,
) -> Result<Ran, PktgenError> {
    let shared = Shared { state: AtomicU8::new(STARTING), sent: AtomicU64::new(u64::MAX) };
    let eal = ports.eal();
    thread::scope(|scope| {
        let receiving = scope.spawn(|| -> Result<u64, PktgenError> {
            let lcore = pin_current_thread(cpu).and_then(|()| eal.register_current_thread());
            shared.state.store(if lcore.is_ok() { RECEIVING } else { FAILED }, Ordering::Release);
            let _lcore = lcore?;
            Ok(receive(receiver, &shared, plan.drain()))
        });
        // The first packets must not fill the receive queues before anybody takes them out.
        while shared.state.load(Ordering::Acquire) == STARTING {
            std::hint::spin_loop();
        }
        let mut clock = SendClock::start(sender, plan);
        while shared.state.load(Ordering::Relaxed) == RECEIVING && clock.turn(sender) {}
        shared.sent.store(sender.sent().iter().sum(), Ordering::Release);
        let pause = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Ran { longest_pause: clock.ran.longest_pause.max(pause), ..clock.ran })
    })
}

/// What two lcores tell each other.
struct Shared {
    /// [`STARTING`], [`RECEIVING`] or [`FAILED`].
    state: AtomicU8,
    /// Packets sent, once the last one is.
    sent: AtomicU64,
}

const STARTING: u8 = 0;
const RECEIVING: u8 = 1;
const FAILED: u8 = 2;

/// Receives until all that was sent is there, or for `drain` cycles after the last was sent; the longest time between
/// two turns.
fn receive(receiver: &mut Receiver, shared: &Shared, drain: u64) -> u64 {
    let (mut end, mut last, mut longest) = (u64::MAX, tsc(), 0);
    loop {
        let now = tsc();
        longest = longest.max(now - last);
        last = now;
        receiver.turn(tsc);
        let sent = shared.sent.load(Ordering::Acquire);
        if sent != u64::MAX && end == u64::MAX {
            end = now + drain;
        }
        if now >= end || receiver.judge().received() >= sent {
            return longest;
        }
    }
}

/// The sender's turns, until its time is over and the ports have taken its last packets.
struct SendClock<'a> {
    start: u64,
    end: u64,
    /// How long after `end` the ports may refuse.
    last_packets: u64,
    stop: &'a AtomicBool,
    last: u64,
    ran: Ran,
}

impl<'a> SendClock<'a> {
    /// The schedule begins now.
    fn start(sender: &mut Sender, plan: &Plan<'a>) -> Self {
        let Plan { trial, hertz, stop } = *plan;
        let start = tsc();
        sender.begin(&Offer { rate: trial.rate, most: trial.most, start, hertz });
        Self {
            start,
            end: start + cycles(trial.seconds, hertz),
            last_packets: cycles(LAST_PACKETS_SECONDS, hertz),
            stop,
            last: start,
            ran: Ran::default(),
        }
    }

    /// One turn; false when it was the last one.
    #[inline]
    fn turn(&mut self, sender: &mut Sender) -> bool {
        let now = tsc();
        self.ran.longest_pause = self.ran.longest_pause.max(now - self.last);
        self.last = now;
        if self.stop.load(Ordering::Relaxed) {
            self.end = self.end.min(now);
        }
        if now >= self.end {
            sender.finish(self.end);
        }
        if sender.turn(now) > 0 || now < self.end {
            self.ran.sending = now - self.start;
        }
        let late = now >= self.end + self.last_packets;
        if !late && !sender.is_done() {
            return true;
        }
        self.ran.abandoned = sender.abandon();
        // Until the end of the schedule, or until the last packet was taken if that was later, or was all there were.
        if now >= self.end {
            self.ran.sending = self.ran.sending.max(self.end - self.start);
        }
        false
    }
}
