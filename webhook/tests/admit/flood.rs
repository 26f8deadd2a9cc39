//! A flood of the shipped binary: its memory stays bounded whatever is sent, and its probes are answered meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::admit::client::{Authority, Process, Stream, review};

/// Bytes in KiB that the process has at most, besides its program, of which a debug build has more than the shipped one. With that it
/// is 64 MiB, as charts/agent-creds/values.yaml says.
const MOST: u64 = 56 * 1024;
/// Longest time for which a client of one flood waits for the beginning of an answer.
const ONE: Duration = Duration::from_secs(2);
/// The same if all floods come at once.
const ALL: Duration = Duration::from_secs(12);
const MIB: usize = 1024 * 1024;

/// Requests, and on how many connections from how many addresses.
struct Flood {
    name: &'static str,
    request: Vec<u8>,
    sources: u8,
    each: usize,
}

/// A request with this body.
fn post(body: &[u8]) -> Vec<u8> {
    let head = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json";
    [format!("{head}\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

/// A review whose object is this text.
fn object(text: &str) -> Vec<u8> {
    let mut review = review("u");
    review["request"]["object"] = json!("OBJECT");
    post(review.to_string().replace("\"OBJECT\"", text).as_bytes())
}

/// An annotated pod with these fields, as text.
fn pod(fields: &str) -> String {
    let annotations = r#"{"agent-creds/inject":"true","agent-creds/grants":"pagerduty"}"#;
    format!(r#"{{"metadata":{{"annotations":{annotations}}},"spec":{{{fields}}}}}"#)
}

/// A list of this item, so many bytes long.
fn list(item: &str, bytes: usize) -> String {
    format!("[{}0]", format!("{item},").repeat(bytes / (item.len() + 1)))
}

/// A body in chunks of one byte, each of them a frame.
fn chunked() -> Vec<u8> {
    let head = "POST /mutate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json";
    let head = format!("{head}\r\ntransfer-encoding: chunked\r\n\r\n");
    [head.as_bytes(), &b"1\r\n \r\n".repeat(MIB)].concat()
}

fn floods() -> Vec<Flood> {
    let head = [&b"POST /mutate HTTP/1.1\r\nx: "[..], &[b'x'; 8000]].concat();
    let mut unfinished = post(&[b' '; 64 * 1024]);
    unfinished.pop();
    let empty = r#"{"":0}"#;
    let variables = format!(r#""containers":[{{"name":"a","env":{}}}]"#, list(empty, 90 * 1024));
    let references = format!(r#""containers":[{{"name":"a"}}],"x":{}"#, list("\"agent-creds-shared\"", MIB));
    let containers = (0..1000).map(|i| json!({"name": format!("{i:063}"), "env": [{"name": "a"}]}));
    let containers = format!(r#""containers":{}"#, containers.collect::<Value>());
    let flood = |name, request, sources, each| Flood { name, request, sources, each };
    vec![
        flood("unfinished heads", head, 5, 100),
        flood("unfinished bodies", unfinished, 5, 100),
        flood("objects, too many", object(&list(empty, 7 * MIB)), 4, 8),
        flood("objects, parsed", object(&pod(&variables)), 5, 32),
        flood("lists within lists", post("[".repeat(8 * MIB).as_bytes()), 4, 8),
        flood("texts", object(&pod(&format!("\"x\":{}", list("\"a\"", 200 * 1024)))), 5, 32),
        flood("a text with escapes", object(&pod(&format!("\"x\":\"{}\"", "\\n".repeat(2 * MIB)))), 4, 8),
        flood("refusals", object(&pod(&references)), 4, 8),
        flood("chunks", chunked(), 4, 8),
        flood("long answers", object(&pod(&containers)), 5, 25),
    ]
}

/// Sends the request on all connections, and waits on each until an answer begins. Nothing more of the answers is read. Returns a line about
/// the statuses, and the open connections.
async fn send(
    process: &Arc<Process>,
    flood: &Flood,
    first_source: u8,
    patience: Duration,
) -> (String, Vec<Stream>) {
    let request = Arc::new(flood.request.clone());
    let mut tasks = JoinSet::new();
    for i in 0..usize::from(flood.sources) * flood.each {
        let (process, request) = (Arc::clone(process), Arc::clone(&request));
        let source = first_source + (i / flood.each) as u8;
        tasks.spawn(async move {
            let mut stream = process.connect_from(source).await.ok()?;
            let mut status = [b'-'; 12];
            let exchange = async {
                // The server may answer, and close the connection, before it has read all.
                let _ = stream.write_all(&request).await;
                stream.read_exact(&mut status).await
            };
            let _ = tokio::time::timeout(patience, exchange).await;
            Some((String::from_utf8_lossy(&status[9..]).into_owned(), stream))
        });
    }
    let (statuses, held): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().flatten().unzip();
    let mut counts = BTreeMap::<_, u32>::new();
    statuses.into_iter().for_each(|status| *counts.entry(status).or_default() += 1);
    (format!("{}: {counts:?}, {} KiB\n", flood.name, memory(process)), held)
}

/// The most memory that the process has had, without its program, in KiB.
fn memory(process: &Process) -> u64 {
    process.status("VmHWM") - process.status("RssFile")
}

/// Probes the process for ever; the longest time that an answer took is in `longest`.
async fn probe(process: Arc<Process>, longest: Arc<std::sync::Mutex<Duration>>) {
    loop {
        let began = Instant::now();
        assert_eq!(process.probe("/healthz").await.0, 200);
        let mut longest = longest.lock().expect("no panic");
        *longest = longest.max(began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_stays_bounded_in_a_flood_and_probes_are_answered() {
    let mut process = Process::start(Authority::new()).await;
    let log = process.read_log();
    let process = Arc::new(process);
    let longest = Arc::default();
    let probes = tokio::spawn(probe(Arc::clone(&process), Arc::clone(&longest)));
    let mut report = Vec::new();
    for flood in floods() {
        report.push(send(&process, &flood, 1, ONE).await.0);
    }
    let mut all = JoinSet::new();
    for (i, flood) in floods().into_iter().enumerate() {
        let process = Arc::clone(&process);
        all.spawn(async move { send(&process, &flood, i as u8 * 5 + 1, ALL).await });
    }
    report.extend(all.join_all().await.into_iter().map(|(line, _)| line));
    // Whatever is left of the flood, a usual pod is admitted now.
    let (status, _) = process.post("application/json", review("u").to_string()).await.expect("an answer");
    assert_eq!(status, 200);
    probes.abort();
    assert!(probes.await.expect_err("it runs for ever").is_cancelled(), "each probe was answered");
    let longest = *longest.lock().expect("no panic");
    assert!(longest < Duration::from_secs(3), "the timeout of the chart's probes: {longest:?}");
    let most = memory(&process);
    assert!(most < MOST, "{most} KiB: {report:#?}");
    log.abort();
}
