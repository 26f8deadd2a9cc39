//! Requests to the local API that are not what they should be, each with the right key: what they are refused for is how
//! they are written.

use crate::hostile::attempt::{Outcome, all, attempts, control, stopped};
use crate::hostile::local::{SOCKET, asked, asked_at, bearer, count, good, request, token_with};

const BAD_HOST: &str = "\"error\":\"bad_host\"";

/// That each of these requests meets these words.
#[track_caller]
fn each(requests: impl IntoIterator<Item = String>, words: &str) -> Outcome {
    control(asked(&good()));
    all(requests.into_iter().map(|request| stopped(asked(&request), words)).collect())
}

/// A request that looks like two: the one that opens, and behind it one without the key. Both with the key are answered.
fn smuggled(head: &str, body: &str) -> String {
    format!("GET /v1/token/pagerduty HTTP/1.1\r\nHost: localhost\r\n{}\r\n{head}\r\n\r\n{body}", bearer())
}

/// What the second of two requests on a connection is answered, where the first has no body.
#[track_caller]
fn pipelined_control() {
    let first = good().replace("Connection: close\r\n", "");
    let answers = control(asked(&format!("{first}{}", good())));
    assert_eq!(count(&answers, 200), 2, "two requests, both with the key: {answers}");
}

const INNER: &str = "GET /v1/token/pagerduty HTTP/1.1\r\nHost: localhost\r\n\r\n";

