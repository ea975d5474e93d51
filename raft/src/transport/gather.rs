//! Between frames and messages, the same way on every transport: what waits goes together, heartbeats of many groups wait for each other.
//!
//! A frame says how long it may wait for company. One that may not takes those that wait along.

use super::{FRAMES_WAITING_MAX, MESSAGE_BYTES_TARGET};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use proto::raft::{Frame, Frames};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The longest that a frame waits for company.
pub(super) const PATIENCE_MAX: Duration = Duration::from_millis(10);

/// A boxed stream under a name: the compiler cannot see that a future which holds the bare box is `Send`.
pub(crate) struct Boxed<T>(pub(super) BoxStream<'static, T>);

impl<T> Stream for Boxed<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next_unpin(context)
    }
}

/// A frame that arrived.
#[derive(Debug)]
pub struct Arrived {
    /// What arrived.
    pub frame: Frame,
    /// Until when its sender waits for what it asks, if it says so.
    pub deadline: Option<Instant>,
}

impl From<Frame> for Arrived {
    /// Takes a frame that arrives now.
    fn from(frame: Frame) -> Self {
        let patience = Duration::from_millis(frame.deadline_ms.into());
        Self { deadline: (!patience.is_zero()).then(|| Instant::now() + patience), frame }
    }
}

/// Gathers frames into messages: large ones alone, small ones together.
pub(crate) fn batches(frames: mpsc::Receiver<Frame>) -> Boxed<Frames> {
    let batches = futures::stream::unfold((frames, None), |(mut frames, held)| async move {
        let first = match held {
            Some(held) => held,
            None => frames.recv().await?,
        };
        let (batch, held) = gather(first, &mut frames).await;
        Some((Frames { frames: batch }, (frames, held)))
    });
    Boxed(batches.boxed())
}

/// One message that begins with `first`, and the frame that did not fit it any more.
async fn gather(first: Frame, frames: &mut mpsc::Receiver<Frame>) -> (Vec<Frame>, Option<Frame>) {
    let patience = |frame: &Frame| Duration::from_millis(frame.patience_ms.into()).min(PATIENCE_MAX);
    let mut until = Instant::now() + patience(&first);
    let mut bytes = prost::Message::encoded_len(&first);
    let mut batch = vec![first];
    loop {
        let next = match frames.try_recv() {
            Ok(next) => next,
            Err(mpsc::error::TryRecvError::Disconnected) => return (batch, None),
            Err(mpsc::error::TryRecvError::Empty) if until <= Instant::now() => return (batch, None),
            Err(mpsc::error::TryRecvError::Empty) => match tokio::time::timeout_at(until, frames.recv()).await {
                Ok(Some(next)) => next,
                Ok(None) | Err(_) => return (batch, None),
            },
        };
        bytes += prost::Message::encoded_len(&next);
        if bytes > MESSAGE_BYTES_TARGET {
            return (batch, Some(next));
        }
        until = until.min(Instant::now() + patience(&next));
        batch.push(next);
    }
}

/// Takes messages apart, `first` before them, until the stream fails or ends or nobody listens.
pub(crate) fn frames<E: Send>(
    mut first: Vec<Frame>,
    mut messages: impl Stream<Item = Result<Frames, E>> + Send + Unpin + 'static,
) -> mpsc::Receiver<Arrived> {
    let (sender, receiver) = mpsc::channel(FRAMES_WAITING_MAX);
    tokio::spawn(async move {
        loop {
            for frame in std::mem::take(&mut first) {
                if sender.send(frame.into()).await.is_err() {
                    return;
                }
            }
            let Some(Ok(message)) = messages.next().await else { return };
            first = message.frames;
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn frame(stream: u64, patience_ms: u32) -> Frame {
        Frame { stream, patience_ms, ..Frame::default() }
    }

    fn streams(message: &Frames) -> Vec<u64> {
        message.frames.iter().map(|frame| frame.stream).collect()
    }

    #[tokio::test]
    async fn patient_frames_wait_for_those_that_come_within_ten_milliseconds() {
        let (sender, receiver) = mpsc::channel(8);
        let began = Instant::now();
        let sending = tokio::spawn(async move {
            for stream in 1..=100 {
                sender.send(frame(stream, 10)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        let messages: Vec<Frames> = batches(receiver).collect().await;
        sending.await.unwrap();
        assert_eq!(messages.iter().flat_map(streams).collect::<Vec<_>>(), (1..=100).collect::<Vec<_>>());
        let windows = began.elapsed().div_duration_f64(PATIENCE_MAX);
        assert!(messages.len() < 50 && messages.len() as f64 <= windows + 1.0, "{} messages in {windows} windows", messages.len());
    }

    #[tokio::test]
    async fn frame_that_may_not_wait_goes_at_once_and_takes_the_others_along() {
        let (sender, receiver) = mpsc::channel(8);
        let mut messages = batches(receiver);
        sender.send(frame(1, 10)).await.unwrap();
        sender.send(frame(2, 0)).await.unwrap();
        assert_eq!(messages.next().now_or_never().map(|message| streams(&message.unwrap())), Some(vec![1, 2]));
        sender.send(frame(3, 10)).await.unwrap();
        assert!(messages.next().now_or_never().is_none(), "one that may wait does");
        // Whatever a peer asks for, nothing is held longer than agreed.
        sender.send(frame(4, u32::MAX)).await.unwrap();
        let held = tokio::time::timeout(Duration::from_secs(10), messages.next()).await.unwrap().unwrap();
        assert_eq!(streams(&held), [3, 4]);
    }
}
