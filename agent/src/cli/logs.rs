//! `logs`: the output of a deployment's scripts.

mod choice;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::groups::GroupName;
use super::output::{say, visible_lines};
use super::settings::Context;
use super::terminal::{Terminal, Tone};
use super::{ConfigFile, fail, past, unreadable};
use crate::disk::{Follower, Watch};
use choice::{Choice, Chosen};

/// How often a log is looked at where the kernel tells nothing of it, and at least.
const LOOK: Duration = Duration::from_secs(1);

/// Whose output, and for how long.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The deployment, or a deployment group for its newest; the newest on this host by default
    #[arg(value_name = "DEPLOYMENT", conflicts_with_all = ["failed", "group"])]
    deployment: Option<String>,
    /// Show the newest deployment that failed
    #[arg(long)]
    failed: bool,
    /// Look at this deployment group alone: its id, its name, or its application's
    #[arg(short = 'g', long, value_name = "GROUP")]
    group: Option<GroupName>,
    /// Go on as more comes, until it is interrupted
    #[arg(short = 'f', long)]
    follow: bool,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let context = match Context::load(arguments.config.path.as_deref()) {
        Ok(context) => context,
        Err(error) => return unreadable(&error),
    };
    match show(&context, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn show(context: &Context, arguments: &Arguments) -> anyhow::Result<()> {
    let choice = match (&arguments.deployment, &arguments.group) {
        (Some(name), _) => Choice::Named(name),
        (None, group) if arguments.failed => Choice::NewestFailed(group.as_ref()),
        (None, group) => Choice::Newest(group.as_ref()),
    };
    let chosen = choice::choose(&context.layout, choice)?;
    let terminal = Terminal::stdout();
    if !say(&format!("{}\n", terminal.paint(Tone::Strong, &terminal.wrap("", &chosen.heading()))))? {
        return Ok(());
    }
    if arguments.follow {
        tell_more(&chosen);
    }
    let mut follower = Follower::open(&chosen.log)?;
    let mut has_said = false;
    let mut rest = Vec::new();
    let watch = chosen.log.parent().map(Watch::directory);
    loop {
        let bytes = follower.read()?;
        if !bytes.is_empty() {
            has_said = true;
            rest.extend(bytes);
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = rest.drain(..whole).collect();
            if !say(&visible_lines(&String::from_utf8_lossy(&lines)))? {
                return Ok(());
            }
        } else if arguments.follow {
            match &watch {
                Some(Ok(watch)) => watch.wait(LOOK)?,
                _ => std::thread::sleep(LOOK),
            }
        } else {
            say(&visible_lines(&String::from_utf8_lossy(&rest)))?;
            break;
        }
    }
    if !has_said {
        let (deployment, log) = (&chosen.deployment, chosen.log.display());
        tell(&format!("No script of {deployment} has said anything on this host ({log} is empty or not there)."));
    }
    tell_more(&chosen);
    Ok(())
}

/// Why it failed, and where to look where it did not.
fn tell_more(chosen: &Chosen) {
    if let Some((entry, failure)) = chosen.past.as_ref().and_then(past::failure) {
        tell(&format!("{} failed: {}", entry.name, past::first_line(failure)));
    }
    chosen.hints().iter().for_each(|hint| tell(hint));
}

/// Standard output is the scripts' own.
fn tell(text: &str) {
    eprintln!("{}", Terminal::stderr().wrap("", text));
}
