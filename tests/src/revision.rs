//! Revisions and the bundles that they travel in.

use std::fs;
use std::io::{BufWriter, Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use zip::write::SimpleFileOptions;

use crate::binaries::repository;

/// How a bundle is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Deflated zip.
    Zip,
    /// gzipped tar.
    Tgz,
    /// Plain tar.
    Tar,
    /// tar in zstd, which travels under the type `tar`.
    TarZstd,
}

impl BundleKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Zip, Self::Tgz, Self::Tar, Self::TarZstd];

    /// The API's name of the bundle type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tgz => "tgz",
            Self::Tar | Self::TarZstd => "tar",
        }
    }
}

/// One entry of a revision.
#[derive(Clone, Debug)]
struct Entry {
    path: String,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    File { bytes: Vec<u8>, mode: u32 },
    Symlink { target: String },
}

/// What is deployed, in memory: entries in the order in which they are packed.
#[derive(Clone, Debug, Default)]
pub struct Revision {
    entries: Vec<Entry>,
}

impl Revision {
    /// A revision with nothing but an AppSpec.
    pub fn with_appspec(appspec: &str) -> Self {
        Self::default().file("appspec.yml", appspec)
    }

    /// Adds a plain file. The path is taken as it is, also where an honest packer would not write it.
    #[must_use]
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        self.entry(path, Content::File { bytes: bytes.as_ref().to_vec(), mode: 0o644 })
    }

    /// Adds a shell script, executable.
    #[must_use]
    pub fn script(self, path: &str, lines: &str) -> Self {
        let bytes = format!("#!/bin/sh\n{lines}\n").into_bytes();
        self.entry(path, Content::File { bytes, mode: 0o755 })
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, Content::Symlink { target: target.to_owned() })
    }

    fn entry(mut self, path: &str, content: Content) -> Self {
        self.entries.push(Entry { path: path.to_owned(), content });
        self
    }

    /// Takes over a directory, files in the order of their names.
    pub fn read(directory: &Path) -> Result<Self> {
        let mut revision = Self::default();
        revision.read_into(directory, "")?;
        Ok(revision)
    }

    fn read_into(&mut self, directory: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
        let mut paths: Vec<_> = entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                self.read_into(&path, &format!("{prefix}{name}/"))?;
            } else {
                let mode = fs::metadata(&path)?.permissions().mode() & 0o7777;
                let content = Content::File { bytes: fs::read(&path)?, mode };
                self.entries.push(Entry { path: format!("{prefix}{name}"), content });
            }
        }
        Ok(())
    }

    /// Replaces a text in every file that is text.
    #[must_use]
    pub fn substitute(mut self, from: &str, to: &str) -> Self {
        for entry in &mut self.entries {
            if let Content::File { bytes, .. } = &mut entry.content
                && let Ok(text) = std::str::from_utf8(bytes)
            {
                *bytes = text.replace(from, to).into_bytes();
            }
        }
        self
    }

    /// Paths and contents of its files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries.iter().filter_map(|entry| match &entry.content {
            Content::File { bytes, .. } => Some((entry.path.as_str(), bytes.as_slice())),
            Content::Symlink { .. } => None,
        })
    }

    /// Writes it as a directory.
    pub fn write(&self, directory: &Path) -> Result<()> {
        for entry in &self.entries {
            let path = directory.join(&entry.path);
            fs::create_dir_all(path.parent().context("an entry has a folder")?)?;
            match &entry.content {
                Content::File { bytes, mode } => {
                    fs::write(&path, bytes)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
                }
                Content::Symlink { target } => std::os::unix::fs::symlink(target, &path)?,
            }
        }
        Ok(())
    }

    /// Packs it.
    pub fn pack(&self, kind: BundleKind) -> Result<Vec<u8>> {
        match kind {
            BundleKind::Zip => self.zip(),
            BundleKind::Tar => self.tar(Vec::new()),
            BundleKind::Tgz => {
                let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                Ok(self.tar(gzip)?.finish()?)
            }
            BundleKind::TarZstd => Ok(self.tar(zstd::Encoder::new(Vec::new(), 1)?)?.finish()?),
        }
    }

    /// Packs it as a tar archive of that many bytes in a file: after its end comes noise from a seed, which belongs to
    /// the object and not to the revision, so that nothing large has to be installed.
    pub fn pack_large(&self, path: &Path, bytes: u64, seed: u64) -> Result<()> {
        let mut file = BufWriter::new(fs::File::create(path)?);
        let packed = self.pack(BundleKind::Tar)?;
        file.write_all(&packed)?;
        let mut random = fastrand::Rng::with_seed(seed);
        let mut noise = vec![0; 1 << 20];
        let mut left = bytes - packed.len() as u64;
        while left > 0 {
            let count = noise.len().min(usize::try_from(left)?);
            random.fill(&mut noise[..count]);
            file.write_all(&noise[..count])?;
            left -= count as u64;
        }
        Ok(file.into_inner()?.sync_all()?)
    }

    fn tar<W: Write>(&self, to: W) -> Result<W> {
        let mut tar = tar::Builder::new(to);
        for entry in &self.entries {
            let mut header = tar::Header::new_gnu();
            // The library's own setter refuses the paths that the tests of refusal are about.
            let name = header.as_old_mut().name.get_mut(..entry.path.len()).context("a path of at most 100 bytes")?;
            name.copy_from_slice(entry.path.as_bytes());
            header.set_mtime(1_700_000_000);
            let bytes: &[u8] = match &entry.content {
                Content::File { bytes, mode } => {
                    header.set_mode(*mode);
                    bytes
                }
                Content::Symlink { target } => {
                    header.set_mode(0o777);
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_link_name_literal(target)?;
                    &[]
                }
            };
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append(&header, bytes)?;
        }
        Ok(tar.into_inner()?)
    }

    fn zip(&self) -> Result<Vec<u8>> {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for entry in &self.entries {
            match &entry.content {
                Content::File { bytes, mode } => {
                    zip.start_file(entry.path.as_str(), SimpleFileOptions::default().unix_permissions(*mode))?;
                    zip.write_all(bytes)?;
                }
                Content::Symlink { target } => {
                    zip.add_symlink(entry.path.as_str(), target.as_str(), SimpleFileOptions::default())?;
                }
            }
        }
        Ok(zip.finish()?.into_inner())
    }
}

