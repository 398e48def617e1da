//! The repository that `packaging/repository` makes, held to apt and dnf: what is signed and fresh is taken, what is old,
//! unsigned or changed is refused. Where a program for that is missing these say that they were skipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use slipway_tests::binaries::repository;
use slipway_tests::place::{Place, scenario};
use slipway_tests::program;

use crate::clock::Clock;
use crate::expect::contains;

const NEEDED: [&str; 8] =
    ["apt-get", "apt-ftparchive", "createrepo_c", "dnf", "dpkg-deb", "gpg", "rpmbuild", "rpmsign"];

/// A package of each kind, a key, and the repository of them.
struct Repository<'a> {
    place: &'a Place,
    packages: PathBuf,
    key: String,
}

impl<'a> Repository<'a> {
    /// Nothing where a program is missing.
    fn new(place: &'a Place) -> Result<Option<Self>> {
        let found = |program: &&str| {
            std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
        };
        if let Some(missing) = NEEDED.iter().find(|program| !found(program)) {
            eprintln!("skipped: there is no {missing}; `make test` installs it where the distribution has it");
            return Ok(None);
        }
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root can install with dnf");
            return Ok(None);
        }
        let packages = place.directory("packages")?;
        make_deb(place, &packages)?;
        make_rpm(place, &packages)?;
        let key = make_key(place)?;
        Ok(Some(Self { place, packages, key }))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn make(&self, packages: &Path, key: Option<&str>) -> Result<String> {
        let mut recipe = gnupg(self.place, &repository().join("packaging/repository"));
        program::run(self.place, recipe.arg(packages).arg(self.at("out")).args(key))
    }

    fn publish(&self) -> Result<String> {
        self.make(&self.packages, Some(&self.key))
    }

    /// Fetches the lists and the package with apt, in a directory of its own.
    fn apt(&self, clock: Option<&Clock>) -> Result<Output> {
        let state = self.at("apt");
        let _ = fs::remove_dir_all(&state);
        for directory in ["lists/partial", "cache/archives/partial", "fetched"] {
            fs::create_dir_all(state.join(directory))?;
        }
        let line = "deb [signed-by={out}/slipway.asc arch=amd64] file:{out}/apt stable main\n";
        fs::write(state.join("sources"), line.replace("{out}", &self.at("out").display().to_string()))?;
        fs::write(state.join("status"), "")?;
        let script = "apt-get $options update && cd fetched && apt-get $options download probe";
        let options = format!(
            "-oAcquire::Check-Date=true -oAcquire::Check-Valid-Until=true -oDir::Etc::SourceList={0}/sources \
             -oDir::Etc::SourceParts=- -oDir::State::Lists={0}/lists -oDir::Cache={0}/cache -oDir::State::status={0}/status \
             -oAPT::Architecture=amd64 -oDebug::NoLocking=1 -oAPT::Sandbox::User=root",
            state.display()
        );
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).env("options", options).current_dir(&state);
        if let Some(clock) = clock {
            clock.give(&mut shell);
        }
        program::output(self.place, &mut shell)
    }

    /// Installs the package with dnf below a directory.
    fn dnf(&self) -> Result<Output> {
        let state = self.at("dnf");
        let _ = fs::remove_dir_all(&state);
        for directory in ["repositories", "log"] {
            fs::create_dir_all(state.join(directory))?;
        }
        let text = "[probe]\nname=probe\nbaseurl=file://{out}/yum\nrepo_gpgcheck=1\ngpgcheck=1\ngpgkey=file://{out}/slipway.asc\n";
        let text = text.replace("{out}", &self.at("out").display().to_string());
        fs::write(state.join("repositories/probe.repo"), text)?;
        let mut dnf = gnupg(self.place, Path::new("dnf"));
        dnf.args(["-y", "--releasever=1", "--setopt=plugins=0"]);
        for (option, directory) in
            [("reposdir", "repositories"), ("cachedir", "cache"), ("persistdir", "state"), ("logdir", "log")]
        {
            dnf.arg(format!("--setopt={option}={}", state.join(directory).display()));
        }
        dnf.arg(format!("--installroot={}", state.join("root").display()));
        program::output(self.place, dnf.args(["install", "probe"]))
    }
}

/// A program with a keyring of the place's own.
fn gnupg(place: &Place, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", place.path()).env("GNUPGHOME", place.path().join("keys"));
    command
}

fn make_deb(place: &Place, packages: &Path) -> Result<()> {
    let tree = place.directory("deb")?;
    fs::create_dir_all(tree.join("DEBIAN"))?;
    let control =
        "Package: probe\nVersion: 1\nArchitecture: amd64\nMaintainer: Probe <probe@example.com>\nDescription: probe\n";
    fs::write(tree.join("DEBIAN/control"), control)?;
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(tree).arg(packages.join("probe_1_amd64.deb"));
    program::run(place, &mut build)?;
    Ok(())
}

