//! All tests and their states.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ipnet::IpNet;

/// What is tested. The names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TestName {
    /// The kernel's routes have been read.
    Routing,
    /// A worker counts cycles.
    Heartbeat,
    /// A worker answers the relay's own packets.
    Pipeline,
    /// A pool's or a prefix' packets are translated right, both ways.
    Mappings,
    /// A port has a link.
    Link,
    /// The default route of a family has a living next hop.
    NextHop,
    /// The tables are what was published.
    Tables,
    /// The control thread is in time.
    ControlLoop,
}

impl TestName {
    /// Every test.
    pub const ALL: [Self; 8] = [
        Self::Routing,
        Self::Heartbeat,
        Self::Pipeline,
        Self::Mappings,
        Self::Link,
        Self::NextHop,
        Self::Tables,
        Self::ControlLoop,
    ];

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Heartbeat => "heartbeat",
            Self::Pipeline => "pipeline",
            Self::Mappings => "mappings",
            Self::Link => "link",
            Self::NextHop => "next_hop",
            Self::Tables => "tables",
            Self::ControlLoop => "control_loop",
        }
    }
}

/// How a test stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestState {
    /// As it should be.
    Passing,
    /// Not as it should be.
    Failing,
    /// Not known yet.
    Unknown,
}

impl TestState {
    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Failing => "failing",
            Self::Unknown => "unknown",
        }
    }
}

/// What is not announced while a test does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Everything,
    /// One destination.
    Destination(IpNet),
    /// Nothing: the relay can do its work all the same.
    Nothing,
}

/// One test of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthTest {
    /// What is tested.
    pub name: TestName,
    /// Of which worker, port, pool or family; empty for the relay.
    pub subject: String,
    /// How it stands.
    pub state: TestState,
    /// Since when it stands so.
    pub since: SystemTime,
    /// Why it does not pass, in one sentence; empty when it does.
    pub why: String,
    /// What is not announced while it does not pass.
    pub scope: Scope,
}

/// The tests of now.
#[derive(Debug, Default)]
pub struct Board(BTreeMap<(TestName, String), HealthTest>);

impl Board {
    /// A test stands so now. What is new is in the log.
    pub fn set(&mut self, name: TestName, subject: &str, scope: Scope, result: Result<(), Unfit>) {
        let (state, why) = match result {
            Ok(()) => (TestState::Passing, String::new()),
            Err(Unfit::Failing(why)) => (TestState::Failing, why),
            Err(Unfit::Unknown(why)) => (TestState::Unknown, why),
        };
        let key = (name, subject.to_owned());
        if let Some(known) = self.0.get_mut(&key)
            && known.state == state
        {
            (known.why, known.scope) = (why, scope);
            return;
        }
        match state {
            TestState::Failing => tracing::warn!(test = name.name(), subject, "health: {why}"),
            TestState::Passing if self.0.contains_key(&key) => {
                tracing::info!(test = name.name(), subject, "health: passes");
            }
            TestState::Passing | TestState::Unknown => {}
        }
        let subject = subject.to_owned();
        self.0.insert(key, HealthTest { name, subject, state, since: SystemTime::now(), why, scope });
    }

    /// Forgets tests of what is no more.
    pub fn retain(&mut self, name: TestName, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|(of, subject), _| *of != name || is_there(subject));
    }

    /// How a test stands, if there is one.
    #[must_use]
    pub fn state(&self, name: TestName, subject: &str) -> Option<TestState> {
        self.0.get(&(name, subject.to_owned())).map(|test| test.state)
    }

    /// All tests, by name and subject.
    #[must_use]
    pub fn tests(&self) -> Vec<HealthTest> {
        self.0.values().cloned().collect()
    }

    /// The tests that keep everything from being announced.
    pub fn against_everything(&self) -> impl Iterator<Item = &HealthTest> {
        self.0.values().filter(|test| test.scope == Scope::Everything && test.state != TestState::Passing)
    }

    /// The first test that keeps this destination, and not everything, from being announced.
    #[must_use]
    pub fn against(&self, destination: IpNet) -> Option<&HealthTest> {
        let is_against = |test: &&HealthTest| {
            test.scope == Scope::Destination(destination) && test.state != TestState::Passing
        };
        self.0.values().find(is_against)
    }
}

/// Why a test does not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It fails.
    Failing(String),
    /// It has not been made yet.
    Unknown(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(why: &str) -> Result<(), Unfit> {
        Err(Unfit::Failing(why.to_owned()))
    }

    #[test]
    fn a_state_has_a_beginning_and_a_test_its_scope() {
        let mut board = Board::default();
        let pool: IpNet = "192.0.2.0/24".parse().expect("a prefix");
        board.set(TestName::Link, "v4", Scope::Everything, failing("down"));
        let since = board.tests()[0].since;
        std::thread::sleep(std::time::Duration::from_millis(2));
        board.set(TestName::Link, "v4", Scope::Everything, failing("still down"));
        assert_eq!((board.tests()[0].since, board.tests()[0].why.as_str()), (since, "still down"));
        assert_eq!(board.against_everything().count(), 1);
        board.set(TestName::Link, "v4", Scope::Everything, Ok(()));
        assert!(board.tests()[0].since > since && board.against_everything().next().is_none());

        board.set(TestName::Mappings, "192.0.2.0/24", Scope::Destination(pool), failing("none"));
        assert_eq!(board.against(pool).map(|test| test.why.as_str()), Some("none"));
        assert!(board.against("198.51.100.0/24".parse().expect("a prefix")).is_none());
        board.set(TestName::Link, "v6", Scope::Nothing, failing("down"));
        assert!(board.against_everything().next().is_none());
        board.retain(TestName::Mappings, |_| false);
        assert!(board.against(pool).is_none());
    }

    #[test]
    fn what_is_not_known_yet_does_not_count_as_well() {
        let mut board = Board::default();
        let unknown = Err(Unfit::Unknown("not yet".to_owned()));
        board.set(TestName::Tables, "", Scope::Everything, unknown);
        assert_eq!(board.against_everything().count(), 1);
    }
}
