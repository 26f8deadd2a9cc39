//! The generic token endpoint, as in RFC 6749.

use super::*;

fn post_form(token: &str) -> [(&str, &str); 4] {
    [
        ("grant_type", "refresh_token"),
        ("client_id", "post"),
        ("client_secret", "p%st +"),
        ("refresh_token", token),
    ]
}

async fn send(server: &Standin, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
    let host = server.addr().to_string();
    let headers: Vec<_> = [FORM].iter().chain(headers).copied().collect();
    server.https().post(&host, "/oauth/token", &headers, https::encode(form)).await.expect("an answer")
}

fn basic(id: &str, secret: &str) -> String {
    let [id, secret] = [id, secret].map(|part| https::encode(&[("", part)])[1..].to_owned());
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

#[tokio::test]
async fn each_client_must_use_its_registered_authentication() {
    let server = standin().await;
    let right = basic("basic", "b:s%c +");
    let unencoded = format!("Basic {}", STANDARD.encode("basic:b:s%c +"));
    let of_post = basic("post", "p%st +");
    let by_post: [(&str, &str); 2] = [("client_id", "basic"), ("client_secret", "b:s%c +")];
    let cases = [
        ("basic", vec![], Some(right.as_str()), 200),
        ("basic", vec![], Some(unencoded.as_str()), 400),
        ("basic", by_post.to_vec(), None, 401),
        ("post", vec![], Some(of_post.as_str()), 401),
        ("post", vec![("client_id", "post"), ("client_secret", "p%st +")], None, 200),
        ("public", vec![("client_id", "public")], None, 200),
        ("public", vec![("client_id", "public"), ("client_secret", "x")], None, 401),
    ];
    for (client, fields, header, status) in cases {
        let token = server.seed(Provider::Generic, client);
        let own = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        let form: Vec<_> = own.into_iter().chain(fields.clone()).collect();
        let headers: Vec<_> = header.map(|value| ("authorization", value)).into_iter().collect();
        let answer = send(&server, &headers, &form).await;
        assert_eq!(answer.status.as_u16(), status, "{client} {fields:?} {header:?}: {:?}", answer.body);
        assert_eq!(
            answer.headers.contains_key("www-authenticate"),
            status == 401 && header.is_some(),
            "{client}"
        );
        assert_eq!(last(&server.log()).client_id.as_deref().unwrap_or("basic"), client);
    }
}

#[tokio::test]
async fn a_scope_narrows_only_the_access_token() {
    let server = standin().await;
    let first = server.seed(Provider::Generic, "post");
    let wide: Vec<_> = post_form(&first).into_iter().chain([("scope", "read admin")]).collect();
    assert_eq!(refused(&send(&server, &[], &wide).await), (400, "invalid_scope".to_owned()));
    let narrow: Vec<_> = post_form(&first).into_iter().chain([("scope", "read")]).collect();
    let answer = send(&server, &[], &narrow).await;
    assert_eq!(answer.text("scope").as_deref(), Some("read"));
    let answer = send(&server, &[], &post_form(&tokens(&answer).1)).await;
    assert_eq!(answer.text("scope").as_deref(), Some("read write"));
}

#[tokio::test]
async fn client_credentials_are_for_confidential_clients() {
    let server = standin().await;
    let form = [("grant_type", "client_credentials"), ("client_id", "post"), ("client_secret", "p%st +")];
    let answer = send(&server, &[], &form).await;
    assert_eq!(answer.text("scope").as_deref(), Some("read write"));
    assert_eq!(answer.json().get("refresh_token"), None);
    let answer = send(&server, &[], &[form[0], ("client_id", "public")]).await;
    assert_eq!(refused(&answer), (400, "unauthorized_client".to_owned()));
}
