//! The parser's source of characters, with one rule of it put right.

use saphyr_parser::input::SkipTabs;
use saphyr_parser::{Input, StrInput};

/// A text that is parsed.
///
/// YAML lets any white space stand between the colon and the value. The parser wants a blank there where
/// the value begins with a letter, to refuse block collections after a tab; these it refuses anyway.
/// It asks for nothing else whether a blank was among the white space, so a tab counts as one here.
pub(super) struct Characters<'t>(StrInput<'t>);

impl<'t> Characters<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self(StrInput::new(text))
    }
}

impl Input for Characters<'_> {
    fn skip_ws_to_eol(&mut self, skip_tabs: SkipTabs) -> (usize, Result<SkipTabs, &'static str>) {
        let (skipped, result) = self.0.skip_ws_to_eol(skip_tabs);
        let blank = |found| match found {
            SkipTabs::Result(tabs, blanks) => SkipTabs::Result(tabs, tabs || blanks),
            other => other,
        };
        (skipped, result.map(blank))
    }

    fn lookahead(&mut self, count: usize) {
        self.0.lookahead(count);
    }

    fn buflen(&self) -> usize {
        self.0.buflen()
    }

    fn bufmaxlen(&self) -> usize {
        self.0.bufmaxlen()
    }

    fn raw_read_ch(&mut self) -> char {
        self.0.raw_read_ch()
    }

    fn raw_read_non_breakz_ch(&mut self) -> Option<char> {
        self.0.raw_read_non_breakz_ch()
    }

    fn skip(&mut self) {
        self.0.skip();
    }

    fn skip_n(&mut self, count: usize) {
        self.0.skip_n(count);
    }

    fn peek(&self) -> char {
        self.0.peek()
    }

    fn peek_nth(&self, n: usize) -> char {
        self.0.peek_nth(n)
    }

    fn peek_opt(&self) -> Option<char> {
        self.0.peek_opt()
    }

    fn next_is_document_indicator(&self) -> bool {
        self.0.next_is_document_indicator()
    }

    fn next_is_document_start(&self) -> bool {
        self.0.next_is_document_start()
    }

    fn next_is_document_end(&self) -> bool {
        self.0.next_is_document_end()
    }

    fn next_2_are(&self, first: char, second: char) -> bool {
        self.0.next_2_are(first, second)
    }

    fn next_3_are(&self, first: char, second: char, third: char) -> bool {
        self.0.next_3_are(first, second, third)
    }
}
