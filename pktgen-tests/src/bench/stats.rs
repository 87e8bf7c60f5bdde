//! What several runs of one measurement say.

/// A measurement's runs in the order they were made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    /// Adds a run.
    pub(super) fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The runs in the order they were made.
    #[must_use]
    pub(super) fn runs(&self) -> &[f64] {
        &self.0
    }

    /// The middle one; between the middle two when their number is even. `None` without runs.
    #[must_use]
    pub(super) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    /// The smallest.
    #[must_use]
    pub(super) fn min(&self) -> Option<f64> {
        self.0.iter().copied().min_by(f64::total_cmp)
    }

    /// The largest.
    #[must_use]
    pub(super) fn max(&self) -> Option<f64> {
        self.0.iter().copied().max_by(f64::total_cmp)
    }

    /// Half the distance between the tenth and the ninetieth percentile: how far the runs lie apart. Of a few runs that
    /// is nearly all of them; of many, a disturbed one hardly moves it.
    #[must_use]
    pub(super) fn spread(&self) -> Option<f64> {
        Some((self.quantile(0.9)? - self.quantile(0.1)?) / 2.0)
    }

    /// Linear between the two nearest runs.
    fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
        let place = share * last as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to last")]
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        Some(sorted[below] + (sorted[above] - sorted[below]) * place.fract())
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(samples(&[9.0, 1.0, 5.0]).median(), Some(5.0));
        assert_eq!(samples(&[4.0, 1.0, 2.0, 9.0]).median(), Some(3.0));
        assert_eq!(samples(&[7.0]).median(), Some(7.0));
        assert_eq!(Samples::default().median(), None);
    }

    #[test]
    fn runs_keep_their_order() {
        let samples = samples(&[9.0, 1.0, 5.0]);
        assert_eq!(samples.runs(), [9.0, 1.0, 5.0]);
        assert_eq!((samples.min(), samples.max()), (Some(1.0), Some(9.0)));
    }

    #[test]
    fn the_spread_is_that_of_most_runs() {
        let runs: Vec<f64> = (0..=10).map(f64::from).collect();
        assert_eq!(samples(&runs).spread(), Some(4.0));
        let disturbed: Vec<f64> = (0..10).map(f64::from).chain([900.0]).collect();
        assert_eq!(samples(&disturbed).spread(), Some(4.0));
        assert_eq!(samples(&[10.0]).spread(), Some(0.0));
        assert_eq!(Samples::default().spread(), None);
    }
}
