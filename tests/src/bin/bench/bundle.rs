//! Bundles of many files, made from a seed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

/// What a bundle is made of.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Files, 100 in each directory.
    pub files: usize,
    /// Bytes of all of them together, about.
    pub bytes: usize,
    /// Every n-th file has another content than in the tree without changes.
    pub changed: Option<usize>,
}

const IN_A_DIRECTORY: usize = 100;

impl Tree {
    /// Writes the tree as `content` into a tgz, with an AppSpec that installs it to `destination`.
    pub fn pack(&self, to: &Path, destination: &Path) -> Result<()> {
        let out = flate2::write::GzEncoder::new(BufWriter::new(File::create(to)?), flate2::Compression::fast());
        let mut tar = tar::Builder::new(out);
        let appspec = format!(
            "version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {}\n",
            destination.display()
        );
        append(&mut tar, Path::new("appspec.yml"), appspec.as_bytes())?;
        let mut content = Vec::new();
        for number in 0..self.files {
            self.content(number, &mut content);
            let name = format!("content/{:03}/file-{number:06}", number / IN_A_DIRECTORY);
            append(&mut tar, Path::new(&name), &content)?;
        }
        tar.into_inner()?.finish()?.flush()?;
        Ok(())
    }

    /// From half to one and a half of the average length, of a text that compresses about as code does.
    fn content(&self, number: usize, content: &mut Vec<u8>) {
        let is_changed = self.changed.is_some_and(|every| number.is_multiple_of(every));
        let mut random = fastrand::Rng::with_seed(number as u64 * 2 + u64::from(is_changed));
        let average = self.bytes / self.files;
        let length = random.usize(average / 2..=average + average / 2);
        content.clear();
        while content.len() < length {
            let word = random.u64(..);
            let letters = 2 + (word % 7) as usize;
            content.extend(word.to_le_bytes().iter().take(letters).map(|byte| b'a' + byte % 26));
            content.extend(if word.is_multiple_of(5) { &b"\n    return value;\n"[..] } else { b" " });
        }
        content.truncate(length);
    }
}

fn append(tar: &mut tar::Builder<impl Write>, name: &Path, content: &[u8]) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    Ok(tar.append_data(&mut header, name, content)?)
}
