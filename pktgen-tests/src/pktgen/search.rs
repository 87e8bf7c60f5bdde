//! Binary search for the highest rate a device passes, or the longest burst.

/// What a trial at some value says.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<T> {
    /// Passed.
    Passed(T),
    /// Failed; the value it would probably pass, if there is a guess.
    Failed(Option<f64>),
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found<T> {
    /// The highest value that passed.
    pub value: f64,
    /// What its trial said.
    pub trial: T,
    /// How many trials it took.
    pub trials: u32,
}

/// A search ends without a result when values as small as this share of the first one fail.
const SMALLEST: f64 = 0.001;

/// Searches downwards from `top`, which is tried first, until the highest value known to pass and the lowest known to
/// fail are closer than `precision`, a share of the latter. None when everything fails.
///
/// # Errors
/// Whatever a trial cannot do.
pub fn highest<T, E>(
    top: f64,
    precision: f64,
    mut trial: impl FnMut(f64) -> Result<Verdict<T>, E>,
) -> Result<Option<Found<T>>, E> {
    let mut best = None;
    let (mut passed, mut failed) = (0.0, top);
    let (mut next, mut step) = (top, None);
    let mut trials = 0;
    loop {
        trials += 1;
        match trial(next)? {
            Verdict::Passed(result) => {
                passed = next;
                best = Some((next, result));
                // After a guess that passed, the limit is probably not far above it.
                step = step.map(|step| step * 2.0);
            }
            Verdict::Failed(guess) => {
                failed = next;
                step = None;
                if let Some(guess) = guess.filter(|guess| trials == 1 && (0.0..failed).contains(guess)) {
                    (next, step) = (guess, Some(2.0 * precision));
                    continue;
                }
            }
        }
        if passed >= top || failed - passed <= precision * failed || failed <= SMALLEST * top {
            return Ok(best.map(|(value, trial)| Found { value, trial, trials }));
        }
        let middle = f64::midpoint(passed, failed);
        next = step.map_or(middle, |step| middle.min(passed * (1.0 + step)));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A device that forwards this many per second, and loses the rest.
    fn search(capacity: f64, top: f64, hint: bool) -> Option<Found<f64>> {
        let trial = |rate: f64| -> Result<Verdict<f64>, Infallible> {
            Ok(if rate <= capacity {
                Verdict::Passed(rate)
            } else {
                Verdict::Failed(hint.then_some(capacity * 0.99))
            })
        };
        highest(top, 0.01, trial).unwrap_or_else(|never| match never {})
    }

    #[test]
    fn the_capacity_is_found_from_below() {
        for capacity in [14e6, 9.9e6, 3.3e6, 123_456.0] {
            for hint in [false, true] {
                let found = search(capacity, 14.88e6, hint).expect("it passes something");
                assert!(found.value <= capacity, "{} passed of {capacity}", found.value);
                assert!(found.value >= capacity * 0.98, "{} is far below {capacity}", found.value);
                assert_eq!(found.trial, found.value, "the trial is the best one's");
            }
        }
    }

    #[test]
    fn a_hint_saves_trials() {
        let (without, with) = (search(3e6, 14e6, false), search(3e6, 14e6, true));
        let trials = |found: Option<Found<f64>>| found.expect("it passes something").trials;
        assert!(trials(with) < trials(without));
    }

    #[test]
    fn a_fast_device_takes_one_trial_and_a_dead_one_ends() {
        let found = search(20e6, 14.88e6, false).expect("it passes everything");
        assert_eq!((found.value, found.trials), (14.88e6, 1));
        assert_eq!(search(0.0, 14.88e6, false), None);
    }
}
