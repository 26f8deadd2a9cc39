use secrecy::ExposeSecret;

use super::*;

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

fn read(provider: &str, pairs: &[(&str, &str)]) -> Result<Grant, GrantError> {
    Grant::read(Some(provider), &data(pairs))
}

fn refused(provider: &str, pairs: &[(&str, &str)]) -> String {
    read(provider, pairs).expect_err("refused").to_string()
}

const PAGERDUTY: [(&str, &str); 3] =
    [("client_id", "id"), ("client_secret", "hush"), ("refresh_token", "pdus+_1A\n")];

fn pagerduty(file: &str) -> Result<Grant, GrantError> {
    let mut pairs = PAGERDUTY.to_vec();
    pairs.push(("grant.yaml", file));
    read("pagerduty", &pairs)
}

#[test]
fn pagerduty_by_refresh_token() {
    let grant = pagerduty("region: eu\nscopes: [incidents.read]").unwrap();
    assert_eq!(
        grant.token_url.as_str(),
        "https://identity.pagerduty.com/oauth/token",
        "one host for both regions"
    );
    assert_eq!(grant.client_auth, ClientAuth::Post);
    assert_eq!(grant.refresh_token.unwrap().expose_secret(), "pdus+_1A", "trimmed");
    assert_eq!(grant.scope_parameter, None, "its refresh request is documented without one");
    assert_eq!(grant.scopes, ["incidents.read"]);
    assert!(grant.rules.rotates());
}

#[test]
fn pagerduty_by_client_credentials() {
    let pairs = [("client_id", "id"), ("client_secret", "hush")];
    let with = |file: &str| {
        let mut pairs = pairs.to_vec();
        pairs.push(("grant.yaml", file));
        read("pagerduty", &pairs)
    };
    let grant =
        with("flow: client_credentials\nregion: eu\naccount: acme\nscopes: [incidents.read]").unwrap();
    assert_eq!(grant.scope_parameter.as_deref(), Some("as_account-eu.acme incidents.read"));
    assert!(grant.refresh_token.is_none() && !grant.rules.rotates());

    let message =
        with("flow: client_credentials\nscopes: [incidents.read]").expect_err("no account").to_string();
    assert!(message.starts_with("key grant.yaml: account: found nothing"), "{message}");
    assert!(with("flow: client_credentials\naccount: 'a b'\nscopes: [x]").is_err());
    assert!(with("flow: client_credentials\naccount: a.b\nscopes: [x]").is_err());
    let message = refused(
        "pagerduty",
        &[PAGERDUTY.as_slice(), &[("grant.yaml", "flow: client_credentials\naccount: a\nscopes: [x]")]]
            .concat(),
    );
    assert!(message.starts_with("key refresh_token: found one, but"), "{message}");
}

#[test]
fn datadog_is_a_public_client_at_a_host_per_site() {
    let pairs = |site: &'static str| [("client_id", "id"), ("refresh_token", "r"), ("grant.yaml", site)];
    for site in ["datadoghq.com", "us3.datadoghq.com", "datadoghq.eu", "us2.ddog-gov.com"] {
        let file: &'static str = Box::leak(format!("site: {site}").into_boxed_str());
        let grant = read("datadog", &pairs(file)).unwrap();
        assert_eq!(grant.token_url.as_str(), format!("https://api.{site}/oauth2/v1/token"));
        assert_eq!(grant.client_auth, ClientAuth::None);
    }
    assert!(refused("datadog", &pairs("site: evil.example.com")).contains("write one of datadoghq.com"));
    assert!(refused("datadog", &pairs("region: us")).contains("has no region"));
    let secret = [("client_id", "id"), ("refresh_token", "r"), ("client_secret", "s")];
    assert!(refused("datadog", &secret).contains("this client is public"));
}

#[test]
fn a_grant_never_changes_the_hosts_of_a_built_in_provider() {
    for key in ["token_url: https://evil.example.com/", "client_auth: none", "allow_private: true"] {
        let message = pagerduty(key).expect_err("refused").to_string();
        assert!(message.contains("provider pagerduty fixes it"), "{message}");
    }
    assert!(pagerduty("hosts: [evil.example.com]").is_err());
}

