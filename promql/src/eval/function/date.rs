//! Parts of dates, in UTC, of seconds since the epoch.

/// Which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum DatePart {
    DaysInMonth,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hour,
    Minute,
    Month,
    Year,
}

impl DatePart {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "days_in_month" => Self::DaysInMonth,
            "day_of_month" => Self::DayOfMonth,
            "day_of_week" => Self::DayOfWeek,
            "day_of_year" => Self::DayOfYear,
            "hour" => Self::Hour,
            "minute" => Self::Minute,
            "month" => Self::Month,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// The part of the date `seconds` after the epoch; a fraction is cut off, as Go converts to `int64`.
    pub(crate) fn of(self, seconds: f64) -> f64 {
        let seconds = if seconds.is_finite() && seconds.abs() < 9.2e18 { seconds as i64 } else { i64::MIN };
        let days = seconds.div_euclid(86_400);
        let second_of_day = seconds.rem_euclid(86_400);
        let (year, month, day) = civil(days);
        let part = match self {
            Self::DaysInMonth => days_in_month(year, month),
            Self::DayOfMonth => day,
            Self::DayOfWeek => (days + 4).rem_euclid(7),
            Self::DayOfYear => (1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day,
            Self::Hour => second_of_day / 3_600,
            Self::Minute => second_of_day / 60 % 60,
            Self::Month => month,
            Self::Year => year,
        };
        part as f64
    }
}

/// Year, month and day of a day since the epoch. Counts eras of 400 years whose years begin in March, so that leap days come last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_before_and_after_the_epoch() {
        let all = [DatePart::Year, DatePart::Month, DatePart::DayOfMonth, DatePart::DayOfYear, DatePart::DayOfWeek, DatePart::Hour];
        let parts = |seconds: f64| all.map(|part| part.of(seconds) as i64);
        assert_eq!(parts(0.0), [1970, 1, 1, 1, 4, 0]);
        assert_eq!(parts(-1.0), [1969, 12, 31, 365, 3, 23]);
        assert_eq!(parts(1_709_164_800.5), [2024, 2, 29, 60, 4, 0]);
        assert_eq!(DatePart::DaysInMonth.of(951_782_400.0), 29.0);
        assert_eq!(DatePart::Minute.of(1_136_239_445.0), 4.0);
        assert!(DatePart::Year.of(f64::NAN).is_finite());
    }
}
