//! The threads that apply: beside tokio's, so that heartbeats never wait for a slice of apply.

use parking_lot::Mutex;
use std::sync::{Arc, mpsc};
use std::{fmt, io};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// A fixed set of threads. Each group has at most one job in it, which bounds the queue.
#[derive(Clone)]
pub(crate) struct ApplyPool {
    /// None in a simulation: there jobs run where they come from.
    jobs: Option<Arc<Mutex<mpsc::Sender<Job>>>>,
}

impl fmt::Debug for ApplyPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApplyPool")
    }
}

impl ApplyPool {
    /// Starts `threads`; they end when the last handle is dropped.
    pub(crate) fn start(threads: usize) -> io::Result<Self> {
        if model::threads::are_inline() {
            return Ok(Self { jobs: None });
        }
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for number in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            #[allow(clippy::disallowed_methods, reason = "a thread that blocks, and none in a simulation")]
            std::thread::Builder::new().name(format!("raft-apply-{number}")).spawn(move || {
                loop {
                    let Ok(job) = queue.lock().recv() else { return };
                    job();
                }
            })?;
        }
        Ok(Self { jobs: Some(Arc::new(Mutex::new(jobs))) })
    }

    /// Runs `job` on one of the threads.
    ///
    /// # Errors
    /// The job panicked or the threads are gone.
    pub(crate) async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let Some(jobs) = &self.jobs else { return Ok(job()) };
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move || drop(sender.send(job())));
        jobs.lock().send(job).map_err(|_| io::Error::other("the apply threads are gone"))?;
        receiver.await.map_err(|_| io::Error::other("apply panicked"))
    }
}
