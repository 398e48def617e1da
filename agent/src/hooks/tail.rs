//! The end of a script's output, which is reported: some of each stream, so that much of one does not hide the other.

use std::collections::VecDeque;

use super::log::Stream;
use crate::outcome::{MAX_LOG, tail};

/// Bytes of each stream that are kept, however much the other one brings.
const SHARE: usize = MAX_LOG / 2;
/// Stands where lines were left out between others.
const GAP: &str = "…\n";

/// The last lines of both streams.
#[derive(Debug, Default)]
pub(super) struct Tail {
    stdout: Kept,
    stderr: Kept,
    next: u64,
}

/// The last lines of one stream, each with its place in the whole output.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<(u64, String)>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, at: u64, line: String) {
        self.bytes += line.len();
        self.lines.push_back((at, line));
        while self.lines.front().is_some_and(|(_, first)| self.bytes - first.len() >= MAX_LOG) {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        self.bytes -= self.lines.pop_front().map_or(0, |(_, line)| line.len());
    }

    fn pop_back(&mut self) -> Option<u64> {
        let (at, line) = self.lines.pop_back()?;
        self.bytes -= line.len();
        Some(at)
    }

    /// How many of the last lines fit into so many bytes.
    fn fitting(&self, room: usize) -> usize {
        let mut left = room;
        let fits = |(_, line): &&(u64, String)| match left.checked_sub(line.len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        self.lines.iter().rev().take_while(fits).count()
    }

    /// The last lines in so many bytes; of a last line that is longer, its end.
    fn last(&self, room: usize) -> Vec<(u64, &str)> {
        match (self.fitting(room), self.lines.back()) {
            (0, Some((at, line))) => vec![(*at, tail(line, room))],
            (count, _) => {
                let first = self.lines.len() - count;
                self.lines.iter().skip(first).map(|(at, line)| (*at, line.as_str())).collect()
            }
        }
    }

    /// The bytes that it may have beside another stream.
    fn room_beside(&self, other: &Self) -> usize {
        if self.bytes + other.bytes <= MAX_LOG {
            return self.bytes;
        }
        (MAX_LOG.saturating_sub(other.bytes)).max(SHARE) - GAP.len()
    }
}

impl Tail {
    /// Takes a line without its end, which is the state of that number of it. Of the states of a line, as of a progress
    /// bar, the first and the last are kept.
    pub(super) fn push(&mut self, stream: Stream, state: usize, line: &str) {
        let kept = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let replaced = if state > 1 { kept.pop_back() } else { None };
        let at = replaced.unwrap_or(self.next);
        self.next = self.next.max(at + 1);
        // A line that is longer than all that is reported is known by its end.
        kept.push(at, format!("{}\n", tail(line, MAX_LOG - 1)));
    }

    /// At most [`MAX_LOG`] bytes, in the order in which the lines came.
    pub(super) fn text(&self) -> String {
        let mut lines = self.stdout.last(self.stdout.room_beside(&self.stderr));
        lines.extend(self.stderr.last(self.stderr.room_beside(&self.stdout)));
        lines.sort_by_key(|(at, _)| *at);
        let gap = lines.windows(2).rposition(|pair| matches!(pair, [(before, _), (after, _)] if before + 1 < *after));
        let mut text = String::new();
        for (number, (_, line)) in lines.iter().enumerate() {
            text.push_str(line);
            if gap == Some(number) {
                text.push_str(GAP);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(rows: impl IntoIterator<Item = (Stream, String)>) -> Tail {
        let mut tail = Tail::default();
        for (stream, line) in rows {
            tail.push(stream, 0, &line);
        }
        tail
    }

    fn out(n: usize) -> (Stream, String) {
        (Stream::Stdout, format!("[stdout]line {n}"))
    }

    fn err(n: usize) -> (Stream, String) {
        (Stream::Stderr, format!("[stderr]line {n}"))
    }

    #[test]
    fn it_is_bounded_and_begins_at_a_line() {
        let mut tail = Tail::default();
        for n in 0..100_000 {
            tail.push(Stream::Stdout, 0, &out(n).1);
            assert!(tail.stdout.bytes <= MAX_LOG + 100);
        }
        let text = tail.text();
        assert!(text.len() <= MAX_LOG && text.len() > MAX_LOG - 30, "{}", text.len());
        assert!(text.starts_with("[stdout]line "));
        assert!(text.ends_with("line 99999\n"));
        assert!(!text.contains('…'));
    }

    #[test]
    fn what_fits_is_all_there_in_its_order() {
        let text = filled([out(1), err(2), out(3), err(4)]).text();
        assert_eq!(text, "[stdout]line 1\n[stderr]line 2\n[stdout]line 3\n[stderr]line 4\n");
        assert_eq!(Tail::default().text(), "");
    }

    #[test]
    fn much_of_one_stream_does_not_hide_the_last_lines_of_the_other() {
        for (few, many) in [(err as fn(usize) -> _, out as fn(usize) -> _), (out, err)] {
            let text = filled([few(1), few(2)].into_iter().chain((0..10_000).map(many))).text();
            let expected = format!("{}\n{}\n…\n", few(1).1, few(2).1);
            assert!(text.starts_with(&expected), "{text}");
            assert!(text.ends_with(&format!("{}\n", many(9999).1)), "{text}");
            assert!(text.len() <= MAX_LOG && text.len() > MAX_LOG - 60, "{}", text.len());
        }
    }

    #[test]
    fn both_have_half_where_both_have_much() {
        let text = filled((0..10_000).map(err).chain((0..10_000).map(out))).text();
        assert!(text.len() <= MAX_LOG, "{}", text.len());
        let bytes = |tag: &str| text.lines().filter(|line| line.starts_with(tag)).map(str::len).sum::<usize>();
        assert!(bytes("[stdout]") > SHARE - 150 && bytes("[stderr]") > SHARE - 150, "{text}");
        assert_eq!(text.matches('…').count(), 1);
    }

    #[test]
    fn a_line_that_is_too_long_is_there_with_its_end() {
        let long = |n: usize| (Stream::Stderr, format!("[stderr]{}the end", "x".repeat(n)));
        for n in [1500, 5000] {
            let text = filled([long(n)].into_iter().chain((0..1000).map(out))).text();
            assert!(text.contains("xthe end\n") && text.ends_with("line 999\n") && text.len() <= MAX_LOG, "{text}");
            let text = filled([long(n)]).text();
            assert!(text.ends_with("xthe end\n") && text.len() <= MAX_LOG, "{}", text.len());
        }
        let text = filled([(Stream::Stdout, "ä".repeat(5000))]).text();
        assert!(text.len() <= MAX_LOG && text.len() > MAX_LOG - 4);
    }

    #[test]
    fn of_a_progress_bar_the_first_and_the_last_state_are_kept() {
        let mut tail = Tail::default();
        tail.push(Stream::Stderr, 0, "[stderr]careful");
        for state in 0..1000 {
            tail.push(Stream::Stdout, state, &format!("[stdout]{state} of 999"));
        }
        tail.push(Stream::Stdout, 0, "[stdout]done");
        assert_eq!(tail.text(), "[stderr]careful\n[stdout]0 of 999\n[stdout]999 of 999\n[stdout]done\n");
    }
}
