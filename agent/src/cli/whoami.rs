//! `whoami`: who this host is, with which credentials it speaks, and where both came from.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::output::{print, print_json};
use super::settings::Context;
use super::{ConfigFile, FAILED, fail, unreadable};
use crate::identity::{Access, Caller, Host, IdentityError, PassedOver};

/// How to show it.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

/// All that there is to show. No secret is in it.
#[derive(Debug, Default, Serialize)]
struct Report {
    host_identifier: Option<String>,
    region: Option<String>,
    /// The commands service.
    endpoint: Option<String>,
    credentials: Option<Shown>,
    /// Why the sources before the one that counts do not.
    passed_over: Vec<PassedOver>,
    /// Why something above is missing.
    error: Option<String>,
}

/// Credentials, without their secrets.
#[derive(Debug, Serialize)]
struct Shown {
    access_key_id: String,
    source: String,
    /// Nothing where the source does not say.
    expires: Option<Timestamp>,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    context.warn_on_stderr();
    let shown = report(&context).and_then(|report| {
        match arguments.json {
            true => print_json(&report)?,
            false => print(&text(&report, Timestamp::now()))?,
        }
        if let Some(error) = report.error.as_ref().filter(|_| !arguments.json) {
            eprintln!("slipway-agent: {error}");
        }
        Ok(report.error.is_none())
    });
    match shown {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => fail(&error),
    }
}

fn report(context: &Context) -> anyhow::Result<Report> {
    let runtime = context.runtime()?;
    let provider = context.provider(Caller::Host);
    let service = context.service(provider.clone())?;
    Ok(runtime.block_on(async {
        let mut report = Report::default();
        match provider.host().await {
            Ok(host) => {
                match service.endpoint(&host) {
                    Ok(endpoint) => report.endpoint = Some(endpoint.into()),
                    Err(error) => report.error = Some(error.to_string()),
                }
                report.name(&host);
                report.take(provider.access().await);
                report.passed_over = provider.passed_over().await;
            }
            Err(error) => {
                report.passed_over = error.tried().to_vec();
                report.error = Some(error.to_string());
            }
        }
        report
    }))
}

impl Report {
    fn name(&mut self, host: &Host) {
        self.host_identifier = Some(host.identifier.clone());
        self.region = Some(host.region.to_string());
    }

    fn take(&mut self, access: Result<Arc<Access>, IdentityError>) {
        match access {
            Ok(access) => {
                self.credentials = Some(Shown {
                    access_key_id: access.credentials.access_key_id.clone(),
                    source: access.source.to_string(),
                    expires: access.expires,
                });
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }
}

fn text(report: &Report, now: Timestamp) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<13}{value}");
    };
    line("host", report.host_identifier.as_deref().unwrap_or("not known"));
    for (name, value) in [("region", &report.region), ("service", &report.endpoint)] {
        if let Some(value) = value {
            line(name, value);
        }
    }
    match &report.credentials {
        Some(Shown { access_key_id, source, expires }) => {
            line("credentials", &format!("access key {access_key_id} of {source}"));
            line("expire", &expires.map_or("not said by their source".to_owned(), |expires| when(expires, now)));
        }
        None => line("credentials", "none"),
    }
    for PassedOver { source, reason } in &report.passed_over {
        line("passed over", &format!("{source}: {reason}"));
    }
    out
}

fn when(expires: Timestamp, now: Timestamp) -> String {
    let rest = expires.duration_since(now);
    let span = |rest: SignedDuration| format!("{} h {} min", rest.as_hours(), rest.as_mins() % 60);
    let relative = match rest.is_positive() {
        true => format!("in {}", span(rest)),
        false => format!("{} ago, by this host's clock", span(-rest)),
    };
    format!("{} ({relative})", expires.strftime("%Y-%m-%d %H:%M:%S UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_in_lines() {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let mut report = Report {
            host_identifier: Some("arn:aws:ec2:eu-west-1:111122223333:instance/i-0abc".into()),
            region: Some("eu-west-1".into()),
            endpoint: Some("https://codedeploy-commands.eu-west-1.amazonaws.com/".into()),
            credentials: Some(Shown {
                access_key_id: "ASIAROLE".into(),
                source: "the EC2 metadata service (role web)".into(),
                expires: Some("2026-11-20T15:29:59Z".parse().unwrap()),
            }),
            passed_over: vec![PassedOver { source: "environment", reason: "AWS_HOST_IDENTIFIER is not set".into() }],
            error: None,
        };
        assert_eq!(
            text(&report, now),
            "host         arn:aws:ec2:eu-west-1:111122223333:instance/i-0abc\n\
             region       eu-west-1\n\
             service      https://codedeploy-commands.eu-west-1.amazonaws.com/\n\
             credentials  access key ASIAROLE of the EC2 metadata service (role web)\n\
             expire       2026-11-20 15:29:59 UTC (in 5 h 29 min)\n\
             passed over  environment: AWS_HOST_IDENTIFIER is not set\n"
        );
        report.credentials = None;
        assert!(text(&report, now).contains("\ncredentials  none\npassed over"));
        assert_eq!(text(&Report::default(), now), "host         not known\ncredentials  none\n");
        assert!(when(now, "2026-11-20T11:01:00Z".parse().unwrap()).contains("(1 h 1 min ago, by this host's clock)"));
    }
}
