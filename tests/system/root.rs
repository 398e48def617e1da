//! The file system that hosts are booted from: a small Debian, made once and kept outside of the checkout.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::job::run;

/// Where this is no Debian.
const SUITE: &str = "bookworm";
/// Another release of Debian than this machine's.
const SUITE_VARIABLE: &str = "SLIPWAY_DEBIAN_SUITE";
/// What hosts have: what the agent runs on, and what packages are installed with.
const PACKAGES: &str = "systemd,systemd-sysv,dbus,ca-certificates,curl,rpm";
/// Another mirror than Debian's own.
const MIRROR_VARIABLE: &str = "SLIPWAY_DEBIAN_MIRROR";
const MIRROR: &str = "http://deb.debian.org/debian";
/// What is done to it after `debootstrap`. Its text is part of the recipe: a change makes a new root.
const FINISH: &str = "\
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc usr/share/man usr/share/locale
mkdir -p var/log/journal
ln -sf /dev/null etc/systemd/system/console-getty.service
ln -sf /dev/null etc/systemd/system/getty.target
ln -sf /dev/null etc/systemd/system/apt-daily.timer
ln -sf /dev/null etc/systemd/system/apt-daily-upgrade.timer
ln -sf /dev/null etc/systemd/system/dpkg-db-backup.timer
ln -sf /dev/null etc/systemd/system/e2scrub_all.timer
ln -sf /dev/null etc/systemd/system/fstrim.timer
";

/// What the examples install by their hooks. It is fetched once, and not installed: hosts without a network
/// install it as they do with one.
const EXAMPLES: &str = "nginx curl apache2 libapache2-mod-php php-mysql mariadb-server wordpress";
/// How it is fetched, on a copy of the root.
const FETCH: &str = "\
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -qy --download-only --no-install-recommends $0
rm -f var/cache/apt/*.bin
";

/// The root, which nothing may write to; made now if it is not there.
pub fn obtain() -> Result<PathBuf> {
    let suite = env::var(SUITE_VARIABLE).unwrap_or_else(|_| own_suite());
    let folder = Folder::lock()?;
    let root = folder.named(&format!("debian-{suite}"), &[&suite, PACKAGES, FINISH]);
    folder.unless_there(&root, |making| bootstrap(making, &suite))?;
    Ok(root)
}

/// The same with packages that can be installed without a network; made of it now if it is not there.
pub fn with_packages(root: &Path) -> Result<PathBuf> {
    let folder = Folder::lock()?;
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let with_packages = folder.named(&format!("{name}-packages"), &[&name, EXAMPLES, FETCH]);
    folder.unless_there(&with_packages, |making| {
        eprintln!("fetching {EXAMPLES} for {}, once", with_packages.display());
        run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(root).arg(making))?;
        run(Command::new("chroot").arg(making).args(["sh", "-ec", FETCH, EXAMPLES])).map(drop)
    })?;
    Ok(with_packages)
}

/// Where roots are kept, which one process looks at at a time.
struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    fn lock() -> Result<Self> {
        let path = cache()?.join("slipway/roots");
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let lock = File::create(path.join(".lock"))?;
        lock.lock().context("lock the roots of the system tests")?;
        Ok(Self { path, _lock: lock })
    }

    /// The path of what is made by that recipe.
    fn named(&self, name: &str, recipe: &[&str]) -> PathBuf {
        let recipe = hex::encode(Sha256::digest(recipe.join("\n")));
        self.path.join(format!("{name}-{}", &recipe[..12]))
    }

    /// Under a name of its own first: what is there under the root's name is whole.
    fn unless_there(&self, root: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        if root.exists() {
            return Ok(());
        }
        let making = root.with_extension("making");
        if making.exists() {
            fs::remove_dir_all(&making).with_context(|| format!("remove {}", making.display()))?;
        }
        make(&making)?;
        run(Command::new("sync").arg("--file-system").arg(&making))?;
        fs::rename(&making, root).with_context(|| format!("make {}", root.display()))
    }
}

/// This machine's release of Debian: what was built here needs a C library that is not older.
fn own_suite() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let name = field("VERSION_CODENAME=");
    if field("ID=") == "debian" && !name.is_empty() { name.to_owned() } else { SUITE.to_owned() }
}

fn bootstrap(making: &Path, suite: &str) -> Result<()> {
    let mirror = env::var(MIRROR_VARIABLE).unwrap_or_else(|_| MIRROR.to_owned());
    eprintln!("making {} from {mirror}, once", making.display());
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", &format!("--include={PACKAGES}"), suite]).arg(making).arg(mirror);
    run(&mut debootstrap)?;
    run(Command::new("sh").args(["-ec", FINISH]).current_dir(making)).map(drop)
}

fn cache() -> Result<PathBuf> {
    let named = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("neither XDG_CACHE_HOME nor HOME says where to keep the file system of the hosts")?;
    ensure!(cache != Path::new("/"), "a cache directory was expected, and not /");
    Ok(cache)
}
