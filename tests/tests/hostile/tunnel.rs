//! TLS connections from the agent's own network: `nc` in its container passes the bytes on, and this process does the
//! TLS. The TLS client of busybox is too old for today's servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use agent_creds_tests::cluster::{SYSTEM, get};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};

/// `nc` as a socket.
struct Tunnel(Child);

impl Read for Tunnel {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.stdout.as_mut().expect("piped").read(buffer)
    }
}

impl Write for Tunnel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.stdin.as_mut().expect("piped").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.stdin.as_mut().expect("piped").flush()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a POST request with JSON.
pub(crate) fn request(host: &str, path: &str, connection: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends bytes from a namespace's agent to a server of the release, and returns the answer until the connection closes.
pub(crate) fn said(namespace: &str, host: &str, bytes: &[u8]) -> String {
    let nc =
        ["exec", "--stdin", "agent", "--container=agent", "--namespace", namespace, "--", "nc", host, "443"];
    let child = Command::new("kubectl").args(nc).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    answer(Tunnel(child.expect("kubectl")), host, bytes)
}

/// Sends them from the node, because `kubectl exec` cannot carry more data than is read.
pub(crate) fn said_from_the_node(host: &str, bytes: &[u8]) -> String {
    let stream = TcpStream::connect(format!("{host}.cluster.local:443")).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    answer(stream, host, bytes)
}

fn answer(mut socket: impl Read + Write, host: &str, bytes: &[u8]) -> String {
    let name = ServerName::try_from(host.to_owned()).expect("a name");
    let mut tls = ClientConnection::new(Arc::clone(&TRUST), name).expect("a TLS client");
    let mut stream = Stream::new(&mut tls, &mut socket);
    // The server may close before all is sent; an answer before that counts.
    let _ = stream.write_all(bytes).and_then(|()| stream.flush());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A client configuration with the CA that the release publishes.
static TRUST: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
    let map = get(&["configmap", "agent-creds-ca", "--namespace", SYSTEM]);
    let mut roots = RootCertStore::empty();
    let pem = map["data"]["ca.crt"].as_str().expect("a CA").as_bytes();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.expect("PEM")).expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
});
