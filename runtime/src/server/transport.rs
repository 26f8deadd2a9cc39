//! The stream below HTTP. It reports when answers are written, and when a write waits because the peer does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::Progress;

/// A stream that reports its writes to [`Progress`].
pub(super) struct Transport<T> {
    stream: T,
    progress: Progress,
}

impl<T> Transport<T> {
    pub(super) fn new(stream: T, progress: Progress) -> Self {
        Self { stream, progress }
    }

    /// Reports whether a write continued or waits, and returns its result.
    fn wrote<R>(&self, written: Poll<R>) -> Poll<R> {
        match written {
            Poll::Pending => self.progress.stalled(),
            Poll::Ready(_) => self.progress.moved(),
        }
        written
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Transport<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Transport<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes only when its own buffer is empty, so after a flush the kernel has all complete answers.
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.progress.flushed();
        }
        self.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(context);
        self.wrote(closed)
    }
}
