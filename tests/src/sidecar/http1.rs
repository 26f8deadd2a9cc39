//! Minimal HTTP/1.1 that sends a test's bytes unchanged, also invalid ones, and keeps everything that it receives.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::https::Answer;

/// A TCP or Unix connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// Sends `request` and reads until the other side closes the connection.
pub(super) async fn talk(mut stream: impl Stream, request: &[u8]) -> Vec<u8> {
    let mut heard = Vec::new();
    // The sidecar may refuse a request and close before all is sent; an answer before that counts.
    let _ = stream.write_all(request).await;
    let mut part = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut part).await {
        heard.extend_from_slice(&part[..length]);
    }
    heard
}

/// Parses an answer that ended with the connection.
pub(super) fn parse(heard: &[u8]) -> Option<Answer> {
    let end = heard.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let mut lines = std::str::from_utf8(&heard[..end]).ok()?.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse::<StatusCode>().ok()?;
    let header = |line: &str| -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = line.split_once(':')?;
        Some((name.parse().ok()?, value.trim().parse().ok()?))
    };
    let headers = lines.filter_map(header).collect::<HeaderMap>();
    Some(Answer { status, headers, body: Bytes::copy_from_slice(&heard[end + 4..]) })
}

/// Sends `GET path` where nothing can be awaited.
pub(super) fn get_now(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n")?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}
