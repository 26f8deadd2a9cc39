//! Addresses and names that the agent takes over with NET_ADMIN. The sidecar sends nothing to a server with an
//! untrusted certificate and reports the reason. It recovers when the redirection ends.

use std::net::SocketAddr;
use std::sync::LazyLock;

use agent_creds_tests::authority::Authority;
use agent_creds_tests::cluster::{SYSTEM, eventually, kubectl};
use agent_creds_tests::event::{Event, presentations};
use agent_creds_tests::platform::START;
use agent_creds_tests::standin::{Config, Standin};

use crate::hostile::attempt::{Met, Outcome, attempts, control, stopped};
use crate::hostile::local::{request, written};
use crate::hostile::privileged::capable;

/// A server with certificates for all names, from a CA that only the agent trusts.
struct Impostor {
    standin: Standin,
    authority: Authority,
    _runtime: tokio::runtime::Runtime,
}

static IMPOSTOR: LazyLock<Impostor> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let authority = Authority::new();
    let names = ["kubernetes.default.svc".to_owned(), format!("agent-creds-identity.{SYSTEM}.svc")];
    let config = Config { authority: Some(authority.clone()), names: names.into(), ..Config::default() };
    let listen = SocketAddr::from(([0, 0, 0, 0], 0));
    let standin = runtime.block_on(Standin::start(listen, config)).expect("the impostor");
    Impostor { standin, authority, _runtime: runtime }
});

/// Redirects port 443 of an address to the impostor, until [`STOP`].
fn relay(address: &str) -> String {
    let port = IMPOSTOR.standin.addr().port();
    format!("ip addr add {address}/32 dev lo; wire relay {address}:443 10.244.0.1:{port} >/tmp/relay 2>&1 &")
}

/// Stops the background programs; the addresses are removed separately.
const STOP: &str = "for p in $(pidof wire); do kill -9 $p; done; true";

/// Returns the list of grants from the local API.
fn grants() -> Met {
    let asked = request("GET /v1/grants HTTP/1.1", &["Host: localhost"]);
    capable(&format!("{} | wire send unix:/run/agent-creds/agent.sock 3", written(&asked)))
}

/// Returns the number of requests to the impostor, except those of the control.
fn reached(log: &[Event]) -> usize {
    presentations(log).filter(|request| !request.path.ends_with("/fooled")).count()
}

/// Waits until the list of grants contains these words.
fn becomes(words: &str) -> String {
    eventually(3 * START, || {
        let listed = grants()?;
        if listed.contains(words) { Ok(listed) } else { Err(listed) }
    })
}

/// Redirects port 443 of `address` to the impostor in the pod. The grant fails for `reason`, and is ready again
/// afterwards.
fn redirected(address: &str, reason: &str) -> Outcome {
    becomes("\"ready\"");
    let before = IMPOSTOR.standin.log().len();
    control(capable(&relay(address)));
    // The control: a client that trusts the impostor's CA is served there, so the redirection works.
    let ca = written(IMPOSTOR.authority.ca_pem());
    let fooled = capable(&format!(
        "{ca} >/tmp/ca.crt; kubectl --server=https://{address} --tls-server-name=identity.pagerduty.com --certificate-authority=/tmp/ca.crt --token=x get --raw /fooled"
    ));
    let fooled = fooled.unwrap_or_else(|error| error);
    assert!(!fooled.contains("x509") && !fooled.contains("refused"), "{fooled}");
    let listed = becomes(reason);
    control(capable(&format!("ip addr del {address}/32 dev lo; {STOP}")));
    let log = IMPOSTOR.standin.log();
    assert_eq!(reached(&log[before..]), 0, "no refresh token reaches the impostor");
    becomes("\"state\":\"ready\"");
    stopped(Err(listed), reason)
}

