use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: ServeArgs,
}

fn parse(arguments: &[&str]) -> Result<ServeArgs, String> {
    let all = ["agent-creds-sidecar"].iter().chain(arguments);
    Cli::try_parse_from(all).map(|cli| cli.args).map_err(|error| error.to_string())
}

fn serve(arguments: &[&str]) -> Result<(), String> {
    parse(arguments)?.validate()
}

#[test]
fn what_is_rendered_is_parsed_back() {
    for arguments in [
        &["--grant=a=ops/s", "--api-ca-data=x", "--identity=pod"][..],
        &[
            "--grant=a=s",
            "--grant=b=t",
            "--store=dir:/tmp/x",
            "--port=1",
            "--metrics-port=2",
            "--strict-start",
        ],
        &[
            "--grant=a=vault/s",
            "--api-server=https://10.0.0.1",
            "--api-ca-file=/ca.crt",
            "--identity=exchange",
            "--identity-server=https://i.sys.svc:8444/",
            "--identity-ca=sys/agent-creds-ca",
            "--credential=vault/c",
            "--provider-roots-data=eA==",
            "--spool-dir=/s",
            "--shared-dir=/t",
            "--identity-dir=/i",
            "--time-scale=0.5",
        ],
    ] {
        let args = parse(arguments).unwrap();
        let rendered = args.render();
        assert_eq!(rendered[0], "serve");
        let rendered: Vec<_> = rendered[1..].iter().map(String::as_str).collect();
        assert_eq!(parse(&rendered).unwrap(), args, "{rendered:?}");
    }
}

#[test]
fn grants_and_stores_fit_together() {
    assert_eq!(serve(&["--grant=a=ops/s", "--api-ca-data=x", "--identity=pod"]), Ok(()));
    assert_eq!(serve(&["--grant=a=s", "--store=dir:/tmp/x"]), Ok(()));
    for (args, message) in [
        (vec!["--grant=a=s", "--api-ca-data=x"], "write NAMESPACE/SECRET"),
        (vec!["--grant=a=ops/s", "--store=dir:/x"], "no namespaces"),
        (vec!["--grant=a=ops/s"], "--api-ca-data"),
        (vec!["--grant=a=x", "--grant=a=y", "--store=dir:/x"], "given twice"),
        (vec!["--grant=a=x", "--grant=b=x", "--store=dir:/x"], "given twice"),
        (vec!["--grant=a=x-state", "--store=dir:/x"], "reserved for state"),
        (vec!["--grant=a", "--store=dir:/x"], "LOCAL="),
        (vec!["--grant=a=A/x", "--store=dir:/x"], "namespace"),
        (vec!["--grant=a=x", "--store=file:/x"], "dir:PATH"),
        (vec!["--grant=a=x", "--store=dir:/x", "--port=1", "--metrics-port=1"], "write two"),
        (vec!["--grant=a=ops/s", "--api-ca-data=x", "--api-ca-file=/x"], "cannot be used with"),
        (vec!["--store=dir:/x"], "--grant"),
    ] {
        let error = serve(&args).expect_err(message);
        assert!(error.contains(message), "{args:?}: {error}");
    }
}

#[test]
fn an_exchange_needs_to_know_with_whom_and_for_what() {
    let base = ["--grant=a=ops/s", "--api-ca-data=x"];
    let with = |extra: &[&'static str]| serve(&[&base[..], extra].concat());
    let (server, ca, credential) =
        ("--identity-server=https://i.sys.svc", "--identity-ca=sys/agent-creds-ca", "--credential=ops/c");
    assert_eq!(with(&[server, ca, credential]), Ok(()), "it is the default");
    assert_eq!(with(&[server, ca, credential, "--identity=exchange"]), Ok(()));
    for (extra, message) in [
        (vec![], "needed with --identity exchange"),
        (vec!["--identity=exchange", ca, credential], "needed with --identity exchange"),
        (vec![server, credential], "needed with --identity exchange"),
        (vec![server, ca], "needed with --identity exchange"),
        (vec!["--identity=pod", server], "leave them out"),
        (vec!["--identity=pod", credential], "leave them out"),
        (vec!["--identity-server=http://i.sys.svc", ca, credential], "write https://HOST"),
        (vec!["--identity-server=https://i/x", ca, credential], "write https://HOST"),
        (vec!["--identity-server=i.sys.svc", ca, credential], "--identity-server"),
        (vec![server, "--identity-ca=agent-creds-ca", credential], "write NAMESPACE/NAME"),
        (vec![server, ca, "--credential=OPS/c"], "namespace"),
        (vec![server, ca, "--credential=ops/c;d"], "no valid name"),
        (vec![server, ca, credential, "--identity=node"], "invalid value"),
    ] {
        let error = with(&extra).expect_err(message);
        assert!(error.contains(message), "{extra:?}: {error}");
    }
    let error = serve(&["--grant=a=x", "--store=dir:/x", "--identity=exchange"]).expect_err("no cluster");
    assert!(error.contains("only for --store kubernetes"), "{error}");
}
