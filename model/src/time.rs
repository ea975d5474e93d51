//! Timestamps and Prometheus durations.

use crate::labels::quote;
use std::fmt;

/// Milliseconds since the Unix epoch.
pub type Timestamp = i64;

/// The earliest time of the HTTP API, written `-292273086-05-16T16:47:06Z`.
pub const TIME_MIN: Timestamp = (i64::MIN / 1000 + 62_135_596_801) * 1000;
/// The latest time of the HTTP API, written `292277025-08-18T07:12:54.999999999Z`.
pub const TIME_MAX: Timestamp = (i64::MAX / 1000 - 62_135_596_801) * 1000 + 999;

const TIME_MIN_TEXT: &str = "-292273086-05-16T16:47:06Z";
const TIME_MAX_TEXT: &str = "292277025-08-18T07:12:54.999999999Z";
const NANOS_PER_MS: u64 = 1_000_000;

/// Why a text is not a duration or a time; the words are Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A duration without text.
    #[error("empty duration string")]
    Empty,
    /// Not of the form `1y2w3d4h5m6s7ms`.
    #[error("not a valid duration string: {}", quote(.text))]
    NotDuration {
        /// The text.
        text: String,
    },
    /// A unit that is not `y`, `w`, `d`, `h`, `m`, `s` or `ms`.
    #[error("unknown unit {} in duration {}", quote(.unit), quote(.text))]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The text.
        text: String,
    },
    /// Longer than about 292 years.
    #[error("duration out of range")]
    OutOfRange,
    /// Neither seconds nor a duration.
    #[error("cannot parse {} to a valid duration", quote(.text))]
    NotStep {
        /// The text.
        text: String,
    },
    /// Seconds beyond 292 years.
    #[error("cannot parse {} to a valid duration. It overflows int64", quote(.text))]
    StepOverflow {
        /// The text.
        text: String,
    },
    /// Neither seconds nor RFC 3339.
    #[error("cannot parse {} to a valid timestamp", quote(.text))]
    NotTime {
        /// The text.
        text: String,
    },
}

