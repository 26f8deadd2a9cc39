use std::sync::Arc;

use std::pin::pin;

use futures_util::StreamExt as _;

use super::*;

fn place() -> (tempfile::TempDir, Directory, ObjectName) {
    let dir = tempfile::tempdir().unwrap();
    let store = Directory::new(dir.path().to_owned());
    (dir, store, ObjectName { namespace: String::new(), name: "a-state".to_owned() })
}

const EMPTY: &str =
    "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a-state\n  labels: {agent-creds/state-of: a}\n";

#[tokio::test]
async fn reads_data_and_string_data_as_the_api_server_would() {
    let (dir, store, name) = place();
    assert!(store.read(&name).await.unwrap().is_none());
    let text = format!("{EMPTY}data: {{x: YWJj, y: YWJj}}\nstringData: {{y: plain}}\n");
    std::fs::write(dir.path().join("a-state.yaml"), text).unwrap();
    let object = store.read(&name).await.unwrap().unwrap();
    assert_eq!(object.labels["agent-creds/state-of"], "a");
    assert_eq!((object.data["x"].as_slice(), object.data["y"].as_slice()), (&b"abc"[..], &b"plain"[..]));
}

#[tokio::test]
async fn writes_only_over_what_was_read() {
    let (dir, store, name) = place();
    let path = dir.path().join("a-state.yaml");
    std::fs::write(&path, format!("{EMPTY}stringData: {{state: old, other: kept}}\n")).unwrap();
    let first = store.read(&name).await.unwrap().unwrap();
    let second = store.write(&name, &first.version, b"{\"gen\":1}".to_vec()).await.unwrap();
    assert_eq!(store.write(&name, &first.version, b"x".to_vec()).await.err(), Some(StoreError::Conflict));
    let read = store.read(&name).await.unwrap().unwrap();
    assert!(read.version == second.version);
    assert_eq!(
        (read.data["state"].as_slice(), read.data["other"].as_slice()),
        (&b"{\"gen\":1}"[..], &b"kept"[..])
    );
    assert_eq!(read.labels, first.labels);

    std::fs::write(&path, EMPTY).unwrap();
    assert_eq!(
        store.write(&name, &second.version, b"x".to_vec()).await.err(),
        Some(StoreError::Conflict),
        "a person edited it"
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(store.write(&name, &second.version, b"x".to_vec()).await.err(), Some(StoreError::NotFound));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(dir.path()).unwrap().permissions());
    assert_ne!(mode, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_writers_one_wins_each_round() {
    let (dir, store, name) = place();
    std::fs::write(dir.path().join("a-state.yaml"), EMPTY).unwrap();
    for round in 0..5 {
        let version = Arc::new(store.read(&name).await.unwrap().unwrap().version);
        let tries = (0..8).map(|writer| {
            let (store, name, version) = (store.clone(), name.clone(), version.clone());
            tokio::spawn(async move {
                store.write(&name, &version, format!("{round}/{writer}").into_bytes()).await.is_ok()
            })
        });
        let mut won = 0;
        for attempt in tries.collect::<Vec<_>>() {
            won += usize::from(attempt.await.unwrap());
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn what_is_no_secret_is_refused_without_being_shown() {
    let (dir, store, name) = place();
    for (text, part) in [
        ("kind: ConfigMap\n", "kind"),
        ("kind: [", "YAML"),
        ("kind: Secret\ndata: {x: '*hush*'}", "base64"),
        ("kind: Secret\ndata: {x: [hush]}", "not text"),
        ("kind: Secret\nstringData: hush", "not text"),
        ("kind: Secret\nstringData: {client_id: 1}", "client_id"),
        ("kind: Secret\nstringData:\n  refresh_token:hush:", "not text"),
    ] {
        std::fs::write(dir.path().join("a-state.yaml"), text).unwrap();
        let error = store.read(&name).await.err().unwrap().to_string();
        assert!(error.contains(part) && !error.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn changes_by_hand_are_noticed() {
    let (dir, store, name) = place();
    let mut versions = pin!(store.watch(&name).await.unwrap());
    assert!(versions.next().await.unwrap().is_none());
    std::fs::write(dir.path().join("a-state.yaml"), EMPTY).unwrap();
    assert!(versions.next().await.unwrap().is_some());
    std::fs::remove_file(dir.path().join("a-state.yaml")).unwrap();
    assert!(versions.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_file_that_was_changed_and_changed_back_is_reported() {
    let (dir, store, name) = place();
    let path = dir.path().join("a-state.yaml");
    let write = |text: &str| {
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), &path).unwrap();
    };
    write(EMPTY);
    let mut versions = pin!(store.watch(&name).await.unwrap());
    let before = versions.next().await.unwrap();
    assert!(before.is_some());
    write(&format!("{EMPTY}# another\n"));
    write(EMPTY);
    assert!(versions.next().await.unwrap().is_none(), "an unknown version in between");
    assert!(versions.next().await.unwrap() == before);
}
