//! How a sidecar ends. The kubelet calls `drain` before it ends any container of the pod, and sends SIGTERM only after the main
//! containers have ended, or with two seconds left. A draining sidecar makes no new claims and goes on serving; a stopping
//! one waits for what is under way.

use tokio::sync::watch;

/// The phase of the process. It only advances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It serves and refreshes.
    Running,
    /// The pod is being deleted: no new claims.
    Draining,
    /// SIGTERM was received: finish what is under way, then end.
    Stopping,
}

impl Phase {
    /// Whether no new claims may be made.
    pub fn is_leaving(self) -> bool {
        self > Self::Running
    }
}

/// Advances to `phase`; never goes back.
pub fn advance(sender: &watch::Sender<Phase>, phase: Phase) {
    sender.send_if_modified(|now| {
        let forward = phase > *now;
        *now = phase.max(*now);
        forward
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_advances() {
        let (sender, receiver) = watch::channel(Phase::Running);
        advance(&sender, Phase::Stopping);
        advance(&sender, Phase::Draining);
        assert_eq!(*receiver.borrow(), Phase::Stopping);
        assert!(receiver.borrow().is_leaving());
    }
}
