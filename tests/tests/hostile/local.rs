//! Requests to the local API from inside the agent's container, sent byte for byte.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hostile::agent::inside;
use crate::hostile::attempt::Met;

/// Addresses of the local API: on loopback, and its socket.
pub(crate) const LOOPBACK: &str = "127.0.0.1:9911";
pub(crate) const SOCKET: &str = "unix:/run/agent-creds/agent.sock";

/// The caller key of the agent's pod.
pub(crate) static KEY: LazyLock<String> =
    LazyLock::new(|| inside("cat $AGENT_CREDS_KEY_FILE").expect("the agent's own key"));

/// Returns a request for the agent's token with these header lines, which closes the connection.
pub(crate) fn token_with(lines: &[&str]) -> String {
    request("GET /v1/token/pagerduty HTTP/1.1", lines)
}

/// Returns a request with this request line and these header lines, which closes the connection.
pub(crate) fn request(first: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{first}\r\n{lines}Connection: close\r\n\r\n")
}

/// Returns the header line with the caller key.
pub(crate) fn bearer() -> String {
    format!("Authorization: Bearer {}", *KEY)
}

/// Returns a valid request.
pub(crate) fn good() -> String {
    token_with(&["Host: localhost", &bearer()])
}

/// Returns a shell command that writes these bytes.
pub(crate) fn written(bytes: &str) -> String {
    format!("echo {} | base64 -d", STANDARD.encode(bytes))
}

/// Sends these bytes to the local API. A status other than 200 is an `Err`.
pub(crate) fn asked(bytes: &str) -> Met {
    asked_at(LOOPBACK, bytes)
}

/// Sends them to another address.
pub(crate) fn asked_at(address: &str, bytes: &str) -> Met {
    let answer = inside(&format!("{} | wire send {address} 3", written(bytes)))?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(answer) } else { Err(answer) }
}

/// Returns the number of answers with this status.
pub(crate) fn count(answers: &str, status: u16) -> usize {
    answers.matches(&format!("HTTP/1.1 {status} ")).count()
}
