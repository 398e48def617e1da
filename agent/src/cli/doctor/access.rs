//! What this host may do as who it is: its credentials, polls, and the bundle that it fetched last.

use jiff::Timestamp;

use super::Host;
use super::finding::{Finding, Verdict};
use super::probe::{COMMANDS, Network, S3};
use crate::bundle::{BundleError, parse_s3_location};
use crate::causes::with_causes;
use crate::cli::settings::Context;
use crate::deployment::BundleType;
use crate::deployment::revision::S3Source;
use crate::identity::IdentityError;
use crate::process;
use crate::service::ServiceError;
use crate::store::{self, HostRecord};

pub(super) fn credentials(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("credentials", tried, verdict)];
    let (context, network) = match host.asked() {
        Ok(found) => found,
        Err(verdict) => return finding("nothing", verdict),
    };
    let file = context.settings.on_premises_config_file.as_path();
    let tried = format!("{}, the environment and the EC2 metadata service, in this order", file.display());
    let (identity, access) = match (&network.host, network.access()) {
        (Ok(identity), Ok(access)) => (identity, access),
        (Err(error), _) | (_, Err(error)) => return finding(&tried, unknown(error)),
    };
    if let Some(Err(ServiceError::Unaccepted { name, message, .. })) = network.permission(context) {
        let found = format!("the commands service does not accept the {}: {name}: {message}", access.caller());
        let remedy = "check that access key and secret belong together, are active, and are this service's; then write \
                      them where they come from";
        return finding(&tried, Verdict::failed(found, remedy));
    }
    let until = access.expires.map(|expires| format!(", until {}", in_utc(expires))).unwrap_or_default();
    finding(&tried, Verdict::Passed(format!("{}, by the {}{until}", identity.identifier, access.caller())))
}

fn in_utc(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn unknown(error: &IdentityError) -> Verdict {
    match error {
        IdentityError::Nowhere { tried, remedy } => {
            let tried: Vec<String> = tried.iter().map(ToString::to_string).collect();
            Verdict::failed(format!("it is not known who this host is\n{}", tried.join("\n")), remedy)
        }
        IdentityError::Credentials(error) => {
            Verdict::failed(format!("this instance has no credentials: {error}"), error.remedy())
        }
        other => {
            Verdict::failed(other.to_string(), "correct what is named; `slipway-agent whoami` shows what comes of it")
        }
    }
}

pub(super) fn poll(host: &Host<'_>) -> Vec<Finding> {
    let verdict = asked(host, COMMANDS, |context, network| match network.permission(context) {
        None => Verdict::NotTried("there is no client to send a request with".to_owned()),
        Some(Ok(())) => Verdict::Passed("allowed".to_owned()),
        Some(Err(error @ ServiceError::Throttled(_))) => Verdict::NotTried(error.to_string()),
        Some(Err(ServiceError::Denied { asked, name, message, .. })) => Verdict::failed(
            format!("the {} may not call {} as {}: {name}: {message}", asked.caller, asked.operation, asked.host),
            "give this host the key that belongs to it, or allow the role or user \
             codedeploy-commands-secure:PollHostCommand and the three calls beside it",
        ),
        Some(Err(ServiceError::Foreign(foreign))) => {
            Verdict::failed(format!("the answer is not the service's: {}", foreign.found()), foreign.remedy())
        }
        Some(Err(error)) => Verdict::failed(error.to_string(), "the service itself fails: its log says why"),
    });
    vec![Finding::new(
        "permission to poll",
        "PollHostCommand and GetDeploymentSpecification, signed, of nothing",
        verdict,
    )]
}

/// The bundle that is named, or the one that was asked for last.
pub(super) fn bundle(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("bundle in S3", tried, verdict)];
    let object = match host.context().map(|context| named(host, context)) {
        Ok(Ok(object)) => object,
        Ok(Err(verdict)) | Err(verdict) => return finding("nothing", verdict),
    };
    let tried = format!("GET s3://{}/{}, signed, to its head", object.source.bucket, object.source.key);
    let verdict = asked(host, S3, |context, network| match context.s3(network.handle(), network.provider()) {
        Ok(s3) => read(&object, network.wait(s3.look(&object.source))),
        Err(error) => Verdict::NotTried(with_causes(&error)),
    });
    finding(&tried, verdict)
}

