//! An error with its causes, as one text.

/// An error and what caused it, each said once: an error of this crate often ends with its cause's words already.
pub fn with_causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        if told.contains(&text) {
            continue;
        }
        if !told.is_empty() {
            told.push_str(": ");
        }
        told.push_str(&text);
    }
    told
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;
    use crate::disk;

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
    }
}
