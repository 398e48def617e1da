//! Points in time as the database and the wire write them.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{Sqlite, SqliteTypeInfo, SqliteValueRef};

/// A moment of the wall clock, in milliseconds since the epoch. Serialises as the wire has it:
/// a number of seconds with three decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(i64);

impl Moment {
    /// The wall clock's time.
    pub fn now() -> Self {
        Self(jiff::Timestamp::now().as_millisecond())
    }

    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Seconds since the epoch, as clients write them. None if that is no time within the calendar.
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        let millis = seconds * 1000.0;
        // The calendar's ends; a wider range has no meaning for anybody.
        (millis.is_finite() && millis.abs() < 253_402_300_800_000.0).then_some(Self(millis as i64))
    }

    /// This moment and a while later.
    pub fn after(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(while_.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0.div_euclid(1000)) {
            Ok(time) => write!(out, "{time}"),
            Err(_) => write!(out, "{} ms", self.0),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl sqlx::Type<Sqlite> for Moment {
    fn type_info() -> SqliteTypeInfo {
        <i64 as sqlx::Type<Sqlite>>::type_info()
    }
}

impl<'r> sqlx::Decode<'r, Sqlite> for Moment {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <i64 as sqlx::Decode<'r, Sqlite>>::decode(value).map(Self)
    }
}

impl<'q> sqlx::Encode<'q, Sqlite> for Moment {
    fn encode_by_ref(&self, buffer: &mut <Sqlite as sqlx::Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <i64 as sqlx::Encode<'q, Sqlite>>::encode(self.0, buffer)
    }
}

/// A duration for people: `42 s`, `7 min`, `3 h 20 min`, `2 days`.
pub fn spoken(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_as_the_wire_has_it() {
        assert_eq!(serde_json::to_string(&Moment::from_millis(1_446_744_188_711)).unwrap(), "1446744188.711");
        assert_eq!(Moment::from_millis(1_446_744_188_711).to_string(), "2015-11-05T17:23:08Z");
    }

    #[test]
    fn reads_clients_seconds_and_refuses_nonsense() {
        assert_eq!(Moment::from_seconds(1.5), Some(Moment(1500)));
        for bad in [f64::NAN, f64::INFINITY, 1e18] {
            assert_eq!(Moment::from_seconds(bad), None);
        }
    }

    #[test]
    fn differences_never_underflow() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(9).since(Moment(5)), Duration::from_millis(4));
    }

    #[test]
    fn durations_are_spoken() {
        for (seconds, words) in [(42, "42 s"), (430, "7 min"), (12_000, "3 h 20 min"), (200_000, "2 days")] {
            assert_eq!(spoken(Duration::from_secs(seconds)), words);
        }
    }
}
