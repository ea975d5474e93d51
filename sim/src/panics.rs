//! A panic of any task is a broken rule: tokio would only end the task.

use parking_lot::Mutex;

static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// From now on the first panic is remembered.
pub fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::force_capture();
        FIRST.lock().get_or_insert_with(|| format!("{panic}\n{trace}"));
    }));
}

/// The first panic since the last call.
#[must_use]
pub fn take() -> Option<String> {
    FIRST.lock().take()
}