/// The units from long to short, in milliseconds.
const UNITS: [(&str, u64); 7] =
    [("y", 365 * 86_400_000), ("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a Prometheus duration (`1h30m`, `0`) as milliseconds. Each unit stands at most once, longest first.
///
/// # Errors
/// See [`TimeError`]; durations beyond 2^63 nanoseconds are refused.
pub fn parse_duration(text: &str) -> Result<i64, TimeError> {
    match text {
        "" => return Err(TimeError::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let invalid = || TimeError::NotDuration { text: text.to_owned() };
    let mut rest = text;
    let mut next_unit = 0;
    let mut total_ms = 0u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        if letters == 0 {
            return Err(invalid());
        }
        let unit = &rest[..letters];
        rest = &rest[letters..];
        let Some(index) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(TimeError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        if index < next_unit {
            return Err(invalid());
        }
        next_unit = index + 1;
        total_ms = count.checked_mul(UNITS[index].1).and_then(|ms| ms.checked_add(total_ms)).ok_or(TimeError::OutOfRange)?;
        if total_ms > i64::MAX as u64 / NANOS_PER_MS {
            return Err(TimeError::OutOfRange);
        }
    }
    Ok(total_ms as i64)
}

/// Writes milliseconds as Prometheus writes a duration: `1h30m`, `0s`, years and weeks only if they are exact.
#[must_use]
pub fn format_duration(ms: i64) -> String {
    DisplayDuration(ms).to_string()
}

/// Displays milliseconds as [`format_duration`] does.
#[derive(Clone, Copy, Debug)]
pub struct DisplayDuration(pub i64);

impl fmt::Display for DisplayDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (index, (name, length)) in UNITS.into_iter().enumerate() {
            let exact_only = index < 2;
            let count = rest / length;
            if count > 0 && (!exact_only || rest.is_multiple_of(length)) {
                write!(f, "{count}{name}")?;
                rest -= count * length;
            }
        }
        Ok(())
    }
}

/// Reads a `step`, `timeout` or lookback of the HTTP API: seconds as a float, or a duration; in milliseconds, cut off.
///
/// # Errors
/// See [`TimeError`].
pub fn parse_duration_or_seconds(text: &str) -> Result<i64, TimeError> {
    if let Ok(seconds) = crate::number::parse_float(text) {
        let nanos = seconds * 1e9;
        if nanos.is_nan() || nanos >= i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(TimeError::StepOverflow { text: text.to_owned() });
        }
        return Ok(nanos as i64 / NANOS_PER_MS as i64);
    }
    parse_duration(text).map_err(|_| TimeError::NotStep { text: text.to_owned() })
}

/// Reads a time of the HTTP API: Unix seconds as a float, rounded to the millisecond, or RFC 3339, cut off to the millisecond.
///
/// # Errors
/// [`TimeError::NotTime`].
pub fn parse_time(text: &str) -> Result<Timestamp, TimeError> {
    let refused = || TimeError::NotTime { text: text.to_owned() };
    if let Ok(seconds) = crate::number::parse_float(text) {
        return seconds_to_ms(seconds).ok_or_else(refused);
    }
    match text {
        TIME_MIN_TEXT => Ok(TIME_MIN),
        TIME_MAX_TEXT => Ok(TIME_MAX),
        _ => parse_rfc3339(text.as_bytes()).ok_or_else(refused),
    }
}

/// Whole seconds and the fraction are scaled apart, so that large times keep their milliseconds.
fn seconds_to_ms(seconds: f64) -> Option<Timestamp> {
    let whole = seconds.trunc();
    if whole.is_nan() || whole.abs() >= (i64::MAX / 1000) as f64 {
        return None;
    }
    let fraction_ms = ((seconds - whole) * 1000.0).round() as i64;
    (whole as i64).checked_mul(1000)?.checked_add(fraction_ms)
}

/// `2006-01-02T15:04:05[.999…](Z|±hh:mm)`.
fn parse_rfc3339(text: &[u8]) -> Option<Timestamp> {
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0i64, |n, b| Some(n * 10 + i64::from(b.checked_sub(b'0').filter(|d| *d < 10)?)))
    };
    let is = |at: usize, b: u8| text.get(at).is_some_and(|have| have.eq_ignore_ascii_case(&b)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    for (at, b) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        is(at, b)?;
    }
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut at = 19;
    let mut ms = 0;
    if is(at, b'.').is_some() || is(at, b',').is_some() {
        let digits = text[at + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        for i in 0..3 {
            ms = ms * 10 + if i < digits { number(at + 1 + i, at + 2 + i)? } else { 0 };
        }
        at += 1 + digits;
    }
    let offset_minutes = match text.get(at)? {
        b'Z' if text.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if text.len() == at + 6 => {
            is(at + 3, b':')?;
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            if hours > 24 || minutes > 60 {
                return None;
            }
            (hours * 60 + minutes) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let minutes = days_from_epoch(year, month, day) * 1440 + hour * 60 + minute - offset_minutes;
    Some((minutes * 60 + second) * 1000 + ms)
}

/// Prints a time in UTC with milliseconds, `2006-01-02T15:04:05.000Z`, so that [`parse_time`] reads it back. Years outside 0 to 9999 have
/// more digits or a sign.
#[must_use]
pub fn format_time(ms: Timestamp) -> String {
    let (days, ms_of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Years are counted from March, as in `days_from_epoch`.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, ms) = (ms_of_day / 1000, ms_of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar since 1970-01-01; years are counted from March, so that the leap day is the last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("324ms", 324),
            ("3s", 3000),
            ("1h30m", 5_400_000),
            ("3d12h", 302_400_000),
            ("1y2w3d4h5m6s7ms", 33_019_506_007),
            ("292y", 292 * 365 * 86_400_000),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for (text, error) in [
            ("", "empty duration string"),
            ("1", "not a valid duration string: \"1\""),
            ("5m1h", "not a valid duration string: \"5m1h\""),
            ("5m1m", "not a valid duration string: \"5m1m\""),
            ("-3m", "not a valid duration string: \"-3m\""),
            ("5y1hs", "unknown unit \"hs\" in duration \"5y1hs\""),
            ("1.5d", "unknown unit \".\" in duration \"1.5d\""),
            ("294y", "duration out of range"),
            ("107675d", "duration out of range"),
            ("99999999999999999999s", "not a valid duration string: \"99999999999999999999s\""),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_prometheus_writes_them() {
        for (ms, text) in [
            (0, "0s"),
            (5_400_000, "1h30m"),
            (90 * 86_400_000, "90d"),
            (7 * 86_400_000, "1w"),
            (365 * 86_400_000, "1y"),
            (3003, "3s3ms"),
            (-100_000, "-1m40s"),
        ] {
            assert_eq!(format_duration(ms), text);
        }
    }

    #[test]
    fn times_are_read_as_the_api_reads_them() {
        for (text, ms) in [
            ("0", 0),
            ("1543578564.705", 1_543_578_564_705),
            ("1543578564.7054", 1_543_578_564_705),
            ("-1.5", -1500),
            ("1e9", 1_000_000_000_000),
            ("1769445456789.123", 1_769_445_456_789_123),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555999+01:00", 1_433_337_718_555),
            ("1969-12-31T23:59:59.5Z", -500),
            ("2000-02-29T00:00:00-00:30", 951_784_200_000),
            (TIME_MIN_TEXT, TIME_MIN),
            (TIME_MAX_TEXT, TIME_MAX),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
        for text in ["", "foo", "NaN", "Inf", "1e30", "2015-06-03", "2015-02-29T00:00:00Z", "2015-06-03T24:00:00Z", "2015-06-03T13:21:58"] {
            assert_eq!(parse_time(text), Err(TimeError::NotTime { text: text.to_owned() }), "{text}");
        }
    }

    #[test]
    fn steps_are_seconds_or_durations() {
        assert_eq!(parse_duration_or_seconds("15"), Ok(15_000));
        assert_eq!(parse_duration_or_seconds("0.5"), Ok(500));
        assert_eq!(parse_duration_or_seconds("1m"), Ok(60_000));
        assert_eq!(
            parse_duration_or_seconds("1e20").unwrap_err().to_string(),
            "cannot parse \"1e20\" to a valid duration. It overflows int64"
        );
        assert_eq!(parse_duration_or_seconds("x").unwrap_err().to_string(), "cannot parse \"x\" to a valid duration");
    }

    #[test]
    fn times_are_printed_with_milliseconds() {
        assert_eq!(format_time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(format_time(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(format_time(1_709_164_800_123), "2024-02-29T00:00:00.123Z");
        for ms in [i64::MIN, i64::MAX] {
            assert!(format_time(ms).ends_with('Z'));
        }
    }

    proptest! {
        #[test]
        fn printed_times_are_read_back(ms in -62_167_219_200_000..253_402_300_800_000_i64) {
            prop_assert_eq!(parse_time(&format_time(ms)), Ok(ms));
        }

        #[test]
        fn durations_read_back(ms in 0i64..9_000_000_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        }

        #[test]
        fn days_count_up_by_one(year in 1i64..9999, month in 1i64..=12) {
            let last = days_from_epoch(year, month, days_in_month(year, month));
            let (y, m) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            prop_assert_eq!(days_from_epoch(y, m, 1), last + 1);
        }
    }
}
