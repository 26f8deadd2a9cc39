//! Finds the annotation that a misspelt key was meant to be. Admission refuses an unknown key under [`PREFIX`]; it does
//! not see a key with another prefix.

use super::annotation::{Annotation, PREFIX};
use crate::spelling::{distance, letters, nearest};

/// Prefixes that are taken for [`PREFIX`], as [`letters`] returns them.
const PREFIXES: [&str; 2] = ["agentcreds", "agentcredentials"];
/// The letters that prefix and name together may differ by where the prefix is not [`PREFIX`].
const MAX_DISTANCE: usize = 2;

/// Returns the annotation that a key of a pod was probably meant to be, such as `agent-creds/inject` for
/// `agent-creds.inject`. Returns `None` for an annotation of agent-creds, and for a key that resembles none.
pub fn misspelt(key: &str) -> Option<&'static str> {
    if Annotation::from_key(key).is_some() {
        return None;
    }
    let names = || Annotation::settings().map(|annotation| (name(annotation), annotation.key()));
    if let Some(found) = key.strip_prefix(PREFIX) {
        let near = nearest(found, names().map(|(name, _)| name))?;
        return names().find(|(name, _)| *name == near).map(|(_, key)| key);
    }
    if PREFIXES.contains(&letters(key).as_str()) {
        return Some(Annotation::Inject.key());
    }
    let near = splits(key).flat_map(|(prefix, found)| {
        names().map(move |(name, key)| (prefix + distance(&found, &letters(name)), key))
    });
    near.filter(|(distance, _)| *distance <= MAX_DISTANCE)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

fn name(annotation: Annotation) -> &'static str {
    let key = annotation.key();
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// Iterates over the ways to divide a key into a prefix and a name: how far the prefix is from [`PREFIX`], and the letters of
/// the name. A domain before `/` is compared by each of its labels.
fn splits(key: &str) -> impl Iterator<Item = (usize, String)> {
    let at = |position: usize| (&key[..position], &key[position..]);
    let ends = match key.find('/') {
        Some(slash) => vec![slash],
        // No prefix that is near enough is longer.
        None => key.char_indices().skip(1).map(|(position, _)| position).take(64).collect(),
    };
    ends.into_iter().map(at).filter_map(|(prefix, name)| {
        let labels = prefix.split('.').chain([prefix]).map(letters);
        let from = |label: String| PREFIXES.map(|prefix| distance(&label, prefix)).into_iter().min();
        let least = labels.filter_map(from).min().filter(|least| *least <= MAX_DISTANCE)?;
        let name = letters(name);
        (!name.is_empty()).then_some((least, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_not_misspelt() {
        for annotation in Annotation::all() {
            assert_eq!(misspelt(annotation.key()), None);
        }
    }

    #[test]
    fn finds_the_annotation_behind_another_separator_prefix_or_spelling() {
        for (found, meant) in [
            ("agent-creds.inject", "agent-creds/inject"),
            ("agentcreds/inject", "agent-creds/inject"),
            ("agent-creds-inject", "agent-creds/inject"),
            ("agent_creds/inject", "agent-creds/inject"),
            ("agentcreds.inject", "agent-creds/inject"),
            ("agentCredsInject", "agent-creds/inject"),
            ("Agent-Creds/Inject", "agent-creds/inject"),
            ("agent-cred/inject", "agent-creds/inject"),
            ("agents-creds/inject", "agent-creds/inject"),
            ("agent-credentials/inject", "agent-creds/inject"),
            ("agent-creds.io/inject", "agent-creds/inject"),
            ("agent-creds.example.com/inject", "agent-creds/inject"),
            ("sidecar.agent-creds/inject", "agent-creds/inject"),
            ("agent-creds/injcet", "agent-creds/inject"),
            ("agent-creds/injected", "agent-creds/inject"),
            ("agent-creds//inject", "agent-creds/inject"),
            ("agent-creds", "agent-creds/inject"),
            ("agent-creds/grant", "agent-creds/grants"),
            ("agent-creds/Grants", "agent-creds/grants"),
            ("agent-creds/container", "agent-creds/containers"),
            ("agent-creds/metricsPort", "agent-creds/metrics-port"),
            ("agent-creds.metrics-port", "agent-creds/metrics-port"),
            ("agent-creds/ports", "agent-creds/port"),
            ("agent-creds/strict_start", "agent-creds/strict-start"),
            ("agent-creds/serviceaccount-name", "agent-creds/service-account"),
        ] {
            assert_eq!(misspelt(found), Some(meant), "{found}");
        }
    }

    #[test]
    fn a_key_of_somebody_else_means_nothing() {
        for key in [
            "",
            "/",
            "/inject",
            "inject",
            "agent-creds/",
            "agent-creds/enabled",
            "agent-creds/issued-at",
            "agent/inject",
            "sidecar.istio.io/inject",
            "vault.hashicorp.com/agent-inject",
            "linkerd.io/inject",
            "creds.example.com/inject",
            "prometheus.io/port",
            "kubectl.kubernetes.io/last-applied-configuration",
            "ägent-creds.ïnject/ü",
        ] {
            assert_eq!(misspelt(key), None, "{key}");
        }
        assert_eq!(misspelt(&"agent-creds.".repeat(100_000)), None);
        assert_eq!(misspelt(&"ü/".repeat(100_000)), None);
    }
}
