use jiff::Timestamp;
use serde::Deserialize;

use crate::deployment::Secret;
use crate::identity::{Credentials, Host, Region};

/// The instance identity document, as far as it is needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    account_id: String,
    instance_id: String,
    region: String,
}

impl Document {
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    /// The host that it is of. Partition and domain are the metadata's own, where it has them.
    pub fn host(self, partition: Option<String>, domain: Option<String>) -> Result<Host, String> {
        let Self { account_id, instance_id, region } = self;
        let region = Region::parse(&region).map_err(|error| error.to_string())?;
        let partition = partition.unwrap_or_else(|| region.partition().to_owned());
        let domain = domain.unwrap_or_else(|| region.domain().to_owned());
        let of = |text: &str, others: &[u8]| {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || others.contains(&byte);
            !text.is_empty() && text.len() <= 200 && text.bytes().all(allowed)
        };
        for (what, text, fits) in [
            ("account", &account_id, of(&account_id, b"") && account_id.len() == 12),
            ("instance id", &instance_id, of(&instance_id, b"-")),
            ("partition", &partition, of(&partition, b"-")),
            ("domain", &domain, of(&domain, b"-.") && !domain.starts_with('.') && !domain.ends_with('.')),
        ] {
            if !fits {
                return Err(format!("{:?} is no {what}", text.chars().take(100).collect::<String>()));
            }
        }
        Ok(Host {
            identifier: format!("arn:{partition}:ec2:{region}:{account_id}:instance/{instance_id}"),
            region,
            domain,
            instance: Some(instance_id),
        })
    }
}

/// Credentials of a role, or why there are none.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleAnswer {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    token: Option<String>,
    expiration: Option<Timestamp>,
}

/// What the service says of a role.
#[derive(Debug)]
pub(super) enum RoleCredentials {
    /// They are valid until then.
    Given(Credentials, Timestamp),
    /// There are none, by the service's code and words.
    Failed { code: String, message: String },
}

impl RoleCredentials {
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        // What the parser says could hold a part of the text.
        let answer: RoleAnswer = serde_json::from_slice(text)
            .map_err(|error| format!("it is not JSON of credentials (line {})", error.line()))?;
        let RoleAnswer { code, message, .. } = answer;
        if code != "Success" && !code.is_empty() {
            let visible = |text: String| text.chars().filter(|c| !c.is_control()).take(300).collect();
            return Ok(Self::Failed { code: visible(code), message: visible(message) });
        }
        match (answer.access_key_id, answer.secret_access_key, answer.token, answer.expiration) {
            (Some(access_key_id), Some(secret), Some(token), Some(expires)) => {
                let (secret_access_key, session_token) = (Secret::new(secret), Some(Secret::new(token)));
                Ok(Self::Given(Credentials { access_key_id, secret_access_key, session_token }, expires))
            }
            _ => Err("it lacks AccessKeyId, SecretAccessKey, Token or Expiration".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"{"accountId":"111122223333","instanceId":"i-0abc","region":"REGION","availabilityZone":"x","devpayProductCodes":null}"#;

    fn host(region: &str, partition: Option<&str>, domain: Option<&str>) -> Result<Host, String> {
        let text = DOCUMENT.replace("REGION", region);
        Document::parse(text.as_bytes())?.host(partition.map(str::to_owned), domain.map(str::to_owned))
    }

    #[test]
    fn the_document_makes_the_hosts_identifier() {
        for (region, partition, domain, identifier, expected) in [
            ("eu-west-1", Some("aws"), Some("amazonaws.com"), "arn:aws:ec2:eu-west-1:", "amazonaws.com"),
            ("eu-west-1", None, None, "arn:aws:ec2:eu-west-1:", "amazonaws.com"),
            ("cn-north-1", None, None, "arn:aws-cn:ec2:cn-north-1:", "amazonaws.com.cn"),
            ("us-gov-west-1", None, None, "arn:aws-us-gov:ec2:us-gov-west-1:", "amazonaws.com"),
            ("us-iso-east-1", Some("aws-iso"), Some("c2s.ic.gov"), "arn:aws-iso:ec2:us-iso-east-1:", "c2s.ic.gov"),
            ("xx-new-1", Some("aws-new"), Some("new.example"), "arn:aws-new:ec2:xx-new-1:", "new.example"),
        ] {
            let host = host(region, partition, domain).unwrap();
            assert_eq!(host.identifier, format!("{identifier}111122223333:instance/i-0abc"));
            assert_eq!((host.domain.as_str(), host.instance.as_deref()), (expected, Some("i-0abc")));
        }
    }

    #[test]
    fn what_could_lead_elsewhere_is_refused() {
        for (partition, domain) in [
            (None, Some("evil.example/x")),
            (None, Some("a@b")),
            (None, Some(".")),
            (None, Some("")),
            (Some("aws:x"), None),
        ] {
            assert!(host("eu-west-1", partition, domain).is_err(), "{partition:?} {domain:?}");
        }
        assert!(host("evil.example/", None, None).is_err());
        for bad in ["<html>", "{}", r#"{"accountId":1,"instanceId":"i-1","region":"r"}"#] {
            assert!(Document::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let short = DOCUMENT.replace("111122223333", "1").replace("REGION", "eu-west-1");
        assert!(Document::parse(short.as_bytes()).unwrap().host(None, None).is_err());
    }

    #[test]
    fn credentials_of_a_role_are_read_or_refused_without_being_shown() {
        let whole = r#"{"Code":"Success","LastUpdated":"2026-11-20T10:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIAROLE",
            "SecretAccessKey":"sEcReT","Token":"sEcReT==","Expiration":"2026-11-20T16:00:00Z"}"#;
        let RoleCredentials::Given(credentials, expires) = RoleCredentials::parse(whole.as_bytes()).unwrap() else {
            panic!("they are there")
        };
        assert_eq!(credentials.access_key_id, "ASIAROLE");
        assert_eq!(credentials.session_token.as_ref().unwrap().expose(), "sEcReT==");
        assert_eq!(expires, "2026-11-20T16:00:00Z".parse().unwrap());
        assert!(!format!("{credentials:?}").contains("sEcReT"));
        let refused = r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"EC2 cannot assume the role web."}"#;
        assert!(matches!(
            RoleCredentials::parse(refused.as_bytes()).unwrap(),
            RoleCredentials::Failed { code, .. } if code == "AssumeRoleUnauthorizedAccess"
        ));
        for bad in [
            r#"{"Code":"Success","SecretAccessKey":"sEcReT"}"#,
            r#"{"SecretAccessKey":"sEcReT","Expiration":"sEcReT"}"#,
            "sEcReT",
        ] {
            let error = RoleCredentials::parse(bad.as_bytes()).unwrap_err();
            assert!(!error.contains("sEcReT"), "{error}");
        }
    }
}
