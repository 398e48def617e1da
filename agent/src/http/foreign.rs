//! Answers that something else gave in a service's place: a captive portal, a proxy's page, another server.

use std::fmt;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, StatusCode};
use url::Url;

/// Most characters of a page's title, or of an address, that are told.
const TOLD: usize = 100;
/// How much of a page is looked at for its title, in bytes.
const LOOKED_AT: usize = 16 << 10;

/// Headers with the ids of answers.
const OF_SERVICES: [&str; 3] = ["x-amz-request-id", "x-amz-id-2", "x-amzn-requestid"];

/// An answer that no service gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    status: StatusCode,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// It sends on to this address, told without its query.
    Redirect(String),
    /// A page for people, with this title.
    Page(Option<String>),
    /// The port wants TLS, and the request came without.
    WantsTls,
}

impl Foreign {
    /// Judges an answer; nothing where it may be a service's. Services neither send on to another address nor answer
    /// with pages, but for the redirects of GitHub, which its caller knows. AWS's put an id into each answer.
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        if OF_SERVICES.iter().any(|name| headers.contains_key(*name)) {
            return None;
        }
        let body = String::from_utf8_lossy(body.get(..LOOKED_AT).unwrap_or(body)).into_owned();
        let lower = body.to_ascii_lowercase();
        let kind = if status == StatusCode::BAD_REQUEST && wants_tls(&lower) {
            Kind::WantsTls
        } else if let Some(location) = headers.get(LOCATION).filter(|_| status.is_redirection()) {
            Kind::Redirect(address(&String::from_utf8_lossy(location.as_bytes())))
        } else if is_page(headers) || lower.trim_start().starts_with("<!doctype html") || lower.starts_with("<html") {
            Kind::Page(title(&body, &lower))
        } else {
            return None;
        };
        Some(Self { status, kind })
    }

    /// How the answer is.
    pub fn found(&self) -> String {
        let status = self.status.as_u16();
        match &self.kind {
            Kind::Redirect(to) => format!("HTTP status {status}, a redirect to {to}"),
            Kind::Page(Some(title)) => format!("HTTP status {status}, the HTML page {title:?}"),
            Kind::Page(None) => format!("HTTP status {status}, an HTML page"),
            Kind::WantsTls => format!("HTTP status {status}, the port speaks TLS"),
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self.kind {
            Kind::WantsTls => "write https in the endpoint's address",
            _ => {
                "a captive portal, a proxy or another server answers in its place: check the endpoint's address, and \
                 what is on the way to it"
            }
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}; {}", self.found(), self.remedy())
    }
}

/// Whether an answer says that it is a page for people.
fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("text/html"))
}

/// As nginx, Apache, Go and others answer plain HTTP on a port for TLS.
fn wants_tls(body: &str) -> bool {
    [
        "plain http request was sent to https port",
        "http request to an https server",
        "speaking plain http to an ssl-enabled server port",
        "requires tls",
    ]
    .iter()
    .any(|words| body.contains(words))
}

/// Without user, password and query, which may be secrets.
fn address(location: &str) -> String {
    let shown = match Url::parse(location) {
        Ok(url) => format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path()),
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    };
    told(&shown)
}

fn title(body: &str, lower: &str) -> Option<String> {
    let begin = lower.find("<title")?;
    let begin = begin + lower.get(begin..)?.find('>')? + 1;
    let end = begin + lower.get(begin..)?.find('<')?;
    Some(told(body.get(begin..end)?.trim())).filter(|title| !title.is_empty())
}

fn told(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], body: &str) -> Option<String> {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Foreign::of(StatusCode::from_u16(status).unwrap(), &headers.collect(), body.as_bytes()).map(|it| it.to_string())
    }

    #[test]
    fn pages_and_redirects_are_told_without_what_may_be_secret() {
        let page = "<!DOCTYPE html>\n<html><HEAD><Title lang=en> Log in\u{1b}[31m </Title>";
        let told = judged(200, &[("content-type", "text/html; charset=utf-8")], page).unwrap();
        assert!(told.contains("\"Log in[31m\"") && told.contains("captive portal"), "{told}");
        assert!(judged(403, &[], page).unwrap().contains("HTTP status 403"));
        assert!(judged(511, &[("content-type", "TEXT/HTML")], "").unwrap().contains("an HTML page"));
        let to = [("location", "http://user:pw@portal.example/login?token=secret")];
        let told = judged(302, &to, "").unwrap();
        assert!(told.contains("http://portal.example/login") && !told.contains("secret"), "{told}");
        assert!(!told.contains("pw@"), "{told}");
        assert!(judged(302, &[("location", "/login?token=secret")], "").unwrap().contains("a redirect to /login;"));
    }

    #[test]
    fn plain_http_on_a_port_for_tls_is_told() {
        for body in [
            "<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head>",
            "Client sent an HTTP request to an HTTPS server.\n",
            "Bad Request\nThis combination of host and port requires TLS.\r\n",
        ] {
            assert!(judged(400, &[], body).unwrap().contains("write https"), "{body}");
        }
    }

    #[test]
    fn what_services_say_is_theirs() {
        assert_eq!(judged(400, &[("content-type", "application/x-amz-json-1.1")], r#"{"__type":"x"}"#), None);
        assert_eq!(judged(404, &[], "<UnknownOperationException/>\n"), None);
        assert_eq!(judged(403, &[("content-type", "application/xml")], "<?xml version=\"1.0\"?><Error/>"), None);
        assert_eq!(judged(304, &[], ""), None);
        // As S3 answers where no bucket is named.
        let sent_on = [("location", "https://aws.amazon.com/s3/"), ("x-amz-request-id", "1")];
        assert_eq!(judged(307, &sent_on, ""), None);
    }
}
