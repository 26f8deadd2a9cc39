//! Name, address, TCP, TLS: everything before the first byte of a request. One fresh HTTP/1.1 connection for each
//! presentation: no pool, so no request is repeated on another connection behind our back.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::{set_socket_linger, set_tcp_user_timeout};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::outcome::Reason;

/// A connection that is ready to carry one request.
pub struct Connection {
    /// The sending half.
    pub sender: SendRequest<Full<Bytes>>,
    /// Ends the connection when the presentation ends, however it ends.
    pub driver: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to token endpoints, and to the identity server; each knows its own roots.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Trusts the public roots that are built in, and the platform's own (`providerRoots`).
    pub fn new(own_roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::with(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, own_roots)
    }

    /// Trusts these roots and no other.
    pub fn trusting_only(roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::with(RootCertStore::empty(), roots)
    }

    fn with(
        mut roots: RootCertStore,
        own_roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, rustls::Error> {
        for root in own_roots {
            roots.add(root)?;
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // A resumed session would let an observer link refreshes, and one handshake an hour costs nothing.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects within `budget`. `allow_private` is false where a grant chose the host: a token endpoint at an
    /// address of the pod, the node or the cloud's metadata service is then refused.
    pub async fn connect(
        &self,
        endpoint: &Url,
        allow_private: bool,
        budget: Duration,
    ) -> Result<Connection, Reason> {
        tokio::time::timeout(budget, self.dial(endpoint, allow_private, budget))
            .await
            .unwrap_or(Err(Reason::Connect))
    }

    async fn dial(
        &self,
        endpoint: &Url,
        allow_private: bool,
        budget: Duration,
    ) -> Result<Connection, Reason> {
        let port = endpoint.port_or_known_default().unwrap_or(443);
        let (addresses, name) = match endpoint.host() {
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|_| Reason::Dns)?;
                let name = ServerName::try_from(name.to_owned()).map_err(|_| Reason::Dns)?;
                (found.collect(), name)
            }
            Some(Host::Ipv4(ip)) => (vec![SocketAddr::from((ip, port))], ServerName::from(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => (vec![SocketAddr::from((ip, port))], ServerName::from(IpAddr::V6(ip))),
            None => return Err(Reason::Dns),
        };
        let allowed: Vec<_> =
            addresses.iter().filter(|address| allow_private || is_public(address.ip())).copied().collect();
        match (addresses.is_empty(), allowed.is_empty()) {
            (true, _) => return Err(Reason::Dns),
            (false, true) => return Err(Reason::PrivateAddress),
            (false, false) => {}
        }
        let tcp = any_of(&allowed, budget).await?;
        let tls = self.tls.connect(name, tcp).await.map_err(|_| Reason::Tls)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| Reason::Connect)?;
        let driver = tokio::spawn(async move {
            // How it ends is seen by the sending half.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver })
    }
}

/// The first address that answers, each with its share of the time, so that a dead one does not use it up.
async fn any_of(addresses: &[SocketAddr], budget: Duration) -> Result<TcpStream, Reason> {
    for address in addresses.iter().take(4) {
        if let Ok(Ok(stream)) = tokio::time::timeout(budget / 4, TcpStream::connect(address)).await
            && prepare(&stream, budget).is_ok()
        {
            return Ok(stream);
        }
    }
    Err(Reason::Connect)
}

/// What is written leaves at once; the kernel gives up a request that is not acknowledged in time, and what is
/// abandoned is reset, so that nothing of it arrives after we have stopped to wait.
fn prepare(stream: &TcpStream, budget: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(stream, millis)?;
    set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}

/// Whether an address is outside every range that IANA reserves for special use (RFC 6890) and that a pod could
/// reach something of its own cluster, node or cloud by.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (b == 18 || b == 19)))
        }
        IpAddr::V6(ip) => {
            // Global unicast is 2000::/3; what embeds an IPv4 address is judged by that.
            let segments = ip.segments();
            if let Some(v4) = ip.to_ipv4_mapped() {
                return is_public(IpAddr::V4(v4));
            }
            let [.., high, low] = segments;
            let embedded = || std::net::Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
            match segments[0] {
                0x64 if segments[1] == 0xff9b => is_public(IpAddr::V4(embedded())),
                0x2002 => false,
                0x2001 if segments[1] < 0x200 || segments[1] == 0xdb8 => false,
                first => first & 0xe000 == 0x2000,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_not_public() {
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "169.254.170.23",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.1",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
