//! Variables of `/etc/environment` (`pam_env(8)`).

use super::HostFiles;
use super::stack::Module;
use crate::process::Environment;

/// Takes the variables of the module's file.
pub(super) fn apply(host: &HostFiles<'_>, module: &Module, environment: &mut Environment) {
    if module.arg("readenv").is_some_and(|read| read == "0") {
        return;
    }
    let text = host.read(module.arg("envfile").unwrap_or("/etc/environment")).unwrap_or_default();
    for (name, value) in text.lines().filter_map(variable) {
        environment.0.insert(name, value);
    }
}

/// A line is `NAME=value`, with `export` before it or not. A quotation mark at the value's beginning goes, with one at
/// its end. Nothing is replaced in it.
fn variable(line: &str) -> Option<(String, String)> {
    let line = line.split('#').next().unwrap_or_default().trim_start();
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let value = match value.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.strip_suffix(['"', '\'']).unwrap_or(quoted),
        None => value,
    };
    (is_name && !value.contains('\0')).then(|| (name.to_owned(), value.to_owned()))
}
