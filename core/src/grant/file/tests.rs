use super::*;

fn parse(text: &str) -> GrantFile {
    GrantFile::parse(text).expect(text)
}

fn refused(text: &str) -> String {
    let message = GrantFile::parse(text).expect_err(text).to_string();
    message.strip_prefix("key grant.yaml: ").expect("the key").to_owned()
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "   \n", "# nothing\n", "{}", "null"] {
        assert_eq!(parse(text), GrantFile::default(), "{text:?}");
    }
    assert_eq!(GrantFile::default().flow, Flow::RefreshToken);
}

#[test]
fn reads_every_key_of_this_version() {
    let text = "flow: client_credentials\nregion: eu\nsite: datadoghq.eu\naccount: acme\nscopes: [incidents.read, 'a:b']\n\
                expose: [token]\ntoken_url: https://id.example.com/token\nclient_auth: basic\nallow_private: true\n\
                sharing: pod\nrevocation_url: https://id.example.com/revoke\n";
    for text in [text.to_owned(), format!("\u{feff}{}", text.replace('\n', "\r\n"))] {
        let file = parse(&text);
        assert_eq!(file.flow, Flow::ClientCredentials);
        assert_eq!(file.scopes, ["incidents.read", "a:b"]);
        assert_eq!((file.region.as_deref(), file.account.as_deref()), (Some("eu"), Some("acme")));
        assert_eq!(file.client_auth, Some(ClientAuth::Basic));
        assert_eq!((file.sharing, file.expose), (Sharing::Pod, vec![Exposure::Token]));
        assert!(file.allow_private);
    }
}

#[test]
fn says_where_what_was_found_and_what_to_write() {
    for (text, message) in [
        ("flow: refesh_token", "flow: found \"refesh_token\"; write refresh_token or client_credentials"),
        (
            "flow: [x]",
            "flow: expected a string, found a list of 1 entries; write refresh_token or client_credentials",
        ),
        ("allow_private: 1", "allow_private: expected a boolean, found a number; write true or false"),
        (
            "scopes: incidents.read",
            "scopes: expected a list, found \"incidents.read\"; write a list, as in [a, b]",
        ),
        ("scopes: []", "scopes: found a list of 0 entries; write a list of 1 to 128 entries, as in [a, b]"),
        (
            "scopes: [a, {b: c}]",
            "scopes[1]: expected a string, found a mapping of 1 keys; write one scope without spaces, quotes and \
             backslashes, such as incidents.read",
        ),
        (
            "scopes: [a, 7]",
            "scopes[1]: expected a string, found a number; write one scope without spaces, quotes and backslashes, \
             such as incidents.read",
        ),
        (
            "scopes: ['a b']",
            "scopes[0]: found a text of 3 characters; write one scope without spaces, quotes and backslashes, such \
             as incidents.read",
        ),
        ("scope: [a]", "scope: found no such key; did you mean scopes?"),
        ("tokenUrl: x", "tokenUrl: found no such key; did you mean token_url?"),
        (
            "expose: [proxy]",
            "expose[0]: found \"proxy\"; write token; proxy and file are not built in this version",
        ),
        (
            "account: 12",
            "account: expected a string, found a number; write text without spaces, at most 512 characters",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
    assert!(refused("note: x").starts_with("note: found no such key; write one of flow, region,"));
    assert!(refused("- a").starts_with("the file: expected keys and values, found a list"));
    let many = vec!["a"; MAX_ENTRIES + 1].join(", ");
    assert!(refused(&format!("scopes: [{many}]")).starts_with("scopes: found a list of 129 entries"));
}

#[test]
fn a_key_without_a_value_is_not_an_absent_key() {
    for key in [
        "flow",
        "region",
        "site",
        "account",
        "scopes",
        "expose",
        "sharing",
        "token_url",
        "client_auth",
        "allow_private",
        "revocation_url",
    ] {
        let message = refused(&format!("{key}:"));
        assert!(message.starts_with(&format!("{key}: ")) && message.contains("found nothing"), "{message}");
    }
}

#[test]
fn keys_of_other_versions_are_refused() {
    for key in FORMAT.not_built {
        assert!(refused(&format!("{key}: [read]")).contains("not built in this version"), "{key}");
    }
}

#[test]
fn no_message_shows_a_credential() {
    for secret in ["pdus+_0XYZ_9f3c-secret", "y_NbAkKc66ryYTWUXYEu", "0123456789abcdef0123456789abcdef"] {
        for text in [
            secret.to_owned(),
            format!("flow: {secret}"),
            format!("region: ['{secret}']"),
            format!("{secret}: x"),
            format!("flow: '{secret}\nbroken"),
            format!("a: 1\na: {secret}"),
            format!("scopes: [\"{secret} x\"]"),
            format!("scopes: [{{{secret}: {secret}}}]"),
            format!("token_url: '{secret} {secret}'"),
            format!("client_auth: {{{secret}: x}}"),
            format!("allow_private: {secret}"),
            format!("expose: [{secret}]"),
            format!("a: *{secret}"),
        ] {
            let message = refused(&text);
            assert!(!message.contains(&secret[..8]), "{message}");
        }
    }
}

#[test]
fn bombs_and_broken_yaml_are_refused_with_a_place() {
    assert!(refused("flow: [").starts_with("line "));
    assert!(refused("a: &a [x]\nb: *a").starts_with("line 1, column "));
    assert!(refused("flow: refresh_token\nflow: refresh_token").contains("each key once"));
    assert!(refused(&"[".repeat(200)).starts_with("line "));
    assert!(refused(&"#".repeat(MAX_FILE + 1)).contains("at most 16384 bytes"));
}
