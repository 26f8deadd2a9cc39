use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// More than the kernel's buffers hold.
const LARGE: usize = 32 * 1024 * 1024;
const GET_LARGE: &[u8] = b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n";

/// A running server, and the address to reach it at.
async fn start(limits: Limits) -> (std::net::SocketAddr, watch::Sender<bool>) {
    let (address, stop, _) = start_holding(limits).await;
    (address, stop)
}

/// The same, with the value that the answers of `/large` keep until they are written.
async fn start_holding(limits: Limits) -> (std::net::SocketAddr, watch::Sender<bool>, Arc<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let held = Arc::new(());
    let large = {
        let held = Arc::clone(&held);
        async move || {
            let answer = vec![b'x'; LARGE];
            (axum::Extension(UntilWritten::new(Arc::clone(&held))), answer)
        }
    };
    let refuse = async || (http::StatusCode::PAYLOAD_TOO_LARGE, "too large\n");
    let router = Router::new()
        .route("/", get(async || "ok\n"))
        .route("/large", get(large))
        .route("/refuse", post(refuse))
        .route("/never", get(async || std::future::pending::<&str>().await));
    tokio::spawn(serve(listener, None, router, limits, stopped));
    (address, stop, held)
}

/// Reads an answer of a few bytes.
async fn answer(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = Vec::new();
    let mut chunk = [0; 1024];
    while !text.ends_with(b"\n") || !text.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..read]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 16]).await, Ok(0) | Err(_))
}

#[tokio::test]
async fn silent_connections_do_not_keep_others_out() {
    let limits = Limits { connections: 8, per_source: 8, ..Limits::default() };
    let (address, _stop) = start(limits).await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..20 {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(GET).await.unwrap();
        assert!(answer(&mut client).await.unwrap().starts_with("HTTP/1.1 200"));
        silent.push(client);
    }
    assert!(is_closed(&mut silent[0]).await, "the oldest silent one made room");
}

#[tokio::test]
async fn a_peer_that_still_sends_reads_the_answer_that_came_early() {
    let (address, _stop) = start(Limits::default()).await;
    for _ in 0..20 {
        let mut client = TcpStream::connect(address).await.unwrap();
        let head = "POST /refuse HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 4194304\r\n\r\n";
        client.write_all(head.as_bytes()).await.unwrap();
        // Far more than the kernel's buffers hold, so that the server is still receiving when it answers.
        let chunk = vec![b'x'; 64 * 1024];
        for _ in 0..64 {
            client.write_all(&chunk).await.expect("the server drains what it does not want");
        }
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("no reset before the answer was read");
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_outlives_the_pool_of_a_go_client() {
    let (address, _stop) = start(Limits::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(GET).await.unwrap();
    answer(&mut client).await.unwrap();
    tokio::time::sleep(Duration::from_secs(95)).await;
    client.write_all(GET).await.unwrap();
    assert!(answer(&mut client).await.unwrap().starts_with("HTTP/1.1 200"), "after 95 s");
    tokio::time::sleep(Duration::from_secs(125)).await;
    assert!(is_closed(&mut client).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends_soon() {
    let (address, _stop) = start(Limits::default()).await;
    let began = tokio::time::Instant::now();
    for sent in [&b""[..], b"GET / HTT"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(sent).await.unwrap();
        assert!(is_closed(&mut client).await);
    }
    assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_request_past_its_time_limit_ends() {
    let (address, _stop) = start(Limits::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /never HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let closed = timeout(Duration::from_secs(60), is_closed(&mut client)).await;
    assert_eq!(closed, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_its_answer_is_disconnected() {
    // An answer is limited in time even if a request is not.
    for request in [Limits::default().request, None] {
        let (address, _stop, held) = start_holding(Limits { request, ..Limits::default() }).await;
        let before = Arc::strong_count(&held);
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(GET_LARGE).await.unwrap();
        client.readable().await.unwrap();
        assert_eq!(Arc::strong_count(&held), before + 1, "kept while a part is not written");
        let closed = timeout(Duration::from_secs(15), async {
            while Arc::strong_count(&held) > before {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
        assert_eq!(closed.await, Ok(()), "released with the connection");
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(rest.len() < LARGE, "cut off");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_late_gets_all_of_its_answer() {
    let (address, _stop, held) = start_holding(Limits::default()).await;
    let before = Arc::strong_count(&held);
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(GET_LARGE).await.unwrap();
    tokio::time::sleep(Duration::from_secs(8)).await;
    tokio::time::resume();
    let mut all = vec![0; LARGE];
    client.read_exact(&mut all).await.expect("the whole answer");
    tokio::time::pause();
    // The connection is idle now, for as long as any other.
    let mut rest = Vec::new();
    let began = tokio::time::Instant::now();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(100), "{:?}", began.elapsed());
    assert_eq!(Arc::strong_count(&held), before, "released when it was written");
}

#[tokio::test]
async fn an_open_request_is_finished_on_shutdown() {
    let (address, stop) = start(Limits::default()).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(&GET[..10]).await.unwrap();
    // The server has accepted it when a second connection got an answer.
    let mut second = TcpStream::connect(address).await.unwrap();
    second.write_all(GET).await.unwrap();
    answer(&mut second).await.unwrap();
    stop.send_replace(true);
    assert!(is_closed(&mut second).await, "an idle connection is closed");
}
