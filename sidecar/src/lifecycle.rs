//! How a sidecar leaves. The kubelet calls `drain` before it ends any container of the pod, and sends SIGTERM only
//! after the main containers have ended (or with two seconds left): so draining claims nothing new and serves on,
//! and stopping waits for what is under way.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Where the process is in its life. It only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// As usual.
    Running,
    /// The pod is being deleted: no new claims, everything else goes on.
    Draining,
    /// SIGTERM: finish what is under way, then end.
    Stopping,
}

impl Phase {
    /// Whether nothing new may be claimed.
    pub fn is_leaving(self) -> bool {
        self > Self::Running
    }
}

/// Moves on to `phase`; never back.
pub fn advance(sender: &watch::Sender<Phase>, phase: Phase) {
    sender.send_if_modified(|now| {
        let forward = phase > *now;
        *now = phase.max(*now);
        forward
    });
}

/// Waits for SIGTERM or SIGINT.
pub async fn terminated() -> std::io::Result<()> {
    let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_forward() {
        let (sender, receiver) = watch::channel(Phase::Running);
        advance(&sender, Phase::Stopping);
        advance(&sender, Phase::Draining);
        assert_eq!(*receiver.borrow(), Phase::Stopping);
        assert!(receiver.borrow().is_leaving());
    }
}