attempts! {
    /// The agent takes over the provider's address, with a server that claims to be the provider
    provider_redirected {
        redirected("10.99.0.1", "\"reason\":\"tls\"")
    }
    /// The agent takes over the cluster's DNS, so that the provider's name resolves to the agent
    own_dns_answers {
        becomes("\"ready\"");
        control(capable(&format!(
            "{}\nip addr add 10.96.0.10/32 dev lo\nwire dns 10.96.0.10:53 10.99.0.1:53 pagerduty 100.64.9.9 >/tmp/dns 2>&1 &", relay("100.64.9.9")
        )));
        eventually(START, || capable("nslookup identity.pagerduty.com").and_then(|said| if said.contains("100.64.9.9") { Ok(said) } else { Err(said) }));
        let listed = becomes("\"reason\":\"tls\"");
        control(capable(&format!("ip addr del 10.96.0.10/32 dev lo; ip addr del 100.64.9.9/32 dev lo; {STOP}")));
        assert_eq!(reached(&IMPOSTOR.standin.log()), 0, "no refresh token reaches the impostor");
        becomes("\"state\":\"ready\"");
        stopped(Err(listed), "\"reason\":\"tls\"")
    }
    /// The agent takes over the API server's address, to get the sidecar's token and its writes
    api_server_redirected {
        redirected("10.96.0.1", "\"reason\":\"store_unavailable\"")
    }
    /// The agent writes the impostor's CA into the container's trust store, where TLS libraries look for it
    planted_authority {
        let ca = written(IMPOSTOR.authority.ca_pem());
        let port = IMPOSTOR.standin.addr().port();
        let ask = format!("kubectl --server=https://10.244.0.1:{port} --tls-server-name=identity.pagerduty.com --token=x get --raw /fooled");
        stopped(capable(&ask), "x509: certificate signed by unknown authority");
        control(capable(&format!("mkdir -p /etc/ssl/certs; {ca} | tee /etc/ssl/certs/ca-certificates.crt >/etc/ssl/cert.pem")));
        let fooled = capable(&ask).unwrap_or_else(|error| error);
        assert!(!fooled.contains("x509"), "the control: the agent's own programs trust the CA: {fooled}");
        redirected("10.99.0.1", "\"reason\":\"tls\"")
    }
    /// The agent takes over the addresses of cloud metadata services, to catch requests of the sidecar
    metadata_addresses {
        control(capable("ip addr add 169.254.170.23/32 dev lo; ip addr add 169.254.169.254/32 dev lo
            (while :; do nc -l -p 80 >>/tmp/caught; done) >/dev/null 2>&1 & echo $! >/tmp/loop; sleep 1; (printf 'GET /control HTTP/1.1\\r\\n\\r\\n'; sleep 1) | nc 169.254.170.23 80; true"));
        assert!(control(capable("cat /tmp/caught")).contains("/control"), "the control: requests to the address are caught");
        let standin = &crate::hostile::agent::PLATFORM.standin;
        let mine = || presentations(&standin.log()).filter(|p| p.client_id.as_deref() == Some(crate::hostile::agent::OPEN)).count();
        let before = mine();
        eventually(3 * START, || if mine() > before + 2 { Ok(()) } else { Err("no refreshes".to_owned()) });
        let caught = control(capable(&format!("cat /tmp/caught; ip addr del 169.254.170.23/32 dev lo; ip addr del 169.254.169.254/32 dev lo; {STOP}")));
        assert_eq!(caught.matches("HTTP/1.1").count(), 1, "{caught}");
        Outcome::Stopped("the sidecar connects only to the API server, the identity server and the providers".to_owned())
    }
    /// The agent takes over the identity server's address when the sidecar needs a token: a new sidecar gets nothing
    /// there
    identity_server_redirected {
        let address = kubectl(&["get", "service", "agent-creds-identity", "--namespace", SYSTEM, "-o", "jsonpath={.spec.clusterIP}"]).expect("its address");
        becomes("\"ready\"");
        control(capable(&relay(&address)));
        // After a restart the sidecar has no token and needs a new one.
        crate::hostile::pods::Process::sidecar("agent", crate::hostile::agent::OPEN).kill(rustix::process::Signal::KILL);
        let listed = becomes("\"reason\":\"identity_unavailable\"");
        control(capable(&format!("ip addr del {address}/32 dev lo; {STOP}")));
        let log = format!("{:?}", IMPOSTOR.standin.log());
        assert!(!log.contains("/identity"), "nothing was sent to it: {log}");
        becomes("\"state\":\"ready\"");
        stopped(Err(listed), "\"reason\":\"identity_unavailable\"")
    }
}
