//! The providers: which keys a grant of each has, and how its token endpoint behaves.

use agent_creds_core::provider::{Choice, ClientAuth, Credential, Flow, FlowRules, Need, Provider};

use crate::markdown::{code, codes, table};

pub(super) fn providers() -> String {
    let flows = || {
        Provider::all()
            .flat_map(|provider| provider.flows().map(move |(flow, rules)| (provider, flow, rules)))
    };
    let keys = flows().map(|(provider, flow, rules)| {
        [
            code(&provider.name),
            code(flow.as_str()),
            credentials(provider, flow),
            settings(provider, flow, rules),
        ]
    });
    let keys =
        table(["label `agent-creds/provider`", "`flow`", "keys of the Secret", "keys of `grant.yaml`"], keys);
    let rules = flows().map(|(provider, flow, rules)| {
        [
            code(&provider.name),
            code(flow.as_str()),
            provider.token_url.as_deref().map_or_else(|| "the grant's `token_url`".to_owned(), code),
            provider
                .client_auth
                .map_or_else(|| "the grant's `client_auth`".to_owned(), |way| code(way.as_str())),
            code(&rules.replay.to_string()),
            format!("{} s", rules.lifetime_s),
            ends(rules),
        ]
    });
    let header = [
        "provider",
        "flow",
        "token endpoint",
        "client authentication",
        "replay rule",
        "life of an access token without `expires_in`",
        "the grant ends",
    ];
    format!("{keys}\n{}", table(header, rules))
}

fn credentials(provider: &Provider, flow: Flow) -> String {
    let keys = Credential::ALL.into_iter().filter_map(|credential| {
        let key = code(credential.key());
        match provider.need(flow, credential) {
            Need::Required => Some(key),
            Need::ByClientAuth => Some(format!("{key} unless `client_auth: {}`", ClientAuth::None.as_str())),
            Need::Forbidden => None,
        }
    });
    keys.collect::<Vec<_>>().join(", ")
}

/// The keys that a grant of this provider and flow has besides those of all grants.
fn settings(provider: &Provider, flow: Flow, rules: &FlowRules) -> String {
    let setting = |key: &str| {
        let choice = match key {
            "region" => provider.region.as_ref(),
            "site" => provider.site.as_ref(),
            _ => None,
        };
        let required = key == "token_url" || rules.requires.iter().any(|required| required == key);
        match choice {
            Some(choice) => values(key, choice),
            None if required => format!("{} (required)", code(key)),
            None => code(key),
        }
    };
    let keys = provider.own_keys(flow).into_iter().chain(["scopes"]);
    keys.map(setting).collect::<Vec<_>>().join("; ")
}

fn values(key: &str, choice: &Choice) -> String {
    let others = choice.allowed.iter().filter(|value| **value != choice.default);
    format!("{}: {} (default), {}", code(key), code(&choice.default), codes(others))
}

fn ends(rules: &FlowRules) -> String {
    let idle = rules.idle_days.map(|days| format!("after {days} days without a redemption"));
    let hard = rules.hard_days.map(|days| format!("{days} days after the login"));
    let ends: Vec<_> = idle.into_iter().chain(hard).collect();
    if ends.is_empty() { "–".to_owned() } else { ends.join("; ") }
}
