//! The part of HTTP/1.1 that a load client needs: it sends a request's bytes and reads a status and a body of known
//! length.

use std::io::{Read, Write};

use anyhow::{Context as _, bail};

/// A persistent connection.
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; 64 * 1024] }
    }

    /// Sends a request and reads the whole answer; returns its status.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).context("sending")?;
        self.stream.flush().context("sending")?;
        let mut filled = 0;
        loop {
            let free =
                self.buffer.get_mut(filled..).filter(|free| !free.is_empty()).context("a long answer")?;
            let read = self.stream.read(free).context("receiving")?;
            if read == 0 {
                bail!("the server closed the connection");
            }
            filled += read;
            let received = self.buffer.get(..filled).unwrap_or_default();
            if let Some(answer) = Answer::of(received)?
                && answer.length <= filled
            {
                return Ok(answer.status);
            }
        }
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// Length of head and body together.
    length: usize,
}

impl Answer {
    /// Parses a head once it is complete.
    fn of(received: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(received.get(..end).unwrap_or_default()).context("the head")?;
        let status = head.get(9..12).and_then(|status| status.parse().ok()).context("no status")?;
        let body = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let body = body.context("an answer without Content-Length")?;
        Ok(Some(Self { status, length: end + 4 + body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let head = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 12\r\n\r\n";
        let answer = Answer::of(head).unwrap();
        assert_eq!(answer, Some(Answer { status: 200, length: head.len() + 12 }));
        assert_eq!(Answer::of(&head[..head.len() - 1]).unwrap(), None, "the head is not complete");
        assert!(Answer::of(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }
}
