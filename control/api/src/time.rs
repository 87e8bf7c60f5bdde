//! Times as texts.

/// Seconds since 1970 as RFC 3339 has them, UTC: `2026-11-28T18:50:00Z`.
#[must_use]
pub fn rfc3339(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Nanoseconds since 1970 as RFC 3339 has them, UTC, to the microsecond: `2026-11-28T18:50:00.000123Z`.
#[must_use]
pub fn rfc3339_micros(nanoseconds: u64) -> String {
    let (seconds, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let whole = rfc3339(seconds);
    format!("{}.{:06}Z", whole.trim_end_matches('Z'), rest / 1000)
}

/// The date of a day since 1970. Years are counted from March, so that the leap day is their last, in eras of 400.
const fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::{rfc3339, rfc3339_micros};

    #[test]
    fn microseconds_are_shown_with_all_their_digits() {
        assert_eq!(rfc3339_micros(1_795_891_800_000_123_999), "2026-11-28T18:50:00.000123Z");
        assert_eq!(rfc3339_micros(999_999_999), "1970-01-01T00:00:00.999999Z");
    }

    #[test]
    fn times_are_as_date_says() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_795_891_800, "2026-11-28T18:50:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
        }
    }
}