attempts! {
    /// DNS rebinding: a foreign, a look-alike, an empty and a pod-network Host header with the right key
    host_rebound {
        let hosts = ["evil.example.com", "127.0.0.1.evil.example.com", "localhost.evil.example.com:9911", "localhost@evil.example.com",
            "0.0.0.0", "2130706433", "identity.pagerduty.com", ""];
        each(hosts.map(|host| token_with(&[&format!("Host: {host}"), &bearer()])), BAD_HOST)
    }
    /// No Host header, two of them, and two names in one
    host_absent_or_doubled {
        let lines = [vec![], vec!["Host: localhost", "Host: evil.example.com"], vec!["Host: evil.example.com", "Host: localhost"], vec!["Host: localhost, evil.example.com"]];
        let bearer = bearer();
        each(lines.map(|mut lines| { lines.push(&bearer); token_with(&lines) }), BAD_HOST)
    }
    /// A request in absolute form for a foreign host and for the provider, with a loopback Host header
    absolute_form {
        let bearer = bearer();
        let line = |host: &str| request(&format!("GET {host}/v1/token/pagerduty HTTP/1.1"), &["Host: localhost", &bearer]);
        control(asked(&line("http://localhost")));
        each(["http://evil.example.com", "https://identity.pagerduty.com", "http://localhost@evil.example.com"].map(line), BAD_HOST)
    }
    /// CONNECT to the provider, to the metadata service and to the API server through the sidecar
    connect_elsewhere {
        let bearer = bearer();
        let targets = ["identity.pagerduty.com:443", "169.254.169.254:80", "kubernetes.default.svc:443"];
        each(targets.map(|target| request(&format!("CONNECT {target} HTTP/1.1"), &["Host: localhost", &bearer])), BAD_HOST)
    }
    /// CONNECT to the sidecar's own ports
    connect_to_itself {
        let bearer = bearer();
        each(["127.0.0.1:9911", "localhost:9912"].map(|target| request(&format!("CONNECT {target} HTTP/1.1"), &["Host: localhost", &bearer])), "\"error\":\"not_found\"")
    }
    /// Smuggling, CL.TE: a second request without the key in a body that Content-Length counts and Transfer-Encoding ends
    smuggling_cl_te {
        pipelined_control();
        let body = format!("0\r\n\r\n{INNER}");
        let answers = asked(&smuggled(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked", body.len()), &body)).unwrap_or_else(|error| error);
        assert!(count(&answers, 200) <= 1, "the inner request was served: {answers}");
        second_is_refused(&answers)
    }
    /// Smuggling, TE.CL: the same with the headers the other way round, and a length that ends within the chunk
    smuggling_te_cl {
        pipelined_control();
        let body = format!("{:x}\r\n{INNER}\r\n0\r\n\r\n{INNER}", INNER.len());
        let answers = asked(&smuggled("Transfer-Encoding: chunked\r\nContent-Length: 4", &body)).unwrap_or_else(|error| error);
        assert!(count(&answers, 200) <= 1, "the inner request was served: {answers}");
        second_is_refused(&answers)
    }
    /// Two different Content-Length headers, a list of them, a signed one and one that is no number
    content_length_twice {
        let heads = ["Content-Length: 0\r\nContent-Length: 64", "Content-Length: 0, 64", "Content-Length: +4", "Content-Length: 0x10"];
        each(heads.map(|head| smuggled(head, INNER)), "HTTP/1.1 400 Bad Request")
    }
    /// Transfer-Encoding that is not chunked, or that others would read as chunked
    transfer_encoding_disguised {
        let heads = ["Transfer-Encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: xchunked", "Transfer-Encoding : chunked"];
        each(heads.map(|head| smuggled(head, INNER)), "HTTP/1.1 400 Bad Request")
    }
    /// Lines that end with a bare LF: a second Host header behind one is seen
    bare_line_feed {
        let line = format!("GET /v1/token/pagerduty HTTP/1.1\nHost: localhost\nX: y\nHost: evil.example.com\n{}\nConnection: close\n\n", bearer());
        each([line], BAD_HOST)
    }
    /// A bare CR, a NUL and a folded line in a header's value, and a space before its colon
    header_lines_malformed {
        let bearer = bearer();
        let lines = ["X: a\rHost: evil.example.com", "X: a\0b", "X: a\r\n folded: b", "X : y"];
        each(lines.map(|line| token_with(&["Host: localhost", &bearer, line])), "HTTP/1.1 400 Bad Request")
    }
    /// A request line with a space too many, another version, no method and a control character
    request_line_malformed {
        let lines = ["GET /v1/token/pagerduty x HTTP/1.1", "GET /v1/token/pagerduty HTTP/3.7", "/v1/token/pagerduty HTTP/1.1", "GET /v1/token/\u{1}pagerduty HTTP/1.1"];
        each(lines.map(|line| request(line, &["Host: localhost", &bearer()])), "HTTP/1.1 400 Bad Request")
    }
    /// Paths that lead out of the API: dots, escapes, double slashes, the metrics, files of the sidecar
    paths_that_lead_out {
        let paths = ["/v1/../v1/token/pagerduty", "//v1/token/pagerduty", "/v1/token/pagerduty/", "/v1/token/pagerduty/../../grants", "/metrics",
            "/run/agent-creds-identity/identity-token", "/v1/tokens", "/v1\\token\\pagerduty", "/../../etc/passwd"];
        each(paths.map(|path| request(&format!("GET {path} HTTP/1.1"), &["Host: localhost", &bearer()])), "\"error\":\"not_found\"")
    }
    /// Grants that the pod was not given: another one of its owner, the Secret's own name, another namespace's, an escaped one
    grants_of_others {
        let names = ["careless", "devops-agent-pagerduty", "devops-agent-pagerduty-state", "hostile-open%2fdevops-agent-pagerduty", "%70agerduty", "..", "*"];
        each(names.map(|name| request(&format!("GET /v1/token/{name} HTTP/1.1"), &["Host: localhost", &bearer()])), "\"error\":\"unknown_grant\"")
    }
    /// Methods that change or echo: POST, PUT, PATCH, DELETE, OPTIONS, TRACE, one of our own making, and an override in a header
    methods_that_change {
        let bearer = bearer();
        let lines = |method: &str| request(&format!("{method} /v1/token/pagerduty HTTP/1.1"), &["Host: localhost", &bearer, "X-HTTP-Method-Override: GET"]);
        each(["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "GRANT"].map(lines), "HTTP/1.1 405 Method Not Allowed")
    }
    /// Upgrade to WebSocket and to HTTP/2, which would leave what is checked behind
    upgrade {
        let upgrades = ["Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"];
        for lines in upgrades {
            let asked_for = token_with(&["Host: localhost", &bearer(), lines]).replace("Connection: close", "Connection: Upgrade");
            let answer = control(asked(&format!("{asked_for}{INNER}")));
            assert_eq!((count(&answer, 101), count(&answer, 200), count(&answer, 401)), (0, 1, 1), "{answer}");
        }
        let http2 = asked("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(http2, Err(String::new()), "no answer, and the end of the connection");
        Outcome::Stopped("no 101: what follows is HTTP/1.1 and asked for the key; a preface of HTTP/2 ends the connection".to_owned())
    }
    /// The socket, where no key is asked for: what reaches no grant on loopback reaches none there
    socket_abused {
        control(asked_at(SOCKET, &token_with(&["Host: localhost"])));
        let bad = ["GET /v1/token/careless HTTP/1.1", "GET /v1/token/../grants HTTP/1.1", "GET /run/agent-creds-identity/api-token HTTP/1.1"];
        all(bad.iter().map(|line| stopped(asked_at(SOCKET, &request(line, &["Host: localhost"])), "HTTP/1.1 404 Not Found")).collect())
    }
}

/// That a smuggled request met the question for the key, or nobody: it was never served.
#[track_caller]
fn second_is_refused(answers: &str) -> Outcome {
    let asked_for_key = count(answers, 401);
    let refused = count(answers, 400);
    let how = match (count(answers, 200), asked_for_key, refused) {
        (1, 0, 0) => "the connection ends with the body",
        (_, 1.., _) => "the inner request is asked for the key",
        (_, 0, 1..) => "HTTP/1.1 400 Bad Request",
        _ => panic!("neither served nor refused: {answers}"),
    };
    Outcome::Stopped(how.to_owned())
}
