//! From the script's start to the moment when its result is known.

use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::hooks::log::{ScriptLog, Stream};
use crate::hooks::record::{End, Limits, Output};
use crate::process::{self, Arrived, Ended, Holder, Identity, ProcessTable, Reaped, Signals, signal_descendants};

/// Bytes that are read at once.
const CHUNK: usize = 16 << 10;
/// How often processes that should be gone are looked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long processes may take to end after KILL; more only in an uninterruptible wait for a device.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// The reading ends of a script's streams.
#[derive(Debug)]
pub(super) struct Outputs {
    open: Vec<(Stream, PipeReader)>,
    inodes: Vec<u64>,
}

impl Outputs {
    pub(super) fn new(stdout: PipeReader, stderr: PipeReader) -> io::Result<Self> {
        let mut inodes = Vec::new();
        for pipe in [&stdout, &stderr] {
            rustix::fs::fcntl_setfl(pipe, rustix::fs::OFlags::NONBLOCK)?;
            inodes.push(rustix::fs::fstat(pipe)?.st_ino);
        }
        Ok(Self { open: vec![(Stream::Stdout, stdout), (Stream::Stderr, stderr)], inodes })
    }

    /// Reads at most one chunk of each stream that has something; closes those that have ended.
    fn read_into(&mut self, log: &mut ScriptLog) {
        let mut chunk = [0; CHUNK];
        self.open.retain_mut(|(stream, pipe)| match pipe.read(&mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                log.take(*stream, &chunk[..length]);
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        });
    }

    /// Reads what is there without waiting for more, at most what the pipes can hold.
    fn drain(&mut self, log: &mut ScriptLog) {
        for _ in 0..(2 << 20) / CHUNK {
            if self.open.is_empty() {
                return;
            }
            self.read_into(log);
        }
    }
}

/// How far the script is.
#[derive(Debug)]
enum Phase {
    /// It runs, and may until then.
    Running { until: Instant },
    /// It has ended; something holds its output, and may until then.
    Draining { how: Ended, until: Instant },
    /// All that descends from it was sent TERM, and may tidy up until then.
    Stopping { why: Why, until: Instant },
    /// All that descends from it is sent KILL until it is gone.
    Killing { why: Why, until: Instant },
}

/// Why a script's processes are ended.
#[derive(Debug)]
enum Why {
    TimedOut,
    Interrupted,
    LeftOpen { how: Ended, holders: Vec<Holder> },
}

impl Why {
    fn end(self, survivors: Vec<Holder>) -> End {
        match self {
            Self::TimedOut => End::TimedOut { survivors },
            Self::Interrupted => End::Interrupted { survivors },
            Self::LeftOpen { how, holders } => End::Ended { how, output: Output::LeftOpen { holders } },
        }
    }
}

/// One script that runs.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    outputs: Outputs,
    script: Identity,
    ended: Option<Ended>,
    descendants_left: bool,
}

impl Watch {
    pub(super) fn new(limits: Limits, outputs: Outputs, script: Identity) -> Self {
        Self { limits, outputs, script, ended: None, descendants_left: true }
    }

    /// Watches until the result is known. `until` is when the script's time is over.
    pub(super) fn run(mut self, mut signals: Signals, until: Instant, log: &mut ScriptLog) -> End {
        let result = self.watch(&mut signals, until, log);
        self.outputs.drain(log);
        result.unwrap_or_else(|error| {
            let killed = signal_descendants(Signal::SIGKILL, self.leader()).err();
            let and =
                killed.map(|error| format!("; its processes could not be ended either: {error}")).unwrap_or_default();
            End::Unwatched { message: format!("{error}{and}") }
        })
    }

    fn watch(&mut self, signals: &mut Signals, until: Instant, log: &mut ScriptLog) -> process::Result<End> {
        let mut phase = Phase::Running { until };
        loop {
            self.wait(signals, wake_at(&phase))?;
            let stop = self.take_signals(signals)?;
            self.outputs.read_into(log);
            phase = match self.step(phase, stop)? {
                Step::Go(phase) => phase,
                Step::Done(end) => return Ok(end),
            };
        }
    }

