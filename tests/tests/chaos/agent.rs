//! The agents: each asks its sidecar for the token several times a second, and knows from the provider when it ends.

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

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(300);
/// A frozen sidecar does not answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the agents were told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) served: AtomicUsize,
    pub(crate) unavailable: AtomicUsize,
}

/// Asks for ever.
pub(crate) async fn ask(sidecar: usize, socket: &Path, standin: &Standin, ledger: &Arc<Ledger>, told: &Told) {
    loop {
        let asked_ms = now_ms();
        match token(socket).await {
            Some(token) => {
                told.served.fetch_add(1, Ordering::Relaxed);
                let expired_ms = standin.expires_at_ms(&token).expect("a token of this provider");
                if expired_ms < asked_ms {
                    ledger.served_expired(ServedExpired { sidecar, asked_ms, expired_ms });
                }
            }
            None => drop(told.unavailable.fetch_add(1, Ordering::Relaxed)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The token that a sidecar serves now.
pub(crate) async fn token(socket: &Path) -> Option<String> {
    get(socket, &format!("/v1/token/{GRANT}")).await?["access_token"].as_str().map(str::to_owned)
}

/// State and reason of the grant, as a sidecar tells it.
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
    tokio::time::timeout(PATIENCE, talk).await.ok()?
}
