//! What a program is born with, as a shell script writes it of itself.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// A shell script that writes it to `file`. Most is read by what is built into the shell: what a shell starts may have
/// another mask of signals than the shell itself.
pub fn probe(file: &Path) -> String {
    PROBE.replace("FACTS", &file.display().to_string())
}

const PROBE: &str = r#"{
    while IFS= read -r line; do
        case $line in SigBlk:*|SigIgn:*) echo "$line" ;; esac
    done < /proc/$$/status
    echo "umask: $(umask)"
    echo "cwd: $PWD"
    echo "pid: $$"
    read -r stat < /proc/$$/stat
    set -- ${stat##*) }
    echo "group: $3"
    echo "session: $4"
    echo "terminal: $5"
    echo "nice: ${17}"
    read -r score < /proc/$$/oom_score_adj
    echo "oom_score_adj: $score"
    while IFS= read -r line; do echo "limit $line"; done < /proc/$$/limits
    while IFS= read -r line; do echo "cgroup: $line"; done < /proc/$$/cgroup
    ls -l /proc/$$/fd
    env | while IFS= read -r line; do echo "env ${line%%=*}: ${line#*=}"; done
} > FACTS
"#;

/// Name and values of a line of a process's `limits`, whose columns have a fixed width.
pub fn limit_of(line: &str) -> Option<(String, String)> {
    let (name, values) = line.split_at_checked(26)?;
    Some((name.trim().to_owned(), values.split_whitespace().collect::<Vec<_>>().join(" ")))
}

/// What it wrote.
#[derive(Debug)]
pub struct Born(BTreeMap<String, String>);

impl Born {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let pair = |line: &str| match (line.strip_prefix("limit "), line.split_once(" -> ")) {
            (Some(limit), _) => limit_of(limit).map(|(name, value)| (format!("limit {name}"), value)),
            (None, Some((link, target))) => Some((format!("fd {}", link.rsplit(' ').next()?), target.to_owned())),
            (None, None) => line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())),
        };
        Ok(Self(text.lines().filter_map(pair).collect()))
    }

    /// The value of a fact.
    pub fn get(&self, name: &str) -> Result<&str> {
        self.0.get(name).map(String::as_str).with_context(|| format!("it did not write {name}: {:?}", self.0))
    }

    /// Facts whose names begin so, with the rest of their names.
    pub fn all(&self, prefix: &str) -> BTreeMap<&str, &str> {
        self.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value.as_str()))).collect()
    }

    /// Descriptors that it did not open itself: a shell keeps its own at 10 and above.
    pub fn inherited(&self) -> Vec<&str> {
        let own = |fd: &str| matches!(fd.parse::<i32>(), Ok(0..3 | 10..13));
        self.all("fd ").into_keys().filter(|fd| !own(fd)).collect()
    }
}
