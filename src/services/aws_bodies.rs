//! The bodies of uploads and of answers, as the transport watches them: whether bytes move, and whether an answer comes to its
//! end.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_smithy_types::body::SdkBody;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::mismatch::mismatch;
use crate::services::limits::Pace;

type Polled = Poll<Option<Result<Frame<<SdkBody as Body>::Data>, <SdkBody as Body>::Error>>>;

/// When the last byte of an upload moved. Clones share it.
#[derive(Clone)]
pub(super) struct Progress(Arc<Mutex<Instant>>);

/// The body of an upload, which notes when a part of it is taken.
pub(super) struct Upload {
    body: Pin<Box<SdkBody>>,
    progress: Progress,
}

/// A body has arrived more slowly than that, or not at all.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", mismatch("body", format_args!("at least {} bytes within {} ms", pace.bytes, pace.within.as_millis()), got))]
pub(super) struct TooSlow {
    pace: Pace,
    got: u64,
}

/// The body of an answer. It fails when it arrives too slowly, and tells when it is dropped before its end: its connection is
/// not to be used again.
pub(super) struct Download<F: Fn()> {
    body: Pin<Box<SdkBody>>,
    pace: Pace,
    /// Bytes since the pace was kept the last time, and how long they were waited for.
    got: u64,
    waited: Duration,
    /// The wait that goes on.
    wait: Option<Wait>,
    has_ended: bool,
    tell: F,
}

struct Wait {
    since: Instant,
    end: Pin<Box<Sleep>>,
}

impl Progress {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Upload {
    pub fn new(body: SdkBody, progress: Progress) -> Self {
        Self { body: Box::pin(body), progress }
    }
}

impl Body for Upload {
    type Data = <SdkBody as Body>::Data;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let frame = self.body.as_mut().poll_frame(cx);
        if frame.is_ready() {
            self.progress.has_moved();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&*self.body)
    }
}

impl<F: Fn()> Download<F> {
    pub fn new(body: SdkBody, pace: Pace, tell: F) -> Self {
        Self { body: Box::pin(body), pace, got: 0, waited: Duration::ZERO, wait: None, has_ended: false, tell }
    }

    fn bytes_came(&mut self, count: usize) {
        self.waited += self.wait.take().map_or(Duration::ZERO, |wait| wait.since.elapsed());
        self.got += count as u64;
        if self.got >= self.pace.bytes {
            (self.got, self.waited) = (0, Duration::ZERO);
        }
    }

    /// Waits on, until the body is too slow.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let left = self.pace.within.saturating_sub(self.waited);
        let wait = self.wait.get_or_insert_with(|| {
            let since = Instant::now();
            Wait { since, end: Box::pin(sleep_until(since + left)) }
        });
        ready!(wait.end.as_mut().poll(cx));
        Poll::Ready(TooSlow { pace: self.pace, got: self.got })
    }
}

impl<F: Fn() + Unpin> Body for Download<F> {
    type Data = <SdkBody as Body>::Data;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
            return self.poll_too_slow(cx).map(|too_slow| Some(Err(too_slow.into())));
        };
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        if let Some(data) = data {
            self.bytes_came(data.len());
        }
        self.has_ended |= frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&*self.body)
    }
}

impl<F: Fn()> Drop for Download<F> {
    fn drop(&mut self) {
        if !self.has_ended && !self.body.is_end_stream() {
            (self.tell)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;

    use futures::FutureExt;
    use tokio::time::sleep;

    use super::*;

    type Data = <SdkBody as Body>::Data;

    const PACE: Pace = Pace { bytes: 4, within: Duration::from_secs(5) };

    /// Takes so many frames of a body that has one, and returns whether it told that it was dropped too early.
    async fn tells(taken: usize) -> bool {
        let told = Cell::new(false);
        let mut body = Download::new(SdkBody::from("abc"), PACE, || told.set(true));
        for _ in 0..taken {
            let _ = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        }
        drop(body);
        told.get()
    }

    #[tokio::test]
    async fn an_answer_tells_that_it_was_dropped_before_its_end() {
        assert_eq!([tells(0).await, tells(1).await, tells(2).await], [true, false, false]);
    }

    /// A body of which a byte arrives now and then, without end.
    struct Dripping {
        every: Duration,
        next: Pin<Box<Sleep>>,
    }

    impl Body for Dripping {
        type Data = Data;
        type Error = std::io::Error;

        fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<std::io::Result<Frame<Data>>>> {
            ready!(self.next.poll_unpin(cx));
            self.next = Box::pin(sleep(self.every));
            Poll::Ready(Some(Ok(Frame::data(Data::from_static(b"a")))))
        }
    }

    /// Takes bytes of a body of which one arrives each time `every` has passed, and lets `pause` pass after each. Returns the
    /// number of bytes until the body fails and its error, or `None` if it goes on.
    async fn too_slow(every: Duration, pause: Duration) -> Option<(usize, String)> {
        let dripping = SdkBody::from_body_1_x(Dripping { every, next: Box::pin(sleep(every)) });
        let mut body = Download::new(dripping, PACE, || {});
        for taken in 0..100 {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("no end") {
                Ok(_) => sleep(pause).await,
                Err(error) => return Some((taken, error.to_string())),
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_arrives_more_slowly_than_its_pace_fails() {
        let (second, none) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!(too_slow(second, none).await, None, "4 bytes in 4 s");
        assert_eq!(too_slow(second, Duration::from_hours(1)).await, None, "the reader may take its time");
        let told = |got| format!("body: expected at least 4 bytes within 5000 ms, got {got}");
        assert_eq!(too_slow(2 * second, none).await, Some((2, told(2))));
        assert_eq!(too_slow(6 * second, none).await, Some((0, told(0))));
    }
}
