//! The ways in which a relay goes, and comes back.

use std::fs;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::super::Idc;
use super::super::relays::NODES;
use super::{Broken, VICTIM, memory};
use crate::lab::{Cmd, LabError, borderctl};

/// The process is gone, and everything it held with it.
pub(super) fn kill(idc: &mut Idc) -> Result<Broken, LabError> {
    idc.take_relay(VICTIM).kill();
    Ok(Box::new(|idc| idc.start_relay(VICTIM)))
}

/// Nothing of the process runs, but it holds everything: twins and announcements stay.
pub(super) fn stop(idc: &mut Idc) -> Result<Broken, LabError> {
    idc.relay(VICTIM).signal(Signal::SIGSTOP);
    Ok(Box::new(|idc| {
        idc.relay(VICTIM).signal(Signal::SIGCONT);
        Ok(())
    }))
}

/// One thread hangs as if it had met a bug; all others go on. A tracer holds it.
pub(super) fn stall(idc: &mut Idc) -> Result<Broken, LabError> {
    let thread_id = worker(idc.relay(VICTIM).pid())?;
    let release = Arc::<AtomicBool>::default();
    let told = Arc::clone(&release);
    let holder = thread::spawn(move || hold(thread_id, &told));
    Ok(Box::new(move |_| {
        release.store(true, Ordering::Relaxed);
        holder
            .join()
            .expect("the tracer does not panic")
            .map_err(|error| LabError::io("ptrace")(error.into()))
    }))
}

/// The thread id of the first worker.
fn worker(pid: u32) -> Result<Pid, LabError> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(LabError::io("threads of the relay"))?;
    let is_worker = |name: &str| {
        fs::read_to_string(format!("/proc/{pid}/task/{name}/comm"))
            .is_ok_and(|comm| comm.starts_with("worker"))
    };
    let found = tasks
        .filter_map(|task| task.ok()?.file_name().into_string().ok())
        .find(|name| is_worker(name))
        .and_then(|name| name.parse().ok());
    let missing = || LabError::Unreadable { what: "the relay's threads".into(), text: "no worker".into() };
    found.map(Pid::from_raw).ok_or_else(missing)
}

/// A tracer is one thread from beginning to end.
fn hold(thread_id: Pid, release: &AtomicBool) -> nix::Result<()> {
    ptrace::seize(thread_id, ptrace::Options::empty())?;
    ptrace::interrupt(thread_id)?;
    waitpid(thread_id, Some(WaitPidFlag::__WALL))?;
    while !release.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(10));
    }
    ptrace::detach(thread_id, None)
}

/// Somebody pulls the cable to the IPv4 Internet.
pub(super) fn port_down(idc: &mut Idc) -> Result<Broken, LabError> {
    idc.node("inet4").ip("link set br1 down")?;
    Ok(Box::new(|idc| idc.node("inet4").ip("link set br1 up").map(drop)))
}

/// What an operator does before he takes a relay away.
pub(super) fn drain(idc: &mut Idc) -> Result<Broken, LabError> {
    control(idc, "drain --lead 2s")?;
    Ok(Box::new(|idc| control(idc, "undrain")))
}

/// A new version stands by. Once nobody sends to the old one any more it is stopped, and the new one goes on with its twins.
pub(super) fn upgrade(idc: &mut Idc) -> Result<Broken, LabError> {
    let next = idc.stand_by(VICTIM)?;
    control(idc, "drain --lead 2s")?;
    Ok(Box::new(|idc| {
        idc.take_relay(VICTIM).stop()?;
        idc.succeed(VICTIM, next)
    }))
}

/// The process is gone, and another one that has everything prepared goes on with what it held.
pub(super) fn standby(idc: &mut Idc) -> Result<Broken, LabError> {
    let next = idc.stand_by(VICTIM)?;
    idc.take_relay(VICTIM).kill();
    idc.succeed(VICTIM, next)?;
    Ok(Box::new(|_| Ok(())))
}

/// The same in good order, and without a drain.
pub(super) fn hand_over(idc: &mut Idc) -> Result<Broken, LabError> {
    let next = idc.stand_by(VICTIM)?;
    idc.take_relay(VICTIM).ends_by(Signal::SIGUSR2)?;
    idc.succeed(VICTIM, next)?;
    Ok(Box::new(|_| Ok(())))
}

fn control(idc: &Idc, verb: &str) -> Result<(), LabError> {
    let missing = || LabError::Unreadable { what: "borderctl".into(), text: "not beside the relay".into() };
    let program = borderctl().ok_or_else(missing)?;
    let socket = idc.socket(VICTIM).display().to_string();
    let command = Cmd::new("ip").args("netns exec").arg(idc.node(NODES[VICTIM]).name());
    command
        .arg(program.display().to_string())
        .arg("--socket")
        .arg(socket)
        .args(verb)
        .timeout(60)
        .ok()
        .map(drop)
}

/// A bit of a mapping in the tables in use turns over, as bad memory does it: nobody has changed anything. It is a mapping
/// that no witness uses, so all that is to be seen is whether the relay notices and leaves without loss. A restart mends it.
pub(super) fn damage(idc: &mut Idc) -> Result<Broken, LabError> {
    const MTA: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x12, 0x34, 0, 0, 0, 2);
    let hits = memory::flip(idc.relay(VICTIM).pid(), MTA.octets())?;
    if hits == 0 {
        let text = format!("{MTA} is nowhere in its memory");
        return Err(LabError::Unreadable { what: "the relay's tables".into(), text });
    }
    Ok(Box::new(|idc| {
        idc.take_relay(VICTIM).stop()?;
        idc.start_relay(VICTIM)
    }))
}