fn make_rpm(place: &Place, packages: &Path) -> Result<()> {
    let recipe = place.path().join("probe.spec");
    let text = "Name: probe\nVersion: 1\nRelease: 1\nSummary: probe\nLicense: MIT\nBuildArch: noarch\n%description\nprobe\n\
                %install\nmkdir -p %{buildroot}/usr/share\necho probe > %{buildroot}/usr/share/probe\n%files\n/usr/share/probe\n";
    fs::write(&recipe, text)?;
    let below = |name: &str| place.path().join(name).display().to_string();
    let mut build = Command::new("rpmbuild");
    build.args(["-bb", "--quiet", "--define", "_rpmfilename %{NAME}-%{VERSION}.%{ARCH}.rpm"]);
    for define in [
        format!("_topdir {}", below("rpmbuild")),
        format!("_rpmdir {}", packages.display()),
        format!("_dbpath {}", below("rpmdb")),
    ] {
        build.args(["--define", &define]);
    }
    program::run(place, build.arg(recipe))?;
    Ok(())
}

/// A secret key without a passphrase; its fingerprint.
fn make_key(place: &Place) -> Result<String> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().mode(0o700).create(place.path().join("keys"))?;
    let wanted = place.path().join("key.txt");
    let text = "%no-protection\nKey-Type: eddsa\nKey-Curve: ed25519\nName-Real: Probe\nName-Email: probe@example.com\n\
                Expire-Date: 0\n%commit\n";
    fs::write(&wanted, text)?;
    let mut generate = gnupg(place, Path::new("gpg"));
    program::run(place, generate.args(["--batch", "--quiet", "--gen-key"]).arg(wanted))?;
    let listed = program::run(place, gnupg(place, Path::new("gpg")).args(["--list-keys", "--with-colons"]))?;
    let line = listed.lines().find(|line| line.starts_with("fpr:")).context("a fingerprint")?;
    Ok(line.split(':').nth(9).context("a fingerprint")?.to_owned())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn taken(output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{}", said(output));
    Ok(())
}

fn refused(output: &Output, why: &str) -> Result<()> {
    ensure!(!output.status.success(), "{}", said(output));
    contains(&said(output), &[why])
}

#[test]
fn apt_takes_a_signed_list_until_it_expires_and_no_longer() -> Result<()> {
    scenario(|place| {
        let Some(repository) = Repository::new(place)? else { return Ok(()) };
        repository.publish()?;
        taken(&repository.apt(None)?)?;
        ensure!(place.path().join("apt/fetched/probe_1_amd64.deb").is_file());
        if let Some(clock) = Clock::new(place)? {
            clock.set("+29d")?;
            taken(&repository.apt(Some(&clock))?)?;
            clock.set("+31d")?;
            refused(&repository.apt(Some(&clock))?, "is expired")?;
        }
        let release = place.path().join("out/apt/dists/stable/InRelease");
        let text = fs::read_to_string(&release)?;
        fs::write(&release, text.replace("Origin: Slipway", "Origin: slipway"))?;
        refused(&repository.apt(None)?, "is not signed")?;
        // Made again it is as good as new.
        repository.make(Path::new("-"), Some(&repository.key))?;
        taken(&repository.apt(None)?)?;
        let deb = place.path().join("out/apt/pool/probe_1_amd64.deb");
        let mut bytes = fs::read(&deb)?;
        *bytes.last_mut().context("a byte")? ^= 1;
        fs::write(&deb, bytes)?;
        refused(&repository.apt(None)?, "Hash Sum mismatch")?;
        repository.make(&repository.packages, None)?;
        refused(&repository.apt(None)?, "is not signed")
    })
}

#[test]
fn dnf_takes_a_signed_rpm_of_a_signed_list_alone() -> Result<()> {
    scenario(|place| {
        let Some(repository) = Repository::new(place)? else { return Ok(()) };
        repository.publish()?;
        taken(&repository.dnf()?)?;
        ensure!(fs::read_to_string(place.path().join("dnf/root/usr/share/probe"))? == "probe\n");
        let (rpm, list) =
            (place.path().join("out/yum/probe-1.noarch.rpm"), place.path().join("out/yum/repodata/repomd.xml"));
        let signed = fs::read(&rpm)?;
        repository.publish()?;
        ensure!(fs::read(&rpm)? == signed, "a package that is there already has another signature now");
        // Lists that somebody signed who does not sign packages.
        fs::copy(repository.packages.join("probe-1.noarch.rpm"), &rpm)?;
        let mut index = Command::new("createrepo_c");
        program::run(place, index.args(["--quiet", "--no-database"]).arg(place.path().join("out/yum")))?;
        let mut sign = gnupg(place, Path::new("gpg"));
        sign.args(["--batch", "--yes", "--armor", "--detach-sign", "--output"]).arg(list.with_extension("xml.asc"));
        program::run(place, sign.arg(&list))?;
        refused(&repository.dnf()?, "is not signed")?;
        // What was unsigned before is signed by the next run.
        repository.make(Path::new("-"), Some(&repository.key))?;
        taken(&repository.dnf()?)?;
        let text = fs::read_to_string(&list)?;
        fs::write(&list, text.replacen("<revision>", "<revision>1", 1))?;
        refused(&repository.dnf()?, "GPG")
    })
}

#[test]
fn a_time_that_is_none_is_refused() -> Result<()> {
    scenario(|place| {
        for days in ["0", "-1", "ten", "1e3", "99999"] {
            let mut recipe = Command::new(repository().join("packaging/repository"));
            let output =
                program::output(place, recipe.args(["-", "out"]).current_dir(place.path()).env("VALID_DAYS", days))?;
            ensure!(output.status.code() == Some(2), "{days}: {output:?}");
            contains(&said(&output), &[days, "from 1 to 9999"])?;
            ensure!(!place.path().join("out").exists());
        }
        Ok(())
    })
}
