//! Times as people are shown them: how long ago, and when exactly.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// `3 min ago (2026-05-04 10:01:11 UTC)`.
pub(super) fn when(at: Timestamp) -> String {
    seen_from(Timestamp::now(), at)
}

/// The same for something that has gone on since then: `2026-05-04 10:01:11 UTC (3 min ago)`.
pub(super) fn since_when(at: Timestamp) -> String {
    format!("{} ({} ago)", exactly(at), rough(Timestamp::now().duration_since(at).max(SignedDuration::ZERO)))
}

/// The exact time alone.
pub(super) fn exactly(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long something takes: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 5 min`.
pub(super) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

fn seen_from(now: Timestamp, at: Timestamp) -> String {
    let ago = now.duration_since(at);
    let exact = exactly(at);
    if ago.is_negative() { format!("in {} ({exact})", rough(-ago)) } else { format!("{} ago ({exact})", rough(ago)) }
}

/// One unit, cut and not rounded, as clocks do.
fn rough(time: SignedDuration) -> String {
    let seconds = time.as_secs();
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        let now: Timestamp = "2026-05-04T10:01:11Z".parse().unwrap();
        let rows = [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3_599, "59 min ago"),
            (7_200, "2 h ago"),
            (172_799, "47 h ago"),
            (172_800, "2 days ago"),
            (-90, "in 1 min"),
        ];
        for (seconds, expected) in rows {
            let at = now - SignedDuration::from_secs(seconds);
            assert_eq!(seen_from(now, at), format!("{expected} ({})", exactly(at)));
        }
    }

    #[test]
    fn durations_are_told_in_two_units_at_most() {
        let rows = [(400, "0.4 s"), (12_000, "12 s"), (185_000, "3 min 5 s"), (7_500_000, "2 h 5 min")];
        for (millis, expected) in rows {
            assert_eq!(lasting(Duration::from_millis(millis)), expected);
        }
    }
}
