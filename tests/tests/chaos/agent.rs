//! The agents. Each requests the token from its sidecar several times a second and checks its expiry with the provider.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agent_creds_tests::chaos::record::ServedExpired;
use agent_creds_tests::standin::Standin;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::fleet::GRANT;
use super::ledger::{Ledger, now_ms};

/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(300);
/// Timeout of a request; a frozen sidecar does not answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The number of answers with and without a token.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) served: AtomicUsize,
    pub(crate) unavailable: AtomicUsize,
}

/// Requests tokens in an endless loop.
pub(crate) async fn ask(
    sidecar: usize,
    socket: &Path,
    standin: &Standin,
    ledger: &Arc<Ledger>,
    answers: &Answers,
) {
    loop {
        let asked_ms = now_ms();
        match token(socket).await {
            Some(token) => {
                answers.served.fetch_add(1, Ordering::Relaxed);
                let expired_ms = standin.expires_at_ms(&token).expect("a token of this provider");
                if expired_ms < asked_ms {
                    ledger.record_served_expired(ServedExpired { sidecar, asked_ms, expired_ms });
                }
            }
            None => drop(answers.unavailable.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Requests the token from a sidecar.
pub(crate) async fn token(socket: &Path) -> Option<String> {
    get(socket, &format!("/v1/token/{GRANT}")).await?["access_token"].as_str().map(str::to_owned)
}

/// Requests state and reason of the grant from a sidecar.
pub(crate) async fn state(socket: &Path) -> Option<(String, String)> {
    let listed = get(socket, "/v1/grants").await?;
    let word = |name: &str| listed["grants"][0][name].as_str().map(str::to_owned);
    Some((word("state")?, word("reason")?))
}

async fn get(socket: &Path, path: &str) -> Option<Value> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    };
    tokio::time::timeout(TIMEOUT, talk).await.ok()?
}
