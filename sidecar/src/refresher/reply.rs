//! The reply of a request that was sent.

use agent_creds_refresh::cause::Cause;
use agent_creds_refresh::reply::Reply;
use tokio::task::JoinHandle;

/// Waits for the reply; for ever where no request was sent.
pub(super) async fn replied(sending: &mut Option<JoinHandle<Reply>>) -> Reply {
    let Some(task) = sending else { return std::future::pending().await };
    let reply = task.await;
    *sending = None;
    reply.unwrap_or(Reply::Lost(Cause::Reset))
}
