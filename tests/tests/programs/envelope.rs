//! The signed specification: what the service signs, and what an agent makes of signatures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use slipway_tests::api::Api;
use slipway_tests::fleet::Fleet;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program::run;
use slipway_tests::proxy::{Answer, Passing, Proxy, Rule};
use slipway_tests::revision::{BundleKind, app};
use slipway_tests::sign::AccessKey;
use slipway_tests::until::until;

use crate::expect::{contains, names};

/// Whether `openssl` is on this machine; where it is not, says so.
pub(crate) fn has_openssl() -> bool {
    let found = Command::new("openssl").arg("version").output().is_ok();
    if !found {
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: there is no openssl here to hold the envelopes to\n"),
        );
    }
    found
}

#[test]
fn openssl_verifies_the_services_envelope() -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let fleet = Fleet::gather(place)?;
        let bundle = fleet.group.push("v1", &app(&place.path().join("app"), "page", &[]), BundleKind::Zip)?;
        let id = fleet.group.begin(&bundle)?;
        let (host, api) = as_host(&fleet)?;
        let command = until("the first command", std::time::Duration::from_secs(20), || {
            let answer = api.command("PollHostCommand", json!({"HostIdentifier": host}))?;
            Ok(answer.get("HostCommand").filter(|command| !command.is_null()).cloned())
        })?;
        let answer = api.command(
            "GetDeploymentSpecification",
            json!({"DeploymentExecutionId": command["DeploymentExecutionId"], "HostIdentifier": host}),
        )?;
        let envelope = &answer["DeploymentSpecification"]["GenericEnvelope"];
        ensure!(envelope["Format"] == "PKCS7/JSON" && answer["DeploymentSystem"] == "CodeDeploy", "{answer}");
        let pem = envelope["Payload"].as_str().context("an envelope has a payload")?;
        ensure!(pem.starts_with("-----BEGIN PKCS7-----\n"), "{pem}");
        let file = place.path().join("envelope.pem");
        fs::write(&file, pem)?;

        let content = run(place, &mut verify(&file, &fleet.control.ca_file()))?;
        let specification: Value = serde_json::from_str(&content)?;
        ensure!(specification["DeploymentId"] == id.as_str(), "{specification}");
        ensure!(specification.get("AllPossibleLifecycleEvents").is_none(), "agents of AWS fail on it: {specification}");

        // Neither another authority nor a changed byte passes.
        let stranger = stranger(place)?;
        ensure!(run(place, &mut verify(&file, &stranger)).is_err(), "a stranger is not the authority");
        let changed = pem.replacen("\nM", "\nN", 1);
        let middle = pem.len() / 2;
        let flipped: String = pem
            .char_indices()
            .map(|(at, c)| if at == middle && c != '\n' { if c == 'A' { 'B' } else { 'A' } } else { c })
            .collect();
        for wrong in [changed, flipped] {
            fs::write(&file, &wrong)?;
            ensure!(
                wrong == pem || run(place, &mut verify(&file, &fleet.control.ca_file())).is_err(),
                "a change passes"
            );
        }
        Ok(())
    })
}

fn verify(file: &Path, ca: &Path) -> Command {
    let mut command = Command::new("openssl");
    command
        .args(["smime", "-verify", "-binary", "-inform", "PEM", "-purpose", "any", "-in"])
        .arg(file)
        .arg("-CAfile")
        .arg(ca);
    command
}

/// The host's identifier and a client with its key, as the agent's own files say.
fn as_host(fleet: &Fleet<'_>) -> Result<(String, Api)> {
    let text = fs::read_to_string(fleet.agent.home().join("conf/codedeploy.onpremises.yml"))?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim_start_matches(':').strip_prefix(&format!("{key}:")));
        line.map(|value| value.trim().trim_matches(['"', '\'']).to_owned()).with_context(|| format!("no {key}"))
    };
    let key =
        AccessKey { access_key_id: value("aws_access_key_id")?, secret_access_key: value("aws_secret_access_key")? };
    Ok((value("iam_user_arn")?, Api::new(fleet.control.endpoint(), &fleet.control.ca_file(), key)?))
}

/// A signer that nobody trusts: key and certificate in one file.
fn stranger(place: &Place) -> Result<PathBuf> {
    let (key, certificate) = (place.path().join("stranger.key"), place.path().join("stranger.pem"));
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stranger", "-keyout"]);
    run(place, command.arg(&key).arg("-out").arg(&certificate))?;
    let both = [fs::read(&key)?, fs::read(&certificate)?].concat();
    fs::write(&certificate, both)?;
    Ok(certificate)
}

/// Replaces every specification on its way to the agent.
pub(crate) struct Forger<F>(pub(crate) F);

