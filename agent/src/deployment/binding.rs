//! What binds a specification to a command, a host and a time. Slipway's own service says all of it; AWS's says only which
//! deployment its execution id is of.

use jiff::{SignedDuration, Timestamp};
use slipway_protocol::specification as wire;

use super::SpecError;
use crate::ids::DeploymentId;

/// How far the service's clock and the host's may differ: no more than a signed request may.
const TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// For whom a specification is, and for how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    host: String,
    issued: Timestamp,
    expires: Timestamp,
    /// Grows from each deployment of a group to the next.
    pub sequence: u64,
}

/// Why a specification that is rightly signed is not what a host may carry out now.
#[derive(Debug, thiserror::Error)]
pub enum Misplaced {
    /// It is of another deployment than the command.
    #[error(
        "the service sent the specification of deployment {found} with a command of deployment {execution:?}; nothing was \
         run: if this comes again, somebody between this host and the service replays what was signed earlier"
    )]
    OtherDeployment {
        /// The deployment that is signed.
        found: DeploymentId,
        /// The command's execution id.
        execution: String,
    },
    /// It is for another host.
    #[error("the deployment specification is for the host {found:?}, and this is {own:?}; nothing was run")]
    OtherHost {
        /// The host that is signed.
        found: String,
        /// This one.
        own: String,
    },
    /// It is too old.
    #[error(
        "the deployment specification of {issued} counts until {expires}, and by this host's clock it is {now}; nothing was \
         run: set the clock right, if it is off; otherwise somebody replays what was signed earlier"
    )]
    Expired {
        /// When it was signed.
        issued: Timestamp,
        /// From when on it does not count.
        expires: Timestamp,
        /// The host's time.
        now: Timestamp,
    },
    /// It comes from the future.
    #[error(
        "the deployment specification was issued at {issued}, and by this host's clock it is {now}; nothing was run: set this \
         host's clock right, or the service's"
    )]
    Early {
        /// When it was signed.
        issued: Timestamp,
        /// The host's time.
        now: Timestamp,
    },
}

/// Whether a specification can be of the deployment that an execution id names. The form of these ids is the service's own
/// business: one that names no deployment says nothing.
pub fn is_of_execution(deployment: &DeploymentId, execution: &str) -> bool {
    let parts = || execution.split(['/', ':']);
    parts().any(|part| part == deployment.as_str()) || !parts().any(names_deployment)
}

/// Whether a text has the form of the services' own ids: `d-` and capital letters and digits.
fn names_deployment(text: &str) -> bool {
    text.strip_prefix("d-").is_some_and(|rest| {
        rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    })
}

impl Binding {
    pub(super) fn parse(binding: wire::Binding) -> Result<Self, SpecError> {
        let time = |member, seconds: i64| {
            Timestamp::from_second(seconds).map_err(|_| SpecError::Value {
                member,
                found: seconds.to_string(),
                expected: "seconds since the epoch",
            })
        };
        let sequence = u64::try_from(binding.sequence).map_err(|_| SpecError::Value {
            member: "SlipwayBinding.Sequence",
            found: binding.sequence.to_string(),
            expected: "a number from 0 on",
        })?;
        Ok(Self {
            host: binding.host_identifier,
            issued: time("SlipwayBinding.IssuedAt", binding.issued_at)?,
            expires: time("SlipwayBinding.ExpiresAt", binding.expires_at)?,
            sequence,
        })
    }

    /// Checks that it is for the host, and counts at that time.
    pub fn check(&self, own: &str, now: Timestamp) -> Result<(), Misplaced> {
        let Self { host, issued, expires, .. } = self;
        if host != own {
            return Err(Misplaced::OtherHost { found: host.clone(), own: own.to_owned() });
        }
        if now.duration_since(*expires) > TOLERANCE {
            return Err(Misplaced::Expired { issued: *issued, expires: *expires, now });
        }
        if issued.duration_since(now) > TOLERANCE {
            return Err(Misplaced::Early { issued: *issued, now });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(issued: i64, expires: i64) -> Binding {
        let host_identifier = "arn:aws:iam::1:user/a".to_owned();
        Binding::parse(wire::Binding { host_identifier, issued_at: issued, expires_at: expires, sequence: 7 }).unwrap()
    }

    #[test]
    fn it_counts_for_its_host_and_time() {
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let bound = binding(10_000, 13_600);
        let own = "arn:aws:iam::1:user/a";
        for (now, counts) in
            [(10_000, true), (13_600, true), (14_500, true), (14_501, false), (9_100, true), (9_099, false)]
        {
            assert_eq!(bound.check(own, at(now)).is_ok(), counts, "{now}");
        }
        let text = bound.check("arn:aws:iam::1:user/b", at(10_000)).unwrap_err().to_string();
        assert!(text.contains("user/a") && text.contains("user/b"), "{text}");
        assert!(bound.check(own, at(99_999)).unwrap_err().to_string().contains("1970-01-01T03:46:40Z"));
        for wrong in [(i64::MAX, 0, 0), (0, i64::MIN, 0), (0, 0, -1)] {
            let (issued_at, expires_at, sequence) = wrong;
            assert!(
                Binding::parse(wire::Binding { issued_at, expires_at, sequence, ..wire::Binding::default() }).is_err()
            );
        }
    }

    #[test]
    fn a_deployment_is_that_of_its_execution() {
        let id = DeploymentId::parse("d-ABC123DEF").unwrap();
        for (execution, is) in [
            ("codedeploy/us-east-1/111122223333/d-ABC123DEF", true),
            ("codedeploy/us-east-1/111122223333/d-ABC123DEF/host", true),
            ("arn:aws:codedeploy:us-east-1:111122223333:deployment/d-ABC123DEF/host/i-0abc:1", true),
            ("codedeploy/us-east-1/111122223333/d-OTHER1234", false),
            ("arn:aws:codedeploy:us-east-1:111122223333:deployment/d-OTHER1234/host/i-0abc:1", false),
            ("codedeploy/us-east-1/111122223333/d-ABC123DEFG", false),
            ("a/b/c/d", true),
            ("a/b/c/d-host", true),
        ] {
            assert_eq!(is_of_execution(&id, execution), is, "{execution}");
        }
    }
}
