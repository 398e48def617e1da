//! An error with its causes, as one text.

/// An error and what caused it, each said once: an error of this crate often ends with its cause's words already.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if told.contains(&text) {
            continue;
        }
        if text.contains(&told) {
            told = text;
            continue;
        }
        match rest_after_overlap(&told, &text) {
            Some(rest) => told.push_str(rest),
            None => {
                told.push_str(": ");
                told.push_str(&text);
            }
        }
    }
    told
}

/// What of a cause is new, where its beginning is how the text before it ends.
fn rest_after_overlap<'a>(told: &str, text: &'a str) -> Option<&'a str> {
    let ends = [": ", "; "].into_iter().flat_map(|between| text.match_indices(between).map(|(at, _)| at));
    let longest = ends.filter(|at| text.get(..*at).is_some_and(|begin| told.ends_with(begin))).max()?;
    text.get(longest..)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::disk;

    /// Errors as they come up, each wrapped as its callers wrap it.
    #[test]
    fn no_part_of_a_message_is_said_twice() {
        use crate::bundle::BundleError;
        use crate::engine::StageError;
        use crate::http::BodyError;
        use crate::service::ServiceError;
        use crate::unpack::UnpackError;
        let disk = || disk::Error::new("open", "/srv/x", std::io::Error::from_raw_os_error(2));
        let truncated = || UnpackError::Truncated(Some("app/run".to_owned()));
        let chains = [
            anyhow::Error::from(StageError::from(disk())),
            anyhow::Error::from(StageError::from(BundleError::Disk(disk()))).context("the deployment failed"),
            anyhow::Error::from(StageError::from(UnpackError::Staging(disk()))),
            anyhow::Error::from(UnpackError::Entry { entry: "app/run".to_owned(), source: disk() }),
            anyhow::Error::from(truncated()).context(truncated().to_string()),
            anyhow::Error::from(StageError::from(truncated())).context("DownloadBundle"),
            anyhow::Error::from(ServiceError::from(BodyError::TooLong(7))).context("the poll failed"),
            anyhow::Error::from(ServiceError::from(BodyError::Broken("reset".to_owned()))),
            anyhow::Error::from(disk()).context(format!("the root directory cannot be used: {}", disk())),
        ];
        for error in chains {
            let text = with_causes(&error);
            let mut parts: Vec<&str> = text.split([':', ';']).map(str::trim).collect();
            parts.sort_unstable();
            assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "{text}");
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        let missing = || disk::Error::new("open", "/srv/x", std::io::Error::from_raw_os_error(2));
        let error = anyhow::Error::from(missing());
        assert_eq!(with_causes(&error), "could not open /srv/x: No such file or directory (os error 2)");
        let error = Err::<(), _>(missing()).context("there is no place to unpack the revision").unwrap_err();
        assert_eq!(
            with_causes(&error),
            "there is no place to unpack the revision: could not open /srv/x: No such file or directory (os error 2)"
        );
        assert_eq!(with_causes(&anyhow::anyhow!("alone")), "alone");
        let whole = anyhow::anyhow!("a: b: c").context("a");
        assert_eq!(with_causes(&whole), "a: b: c");
        let overlaps = anyhow::anyhow!("b: c; do this").context("a: b");
        assert_eq!(with_causes(&overlaps), "a: b: c; do this");
    }
}
