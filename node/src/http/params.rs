//! Parameters of the query API: the form body and the URL's query merged as Go's `http.Request.Form` merges them.

use crate::http::error::ApiError;
use model::Timestamp;
use model::labels::quote;
use model::limits::QUERY_POINTS_MAX;
use model::time::{TIME_MAX, TIME_MIN, parse_duration_or_seconds, parse_time};
use std::borrow::Cow;
use std::time::Duration;

/// Parameters of one request.
pub const PARAMETERS_MAX: usize = 10_000;

/// Why a query string or a form could not be read; the texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// `%` without two hexadecimal digits.
    #[error("invalid URL escape {}", quote(.escape))]
    Escape {
        /// The escape as sent, up to three characters.
        escape: String,
    },
    /// `;` between parameters.
    #[error("invalid semicolon separator in query")]
    Semicolon,
    /// More than [`PARAMETERS_MAX`].
    #[error("number of URL query parameters exceeded limit")]
    TooMany,
}

/// The merged parameters of a request: those of the body come first, so they win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(String, String)>,
}

/// Start, end and step of a range query, checked, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First step.
    pub start_ms: Timestamp,
    /// Last moment at which a step may fall.
    pub end_ms: Timestamp,
    /// Distance of steps, positive.
    pub step_ms: i64,
}

impl Params {
    /// Merges the URL's query with a form body (`None` unless the request is a POST of `application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// 400 `error parsing form values: …`.
    pub fn new(query: &str, form: Option<&[u8]>) -> Result<Self, ApiError> {
        let mut this = Self::default();
        [form.unwrap_or_default(), query.as_bytes()]
            .into_iter()
            .try_for_each(|source| this.read(source))
            .map_err(|error| ApiError::bad_data(format_args!("error parsing form values: {error}")))?;
        Ok(this)
    }

