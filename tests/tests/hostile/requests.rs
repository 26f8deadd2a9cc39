//! Malformed or unusual requests to the local API. Each has the right key, so they are refused only because of their
//! form.

use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::local::{SOCKET, asked, asked_at, bearer, count, good, request, token_with};

const BAD_HOST: &str = "\"error\":\"bad_host\"";

/// Checks that each of these requests is answered with these words.
#[track_caller]
fn each(requests: impl IntoIterator<Item = String>, words: &str) -> Outcome {
    control(asked(&good()));
    all(requests.into_iter().map(|request| stopped(asked(&request), words)).collect())
}

/// Returns a request that looks like two: an authorized one, followed by one without the key.
fn smuggled(head: &str, body: &str) -> String {
    format!("GET /v1/token/pagerduty HTTP/1.1\r\nHost: localhost\r\n{}\r\n{head}\r\n\r\n{body}", bearer())
}

/// The control: two requests on one connection are answered if both have the key.
#[track_caller]
fn pipelined_control() {
    let first = good().replace("Connection: close\r\n", "");
    let answers = control(asked(&format!("{first}{}", good())));
    assert_eq!(count(&answers, 200), 2, "two requests, both with the key: {answers}");
}

const INNER: &str = "GET /v1/token/pagerduty HTTP/1.1\r\nHost: localhost\r\n\r\n";

