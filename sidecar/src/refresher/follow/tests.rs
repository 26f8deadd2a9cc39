use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::store::{Object, StoreError};

/// What every watch of a [`Fake`] does.
#[derive(Clone, Copy)]
enum Watch {
    Denied,
    Unanswered,
    EndsAtOnce,
    ReportsAndEnds,
    Lasts,
}

/// A store that counts the watches that are opened.
#[derive(Clone)]
struct Fake {
    does: Watch,
    opened: Arc<AtomicU32>,
}

impl Store for Fake {
    type Version = u32;

    async fn read(&self, _: &ObjectName) -> Result<Option<Object<u32>>, StoreError> {
        unreachable!("a watch reads nothing")
    }

    async fn write(&self, _: &ObjectName, _: &u32, _: Vec<u8>) -> Result<Object<u32>, StoreError> {
        unreachable!("a watch writes nothing")
    }

    async fn watch(&self, _: &ObjectName) -> Result<impl Stream<Item = Option<u32>> + Send, StoreError> {
        let opened = self.opened.fetch_add(1, Ordering::Relaxed);
        let (versions, lasts) = match self.does {
            Watch::Denied => return Err(StoreError::Forbidden { verb: "watch" }),
            Watch::Unanswered => return Err(StoreError::Unavailable("watch")),
            Watch::EndsAtOnce => (vec![], 0),
            Watch::ReportsAndEnds => (vec![Some(opened)], 0),
            Watch::Lasts => (vec![], 280),
        };
        let end = futures_util::stream::once(tokio::time::sleep(Duration::from_secs(lasts)));
        Ok(futures_util::stream::iter(versions).chain(Box::pin(end.filter_map(|()| async { None }))))
    }
}

/// Returns how many watches are opened in an hour, and how many of them failed for `reason`.
async fn in_an_hour(does: Watch, reason: &str) -> (u32, u32) {
    let opened = Arc::default();
    let store = Fake { does, opened: Arc::clone(&opened) };
    let name = ObjectName { namespace: "ops".to_owned(), name: "grant".to_owned() };
    let (metrics, (seen, _versions)) = (Metrics::default(), watch::channel(None));
    let (_, readable) = watch::channel(false);
    let following = follow(&store, &name, &name, seen, readable, &Timing::PRODUCTION, &metrics);
    let _ = tokio::time::timeout(Duration::from_secs(3600), following).await;
    let clock = crate::clock::Clock::system();
    let page = agent_creds_runtime::metrics::render(&metrics.registry(&[], &clock, None)).expect("a page");
    let of_reason = format!("agent_creds_watch_failures_total{{grant=\"ops/grant\",reason=\"{reason}\"}} ");
    let failed = page.lines().find_map(|line| line.strip_prefix(&of_reason)?.parse().ok());
    (opened.load(Ordering::Relaxed), failed.unwrap_or(0))
}

#[tokio::test(start_paused = true)]
async fn a_denied_watch_is_tried_every_few_minutes_and_counted() {
    let (opened, failed) = in_an_hour(Watch::Denied, "forbidden").await;
    assert!((12..=35).contains(&opened), "{opened}");
    assert_eq!(failed, opened);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_tried_every_few_minutes_and_counted() {
    let (opened, failed) = in_an_hour(Watch::EndsAtOnce, "ended").await;
    assert!((12..=35).contains(&opened), "{opened}");
    assert_eq!(failed, opened);
}

/// Between two attempts there is at most the settle delay, three seconds.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_is_tried_within_the_settle_delay() {
    let (opened, failed) = in_an_hour(Watch::Unanswered, "no_answer").await;
    assert!((1200..=2500).contains(&opened), "{opened}");
    assert_eq!(failed, opened);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_worked_is_opened_again_within_a_second() {
    let (opened, failed) = in_an_hour(Watch::ReportsAndEnds, "ended").await;
    assert!((3600..=7300).contains(&opened), "{opened}");
    assert_eq!(failed, 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_secret_that_does_not_exist_is_no_failure() {
    let (opened, failed) = in_an_hour(Watch::Lasts, "ended").await;
    assert_eq!((opened, failed), (13, 0));
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_becomes_readable_is_watched_at_once() {
    let opened = Arc::default();
    let store = Fake { does: Watch::Denied, opened: Arc::clone(&opened) };
    let name = ObjectName { namespace: "ops".to_owned(), name: "grant".to_owned() };
    let (metrics, (seen, _versions)) = (Metrics::default(), watch::channel(None));
    let (sender, readable) = watch::channel(false);
    let following = follow(&store, &name, &name, seen, readable, &Timing::PRODUCTION, &metrics);
    let granted = async {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let before = opened.load(Ordering::Relaxed);
        sender.send_replace(true);
        tokio::time::sleep(Duration::from_secs(1)).await;
        opened.load(Ordering::Relaxed) - before
    };
    tokio::select! {
        () = following => unreachable!("it does not end"),
        // The pause itself may end in the same second.
        more = granted => assert!(more >= 1, "{more} watches"),
    }
}