    fn read(&mut self, source: &[u8]) -> Result<(), FormError> {
        for piece in source.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
            if piece.contains(&b';') {
                return Err(FormError::Semicolon);
            }
            if self.pairs.len() == PARAMETERS_MAX {
                return Err(FormError::TooMany);
            }
            let (name, value) = match piece.iter().position(|b| *b == b'=') {
                Some(at) => (&piece[..at], &piece[at + 1..]),
                None => (piece, &[][..]),
            };
            self.pairs.push((unescape(name)?, unescape(value)?));
        }
        Ok(())
    }

    /// The first value of `name`, or the empty text.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or("")
    }

    /// All values of `name`, those of the body first.
    pub fn all<'s>(&'s self, name: &str) -> impl Iterator<Item = &'s str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A time that must be there, as `start` and `end` of a range query.
    ///
    /// # Errors
    /// 400 `invalid parameter "start": cannot parse "x" to a valid timestamp`.
    pub fn time(&self, name: &str) -> Result<Timestamp, ApiError> {
        parse_time(self.get(name)).map_err(|cause| ApiError::invalid_parameter(name, cause))
    }

    /// A time, or `default` if it is missing or empty.
    ///
    /// # Errors
    /// 400 `invalid parameter "time": invalid time value for 'time': cannot parse "x" to a valid timestamp`.
    pub fn time_or(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(default);
        }
        parse_time(text).map_err(|cause| ApiError::invalid_parameter(name, format_args!("invalid time value for '{name}': {cause}")))
    }

    /// `start` and `end`, by default all of time, as the index endpoints take them.
    ///
    /// # Errors
    /// As [`Params::time_or`].
    pub fn interval(&self) -> Result<(Timestamp, Timestamp), ApiError> {
        Ok((self.time_or("start", TIME_MIN)?, self.time_or("end", TIME_MAX)?))
    }

    /// A duration in milliseconds (seconds or `5m`), `None` if it is missing or empty.
    ///
    /// # Errors
    /// 400 `invalid parameter "name": cannot parse "x" to a valid duration`.
    pub fn duration_ms(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        parse_duration_or_seconds(text).map(Some).map_err(|cause| ApiError::invalid_parameter(name, cause))
    }

    /// `timeout`, at most `max`; `max` if it is missing. One that is not positive is read as missing, because adapters that compute
    /// it from a deadline send such.
    ///
    /// # Errors
    /// As [`Params::duration_ms`].
    pub fn timeout(&self, max: Duration) -> Result<Duration, ApiError> {
        if self.get("timeout").starts_with('-') {
            return Ok(max);
        }
        let ms = self.duration_ms("timeout")?.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
        Ok(ms.map_or(max, |ms| Duration::from_millis(ms).min(max)))
    }

    /// `lookback_delta` in milliseconds, if given.
    ///
    /// # Errors
    /// 400 `error parsing lookback delta duration: …`.
    pub fn lookback_delta_ms(&self) -> Result<Option<i64>, ApiError> {
        let text = self.get("lookback_delta");
        if text.is_empty() {
            return Ok(None);
        }
        parse_duration_or_seconds(text)
            .map(Some)
            .map_err(|cause| ApiError::bad_data(format_args!("error parsing lookback delta duration: {cause}")))
    }

    /// A count such as `limit`; `None` (no limit) if it is missing, empty or 0.
    ///
    /// # Errors
    /// 400 with Go's text for what is no number, `limit must be non-negative` below 0.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        let number = parse_int(text)
            .map_err(|why| ApiError::invalid_parameter(name, format_args!("strconv.Atoi: parsing {}: {why}", quote(text))))?;
        let limit = usize::try_from(number).map_err(|_| ApiError::invalid_parameter(name, format_args!("{name} must be non-negative")))?;
        Ok(Some(limit).filter(|limit| *limit > 0))
    }

    /// The values of `match[]`; at least one.
    ///
    /// # Errors
    /// 400 `no match[] parameter provided`.
    pub fn required_matches(&self) -> Result<Vec<&str>, ApiError> {
        let matches: Vec<&str> = self.all("match[]").collect();
        if matches.is_empty() { Err(ApiError::bad_data("no match[] parameter provided")) } else { Ok(matches) }
    }

    /// `start`, `end` and `step` of a range query, judged in Prometheus's order.
    ///
    /// # Errors
    /// 400 with Prometheus's texts, also for more than 11,000 points.
    pub fn range(&self) -> Result<Range, ApiError> {
        let start_ms = self.time("start")?;
        let end_ms = self.time("end")?;
        if end_ms < start_ms {
            return Err(ApiError::invalid_parameter("end", "end timestamp must not be before start time"));
        }
        let step_ms = parse_duration_or_seconds(self.get("step")).map_err(|cause| ApiError::invalid_parameter("step", cause))?;
        if step_ms <= 0 {
            let cause = "zero or negative query resolution step widths are not accepted. Try a positive integer";
            return Err(ApiError::invalid_parameter("step", cause));
        }
        if end_ms.saturating_sub(start_ms) / step_ms > QUERY_POINTS_MAX {
            return Err(ApiError::bad_data(
                "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
            ));
        }
        Ok(Range { start_ms, end_ms, step_ms })
    }
}

/// Go's `strconv.Atoi`: an optional sign and decimal digits.
pub(super) fn parse_int(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("invalid syntax");
    }
    text.parse().map_err(|_| "value out of range")
}

/// Go's `url.QueryUnescape`; bytes that are not UTF-8 become U+FFFD.
fn unescape(text: &[u8]) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => match tail {
                [high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    out.push(nibble(*high) << 4 | nibble(*low));
                    rest = after;
                }
                _ => {
                    let escape = tail.get(..2).unwrap_or(tail);
                    return Err(FormError::Escape { escape: format!("%{}", String::from_utf8_lossy(escape)) });
                }
            },
            byte => out.push(byte),
        }
    }
    Ok(match String::from_utf8_lossy(&out) {
        Cow::Owned(text) => text,
        Cow::Borrowed(text) => text.to_owned(),
    })
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests;