/// The example service of the repository, made ready for one host.
#[derive(Clone, Debug)]
pub struct HelloWeb<'a> {
    /// Where it installs itself.
    pub destination: &'a Path,
    /// Loopback port of its page.
    pub port: u16,
}

impl HelloWeb<'_> {
    /// One of its versions: 1, 2, or 3, which does not pass its own validation.
    pub fn version(&self, version: u8) -> Result<Revision> {
        let example = repository().join("appspec-examples/hello-web").join(format!("v{version}"));
        Ok(Revision::read(&example)?
            .substitute("/opt/hello-web", &self.destination.display().to_string())
            .substitute("PORT=8080", &format!("PORT={}", self.port)))
    }
}

/// The scripts of one event of a made-up application: one script.
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// The lifecycle event.
    pub event: &'a str,
    /// Lines of shell.
    pub lines: &'a str,
    /// Seconds.
    pub timeout: u32,
}

impl<'a> Hook<'a> {
    /// A hook that has time enough.
    pub fn new(event: &'a str, lines: &'a str) -> Self {
        Self { event, lines, timeout: 60 }
    }
}

/// A made-up application: a page that is installed to `destination/page`, and hooks in
/// `scripts/<event>.sh`.
pub fn app(destination: &Path, page: &str, hooks: &[Hook<'_>]) -> Revision {
    let mut appspec =
        format!("version: 0.0\nos: linux\nfiles:\n  - source: content\n    destination: {}\n", destination.display());
    let mut revision = Revision::default().file("content/page", page);
    if !hooks.is_empty() {
        appspec.push_str("hooks:\n");
    }
    for Hook { event, lines, timeout } in hooks {
        appspec.push_str(&format!("  {event}:\n    - location: scripts/{event}.sh\n      timeout: {timeout}\n"));
        revision = revision.script(&format!("scripts/{event}.sh"), lines);
    }
    revision.file("appspec.yml", appspec)
}

/// A revision that installs one file, with scripts in AfterInstall that do nothing: `0.sh` and so on.
pub fn idle(scripts: u32, destination: &Path) -> Revision {
    let mut appspec =
        format!("version: 0.0\nos: linux\nfiles:\n  - source: page\n    destination: {}\n", destination.display());
    let mut revision = Revision::default().file("page", "hello");
    for number in 0..scripts {
        if number == 0 {
            appspec.push_str("hooks:\n  AfterInstall:\n");
        }
        appspec.push_str(&format!("    - location: {number}.sh\n      timeout: 60\n"));
        revision = revision.script(&format!("{number}.sh"), "exit 0");
    }
    revision.file("appspec.yml", appspec)
}
