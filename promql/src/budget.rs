//! How much one query may hold, and whether it may go on.

use crate::error::EvalError;
use model::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Samples one query may hold at a time unless configured otherwise.
pub const SAMPLES_MAX_DEFAULT: u64 = 50_000_000;
/// Bytes one query may hold at a time unless configured otherwise.
pub const BYTES_MAX_DEFAULT: u64 = 1 << 30;

/// Limits of one query; clones share the account.
#[derive(Clone, Debug)]
pub struct Budget {
    account: Arc<Account>,
}

#[derive(Debug)]
struct Account {
    samples_max: u64,
    bytes_max: u64,
    deadline: Option<(Arc<dyn Clock>, Duration)>,
    cancelled: Arc<AtomicBool>,
    samples: AtomicU64,
    bytes: AtomicU64,
    samples_peak: AtomicU64,
    bytes_peak: AtomicU64,
}

impl Budget {
    /// A budget of so many samples and bytes, without a deadline.
    #[must_use]
    pub fn new(samples_max: u64, bytes_max: u64) -> Self {
        Self::with_account(samples_max, bytes_max, None, Arc::default())
    }

    /// A budget that also ends when `clock.monotonic()` passes `deadline` or when `cancelled` becomes true.
    #[must_use]
    pub fn with_deadline(samples_max: u64, bytes_max: u64, clock: Arc<dyn Clock>, deadline: Duration, cancelled: Arc<AtomicBool>) -> Self {
        Self::with_account(samples_max, bytes_max, Some((clock, deadline)), cancelled)
    }

    fn with_account(samples_max: u64, bytes_max: u64, deadline: Option<(Arc<dyn Clock>, Duration)>, cancelled: Arc<AtomicBool>) -> Self {
        let zero = AtomicU64::default;
        Self {
            account: Arc::new(Account {
                samples_max,
                bytes_max,
                deadline,
                cancelled,
                samples: zero(),
                bytes: zero(),
                samples_peak: zero(),
                bytes_peak: zero(),
            }),
        }
    }

    /// Takes room for samples and bytes until the reservation is dropped.
    ///
    /// # Errors
    /// The query would hold more than it may.
    pub fn reserve(&self, samples: u64, bytes: u64) -> Result<Reservation, EvalError> {
        let account = &self.account;
        // Checked alone first, so that the sums below cannot overflow.
        if samples > account.samples_max {
            return Err(EvalError::TooManySamples);
        }
        if bytes > account.bytes_max {
            return Err(EvalError::TooManyBytes { limit_bytes: account.bytes_max });
        }
        let samples_now = account.samples.fetch_add(samples, Ordering::Relaxed) + samples;
        let bytes_now = account.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let reservation = Reservation { budget: self.clone(), samples, bytes };
        account.samples_peak.fetch_max(samples_now, Ordering::Relaxed);
        account.bytes_peak.fetch_max(bytes_now, Ordering::Relaxed);
        if samples_now > account.samples_max {
            return Err(EvalError::TooManySamples);
        }
        if bytes_now > account.bytes_max {
            return Err(EvalError::TooManyBytes { limit_bytes: account.bytes_max });
        }
        Ok(reservation)
    }

    /// Tells whether the query may go on; called at least once a series.
    ///
    /// # Errors
    /// It was cancelled, or its deadline passed.
    pub fn check(&self) -> Result<(), EvalError> {
        if self.account.cancelled.load(Ordering::Relaxed) {
            return Err(EvalError::Cancelled);
        }
        match &self.account.deadline {
            Some((clock, deadline)) if clock.monotonic() >= *deadline => Err(EvalError::TimedOut),
            _ => Ok(()),
        }
    }

    /// Most samples and bytes that were held at one time.
    #[must_use]
    pub fn peak(&self) -> (u64, u64) {
        (self.account.samples_peak.load(Ordering::Relaxed), self.account.bytes_peak.load(Ordering::Relaxed))
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(SAMPLES_MAX_DEFAULT, BYTES_MAX_DEFAULT)
    }
}

/// Room taken from a budget; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    samples: u64,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.account.samples.fetch_sub(self.samples, Ordering::Relaxed);
        self.budget.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::clock::ManualClock;

    #[test]
    fn room_is_given_back_and_the_peak_is_kept() {
        let budget = Budget::new(10, 100);
        let first = budget.reserve(6, 60).unwrap();
        assert_eq!(budget.reserve(u64::MAX, 0).unwrap_err(), EvalError::TooManySamples);
        assert_eq!(budget.reserve(5, 1).unwrap_err(), EvalError::TooManySamples);
        assert_eq!(budget.reserve(1, 41).unwrap_err(), EvalError::TooManyBytes { limit_bytes: 100 });
        drop(first);
        assert!(budget.reserve(10, 100).is_ok());
        assert_eq!(budget.peak(), (11, 101));
    }

    #[test]
    fn a_query_stops_at_its_deadline_or_when_it_is_cancelled() {
        let clock = Arc::new(ManualClock::new(0));
        let cancelled = Arc::new(AtomicBool::new(false));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let budget = Budget::with_deadline(1, 1, shared, Duration::from_secs(2), Arc::clone(&cancelled));
        assert_eq!(budget.check(), Ok(()));
        clock.advance(Duration::from_secs(2));
        assert_eq!(budget.check(), Err(EvalError::TimedOut));
        cancelled.store(true, Ordering::Relaxed);
        assert_eq!(budget.check(), Err(EvalError::Cancelled));
    }
}
