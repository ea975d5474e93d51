//! Overrides of libc's randomness and clocks: simulated on the simulation's thread, the system's on every other (RocksDB has threads).

#![allow(unsafe_code, reason = "symbols of libc cannot be replaced without it")]

use libc::{c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use sim::interposed::{Reading, next_random, read};

/// Fills `length` bytes from the seeded source.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
unsafe fn fill(buffer: *mut u8, length: usize, mut next: u64) {
    for offset in 0..length {
        if offset % 8 == 0 && offset > 0 {
            next = next_random().unwrap_or(next);
        }
        // SAFETY: the caller's promise, and `offset` is below `length`.
        unsafe { buffer.add(offset).write(next.to_le_bytes()[offset % 8]) };
    }
}

/// See `getrandom(2)`.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(buffer: *mut c_void, length: size_t, flags: c_uint) -> ssize_t {
    if let Some(next) = next_random() {
        // SAFETY: the caller's promise.
        unsafe { fill(buffer.cast(), length, next) };
        return ssize_t::try_from(length).unwrap_or(ssize_t::MAX);
    }
    // SAFETY: the same arguments as the caller gave.
    let read = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    ssize_t::try_from(read).unwrap_or(-1)
}

/// See `getentropy(3)`.
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getentropy(buffer: *mut c_void, length: size_t) -> c_int {
    // SAFETY: the caller's promise.
    let read = unsafe { getrandom(buffer, length, 0) };
    if usize::try_from(read) == Ok(length) { 0 } else { -1 }
}

/// See `clock_gettime(2)`.
///
/// # Safety
/// `time` must be valid for a write.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let reading = match clock {
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => Some(Reading::Wall),
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => Some(Reading::Monotonic),
        _ => None,
    };
    if let Some(now) = reading.and_then(read) {
        let shown = timespec { tv_sec: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), tv_nsec: c_long::from(now.subsec_nanos()) };
        // SAFETY: the caller's promise.
        unsafe { time.write(shown) };
        return 0;
    }
    // SAFETY: the same arguments as the caller gave.
    let outcome = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    c_int::try_from(outcome).unwrap_or(-1)
}
