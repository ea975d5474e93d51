//! The signals that ask a process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which signals stop the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopOn {
    /// SIGINT and SIGTERM.
    InterruptOrTerminate,
    /// SIGTERM only. A Ctrl-C reaches every process of the terminal's group; a supervised node leaves it to its supervisor,
    /// whose SIGTERM would otherwise be the second signal, which exits at once.
    Terminate,
}

/// A stream of requests to stop. From its making on, SIGINT and SIGTERM no longer end the process by themselves.
#[derive(Debug)]
pub struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    stop_on: StopOn,
}

impl StopSignals {
    /// Takes over SIGINT and SIGTERM. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The system refuses the handlers.
    pub fn listen(stop_on: StopOn) -> io::Result<Self> {
        Ok(StopSignals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, stop_on })
    }

    /// Waits for the next request to stop and returns the signal's name. Dropping the future loses no signal.
    pub async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => if self.stop_on == StopOn::InterruptOrTerminate {
                    return "SIGINT";
                },
            }
        }
    }
}
