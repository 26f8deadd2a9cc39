//! Compares the two servers where RFC 6749 decides the answer.

use super::independent::oidc;
use super::*;

const POST: [(&str, &str); 2] = [("client_id", "post"), ("client_secret", "p%st +")];

/// A wrong request with its headers and body.
struct Wrong {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    body: String,
}

/// Returns the mistakes to send to both servers. `live` and `used` are refresh tokens of the client `post`, and
/// `foreign` is one of the client `public`.
fn mistakes(live: &str, used: &str, foreign: &str) -> Vec<Wrong> {
    let form = |fields: &[(&str, &str)]| https::encode(fields);
    let refresh = ("grant_type", "refresh_token");
    let with = |name, body| Wrong { name, headers: vec![(FORM.0, FORM.1.to_owned())], body };
    let live = ("refresh_token", live);
    let json =
        json!({"grant_type": "refresh_token", "client_id": "post", "client_secret": "p%st +"}).to_string();
    let basic = format!("Basic {}", STANDARD.encode("post:p%25st%20%2B"));
    let mut both = with("two authentication methods", form(&[refresh, POST[0], POST[1], live]));
    both.headers.push(("authorization", basic));
    let mut scheme = with("a bearer token as authentication", form(&[refresh, POST[0], live]));
    scheme.headers.push(("authorization", "Bearer x".to_owned()));
    let mut no_base64 = with("Basic without base64", form(&[refresh, live]));
    no_base64.headers.push(("authorization", "Basic p%st".to_owned()));
    vec![
        Wrong {
            name: "a JSON body",
            headers: vec![("content-type", "application/json".to_owned())],
            body: json,
        },
        both,
        scheme,
        no_base64,
        with("no grant_type", form(&[POST[0], POST[1], live])),
        with("an unknown grant_type", form(&[("grant_type", "urn:x"), POST[0], POST[1], live])),
        with("no refresh_token", form(&[refresh, POST[0], POST[1]])),
        with("an empty refresh_token", form(&[refresh, POST[0], POST[1], ("refresh_token", "")])),
        with("refresh_token twice", form(&[refresh, POST[0], POST[1], live, live])),
        with("no client", form(&[refresh, live])),
        with("an unknown client", form(&[refresh, ("client_id", "unknown"), live])),
        with("a wrong secret", form(&[refresh, POST[0], ("client_secret", "guess"), live])),
        with("no secret", form(&[refresh, POST[0], live])),
        with(
            "a secret of a public client",
            form(&[refresh, ("client_id", "public"), ("client_secret", "x"), live]),
        ),
        with("an unknown token", form(&[refresh, POST[0], POST[1], ("refresh_token", "unknown")])),
        with("another client's token", form(&[refresh, POST[0], POST[1], ("refresh_token", foreign)])),
        with("a wider scope", form(&[refresh, POST[0], POST[1], live, ("scope", "read write")])),
        with("a used token", form(&[refresh, POST[0], POST[1], ("refresh_token", used)])),
    ]
}

async fn wrong_answers(
    https: &https::Client,
    path: &str,
    mistakes: Vec<Wrong>,
) -> Vec<(&'static str, u16, String)> {
    let host = https.address().to_string();
    let mut answers = Vec::new();
    for Wrong { name, headers, body } in mistakes {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = https.post(&host, path, &headers, body).await.expect("an answer");
        let (status, error) = refused(&answer);
        answers.push((name, status, error));
    }
    answers
}

#[tokio::test]
async fn both_servers_answer_the_same_mistakes_with_the_same_errors() {
    let spend = async |https: &https::Client, path: &str, token: &str| {
        let [id, secret] = POST;
        let form = [("grant_type", "refresh_token"), id, secret, ("refresh_token", token)];
        let answer = https.post_form(&https.address().to_string(), path, &form).await.expect("an answer");
        tokens(&answer).1
    };

    let theirs = oidc().await;
    let used = theirs.seed("post", "offline_access read").await.expect("a token");
    let foreign = theirs.seed("public", "offline_access read").await.expect("a token");
    let live = spend(&theirs.https(), "/token", &used).await;
    let theirs_answered = wrong_answers(&theirs.https(), "/token", mistakes(&live, &used, &foreign)).await;

    let ours = standin().await;
    let used = ours.seed_with_scope(Provider::Generic, "post", "read");
    let foreign = ours.seed(Provider::Generic, "public");
    let live = spend(&ours.https(), "/oauth/token", &used).await;
    let ours_answered = wrong_answers(&ours.https(), "/oauth/token", mistakes(&live, &used, &foreign)).await;

    assert_eq!(ours_answered, theirs_answered);
    assert_eq!(revoked(&ours.log()).count(), 1);
    assert_eq!(revoked(&theirs.log().await.expect("a log")).count(), 1);
}
