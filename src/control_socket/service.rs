//! Health, announcement and digests, as the socket tells of them.

use std::net::Ipv4Addr;

use std::time::UNIX_EPOCH;

use control::actor::InService;
use control::announce::DrainStatus;
use control::health::{self, Scope, TestName, TestState};
use control_api::{
    Announcement, Code, Destination, DigestPart, Digests, Drain, HealthTest, Refusal, Sender, Service,
    rfc3339,
};

/// The tests that fail and mean something: a pool without mappings is nobody's trouble where nothing is announced.
pub(super) fn failing(service: &InService) -> impl Iterator<Item = &health::HealthTest> {
    let announces = service.announcement.standing != control::announce::Standing::Off;
    let fails = move |test: &&health::HealthTest| {
        test.state == TestState::Failing && (announces || test.name != TestName::Mappings)
    };
    service.health.iter().filter(fails)
}

/// A test in one sentence.
pub(super) fn sentence(test: &health::HealthTest) -> String {
    let name = test.name.name();
    if test.subject.is_empty() {
        format!("test {name} fails: {}", test.why)
    } else {
        format!("test {name} of {} fails: {}", test.subject, test.why)
    }
}

/// In short.
pub(super) fn short(service: &InService) -> Service {
    let announcement = &service.announcement;
    let routes = announcement.destinations.iter().filter(|destination| destination.metric.is_some());
    Service {
        standing: announcement.standing.name().to_owned(),
        routes: routes.count() as u64,
        translated_pps: announcement.translated_pps,
        failing: failing(service).map(test).collect(),
        digest: service.audit.as_ref().map(|audit| audit.digest.to_string()).unwrap_or_default(),
    }
}

/// Everything.
pub(super) fn announcement(service: &InService) -> Announcement {
    let announcement = &service.announcement;
    let destination = |destination: &control::announce::Destination| Destination {
        prefix: destination.prefix.to_string(),
        metric: destination.metric,
        why: destination.why.clone(),
    };
    let sender = |(port, sender): &(String, control::announce::Sender)| Sender {
        port: port.clone(),
        router: sender.router.0.map(|byte| format!("{byte:02x}")).join(":"),
        source: sender.source.to_string(),
        samples: sender.samples,
    };
    Announcement {
        standing: announcement.standing.name().to_owned(),
        destinations: announcement.destinations.iter().map(destination).collect(),
        tests: service.health.iter().map(test).collect(),
        translated_pps: announcement.translated_pps,
        drain: announcement.drain.map(drain),
        senders: service.senders.iter().map(sender).collect(),
    }
}

/// What the mappings in use hash to.
pub(super) fn digests(service: &InService) -> Result<Digests, Refusal> {
    let Some(audit) = &service.audit else {
        let message = "the mappings have not been gone through yet";
        return Err(Refusal::new(Code::Unavailable, message, "ask again in a moment"));
    };
    let part = |(part, (digest, mappings)): (&Option<u16>, &(health::TableDigest, u64))| DigestPart {
        within: part.map_or_else(
            || "0.0.0.0/0".to_owned(),
            |part| format!("{}/16", Ipv4Addr::from_bits(u32::from(part) << 16)),
        ),
        mappings: *mappings,
        digest: digest.to_string(),
    };
    Ok(Digests {
        digest: audit.digest.to_string(),
        mappings: audit.mappings as u64,
        settings: service.settings.clone(),
        parts: audit.parts.iter().map(part).collect(),
    })
}

fn test(test: &health::HealthTest) -> HealthTest {
    HealthTest {
        name: test.name.name().to_owned(),
        subject: test.subject.clone(),
        state: test.state.name().to_owned(),
        since: rfc3339(test.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        why: test.why.clone(),
        scope: match test.scope {
            Scope::Everything => "everything".to_owned(),
            Scope::Nothing => "nothing".to_owned(),
            Scope::Destination(prefix) => prefix.to_string(),
        },
    }
}

fn drain(status: DrainStatus) -> Drain {
    Drain {
        phase: status.phase.name().to_owned(),
        seconds: status.lasted.as_secs(),
        lead_seconds: status.lead_left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
        quiet_seconds: status.quiet.as_secs(),
    }
}