attempts! {
    /// DNS rebinding: a request with the right key has a foreign, a similar, an empty or a pod-network Host header
    host_rebound {
        let hosts = ["evil.example.com", "127.0.0.1.evil.example.com", "localhost.evil.example.com:9911", "localhost@evil.example.com",
            "0.0.0.0", "2130706433", "identity.pagerduty.com", ""];
        each(hosts.map(|host| token_with(&[&format!("Host: {host}"), &bearer()])), BAD_HOST)
    }
    /// A request has no Host header, two of them, or two names in one
    host_absent_or_doubled {
        let lines = [vec![], vec!["Host: localhost", "Host: evil.example.com"], vec!["Host: evil.example.com", "Host: localhost"], vec!["Host: localhost, evil.example.com"]];
        let bearer = bearer();
        each(lines.map(|mut lines| { lines.push(&bearer); token_with(&lines) }), BAD_HOST)
    }
    /// A request has the absolute form for a foreign host or for the provider, with a loopback Host header
    absolute_form {
        let bearer = bearer();
        let line = |host: &str| request(&format!("GET {host}/v1/token/pagerduty HTTP/1.1"), &["Host: localhost", &bearer]);
        control(asked(&line("http://localhost")));
        each(["http://evil.example.com", "https://identity.pagerduty.com", "http://localhost@evil.example.com"].map(line), BAD_HOST)
    }
    /// The agent sends CONNECT to the provider, the metadata service and the API server through the sidecar
    connect_elsewhere {
        let bearer = bearer();
        let targets = ["identity.pagerduty.com:443", "169.254.169.254:80", "kubernetes.default.svc:443"];
        each(targets.map(|target| request(&format!("CONNECT {target} HTTP/1.1"), &["Host: localhost", &bearer])), BAD_HOST)
    }
    /// The agent sends CONNECT to the sidecar's own ports
    connect_to_itself {
        let bearer = bearer();
        each(["127.0.0.1:9911", "localhost:9912"].map(|target| request(&format!("CONNECT {target} HTTP/1.1"), &["Host: localhost", &bearer])), "\"error\":\"not_found\"")
    }
    /// Request smuggling, CL.TE: a second request without the key is inside a body that Content-Length counts and
    /// Transfer-Encoding ends
    smuggling_cl_te {
        pipelined_control();
        let body = format!("0\r\n\r\n{INNER}");
        let answers = asked(&smuggled(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), &body)).unwrap_or_else(|error| error);
        assert!(count(&answers, 200) <= 1, "the inner request was served: {answers}");
        second_is_refused(&answers)
    }
    /// Request smuggling, TE.CL: the same with the headers swapped, and a length that ends within the chunk
    smuggling_te_cl {
        pipelined_control();
        let body = format!("{:x}\r\n{INNER}\r\n0\r\n\r\n{INNER}", INNER.len());
        let answers = asked(&smuggled("Transfer-Encoding: chunked\r\nContent-Length: 4", &body)).unwrap_or_else(|error| error);
        assert!(count(&answers, 200) <= 1, "the inner request was served: {answers}");
        second_is_refused(&answers)
    }
    /// A request has two different Content-Length headers, a list, a signed number or no number
    content_length_twice {
        let heads = ["Content-Length: 0\r\nContent-Length: 64", "Content-Length: 0, 64", "Content-Length: +4", "Content-Length: 0x10"];
        each(heads.map(|head| smuggled(head, INNER)), "HTTP/1.1 400 Bad Request")
    }
    /// A request has a Transfer-Encoding other than chunked, or one that other parsers read as chunked
    transfer_encoding_disguised {
        let heads = ["Transfer-Encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked"];
        each(heads.map(|head| smuggled(head, INNER)), "HTTP/1.1 400 Bad Request")
    }
    /// Lines end with a bare LF, and one of them hides a second Host header
    bare_line_feed {
        let line = format!("GET /v1/token/pagerduty HTTP/1.1\nHost: localhost\nX: y\nHost: evil.example.com\n{}\nConnection: close\n\n", bearer());
        each([line], BAD_HOST)
    }
    /// A header has a bare CR, a NUL or a folded line in its value, or a space before the colon
    header_lines_malformed {
        let bearer = bearer();
        let lines = ["X: a\rHost: evil.example.com", "X: a\0b", "X: a\r\n folded: b", "X : y"];
        each(lines.map(|line| token_with(&["Host: localhost", &bearer, line])), "HTTP/1.1 400 Bad Request")
    }
    /// A request line has an additional space, another version, no method, or a control character
    request_line_malformed {
        let lines = ["GET /v1/token/pagerduty x HTTP/1.1", "GET /v1/token/pagerduty HTTP/3.7", "/v1/token/pagerduty HTTP/1.1", "GET /v1/token/\u{1}pagerduty HTTP/1.1"];
        each(lines.map(|line| request(line, &["Host: localhost", &bearer()])), "HTTP/1.1 400 Bad Request")
    }
    /// Paths lead out of the API: dots, escapes, double slashes, the metrics, files of the sidecar
    paths_that_lead_out {
        let paths = ["/v1/../v1/token/pagerduty", "//v1/token/pagerduty", "/v1/token/pagerduty/", "/v1/token/pagerduty/../../grants", "/metrics",
            "/run/agent-creds-identity/identity-token", "/v1/tokens", "/v1\\token\\pagerduty", "/../../etc/passwd"];
        each(paths.map(|path| request(&format!("GET {path} HTTP/1.1"), &["Host: localhost", &bearer()])), "\"error\":\"not_found\"")
    }
    /// The agent requests grants that its pod does not have: another one of the same account, the Secret's name,
    /// another namespace's, an escaped name
    grants_of_others {
        let names = ["careless", "devops-agent-pagerduty", "devops-agent-pagerduty-state", "hostile-open%2fdevops-agent-pagerduty", "%70agerduty", "..", "*"];
        each(names.map(|name| request(&format!("GET /v1/token/{name} HTTP/1.1"), &["Host: localhost", &bearer()])), "\"error\":\"unknown_grant\"")
    }
    /// The agent uses other methods: POST, PUT, PATCH, DELETE, OPTIONS, TRACE, an unknown one, and an override header
    methods_that_change {
        let bearer = bearer();
        let lines = |method: &str| request(&format!("{method} /v1/token/pagerduty HTTP/1.1"), &["Host: localhost", &bearer, "X-HTTP-Method-Override: GET"]);
        each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "GRANT"].map(lines), "HTTP/1.1 405 Method Not Allowed")
    }
    /// The agent upgrades to WebSocket and to HTTP/2, to skip the checks of later requests
    upgrade {
        let upgrades = ["Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"];
        for lines in upgrades {
            let asked_for = token_with(&["Host: localhost", &bearer(), lines]).replace("Connection: close", "Connection: Upgrade");
            let answer = control(asked(&format!("{asked_for}{INNER}")));
            assert_eq!((count(&answer, 101), count(&answer, 200), count(&answer, 401)), (0, 1, 1), "{answer}");
        }
        let http2 = asked("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(http2, Err(String::new()), "the connection closes without an answer");
        Outcome::Stopped("no 101: later data is parsed as HTTP/1.1 and needs the key; an HTTP/2 preface closes the connection".to_owned())
    }
    /// The agent uses the socket, which needs no key: other grants cannot be reached there either
    socket_abused {
        control(asked_at(SOCKET, &token_with(&["Host: localhost"])));
        let bad = ["GET /v1/token/careless HTTP/1.1", "GET /v1/token/../grants HTTP/1.1", "GET /run/agent-creds-identity/api-token HTTP/1.1"];
        all(bad.iter().map(|line| stopped(asked_at(SOCKET, &request(line, &["Host: localhost"])), "HTTP/1.1 404 Not Found")).collect())
    }
}

/// Checks that a smuggled request was refused or never parsed.
#[track_caller]
fn second_is_refused(answers: &str) -> Outcome {
    let asked_for_key = count(answers, 401);
    let refused = count(answers, 400);
    let how = match (count(answers, 200), asked_for_key, refused) {
        (1, 0, 0) => "the connection ends with the body",
        (_, 1.., _) => "the inner request needs the caller key",
        (_, 0, 1..) => "HTTP/1.1 400 Bad Request",
        _ => panic!("neither served nor refused: {answers}"),
    };
    Outcome::Stopped(how.to_owned())
}
