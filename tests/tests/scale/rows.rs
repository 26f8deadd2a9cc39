//! The results, as rows of `bench.json`.

use agent_creds_refresh::timing::REREAD;
use serde_json::{Value, json};

use super::audit::{Audit, Requests};
use super::group::{Group, Window};
use super::replicas::Kind;
use super::setting::{LIVES, OUTAGE_LIVES, Setting};

/// The note in the rows of simulated replicas.
const SIMULATED: &str = "simulated replicas in one process, which share two watches";
/// The part of a token's life after which it is refreshed, on average.
const REFRESHED_AT: f64 = 0.8;

/// The presentations and requests of one group, per token life.
struct Figures {
    presentations: f64,
    writes: f64,
    conflicts: f64,
    events: f64,
    reads: f64,
    watches: f64,
}

impl Figures {
    fn of(group: &Group, audit: &Audit, window: &Window, lives: f64) -> Self {
        let requests: &Requests = audit.within(window);
        assert!(requests.others.is_empty(), "sidecars send no other requests: {:?}", requests.others);
        let per_life = |count: usize| count as f64 / lives;
        let each = |count: usize| count as f64 / group.size() as f64;
        Self {
            presentations: per_life(group.presented_in(window)),
            writes: per_life(requests.writes),
            conflicts: per_life(requests.conflicts),
            events: per_life(requests.events),
            reads: each(requests.reads) / lives,
            watches: each(requests.watches),
        }
    }

    fn lives(group: &Group, audit: &Audit) -> Self {
        Self::of(group, audit, &group.windows()[0], LIVES as f64)
    }

    fn outage(group: &Group, audit: &Audit) -> Self {
        Self::of(group, audit, &group.windows()[1], f64::from(OUTAGE_LIVES))
    }

    fn text(&self) -> String {
        let Self { presentations, writes, conflicts, events, reads, watches } = self;
        format!(
            "per token life {presentations:.2} presentations, {writes:.2} writes (of them {conflicts:.2} conflicts), \
             {events:.2} Events, {reads:.2} reads by each; {watches:.2} watches open by each"
        )
    }
}

/// Prints the results and writes the rows.
#[expect(clippy::print_stdout, reason = "prints the results of the run")]
pub(crate) fn report(groups: &[Group], audit: &Audit, setting: &Setting) {
    let alone = groups.iter().find(|group| group.size() == 1 && group.kind == Kind::Sidecars);
    let alone = alone.map(|group| Figures::outage(group, audit));
    let mut rows = Vec::new();
    for group in groups {
        let (lives, outage) = (Figures::lives(group, audit), Figures::outage(group, audit));
        let (count, kind) = (group.size(), group.kind);
        println!("{count} {kind}, normal operation: {}", lives.text());
        println!("{count} {kind}, the provider answers 503: {}", outage.text());
        let note = (kind == Kind::Simulated).then_some(SIMULATED);
        let mut row = |name: &str, unit: &str, ours: f64, goal: Option<f64>| {
            rows.push(json!({
                "name": format!("scale_{name}_{count}"), "ours": ours, "reference": Value::Null,
                "reference_name": note, "unit": unit, "ratio": Value::Null, "goal": goal,
            }));
        };
        row("presentations", "per life", lives.presentations, Some(1.0));
        row("writes", "per life", lives.writes, Some(3.0));
        row("write_conflicts", "per life", lives.conflicts, None);
        row("reads_token_of_1h", "GET/h", reads_per_hour(&lives, 1.0), None);
        row("reads_token_of_24h", "GET/h", reads_per_hour(&lives, 24.0), None);
        if kind == Kind::Sidecars {
            row("watches", "open", lives.watches, None);
        }
        let Some(alone) = &alone else { continue };
        let beside =
            note.map_or_else(|| "one sidecar".to_owned(), |note| format!("one sidecar; ours: {note}"));
        let figures = [
            ("outage_presentations", outage.presentations, alone.presentations),
            ("outage_writes", outage.writes, alone.writes),
        ];
        for (name, ours, reference) in figures {
            rows.push(json!({
                "name": format!("scale_{name}_{count}"), "ours": ours, "reference": reference,
                "reference_name": beside, "unit": "per life", "ratio": ours / reference, "goal": 1.5,
            }));
        }
    }
    if let Some(file) = &setting.rows {
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(file, text).expect("writing the rows");
    }
}

/// Returns the reads of one sidecar in an hour, for a token that lives `life_h` hours: the counted reads of each
/// refresh, and the periodic reads of both Secrets.
fn reads_per_hour(figures: &Figures, life_h: f64) -> f64 {
    let refreshes = 1.0 / (life_h * REFRESHED_AT);
    figures.reads * refreshes + 2.0 * 3600.0 / REREAD.as_secs_f64()
}
