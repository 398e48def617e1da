//! SELinux contexts.

/// An SELinux context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelinuxContext {
    /// The SELinux user.
    pub user: Option<String>,
    /// The type.
    pub kind: String,
    /// Sensitivity and categories, such as `s0-s1:c0.c3`.
    pub range: Option<String>,
}

/// The highest category that a policy can have.
const LAST_CATEGORY: u16 = 1023;

/// Checks a range `s0[-s1][:c0[.c3][,c9]]`; the error says what was expected.
pub(super) fn check_range(text: &str) -> Result<(), String> {
    let (sensitivity, categories) = match text.split_once(':') {
        Some((sensitivity, categories)) => (sensitivity, Some(categories)),
        None => (text, None),
    };
    let (low, high) = sensitivity.split_once('-').unwrap_or((sensitivity, sensitivity));
    let (low, high) = (numbered(low, 's')?, numbered(high, 's')?);
    if low > high {
        return Err("a range whose first sensitivity is not above its second".to_owned());
    }
    let mut seen = [false; LAST_CATEGORY as usize + 1];
    for part in categories.into_iter().flat_map(|list| list.split(',')) {
        let (first, last) = part.split_once('.').unwrap_or((part, part));
        let (first, last) = (numbered(first, 'c')?, numbered(last, 'c')?);
        if first > last {
            return Err("a range whose categories ascend, as in `c0.c3`".to_owned());
        }
        if last > LAST_CATEGORY {
            return Err(format!("categories up to c{LAST_CATEGORY}"));
        }
        for category in first..=last {
            if std::mem::replace(&mut seen[usize::from(category)], true) {
                return Err(format!("each category once (c{category} is there twice)"));
            }
        }
    }
    Ok(())
}

fn numbered(text: &str, letter: char) -> Result<u16, String> {
    text.strip_prefix(letter)
        .filter(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| "a range such as `s0`, `s0-s1` or `s0:c0.c3,c9`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for good in ["s0", "s0-s15", "s0:c0", "s0-s1:c0.c3,c9", "s0:c1023", "s0:c0.c1023", "s0:c5,c1"] {
            assert_eq!(check_range(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("", "such as"),
            ("0", "such as"),
            ("s", "such as"),
            ("s0-", "such as"),
            ("s0:", "such as"),
            ("s0:c", "such as"),
            ("s0:c0,", "such as"),
            ("s0:c0.", "such as"),
            ("s0:c0:c1", "such as"),
            ("s0-s1-s2", "such as"),
            ("s0:c+1", "such as"),
            ("s99999", "such as"),
            ("s1-s0", "not above"),
            ("s0:c3.c0", "ascend"),
            ("s0:c1024", "up to c1023"),
            ("s0:c0.c1024", "up to c1023"),
            ("s0:c1,c1", "twice"),
            ("s0:c0.c5,c3", "c3 is there twice"),
        ] {
            let error = check_range(bad).unwrap_err();
            assert!(error.contains(part), "{bad:?}: {error}");
        }
    }
}