/// An object, and whether it has to be there.
struct Object {
    source: S3Source,
    /// It was named for this look; otherwise it is one of the past, which may have gone since.
    by_name: bool,
}

fn named(host: &Host<'_>, context: &Context) -> Result<Object, Verdict> {
    if let Some(location) = &host.arguments.bundle {
        return match parse_s3_location(location, BundleType::Tar) {
            Ok(source) => Ok(Object { source, by_name: true }),
            Err(error) => Err(Verdict::failed(error.to_string(), "name it as `s3://BUCKET/KEY`")),
        };
    }
    match store::last_object(&context.layout) {
        Ok(Some(last)) => Ok(Object { source: last.source(), by_name: false }),
        Ok(None) => Err(Verdict::NotTried(
            "this host has fetched no bundle yet: name one with `--bundle s3://BUCKET/KEY`".to_owned(),
        )),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn unreadable(error: &str) -> Verdict {
    match process::is_root() {
        true => Verdict::failed(error, "restore the file from a backup, or move it away"),
        false => {
            Verdict::NotTried("only root can read the agent's state: run `slipway-agent doctor` as root".to_owned())
        }
    }
}

fn read<R: std::fmt::Display>(object: &Object, looked: Result<R, BundleError>) -> Verdict {
    use crate::bundle::Refusal::{NoKey, NoVersion};
    match looked {
        Ok(region) => Verdict::Passed(format!("may be read, in {region}")),
        Err(BundleError::Refused { refusal: NoKey | NoVersion, .. }) if !object.by_name => {
            Verdict::Passed("its bucket may be read; it is not there any more".to_owned())
        }
        Err(BundleError::Refused { object, caller, refusal }) => {
            let remedy = refusal.remedy().unwrap_or("the answer's own words have to tell");
            Verdict::failed(format!("{object} is not given to the {caller}: {}", refusal.found()), remedy)
        }
        Err(error) => Verdict::failed(error.to_string(), "look at what answers there, and at the proxies on the way"),
    }
}

/// What a signed request to a service says, where one can say anything.
fn asked(host: &Host<'_>, service: &str, ask: impl FnOnce(&Context, &Network) -> Verdict) -> Verdict {
    let not_tried = |reason: &str| Verdict::NotTried(reason.to_owned());
    let (context, network) = match host.asked() {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    if !network.has_answered(service) {
        return not_tried("the service was not reached");
    }
    if network.clock_is_wrong() {
        return not_tried("the clock has to be right first");
    }
    match network.access() {
        Err(_) => not_tried("there are no credentials"),
        Ok(_) if matches!(network.permission(context), Some(Err(ServiceError::Unaccepted { .. }))) => {
            not_tried("the credentials are not accepted")
        }
        Ok(_) => ask(context, network),
    }
}

pub(super) fn state(host: &Host<'_>) -> Vec<Finding> {
    let finding = |tried: &str, verdict| vec![Finding::new("state", tried, verdict)];
    let (context, network) = match host.asked() {
        Ok(found) => found,
        Err(verdict) => return finding("nothing", verdict),
    };
    let Ok(identity) = &network.host else {
        return finding("nothing", Verdict::NotTried("it is not known who this host is".to_owned()));
    };
    let tried = format!("compared {} with this host", context.layout.host().display());
    let verdict = match belongs(context, identity.instance.as_deref()) {
        Ok(None) => Verdict::Passed("this host's".to_owned()),
        Ok(Some(disowned)) => Verdict::failed(
            disowned.to_string(),
            "start the agent again: it lets go of what is not this host's, and says of what. Before an image is made of \
             a host, `slipway-agent image-clean` does it",
        ),
        Err(error) => unreadable(&error),
    };
    finding(&tried, verdict)
}

fn belongs(context: &Context, instance: Option<&str>) -> Result<Option<store::Disowned>, String> {
    let record = HostRecord::of_this_host(instance).map_err(|error| error.to_string())?;
    store::disowned(&context.layout, record).map_err(|error| error.to_string())
}
