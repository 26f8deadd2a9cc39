//! The kubelet's probes and the drain, over a socket in the spool volume: another container could take a port and answer in the
//! sidecar's place (invariant I10). One line in, one line out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::lifecycle::{Phase, advance};
use crate::token_cache::TokenCache;
use agent_creds_core::words::Word as _;
use agent_creds_refresh::status::State;

/// Time limit for one question, on either side.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest line.
const MAX_LINE: u64 = 4096;

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// May the main containers start?
    Startup,
    /// Is the process alive? Never depends on a provider or on the API server.
    Liveness,
    /// The pod is being deleted: drain.
    Drain,
}

impl Question {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Drain => "drain",
        }
    }
}

/// Answers probes.
pub struct Probe {
    /// The grants.
    pub caches: Vec<Arc<TokenCache>>,
    /// Whether the main containers wait until each is ready.
    pub strict_start: bool,
    /// Receives the request to drain.
    pub phase: watch::Sender<Phase>,
    /// The time.
    pub clock: Clock,
}

impl Probe {
    /// Answers probes for ever.
    pub async fn serve(self, listener: UnixListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            // One after the other: the kubelet asks one question at a time, and no other container mounts the volume.
            let _ = tokio::time::timeout(TIMEOUT, self.answer(stream)).await;
        }
    }

    async fn answer(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut line = Vec::new();
        (&mut stream).take(MAX_LINE).read_to_end(&mut line).await?;
        let questions = [Question::Startup, Question::Liveness, Question::Drain];
        let question = questions.into_iter().find(|question| question.as_str().as_bytes() == line);
        let answer = match question {
            Some(Question::Startup) => self.startup(),
            Some(Question::Liveness) => "ok".to_owned(),
            Some(Question::Drain) => {
                advance(&self.phase, Phase::Draining);
                "ok".to_owned()
            }
            None => "unknown question".to_owned(),
        };
        stream.write_all(answer.as_bytes()).await
    }

    fn startup(&self) -> String {
        let now = self.clock.now();
        let waiting =
            self.caches.iter().map(|cache| (cache, cache.status(now))).find(|(_, s)| s.state != State::Ready);
        match waiting {
            Some((cache, status)) if self.strict_start => {
                format!("grant {} is {}: {}", cache.name, status.state.as_str(), status.message)
            }
            _ => "ok".to_owned(),
        }
    }
}

/// Asks the sidecar at the socket `path`. `Err` is the sentence that says why the answer is no.
pub async fn ask(path: &Path, question: Question) -> Result<(), String> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(question.as_str().as_bytes()).await?;
        stream.shutdown().await?;
        let mut answer = Vec::new();
        stream.take(MAX_LINE).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&answer).into_owned())
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok(answer)) if answer == "ok" => Ok(()),
        Ok(Ok(answer)) => Err(answer),
        Ok(Err(error)) => Err(format!("the sidecar does not answer: {}", error.kind())),
        Err(_) => Err("the sidecar does not answer in time".to_owned()),
    }
}