impl<F: Fn(&str) -> Result<String> + Send + Sync + 'static> Rule for Forger<F> {
    fn answer(&self, request: &Passing, answer: Answer) -> Answer {
        if request.operation != "GetDeploymentSpecification" || answer.status != 200 {
            return answer;
        }
        let forge = || -> Result<Vec<u8>> {
            let mut output: Value = serde_json::from_slice(&answer.body)?;
            let payload = &mut output["DeploymentSpecification"]["GenericEnvelope"]["Payload"];
            *payload = json!((self.0)(payload.as_str().context("a payload")?)?);
            Ok(serde_json::to_vec(&output)?)
        };
        match forge() {
            Ok(body) => Answer { body, ..answer },
            Err(error) => Answer { status: 500, body: error.to_string().into_bytes(), ..answer },
        }
    }
}

/// The signed content, whoever signed it.
pub(crate) fn content(work: &Path, pem: &str) -> Result<Vec<u8>> {
    let file = work.join(format!("in-{}.pem", fastrand::u64(..)));
    fs::write(&file, pem)?;
    let mut command = Command::new("openssl");
    command.args(["smime", "-verify", "-noverify", "-binary", "-inform", "PEM", "-in"]).arg(&file);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// An envelope by a signer's key and certificate, made by openssl.
fn signed(work: &Path, content: &[u8], signer: &Path) -> Result<String> {
    signed_over(work, content, signer, "sha256")
}

/// The same, over that digest of the content.
pub(crate) fn signed_over(work: &Path, content: &[u8], signer: &Path, digest: &str) -> Result<String> {
    let file = work.join(format!("out-{}.json", fastrand::u64(..)));
    fs::write(&file, content)?;
    let mut command = Command::new("openssl");
    command.args(["smime", "-sign", "-nodetach", "-binary", "-md", digest, "-outform", "PEM", "-in"]).arg(&file);
    let output = command.arg("-signer").arg(signer).arg("-inkey").arg(signer).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// Deploys through a forger; the first event fails, with a message that holds the parts.
fn forged(forge: impl Fn(&Path, &Path, &str) -> Result<String> + Send + Sync + 'static, parts: &[&str]) -> Result<()> {
    if !has_openssl() {
        return Ok(());
    }
    scenario(|place| {
        let mut fleet = Fleet::gather(place)?;
        let (work, own) = (place.directory("forger")?, fleet.control.data().join("pki/spec-signer.pem"));
        let proxy = Proxy::start(&fleet.control, Forger(move |pem: &str| forge(&work, &own, pem)))?;
        fleet.agent.configure("20-proxy.yml", &proxy.configuration())?;
        fleet.agent.start()?;
        let destination = place.path().join("app");
        let finished = fleet.group.deploy(&fleet.group.push("v1", &app(&destination, "x", &[]), BundleKind::Zip)?)?;
        ensure!(finished.status() == "Failed", "{}", finished.info);
        contains(finished.failed_event()?.diagnostic("message"), parts)?;
        ensure!(!destination.exists());
        let root = fleet.agent.root();
        let left: Vec<String> = names(&root).into_iter().filter(|name| !name.starts_with('.')).collect();
        let allowed = ["deployment-instructions", "deployment-logs"];
        ensure!(
            left.iter().all(|name| allowed.contains(&name.as_str())),
            "{left:?} was written under {}",
            root.display()
        );
        Ok(())
    })
}

#[test]
fn a_stranger_cannot_sign() -> Result<()> {
    let forge = |work: &Path, _: &Path, pem: &str| {
        let (key, certificate) = (work.join("key"), work.join("certificate"));
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stranger"]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        ensure!(command.output()?.status.success());
        let signer = work.join(format!("signer-{}", fastrand::u64(..)));
        fs::write(&signer, [fs::read(&key)?, fs::read(&certificate)?].concat())?;
        signed(work, &content(work, pem)?, &signer)
    };
    forged(forge, &["sign"])
}

#[test]
fn a_changed_specification_is_refused() -> Result<()> {
    // The content is somewhere in the first half: attached, before certificate and signature.
    let forge = |_: &Path, _: &Path, pem: &str| {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD;
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let mut der = base64.decode(body)?;
        let name = der.windows(12).position(|bytes| bytes == b"DeploymentId").context("the content is attached")?;
        der[name + 18] ^= 1;
        let text = base64.encode(der);
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap_or("")).collect();
        Ok(format!("-----BEGIN PKCS7-----\n{}\n-----END PKCS7-----\n", lines.join("\n")))
    };
    forged(forge, &["was changed after it was signed"])
}

#[test]
fn ids_that_are_not_path_safe_are_refused_though_signed() -> Result<()> {
    for (member, bad) in [
        ("DeploymentId", "../../../../escaped"),
        ("DeploymentGroupId", "a/b"),
        ("DeploymentGroupId", "deployment-logs"),
        ("DeploymentId", ".hidden"),
    ] {
        let forge = move |work: &Path, own: &Path, pem: &str| {
            let mut specification: Value = serde_json::from_slice(&content(work, pem)?)?;
            specification[member] = json!(bad);
            signed(work, &serde_json::to_vec(&specification)?, own)
        };
        forged(forge, &[bad])?;
    }
    Ok(())
}
