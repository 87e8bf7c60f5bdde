//! What a scenario cost, and whether that was within its limits.

use std::time::Duration;

use super::super::Suite;
use super::super::traffic::Toll;
use super::Scenario;

/// Packets that may be lost, of both directions each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// When it breaks.
    pub(super) lost: u64,
    /// When it is back.
    pub(super) back: u64,
}

/// What happened.
pub struct Outcome {
    pub(super) scenario: Scenario,
    pub(super) suite: Suite,
    pub(super) lost: Toll,
    /// Until its routes were gone everywhere; of one whose routes are to stay, none.
    pub(super) gone: Option<Duration>,
    pub(super) back: Toll,
    /// Until they were there again.
    pub(super) returned: Option<Duration>,
}

/// The head of the table.
pub const HEAD: &str = "\
| what happens | routing | lost of 1,000/s, IPv4 to IPv6 and back | limit | downloads | its routes gone after | lost when it is back | back after | |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
";

impl Outcome {
    /// Whether everything was within its limits.
    #[must_use]
    pub fn held(&self) -> bool {
        let limits = self.scenario.limits;
        self.lost.flows.iter().zip(self.limits()).all(|(seen, limit)| seen.lost <= limit)
            && self.lost.all_whole()
            && self.back.all_whole()
            && self.back.lost() <= limits.back
            && self.gone.is_some() != self.scenario.stays
            && self.returned.is_some()
    }

    /// Packets each direction may lose.
    fn limits(&self) -> [u64; 2] {
        match self.scenario.limits.lost {
            0 => [0, 0],
            limit => self.suite.slack_ms().map(|slack| limit + slack),
        }
    }

    /// A row of the table.
    #[must_use]
    pub fn row(&self) -> String {
        let time = |time: Option<Duration>| {
            time.map_or_else(|| "never".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()))
        };
        let [there, back] = self.lost.flows;
        let [limit_there, limit_back] = self.limits();
        format!(
            "| {} | {} | {} and {} of {} (longest gaps {} and {} ms) | {limit_there} and {limit_back} | {} and {} whole | {} | {} | {} | {} |\n",
            self.scenario.what,
            self.suite.name(),
            there.lost,
            back.lost,
            there.sent + back.sent,
            there.gap,
            back.gap,
            self.lost.downloads(),
            self.back.downloads(),
            if self.scenario.stays && self.gone.is_none() { "stay".to_owned() } else { time(self.gone) },
            self.back.lost(),
            time(self.returned),
            if self.held() { "held" } else { "**not held**" },
        )
    }
}
