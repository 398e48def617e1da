//! The manual page of the settings, `codedeployagent.yml(5)`, made of `docs/configuration.md`: one text for both.

use std::fs;
use std::path::Path;

use anyhow::Result;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, roman};

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// Writes the page into `man5` below a program's directory.
pub(crate) fn write(directory: &Path) -> Result<()> {
    let folder = directory.join("man5");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("codedeployagent.yml.5"), page(DOCUMENT))?;
    Ok(())
}

/// The page of a document: headings become sections, each row of a table a tagged paragraph.
fn page(document: &str) -> String {
    let mut page = Roff::new();
    page.control("TH", ["codedeployagent.yml", "5", "", "slipway-agent"]);
    page.control("SH", ["NAME"]);
    page.text([roman("codedeployagent.yml - settings of slipway-agent")]);
    page.control("SH", ["DESCRIPTION"]);
    let mut writer = Writer { page, line: Vec::new(), cells: Vec::new(), bold: 0, code_block: false, item: false };
    for event in Parser::new_ext(document, Options::ENABLE_TABLES) {
        writer.take(event);
    }
    writer.page.control("SH", ["SEE ALSO"]);
    writer.page.text([bold("slipway-agent"), roman("(1), "), bold("slipway-agent-config"), roman("(1)")]);
    writer.page.to_roff()
}

/// What was read and is not yet in the page.
struct Writer {
    page: Roff,
    /// The paragraph, heading, list item or cell that is being read.
    line: Vec<Inline>,
    /// The cells of the table row that are complete.
    cells: Vec<Vec<Inline>>,
    /// How many emphases are open.
    bold: usize,
    code_block: bool,
    /// Inside of a list item, whose paragraphs begin no new one.
    item: bool,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.open(&tag),
            Event::End(tag) => self.close(tag),
            Event::Text(text) if self.code_block => {
                self.page.text([roman(text.trim_end_matches('\n'))]);
            }
            Event::Text(text) if self.bold > 0 => self.line.push(bold(text.to_string())),
            Event::Text(text) => self.line.push(roman(text.to_string())),
            Event::Code(text) => self.line.push(bold(text.to_string())),
            Event::SoftBreak | Event::HardBreak => self.line.push(roman(" ")),
            _ => {}
        }
    }

    fn open(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Strong | Tag::Emphasis => self.bold += 1,
            Tag::Item => self.item = true,
            Tag::CodeBlock(_) => {
                self.code_block = true;
                self.page.control("PP", []).control("EX", []);
            }
            _ => {}
        }
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.bold = self.bold.saturating_sub(1),
            // The page has a title of its own.
            TagEnd::Heading(HeadingLevel::H1) => self.line.clear(),
            TagEnd::Heading(HeadingLevel::H2) => self.heading("SH"),
            TagEnd::Heading(_) => self.heading("SS"),
            TagEnd::Paragraph if !self.item => self.paragraph(&["PP"]),
            TagEnd::Item => {
                self.item = false;
                self.paragraph(&["IP", "\\(bu", "2"]);
            }
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            // What the columns are, every row shows by its look.
            TagEnd::TableHead => self.cells.clear(),
            TagEnd::TableRow => self.row(),
            TagEnd::CodeBlock => {
                self.code_block = false;
                self.page.control("EE", []);
            }
            _ => {}
        }
    }

    fn heading(&mut self, macro_name: &str) {
        let words: String = self.line.drain(..).map(|inline| text_of(&inline)).collect();
        let words = if macro_name == "SH" { words.to_uppercase() } else { words };
        self.page.control(macro_name, [words.as_str()]);
    }

    fn paragraph(&mut self, begin: &[&str]) {
        let Some((macro_name, arguments)) = begin.split_first() else { return };
        self.page.control(*macro_name, arguments.iter().copied());
        self.page.text(std::mem::take(&mut self.line));
    }

    /// A key with its values, and below it what it does.
    fn row(&mut self) {
        let mut cells = std::mem::take(&mut self.cells);
        let effect = cells.pop().unwrap_or_default();
        let head = cells.into_iter().reduce(|mut head, value| {
            head.push(roman("  "));
            head.extend(value);
            head
        });
        self.page.control("TP", []);
        self.page.text(head.unwrap_or_default());
        self.page.text(effect);
    }
}

fn text_of(inline: &Inline) -> String {
    match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_page_of_the_settings_has_every_key_and_man_reads_it() {
        let place = tempfile::tempdir().unwrap();
        write(place.path()).unwrap();
        let file = place.path().join("man5/codedeployagent.yml.5");
        let done = Command::new("man")
            .args(["--warnings", "-l"])
            .arg(&file)
            .env("MANWIDTH", "200")
            .env("LC_ALL", "C.UTF-8")
            .output();
        let Ok(done) = done else {
            eprintln!("not run here: man is not installed (tests/prepare installs it)");
            return;
        };
        let shown = String::from_utf8_lossy(&done.stdout);
        let complaints = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() && complaints.is_empty(), "{}: {complaints}", done.status);
        for key in slipway_agent::config::KEYS {
            let tagged = shown.lines().any(|line| line.split_whitespace().next() == Some(key));
            assert!(tagged, "codedeployagent.yml(5) has no paragraph of {key}:\n{shown}");
        }
        assert!(shown.contains("profile: strict"), "the example is missing:\n{shown}");
    }
}
