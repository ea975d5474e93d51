//! `20150830T123600Z`, and how far it may be from now.

use super::{Form, Settings, Signed};
use crate::AuthError;
use model::Timestamp;

/// Bytes of such a time.
const TEXT_BYTES: usize = 16;

/// Reads a time of the form `YYYYMMDDTHHMMSSZ`.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let is_form = bytes.len() == TEXT_BYTES
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
    if !is_form {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (date, time) =
        (format!("{}-{}-{}", part(0, 4), part(4, 6), part(6, 8)), format!("{}:{}:{}", part(9, 11), part(11, 13), part(13, 15)));
    model::time::parse_time(&format!("{date}T{time}Z")).ok()
}

impl Signed {
    /// Checks that the request was signed for about now.
    ///
    /// # Errors
    /// [`AuthError::Expired`], [`AuthError::NotYetCurrent`].
    pub fn check_time(&self, settings: &Settings, now_ms: Timestamp) -> Result<(), AuthError> {
        let (at_ms, allowed_ms) = (self.at_ms, settings.clock_skew_ms);
        // No overflow: times have four-digit years, and `now` only has to be a time of such years too.
        let age_ms = now_ms.saturating_sub(at_ms);
        let lifetime_ms = match self.form {
            Form::Header => allowed_ms,
            Form::Presigned { lifetime_ms } => lifetime_ms,
        };
        if age_ms < allowed_ms.saturating_neg() {
            return Err(AuthError::NotYetCurrent { at_ms, now_ms, allowed_ms });
        }
        if age_ms > lifetime_ms {
            return Err(AuthError::Expired { at_ms, now_ms, allowed_ms: lifetime_ms });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_read_strictly() {
        assert_eq!(parse("20150830T123600Z"), Some(1_440_938_160_000));
        assert_eq!(parse("19700101T000000Z"), Some(0));
        for text in ["", "20150830", "20150830T123600", "2015-08-30T12:36:00Z", "20150832T123600Z", "20150830T253600Z", "20150830t123600z"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,20}") {
            let _ = parse(&text);
        }
    }
}
