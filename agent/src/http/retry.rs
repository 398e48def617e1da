use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

/// Whether an answer is worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will get the same answer.
    Never,
    /// After a pause.
    Later,
    /// After a pause of everything: the service asked for fewer requests.
    Throttled,
}

impl Retry {
    /// Judges an answer by its status and, where its body names one, the error's name and message.
    pub fn judge(status: StatusCode, error_name: &str, message: &str) -> Self {
        let name = error_name.rsplit('#').next().unwrap_or(error_name);
        let throttling = matches!(
            name,
            "Throttling"
                | "ThrottlingException"
                | "ThrottledException"
                | "TooManyRequestsException"
                | "RequestThrottled"
                | "RequestThrottledException"
                | "RequestLimitExceeded"
                | "LimitExceededException"
                | "BandwidthLimitExceeded"
                | "SlowDown"
        );
        if throttling
            || status == StatusCode::TOO_MANY_REQUESTS
            || message.to_ascii_lowercase().contains("rate exceeded")
        {
            Self::Throttled
        } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
            Self::Later
        } else {
            Self::Never
        }
    }
}

/// Pauses between tries: each may be twice as long as the one before, and is drawn at random from
/// nothing to that ("full jitter"), so that many hosts do not come back together.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    ceiling: Duration,
}

impl Backoff {
    /// Pauses of at most `first`, then twice that, up to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, ceiling: first.min(longest) }
    }

    /// The protocol's: from 1 s to 90 s.
    pub fn standard() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(90))
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        let pause = self.ceiling.mul_f64(fastrand::f64());
        self.ceiling = self.ceiling.saturating_mul(2).min(self.longest);
        pause
    }

    /// Begins anew; called after every success.
    pub fn reset(&mut self) {
        self.ceiling = self.first.min(self.longest);
    }
}

const FIRST_CLOSURE: Duration = Duration::from_secs(1);
const LONGEST_CLOSURE: Duration = Duration::from_secs(30);
const LONGEST_WISH: Duration = Duration::from_secs(120);

/// One for the whole process: once a service asks for fewer requests, all wait, for 1 s at first and
/// twice as long each further time, up to 30 s.
#[derive(Debug, Default)]
pub struct ThrottleGate {
    state: Mutex<Closure>,
}

#[derive(Debug)]
struct Closure {
    next: Duration,
    until: Option<Instant>,
}

impl Default for Closure {
    fn default() -> Self {
        Self { next: FIRST_CLOSURE, until: None }
    }
}

impl ThrottleGate {
    /// An open gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the gate is open.
    pub async fn pass(&self) {
        while let Some(rest) = self.closed_for(Instant::now()) {
            tokio::time::sleep(rest).await;
        }
    }

    /// A request was throttled: closes the gate. Requests that were under way when it was closed
    /// do not close it for longer.
    pub fn throttled(&self) {
        self.throttled_at(Instant::now(), Duration::ZERO);
    }

    /// The same, where the service says how long to wait: at least that, up to two minutes.
    pub fn throttled_for(&self, wait: Duration) {
        self.throttled_at(Instant::now(), wait.min(LONGEST_WISH));
    }

    /// A request was answered: the next closure is a short one again.
    pub fn succeeded(&self) {
        self.succeeded_at(Instant::now());
    }

    /// For how much longer it is closed, if it is.
    pub fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = self.lock().until?;
        until.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    fn throttled_at(&self, now: Instant, least: Duration) {
        let mut state = self.lock();
        if state.until.is_some_and(|until| now < until) {
            return;
        }
        state.until = Some(now + state.next.max(least));
        state.next = (state.next * 2).min(LONGEST_CLOSURE);
    }

    fn succeeded_at(&self, now: Instant) {
        let mut state = self.lock();
        // An answer to a request from before the closure says nothing about the time after it.
        if state.until.is_none_or(|until| now >= until) {
            *state = Closure::default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Closure> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn answers_are_judged_by_status_name_and_words() {
        for (status, name, message, expected) in [
            (400, "ClientException", "", Retry::Never),
            (403, "AccessDeniedException", "", Retry::Never),
            (400, "ThrottlingException", "", Retry::Throttled),
            (400, "com.amazonaws#ThrottlingException", "", Retry::Throttled),
            (400, "ClientException", "Rate exceeded for host", Retry::Throttled),
            (429, "", "", Retry::Throttled),
            (503, "SlowDown", "", Retry::Throttled),
            (500, "ServerException", "", Retry::Later),
            (503, "", "", Retry::Later),
            (408, "", "", Retry::Later),
            (301, "", "", Retry::Never),
        ] {
            assert_eq!(Retry::judge(StatusCode::from_u16(status).unwrap(), name, message), expected, "{status} {name}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::standard();
        for ceiling in [1, 2, 4, 8, 16, 32, 64, 90, 90] {
            let pauses: Vec<_> = (0..200).map(|_| backoff.clone().pause()).collect();
            assert!(pauses.iter().all(|pause| *pause <= SECOND * ceiling));
            assert!(pauses.iter().any(|pause| *pause > SECOND * ceiling / 2), "up to {ceiling} s");
            assert!(pauses.iter().any(|pause| *pause < SECOND * ceiling / 2), "down from {ceiling} s");
            backoff.pause();
        }
        backoff.reset();
        assert!(backoff.pause() <= SECOND);
    }

    #[test]
    fn the_gate_closes_for_twice_as_long_each_time() {
        let gate = ThrottleGate::new();
        let mut now = Instant::now();
        assert_eq!(gate.closed_for(now), None);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            gate.throttled_at(now, Duration::ZERO);
            gate.throttled_at(now + SECOND / 2, Duration::ZERO);
            assert_eq!(gate.closed_for(now), Some(SECOND * seconds), "one closure, however many were under way");
            now += SECOND * seconds;
            assert_eq!(gate.closed_for(now), None);
        }
        gate.succeeded_at(now);
        gate.throttled_at(now, Duration::ZERO);
        assert_eq!(gate.closed_for(now), Some(SECOND));
        gate.succeeded_at(now);
        assert_eq!(gate.closed_for(now), Some(SECOND), "a late answer does not open it");
    }
}
