use std::os::unix::fs::symlink;
use std::path::Path;

use super::*;

fn pair(name: &str) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// Writes the files as the kubelet does: links through a folder that is replaced as a whole.
fn mount(folder: &Path, generation: &str, certificate: &str, key: &str) {
    let data = folder.join(generation);
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("tls.crt"), certificate).unwrap();
    std::fs::write(data.join("tls.key"), key).unwrap();
    symlink(generation, folder.join("..next")).unwrap();
    std::fs::rename(folder.join("..next"), folder.join("..data")).unwrap();
}

async fn loaded(folder: &Path) -> (Arc<Certificates>, Reload) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    for file in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(file), folder.join(file)).unwrap();
    }
    let files = Files { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    Certificates::load(files).await.unwrap()
}

fn served(certificates: &Certificates) -> CertificateDer<'static> {
    certificates.current.borrow().as_ref().unwrap().cert[0].clone()
}

#[tokio::test]
async fn a_swapped_mount_is_noticed_and_a_broken_one_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = pair("one");
    mount(folder.path(), "1", &certificate, &key);
    let (certificates, mut reload) = loaded(folder.path()).await;
    let first = served(&certificates);
    assert!(!reload.once().await, "nothing has changed");

    let (second, second_key) = pair("two");
    for (i, (certificate, key)) in [
        (second.as_str(), key.as_str()),
        (second.as_str(), ""),
        ("", second_key.as_str()),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", second_key.as_str()),
        (second_key.as_str(), second_key.as_str()),
    ]
    .into_iter()
    .enumerate()
    {
        mount(folder.path(), &format!("broken-{i}"), certificate, key);
        assert!(!reload.once().await, "{i}");
        assert_eq!(served(&certificates), first, "{i}");
    }
    std::fs::remove_file(folder.path().join("..data")).unwrap();
    assert!(!reload.once().await, "the files are gone");

    mount(folder.path(), "2", &second, &second_key);
    assert!(reload.once().await);
    assert_ne!(served(&certificates), first);
    assert!(!reload.once().await, "once is enough");
}

#[tokio::test]
async fn the_pair_ends_with_the_first_certificate_of_its_chain() {
    let folder = tempfile::tempdir().unwrap();
    let ending = |year| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((leaf, key), (issuer, _)) = (ending(2050), ending(2040));
    mount(folder.path(), "1", &format!("{leaf}{issuer}"), &key);
    let (certificates, mut reload) = loaded(folder.path()).await;
    assert_eq!(certificates.current.borrow().as_ref().unwrap().cert.len(), 2, "the chain is served");
    assert_eq!(certificates.ends(), Some(2_208_988_800));
    mount(folder.path(), "2", &leaf, &key);
    assert!(reload.once().await);
    assert_eq!(certificates.ends(), Some(2_524_608_000));
}

#[tokio::test]
async fn a_pair_that_is_still_to_come_is_waited_for_and_a_broken_one_is_not() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let files = Files { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
    let (certificates, mut reload) = Certificates::load(files.clone()).await.unwrap();
    assert_eq!(certificates.ends(), None);
    assert!(certificates.current.borrow().is_none());
    let waiting = Arc::clone(&certificates);
    let waiting = tokio::spawn(async move { waiting.available().await });
    assert!(!reload.once().await);

    // One file is written before the other.
    let (certificate, key) = pair("one");
    std::fs::write(&files.certificate, certificate).unwrap();
    assert!(!reload.once().await, "half a pair");
    assert!(Certificates::load(files.clone()).await.is_err(), "at the start it is a mistake");
    assert!(!waiting.is_finished());
    std::fs::write(&files.key, key).unwrap();
    assert!(reload.once().await);
    waiting.await.unwrap();
    assert!(certificates.current.borrow().is_some());
}
