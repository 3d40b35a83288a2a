//! Blocking file I/O, kept off the threads that drive the requests, so that a slow disk delays neither the answer nor the
//! deadline.

/// Runs `work` on a thread for blocking work and returns its result. A panic of `work` goes on here.
///
/// If the caller is dropped, `work` still runs to its end. So files are created before it starts: it must never make a file
/// in a folder that is being removed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await, // the runtime shuts down, and this task with it
    }
}
