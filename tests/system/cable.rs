//! A network between whoever runs the tests and one host, which can be plugged in while the host runs.

use std::process::Command;

use anyhow::Result;

use crate::job::run;
use crate::machine::Machine;

/// Two ends: one is here and has an address, the other one waits for its host. Gone when this is dropped.
#[derive(Debug)]
pub struct Cable {
    here: String,
    there: String,
    /// The network's first three bytes, as a text.
    network: String,
}

impl Cable {
    /// Lays it, with its end here up. Fails where links cannot be made.
    pub fn lay() -> Result<Self> {
        let number = fastrand::u16(..);
        let [here, there] = ["h", "m"].map(|end| format!("slipway{end}{number:x}"));
        let network = format!("10.213.{}", number % 256);
        let cable = Self { here, there, network };
        ip(&["link", "add", &cable.here, "type", "veth", "peer", "name", &cable.there])?;
        ip(&["address", "add", &format!("{}/30", cable.address()), "dev", &cable.here])?;
        ip(&["link", "set", &cable.here, "up"])?;
        Ok(cable)
    }

    /// The address of the end that is here.
    pub fn address(&self) -> String {
        format!("{}.1", self.network)
    }

    /// Gives the other end to a host.
    pub fn plug_in(&self, machine: &Machine) -> Result<()> {
        let leader = machine.leader()?.to_string();
        ip(&["link", "set", &self.there, "netns", &leader])?;
        let inside = |words: &[&str]| {
            let mut command = Command::new("nsenter");
            run(command.args(["--target", &leader, "--net", "ip"]).args(words)).map(drop)
        };
        inside(&["address", "add", &format!("{}.2/30", self.network), "dev", &self.there])?;
        inside(&["link", "set", &self.there, "up"])
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Both ends go, wherever the other one is.
        let _ = ip(&["link", "delete", &self.here]);
    }
}

fn ip(words: &[&str]) -> Result<()> {
    run(Command::new("ip").args(words)).map(drop)
}
