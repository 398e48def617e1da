//! Output of scripts: bytes of any kind and amount become clean lines in two logs and a short tail.

use jiff::Timestamp;

use super::lines::{Line, Lines};
use super::record::{Logs, RunnerSpec};
use super::tail::Tail;
use crate::disk::{self, AppendFile, Rotation};

/// Size of a deployment's `scripts.log`.
pub(super) const SCRIPTS_LOG: Rotation = Rotation { bytes: 16 << 20, keep: 2 };
/// Size of the log of all deployments.
pub(super) const DEPLOYMENTS_LOG: Rotation = Rotation { bytes: 64 << 20, keep: 8 };

/// One of a script's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn tag(self) -> &'static str {
        match self {
            Self::Stdout => "[stdout]",
            Self::Stderr => "[stderr]",
        }
    }
}

/// Where a script's output goes while it runs.
#[derive(Debug)]
pub struct ScriptLog {
    deployment: String,
    scripts: Option<AppendFile>,
    deployments: Option<AppendFile>,
    trouble: Option<String>,
    stdout: Lines,
    stderr: Lines,
    tail: Tail,
}

impl ScriptLog {
    /// Opens both logs. One that cannot be opened or written does not keep the script from running: it is
    /// told in [`Self::close`].
    pub fn open(spec: &RunnerSpec) -> Self {
        let Logs { scripts, deployments } = &spec.logs;
        let mut log = Self {
            deployment: spec.deployment.to_string(),
            scripts: None,
            deployments: None,
            trouble: None,
            stdout: Lines::default(),
            stderr: Lines::default(),
            tail: Tail::default(),
        };
        log.scripts = log.noted(AppendFile::open(scripts, 0o644, SCRIPTS_LOG));
        if let Some(path) = deployments {
            log.deployments = log.noted(AppendFile::open(path, 0o644, DEPLOYMENTS_LOG));
        }
        if spec.index == 0 {
            log.write(&[format!("LifecycleEvent - {}", spec.event)]);
        }
        log.write(&[format!("Script - {}", spec.subject.name)]);
        log
    }

    /// Takes what a stream brought.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let mut lines = Vec::new();
        let source = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        source.feed(bytes, |line| lines.push(line));
        self.put(stream, lines);
    }

    /// Writes lines that have no end yet, and gives the tail and what went wrong with the files.
    pub fn close(mut self) -> (String, Option<String>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut lines = Vec::new();
            let source = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
            source.end(|line| lines.push(line));
            self.put(stream, lines);
        }
        (self.tail.text(), self.trouble)
    }

    /// Notes what went wrong beside the script, for the agent to tell.
    pub fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    fn put(&mut self, stream: Stream, lines: Vec<Line>) {
        let tagged: Vec<String> = lines.iter().map(|line| format!("{}{}", stream.tag(), line.text)).collect();
        for (line, text) in lines.iter().zip(&tagged) {
            self.tail.push(stream, line.state, text);
        }
        self.write(&tagged);
    }

    /// One write to each file.
    fn write(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let now = Timestamp::now();
        if let Some(file) = &mut self.scripts {
            let result = file.append(scripts_lines(now, lines).as_bytes());
            self.noted(result);
        }
        if let Some(file) = &mut self.deployments {
            let result = file.append(deployments_lines(now, &self.deployment, lines).as_bytes());
            self.noted(result);
        }
    }

    fn noted<T>(&mut self, result: disk::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.trouble.get_or_insert_with(|| error.to_string());
                None
            }
        }
    }
}

/// Lines as they are in a deployment's `scripts.log`. The formats are those of AWS's agent; times are UTC.
pub(super) fn scripts_lines(now: Timestamp, lines: &[String]) -> String {
    let stamp = now.strftime("%Y-%m-%d %H:%M:%S").to_string();
    lines.iter().flat_map(|line| [&stamp, " ", line, "\n"]).collect()
}

/// Lines as they are in the log of all deployments.
pub(super) fn deployments_lines(now: Timestamp, deployment: &str, lines: &[String]) -> String {
    let stamp = format!("[{}] [{deployment}]", now.strftime("%Y-%m-%d %H:%M:%S%.3f"));
    lines.iter().flat_map(|line| [stamp.as_str(), line, "\n"]).collect()
}