    fn step(&mut self, phase: Phase, stop: Stop) -> process::Result<Step> {
        let now = Instant::now();
        let all_closed = self.outputs.open.is_empty();
        Ok(match phase {
            Phase::Running { until } => match self.ended {
                Some(how) if all_closed => Step::Done(End::Ended { how, output: Output::Closed }),
                Some(how) => Step::Go(Phase::Draining { how, until: now + self.limits.output_grace }),
                None if stop == Stop::Asked => self.stop(Why::Interrupted)?,
                None if now >= until => self.stop(Why::TimedOut)?,
                None => Step::Go(Phase::Running { until }),
            },
            // The script's own result is known: a wish to stop changes nothing about it any more.
            Phase::Draining { how, .. } if all_closed => Step::Done(End::Ended { how, output: Output::Closed }),
            Phase::Draining { how, until } if now >= until => {
                let table = ProcessTable::now()?;
                let holders = table.holding_pipes(&self.outputs.inodes).into_iter().map(|row| row.holder()).collect();
                self.stop(Why::LeftOpen { how, holders })?
            }
            Phase::Stopping { why, .. } | Phase::Killing { why, .. } if !self.descendants_left => {
                Step::Done(why.end(Vec::new()))
            }
            Phase::Stopping { why, until } if now >= until => {
                signal_descendants(Signal::SIGKILL, self.leader())?;
                Step::Go(Phase::Killing { why, until: now + KILL_PATIENCE })
            }
            Phase::Killing { why, until } if now >= until => Step::Done(why.end(survivors()?)),
            // Again and again: what forks while it is killed is found the next time.
            Phase::Killing { why, until } => {
                signal_descendants(Signal::SIGKILL, self.leader())?;
                Step::Go(Phase::Killing { why, until })
            }
            other => Step::Go(other),
        })
    }

    fn stop(&self, why: Why) -> process::Result<Step> {
        signal_descendants(Signal::SIGTERM, self.leader())?;
        Ok(Step::Go(Phase::Stopping { why, until: Instant::now() + self.limits.kill_grace }))
    }

    /// The script's own process while it is not reaped: as long its number is its group's.
    fn leader(&self) -> Option<i32> {
        self.ended.is_none().then(|| self.script.pid())
    }

    fn wait(&self, signals: &Signals, until: Instant) -> process::Result<()> {
        let left = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(3600));
        // Rounded up: a wait of less than a millisecond would spin.
        let timeout = PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX);
        let mut wanted = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        wanted.extend(self.outputs.open.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut wanted, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(process::Error::System { action: "wait for the script", source: errno.into() }),
        }
    }

    fn take_signals(&mut self, signals: &mut Signals) -> process::Result<Stop> {
        let mut stop = Stop::No;
        while let Some(signal) = signals.take_next()? {
            if matches!(signal, Arrived::Stop | Arrived::HangUp) {
                stop = Stop::Asked;
            }
        }
        loop {
            match process::reap()? {
                Reaped::Child(pid, how) if pid == self.script.pid() => self.ended = Some(how),
                Reaped::Child(..) => {}
                Reaped::NoneEnded => return Ok(stop),
                Reaped::NoChildren => {
                    self.descendants_left = false;
                    return Ok(stop);
                }
            }
        }
    }
}

#[derive(Debug)]
enum Step {
    Go(Phase),
    Done(End),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Asked,
}

fn wake_at(phase: &Phase) -> Instant {
    match phase {
        Phase::Running { until } | Phase::Draining { until, .. } | Phase::Stopping { until, .. } => *until,
        Phase::Killing { until, .. } => (*until).min(Instant::now() + LOOK),
    }
}

fn survivors() -> process::Result<Vec<Holder>> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    Ok(ProcessTable::now()?.descendants(own).into_iter().map(|row| row.holder()).collect())
}
