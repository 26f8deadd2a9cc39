//! The metrics, as the programs' own registries render them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agent_creds_core::names::{LocalName, ObjectName};
use agent_creds_runtime::certificates::Certificates;
use agent_creds_runtime::metrics::render;
use agent_creds_sidecar::clock::{Clock, Reading};
use agent_creds_sidecar::identity::token_source::TokenSource;
use agent_creds_sidecar::rejected_tokens::RejectedTokens;
use agent_creds_sidecar::token_cache::TokenCache;
use anyhow::Context as _;
use prometheus_client::registry::Registry;

use crate::example;
use crate::markdown::{code, codes, table};

pub(super) fn metrics() -> anyhow::Result<String> {
    let admission = agent_creds_webhook::metrics::Metrics::default();
    admission.touch();
    let manage = agent_creds_webhook::manage::Metrics::default();
    manage.touch();
    let pages = [
        ("`sidecar`", sidecar()?),
        ("`admit`, `identity`", admission.registry(Certificates::pending())),
        ("`manage`", manage.registry()),
    ];
    let mut rows = Vec::new();
    for (by, registry) in pages {
        let page = render(&registry).context("rendering the metrics")?;
        rows.extend(families(&page).into_iter().map(|family| {
            [code(&family.name), family.kind, codes(&family.labels), by.to_owned(), family.help]
        }));
    }
    Ok(table(["metric", "type", "labels", "served by", "meaning"], rows))
}

/// What a sidecar serves that has one grant, in identity mode `exchange`.
fn sidecar() -> anyhow::Result<Registry> {
    let login = example::login()?;
    let secret = ObjectName { namespace: "ops".to_owned(), name: "example".to_owned() };
    let cache =
        TokenCache::new(LocalName::parse("example")?, secret.clone(), RejectedTokens::new(Duration::ZERO));
    cache.put(&example::document(&login)?, Some(&login), None, true, example::now());
    let time = Duration::ZERO;
    let clock = Clock::new(move || Reading { wall: example::now(), monotonic: time, boot: time });
    let metrics = agent_creds_sidecar::metrics::Metrics::default();
    metrics.touch();
    Ok(metrics.registry(&[Arc::new(cache)], &clock, Some(&TokenSource::new(secret))))
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Family {
    name: String,
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The families of a page in OpenMetrics text.
fn families(page: &str) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            families.push(Family { name: name.to_owned(), help: help.to_owned(), ..Family::default() });
        } else if let Some(family) = families.last_mut() {
            if let Some((_, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                kind.clone_into(&mut family.kind);
                // The samples of a counter have this suffix, so it is the name that people query.
                if kind == "counter" {
                    family.name.push_str("_total");
                }
            } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
                let labels = labels
                    .split('"')
                    .step_by(2)
                    .filter_map(|text| text.trim_start_matches(',').strip_suffix('='));
                // The bounds of a histogram's buckets.
                family.labels.extend(labels.filter(|label| *label != "le").map(str::to_owned));
            }
        }
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_types_labels_and_help_from_a_page() {
        let page = "# HELP p_asked Requests, by outcome.\n# TYPE p_asked counter\n\
                    p_asked_total{outcome=\"a=b,\",grant=\"c\"} 1\n\
                    # HELP p_seconds Time.\n# TYPE p_seconds histogram\np_seconds_sum 0.0\np_seconds_bucket{le=\"+Inf\"} 0\n\
                    # HELP p_end End.\n# TYPE p_end gauge\n# EOF\n";
        let family = |name: &str, kind: &str, help: &str, labels: &[&str]| Family {
            name: name.to_owned(),
            kind: kind.to_owned(),
            help: help.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        let expected = [
            family("p_asked_total", "counter", "Requests, by outcome.", &["grant", "outcome"]),
            family("p_seconds", "histogram", "Time.", &[]),
            family("p_end", "gauge", "End.", &[]),
        ];
        assert_eq!(families(page), expected);
    }
}