#[test]
fn oauth2_takes_its_endpoint_from_the_grant() {
    let base = [("client_id", "id"), ("client_secret", "s"), ("refresh_token", "r")];
    let with = |file: &str| {
        let mut pairs = base.to_vec();
        pairs.push(("grant.yaml", file));
        read("oauth2", &pairs)
    };
    let grant = with("token_url: https://id.example.com/token\nscopes: [a, b]").unwrap();
    assert_eq!(grant.client_auth, ClientAuth::Basic);
    assert_eq!(grant.scope_parameter.as_deref(), Some("a b"));
    assert!(!grant.allow_private);
    assert!(with("token_url: https://10.0.0.1/t\nallow_private: true").unwrap().allow_private);
    for bad in ["http://id.example.com/", "https://u:p@h/", "https://h/?q", "https://h/#f", "ftp://h/", "h"] {
        let message = with(&format!("token_url: '{bad}'")).expect_err(bad).to_string();
        assert!(message.starts_with("key grant.yaml: token_url: found"), "{message}");
    }
    assert!(with("scopes: [a]").expect_err("no endpoint").to_string().contains("token_url: found nothing"));
}

#[test]
fn every_credential_that_the_flow_needs_is_asked_for_by_name() {
    for (i, (key, _)) in PAGERDUTY.iter().enumerate() {
        let mut pairs = PAGERDUTY.to_vec();
        pairs.remove(i);
        assert!(refused("pagerduty", &pairs).starts_with(&format!("key {key}: missing")), "{key}");
        for garbage in ["", "  \n", "a b", "ünï", "a\u{0}b"] {
            let mut pairs = PAGERDUTY.to_vec();
            pairs[i].1 = garbage;
            let message = refused("pagerduty", &pairs);
            assert!(message.starts_with(&format!("key {key}: ")), "{message}");
        }
        let mut bytes = data(&PAGERDUTY);
        bytes.insert((*key).to_owned(), vec![0xff, 0xfe]);
        let message = Grant::read(Some("pagerduty"), &bytes).expect_err("not UTF-8").to_string();
        assert!(message.contains("not UTF-8"), "{message}");
    }
}

#[test]
fn the_label_names_the_provider() {
    let none = Grant::read(None, &data(&PAGERDUTY)).expect_err("no label").to_string();
    assert!(none.contains("found no such label; write one of pagerduty, datadog, oauth2"), "{none}");
    assert!(refused("pagerdooty", &PAGERDUTY).contains("found \"pagerdooty\""));
}

#[test]
fn keys_of_other_versions_are_refused_by_name() {
    for key in keys::NOT_BUILT {
        let pairs = [PAGERDUTY.as_slice(), &[(key, "x")]].concat();
        assert_eq!(
            refused("pagerduty", &pairs),
            format!("key {key}: not built in this version of agent-creds; remove the key")
        );
    }
}

#[test]
fn nothing_that_is_printed_shows_a_credential() {
    let grant = pagerduty("scopes: [made.up]").unwrap();
    let printed = format!("{grant:?}");
    assert!(!printed.contains("hush") && !printed.contains("pdus"), "{printed}");
    assert_eq!(grant.unknown_scopes, ["made.up"]);
}

#[test]
fn pods_have_tokens_of_their_own_where_nothing_rotates() {
    let at = "token_url: https://id.example.com/token\n";
    let own = format!("{at}flow: client_credentials\nsharing: pod\n");
    let with = |file: &str| {
        let pairs = [("client_id", "id"), ("client_secret", "hush"), ("grant.yaml", file)];
        read("oauth2", &pairs)
    };
    let grant = with(&format!("{own}revocation_url: https://id.example.com/revoke")).unwrap();
    assert!(grant.per_pod);
    assert_eq!(grant.revocation_url.unwrap().as_str(), "https://id.example.com/revoke");
    assert!(!with(&format!("{at}flow: client_credentials\nsharing: all")).unwrap().per_pod);

    let rotating = refused(
        "oauth2",
        &[
            ("client_id", "id"),
            ("client_secret", "hush"),
            ("refresh_token", "r"),
            ("grant.yaml", &format!("{at}sharing: pod")),
        ],
    );
    assert!(rotating.contains("sharing: found pod; write all"), "{rotating}");
    for (file, message) in [
        (
            format!("{at}flow: client_credentials\nrevocation_url: https://id.example.com/revoke"),
            "sharing: pod",
        ),
        (format!("{own}revocation_url: https://elsewhere.example.com/revoke"), "at another host"),
        (format!("{own}revocation_url: https://id.example.com:8443/revoke"), "at another host"),
        (format!("{own}revocation_url: http://id.example.com/revoke"), "a URL of another kind"),
        (format!("{own}revocation_url: revoke"), "a text that is no URL"),
        (format!("{at}flow: client_credentials\nsharing: node"), "write all or pod"),
    ] {
        let refusal = with(&file).expect_err("refused").to_string();
        assert!(refusal.contains(message), "{refusal}");
    }
    let fixed = "flow: client_credentials\naccount: acme\nscopes: [incidents.read]\nrevocation_url: https://x.example.com/r";
    let pagerduty =
        read("pagerduty", &[("client_id", "id"), ("client_secret", "hush"), ("grant.yaml", fixed)]);
    assert!(pagerduty.expect_err("refused").to_string().contains("documents no exact way"));
}

