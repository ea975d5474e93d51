//! What a node does so that it can be supervised: its part of the contract of [`super`].

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

use crate::config::Address;

/// How long a start waits for a busy port: what the process that died before it may need to let go.
const BUSY_PORT_PATIENCE: Duration = Duration::from_secs(5);
const BUSY_PORT_RETRY: Duration = Duration::from_millis(50);

/// Why a node does not follow its supervisor.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The supervisor died before this node had asked to die with it.
    #[error("the supervisor, process {pid}, is gone")]
    Gone {
        /// Its process id.
        pid: i32,
    },
    /// The system refuses.
    #[error("cannot ask to die with the supervisor: {0}")]
    System(#[from] io::Error),
}

/// Makes this process die, by SIGKILL, when its supervisor does.
///
/// SIGKILL, because the ports and the disk have to be free at once for the next `flotilla up`, and because nobody is left to
/// wait for a drain; what was acknowledged is on disk. The request belongs to the calling thread, so call it on the main thread,
/// before there are others.
///
/// # Errors
/// The supervisor is already gone, or the system refuses.
pub fn die_with_supervisor(pid: i32) -> Result<(), SuperviseError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    // A supervisor that died before the request was heard left this process to another parent.
    if getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == pid) { Ok(()) } else { Err(SuperviseError::Gone { pid }) }
}

/// Writes this process's id to `data/pid` by rename, so that a reader finds a whole number or nothing. Makes `data` if it is
/// missing. Not durable: after a power loss the number means nothing anyway.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn write_pid_file(data: &Path) -> io::Result<()> {
    std::fs::create_dir_all(data)?;
    let written = data.join("pid.new");
    let mut file = std::fs::File::create(&written)?;
    writeln!(file, "{}", std::process::id())?;
    std::fs::rename(&written, data.join("pid"))
}

/// Listens on an address, and tries again for five seconds while the port is busy.
///
/// # Errors
/// The port stays busy, or the address cannot be listened on for another reason.
pub async fn bind(address: &Address) -> io::Result<TcpListener> {
    bind_within(address, BUSY_PORT_PATIENCE).await
}

#[allow(clippy::disallowed_methods, reason = "what `host::System` binds with")]
async fn bind_within(address: &Address, patience: Duration) -> io::Result<TcpListener> {
    let deadline = Instant::now() + patience;
    loop {
        match TcpListener::bind((address.host(), address.port())).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => sleep(BUSY_PORT_RETRY).await,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "real sockets")]
mod tests {
    use super::*;

    #[test]
    fn pid_file_holds_this_process_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/node-1");
        write_pid_file(&data).unwrap();
        write_pid_file(&data).unwrap();
        assert_eq!(std::fs::read_to_string(data.join("pid")).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn start_waits_for_a_busy_port() {
        let first = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = Address::new("127.0.0.1", first.local_addr().unwrap().port());
        let second = tokio::spawn({
            let address = address.clone();
            async move { bind(&address).await }
        });
        sleep(Duration::from_millis(200)).await;
        assert!(!second.is_finished());
        drop(first);
        let listener = second.await.unwrap().unwrap();
        assert_eq!(listener.local_addr().unwrap().port(), address.port());
    }

    #[tokio::test]
    async fn start_gives_up_on_a_port_that_stays_busy() {
        let first = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = Address::new("127.0.0.1", first.local_addr().unwrap().port());
        let (begin, patience) = (Instant::now(), Duration::from_millis(120));
        let error = bind_within(&address, patience).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(begin.elapsed() >= patience);
    }
}
