//! Everything before the first byte of a request: name, address, TCP, TLS. Each presentation has one fresh HTTP/1.1 connection.
//! Without a pool, no request is repeated on another connection.

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

use agent_creds_refresh::reason::NotSent;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectError {
    /// The host name has no address.
    Dns,
    /// No TCP connection within the time limit.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// The host has private addresses alone, which are not allowed for it.
    PrivateAddress,
}

impl From<ConnectError> for NotSent {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Dns => Self::Dns,
            ConnectError::Connect => Self::Connect,
            ConnectError::Tls => Self::Tls,
            ConnectError::PrivateAddress => Self::PrivateAddress,
        }
    }
}

/// A connection that is ready to carry one request.
pub struct Connection {
    /// The sending half.
    pub sender: SendRequest<Full<Bytes>>,
    /// Drives the connection. Aborted when this is dropped.
    pub driver: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to hosts whose certificates are signed by a set of roots.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
}

impl Connector {
    /// Trusts the built-in public roots and the platform's own (`providerRoots`).
    ///
    /// # Errors
    /// Where a root is no certificate.
    pub fn new(own_roots: Vec<CertificateDer<'static>>) -> Result<Self, rustls::Error> {
        Self::with(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }, own_roots)
    }

    /// Trusts these roots alone.
    ///
    /// # Errors
    /// Where a root is no certificate.
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
        // A resumed session would let an observer link refreshes; one handshake an hour costs little.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Connects within `budget`. With `allow_private` false, which is for hosts that a grant chose, addresses of the pod, the
    /// node, the cluster and the cloud's metadata service are refused.
    ///
    /// # Errors
    /// Where there is no connection. Nothing was sent.
    pub async fn connect(
        &self,
        endpoint: &Url,
        allow_private: bool,
        budget: Duration,
    ) -> Result<Connection, ConnectError> {
        tokio::time::timeout(budget, self.dial(endpoint, allow_private, budget))
            .await
            .unwrap_or(Err(ConnectError::Connect))
    }

    async fn dial(
        &self,
        endpoint: &Url,
        allow_private: bool,
        budget: Duration,
    ) -> Result<Connection, ConnectError> {
        let port = endpoint.port_or_known_default().unwrap_or(443);
        let (addresses, name) = match endpoint.host() {
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await.map_err(|_| ConnectError::Dns)?;
                let name = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Dns)?;
                (found.collect(), name)
            }
            Some(Host::Ipv4(ip)) => (vec![SocketAddr::from((ip, port))], ServerName::from(IpAddr::V4(ip))),
            Some(Host::Ipv6(ip)) => (vec![SocketAddr::from((ip, port))], ServerName::from(IpAddr::V6(ip))),
            None => return Err(ConnectError::Dns),
        };
        let allowed: Vec<_> =
            addresses.iter().filter(|address| allow_private || is_public(address.ip())).copied().collect();
        match (addresses.is_empty(), allowed.is_empty()) {
            (true, _) => return Err(ConnectError::Dns),
            (false, true) => return Err(ConnectError::PrivateAddress),
            (false, false) => {}
        }
        let tcp = any_of(&allowed, budget).await?;
        let tls = self.tls.connect(name, tcp).await.map_err(|_| ConnectError::Tls)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(tls))
            .await
            .map_err(|_| ConnectError::Connect)?;
        let driver = tokio::spawn(async move {
            // The sending half reports how it ended.
            let _ = connection.await;
        });
        Ok(Connection { sender, driver })
    }
}

/// Connects to the first of up to four addresses that answers. Each has its share of the time, so that a dead one does not use
/// all of it.
async fn any_of(addresses: &[SocketAddr], budget: Duration) -> Result<TcpStream, ConnectError> {
    for address in addresses.iter().take(4) {
        if let Ok(Ok(stream)) = tokio::time::timeout(budget / 4, TcpStream::connect(address)).await
            && prepare(&stream, budget).is_ok()
        {
            return Ok(stream);
        }
    }
    Err(ConnectError::Connect)
}

/// Sets the socket so that data is sent at once, that the kernel gives up on data that is not acknowledged in time, and that
/// an abandoned connection is reset: nothing of a request arrives after the sidecar has stopped waiting.
fn prepare(stream: &TcpStream, budget: Duration) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let millis = u32::try_from(budget.as_millis()).unwrap_or(u32::MAX);
    set_tcp_user_timeout(stream, millis)?;
    set_socket_linger(stream, Some(Duration::ZERO))?;
    Ok(())
}

/// Whether an address is outside the ranges that IANA reserves for special use (RFC 6890), through which a pod could reach its own
/// cluster, node or cloud.
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
            // Global unicast is 2000::/3. An address that embeds an IPv4 address is judged by that one.
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