#[test]
fn a_missing_credential_names_the_key_that_was_probably_meant_to_be_it() {
    for (key, found) in [
        ("client_id", "client-id"),
        ("client_id", "clientId"),
        ("client_id", "PAGERDUTY_CLIENT_ID"),
        ("client_id", "username"),
        ("client_secret", "client-secret"),
        ("client_secret", "CLIENT_SECRET"),
        ("client_secret", "secret"),
        ("refresh_token", "refresh-token"),
        ("refresh_token", "refreshToken"),
        ("refresh_token", "refresh_tokn"),
        ("refresh_token", "token"),
    ] {
        let rename = |(name, value)| if name == key { (found, value) } else { (name, value) };
        let message = refused("pagerduty", &PAGERDUTY.map(rename));
        assert_eq!(message, format!("key {key}: missing; found `{found}`: did you mean {key}?"));
    }
    let other = [("client_secret", "hush"), ("refresh_token", "r"), ("note", "x")];
    assert_eq!(refused("pagerduty", &other), "key client_id: missing; flow refresh_token requires it");
}

#[test]
fn a_misspelt_grant_yaml_is_refused_because_the_defaults_would_hold() {
    for found in [
        "grant.yml",
        "GRANT_YAML",
        "grant-yaml",
        "grant.yaml.txt",
        "grantyaml",
        "Grant.yaml",
        "grnat.yaml",
        "grant",
        "grant.json",
    ] {
        let pairs = [PAGERDUTY.as_slice(), &[(found, "region: eu")]].concat();
        let message = refused("pagerduty", &pairs);
        assert!(
            message.starts_with(&format!("key {found}: no such key; did you mean grant.yaml?")),
            "{message}"
        );
        let both = [pairs.as_slice(), &[("grant.yaml", "region: eu")]].concat();
        let warning = format!("key {found}: no such key; did you mean grant.yaml?");
        assert_eq!(read("pagerduty", &both).unwrap().warnings, [warning]);
    }
}

#[test]
fn an_unknown_key_is_a_warning_that_shows_no_credential() {
    let with = |found: &'static str| {
        read("pagerduty", &[PAGERDUTY.as_slice(), &[(found, "x")]].concat()).expect(found).warnings
    };
    assert!(pagerduty("region: eu").unwrap().warnings.is_empty());
    assert_eq!(with("client-id"), ["key client-id: no such key; did you mean client_id?"]);
    assert_eq!(
        with("refresh_token_old"),
        ["key refresh_token_old: no such key; did you mean refresh_token?"]
    );
    assert_eq!(with("note"), ["key note: no such key; remove it"]);
    for secret in ["y_NbAkKc66ryYTWUXYEu", "0123456789abcdef0123456789abcdef", "pdus.0XYZ"] {
        assert_eq!(with(secret), ["a key that is not one of a grant Secret; remove it"]);
    }
    let names: Vec<_> = ('a'..='z').map(|c| c.to_string()).collect();
    let mut many = PAGERDUTY.to_vec();
    many.extend(names.iter().map(|name| (name.as_str(), "x")));
    assert_eq!(read("pagerduty", &many).unwrap().warnings.len(), 8);
}
