//! Holds the documentation: links that lead somewhere, and lines that fit a terminal.
#![allow(clippy::unwrap_used, reason = "a test that cannot read what it checks must fail")]
#![allow(clippy::disallowed_methods, reason = "reads the repository's own pages")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Longest line of prose, in characters. Tables, code and headings are as long as they are.
const WIDTH: usize = 100;

/// A page, without its blocks of code.
struct Page {
    path: PathBuf,
    lines: Vec<(usize, String)>,
    anchors: BTreeSet<String>,
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<_, _> = pages.iter().map(|page| (page.path.clone(), &page.anchors)).collect();
    let mut seen = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for (number, target) in links(page) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let there = if file.is_empty() { page.path.clone() } else { beside(&page.path, file) };
            let has_anchor = anchor.is_empty() || anchors.get(&there).is_none_or(|known| known.contains(anchor));
            if !there.exists() || !has_anchor {
                broken.push(format!("{}:{number}: {target}", page.path.display()));
            }
        }
    }
    assert!(seen > 100, "only {seen} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn prose_fits_into_a_hundred_columns() {
    let is_prose = |line: &str| !line.starts_with(['|', '#', '<']) && !line.starts_with("    ");
    let too_long: Vec<String> = pages()
        .iter()
        .flat_map(|page| page.lines.iter().map(move |(number, line)| (page, number, line)))
        .filter(|(_, _, line)| is_prose(line) && line.chars().count() > WIDTH)
        .map(|(page, number, line)| format!("{}:{number}: {line}", page.path.display()))
        .collect();
    assert!(too_long.is_empty(), "{}", too_long.join("\n"));
}

#[test]
fn links_and_anchors_are_found() {
    let page =
        Page::read(Path::new("x.md"), "# A `B` c: d\n[one](a.md#x), [two\n](b.md)\n```\n[no](c.md)\n# not one\n```\n");
    let found: Vec<_> = links(&page).into_iter().map(|(_, target)| target).collect();
    assert_eq!(found, ["a.md#x", "b.md"]);
    assert_eq!(page.anchors.iter().collect::<Vec<_>>(), ["a-b-c-d"]);
}

impl Page {
    fn read(path: &Path, text: &str) -> Self {
        let mut is_code = false;
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                lines.push((at + 1, line.to_owned()));
            }
        }
        let headings = lines.iter().filter(|(_, line)| line.starts_with('#'));
        let anchors = headings.map(|(_, line)| anchor(line.trim_start_matches('#'))).collect();
        Self { path: path.to_owned(), lines, anchors }
    }
}

/// As forges make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
}

/// The targets of a page's links, with their lines.
fn links(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in &page.lines {
        for rest in line.split("](").skip(1) {
            if let Some((target, _)) = rest.split_once(')') {
                found.push((*number, target.to_owned()));
            }
        }
    }
    found
}

/// The file that a link of a page names.
fn beside(page: &Path, link: &str) -> PathBuf {
    let mut path = page.parent().unwrap().to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// All pages of the repository.
fn pages() -> Vec<Page> {
    let root = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if path.is_dir() {
                if !path.is_symlink() && name != "target" && name != ".git" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(Page::read(&path, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 15, "only {} pages were found", found.len());
    found
}
