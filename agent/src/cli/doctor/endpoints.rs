//! What the requests to the services tell: clock, names, TLS, and the way there.

use http::StatusCode;

use super::Host;
use super::finding::{Finding, Verdict};
use super::probe::{Answer, Probe, Reached};
use crate::cli::settings::Context;
use crate::http::Phase;

pub(super) fn clock(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("clock", tried, verdict)];
    let network = match host.asked() {
        Ok((_, network)) => network,
        Err(verdict) => return finding("nothing", verdict),
    };
    let Some((endpoint, ahead)) = network.told_time() else {
        return finding("nothing", Verdict::NotTried("no service has answered with its time".to_owned()));
    };
    let tried = format!("compared with the Date of {endpoint}");
    let apart = ahead.as_secs().unsigned_abs();
    let side = if ahead.is_negative() { "ahead of" } else { "behind" };
    if network.clock_is_wrong() {
        let found = format!("this host's clock is {apart} s {side} the service's, which refuses such requests");
        return finding(&tried, Verdict::failed(found, "synchronise the clock: `timedatectl set-ntp true`, or chrony"));
    }
    let found = if apart < 2 { "as the service's".to_owned() } else { format!("{apart} s {side} the service's") };
    finding(&tried, Verdict::Passed(found))
}

pub(super) fn names(host: &Host<'_>) -> Vec<Finding> {
    each(host, "name", |probe, context| {
        let proxy = probe.proxy(context);
        match &probe.reached {
            Reached::NoAnswer { error, .. } if error.phase == Phase::Resolve => {
                let remedy = match proxy {
                    Some(_) => "correct the proxy's name, or /etc/resolv.conf and the name servers in it",
                    None => {
                        "check /etc/resolv.conf and the name servers in it, and the endpoint's name; where names \
                         resolve at a proxy only, set proxy_uri"
                    }
                };
                Verdict::failed(error.to_string(), remedy)
            }
            Reached::NoClient { .. } => Verdict::NotTried("there is no client to send a request with".to_owned()),
            _ if proxy.is_some() => Verdict::Passed("the proxy's, if it has one; it resolves the service's".to_owned()),
            _ => Verdict::Passed("resolved".to_owned()),
        }
    })
}

pub(super) fn tls(host: &Host<'_>) -> Vec<Finding> {
    each(host, "TLS", |probe, _| match &probe.reached {
        Reached::NoClient { trouble, .. } => {
            Verdict::failed(trouble, "correct ca_bundle or SSL_CERT_FILE: a PEM file with CA certificates")
        }
        Reached::NoAnswer { error, .. } if error.phase == Phase::Tls => Verdict::failed(
            error.to_string(),
            "if the service, or a proxy that looks into TLS, has a CA of its own, put its certificate in a PEM file and \
             name that in ca_bundle; if the certificate is not valid now, check the clock",
        ),
        Reached::Answered { endpoint, .. } if endpoint.scheme() == "http" => {
            Verdict::Passed("none: the endpoint is http, which everybody on the way can read".to_owned())
        }
        Reached::Answered { .. } => Verdict::Passed("the certificate is trusted".to_owned()),
        Reached::NoAnswer { error, .. } if error.phase == Phase::Exchange => {
            Verdict::Passed("the certificate is trusted".to_owned())
        }
        _ => Verdict::NotTried("there was no connection".to_owned()),
    })
}

pub(super) fn endpoints(host: &Host<'_>) -> Vec<Finding> {
    each(host, "endpoint", |probe, context| {
        let proxy = probe.proxy(context);
        match &probe.reached {
            Reached::NoAnswer { error, .. } if matches!(error.phase, Phase::Resolve | Phase::Tls) => {
                Verdict::NotTried("the connection did not come about".to_owned())
            }
            Reached::NoAnswer { error, .. } => {
                let said = error.to_string();
                let wants_password = said.contains("proxy authorization required");
                let remedy = if wants_password { password_remedy(probe) } else { way_remedy(proxy.as_deref()) };
                Verdict::failed(said, remedy)
            }
            Reached::Answered { answer, .. } if answer.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Verdict::failed("the proxy wants a password (HTTP status 407)", password_remedy(probe))
            }
            Reached::Answered { answer, .. } if answer.status == StatusCode::BAD_GATEWAY && proxy.is_some() => {
                Verdict::failed("the proxy does not reach it (HTTP status 502)", way_remedy(proxy.as_deref()))
            }
            Reached::Answered { answer: Answer { foreign: Some(foreign), .. }, .. } => {
                Verdict::failed(format!("the answer is not the service's: {}", foreign.found()), foreign.remedy())
            }
            Reached::Answered { answer, .. } => {
                let way = proxy.map(|proxy| format!(", through {proxy} unless no_proxy names it")).unwrap_or_default();
                Verdict::Passed(format!("answered in {} ms{way}", answer.took.as_millis()))
            }
            Reached::NoClient { .. } | Reached::Nowhere(_) => {
                Verdict::NotTried("there is no client to send a request with".to_owned())
            }
        }
    })
}

fn password_remedy(probe: &Probe) -> String {
    format!(
        "write user and password into {} or proxy_uri (http://user:password@proxy:3128, special characters as %XX), in \
         a file that root alone can read; or name the host in no_proxy",
        probe.own_proxy
    )
}

fn way_remedy(proxy: Option<&str>) -> String {
    match proxy {
        None => {
            "check that the host's routes and firewalls let it out on this port; where a proxy is the only way, set \
                 proxy_uri"
                .to_owned()
        }
        Some(proxy) => {
            format!("check that {proxy} runs, is the right one, and allows this address; or name the host in no_proxy")
        }
    }
}

/// One finding for each service.
fn each(host: &Host<'_>, check: &str, judge: impl Fn(&Probe, &Context) -> Verdict) -> Vec<Finding> {
    let (context, network) = match host.asked() {
        Ok(found) => found,
        Err(verdict) => return vec![Finding::new(format!("{check} of services"), "nothing", verdict)],
    };
    let finding = |probe: &Probe| {
        let check = format!("{check} of {}", probe.service);
        match &probe.reached {
            Reached::Nowhere(reason) => Finding::new(check, "nothing", Verdict::NotTried(reason.clone())),
            Reached::NoClient { endpoint, .. }
            | Reached::NoAnswer { endpoint, .. }
            | Reached::Answered { endpoint, .. } => {
                Finding::new(check, format!("GET {endpoint}, unsigned"), judge(probe, context))
            }
        }
    };
    network.probes.iter().map(finding).collect()
}
