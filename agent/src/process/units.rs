//! Transient services of the host's systemd, over D-Bus.
//!
//! The interface is `org.freedesktop.systemd1.Manager`. Every call waits for its answer, on a runtime of its
//! own: who starts a process has nothing else to do meanwhile.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use zbus::zvariant::Type;
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

use super::{Cgroup, Error, Result, Row, is_root};
use crate::disk::Dir;

const BUS: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long systemd may take for an answer; it is busy when a host starts or ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// A service to start: one program, in a control group of its own, which stays `active (exited)` when the
/// program has succeeded and others that it has started live on.
#[derive(Debug)]
pub struct UnitRequest<'a> {
    /// Its name, with `.service` at the end.
    pub name: &'a str,
    /// What people see it as.
    pub description: &'a str,
    /// The program.
    pub program: &'a Path,
    /// What follows the program's name.
    pub args: &'a [&'a OsStr],
    /// From the wish that it ends to force.
    pub stop_timeout: Duration,
    /// What it may use.
    pub limits: UnitLimits,
}

/// What a service may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitLimits {
    /// Bytes of memory.
    pub memory_max: Option<u64>,
    /// Share of one processor, in per cent: 200 are two of them.
    pub cpu_quota_percent: Option<u32>,
}

/// What became of a wish to start a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitStart {
    /// It is being started.
    Begun,
    /// There is one of that name already.
    Exists,
}

/// How a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitState {
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`.
    pub active: String,
    /// `running`, `exited`, `dead`, `failed`…
    pub sub: String,
    /// Why it failed: `success`, `exit-code`, `signal`, `oom-kill`, `timeout`…
    pub result: String,
}

impl UnitState {
    /// Whether its program has ended. One that is `inactive` waits for its start.
    pub fn has_ended(&self) -> bool {
        self.active == "failed" || self.active == "active" && self.sub == "exited"
    }
}

/// A connection to the host's systemd.
pub struct Units {
    connection: zbus::Connection,
    runtime: tokio::runtime::Runtime,
}

impl fmt::Debug for Units {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Units")
    }
}

impl Units {
    /// Whether systemd is this host's init and takes orders from this process.
    pub fn is_available() -> bool {
        is_root() && Dir::open("/run/systemd/system").is_ok()
    }

    /// Connects to the system's bus.
    pub fn connect() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::System { action: "wait for systemd", source })?;
        let connection = answered(&runtime, "connect to the system's D-Bus", zbus::Connection::system())?;
        Ok(Self { connection, runtime })
    }

    /// Starts a service, without waiting until it runs.
    pub fn start(&self, request: &UnitRequest<'_>) -> Result<UnitStart> {
        // Without it, the first process that is killed for lack of memory ends the whole service.
        let with_policy = self.start_with(request, &[("OOMPolicy", Variant::from("continue"))]);
        match with_policy {
            // systemd before 243 does not know it.
            Err(error) if error.is_named("org.freedesktop.DBus.Error.PropertyReadOnly") => {}
            Err(error) if error.is_named("org.freedesktop.DBus.Error.UnknownProperty") => {}
            other => return begun(other),
        }
        begun(self.start_with(request, &[]))
    }

    fn start_with(
        &self,
        request: &UnitRequest<'_>,
        more: &[(&str, Variant<'_>)],
    ) -> std::result::Result<(), CallError> {
        let mut argv = vec![argument(request.program.as_os_str())];
        argv.extend(request.args.iter().map(|arg| argument(arg)));
        let program = request.program.display().to_string();
        let stop = u64::try_from(request.stop_timeout.as_micros()).unwrap_or(u64::MAX);
        let mut properties = vec![
            ("Description", Variant::from(request.description)),
            ("Type", Variant::from("simple")),
            ("RemainAfterExit", Variant::from(true)),
            ("KillMode", Variant::from("process")),
            ("TimeoutStopUSec", Variant::from(stop)),
            ("ExecStart", Variant::from(vec![(program, argv, false)])),
        ];
        if let Some(bytes) = request.limits.memory_max {
            properties.push(("MemoryMax", Variant::from(bytes)));
        }
        if let Some(percent) = request.limits.cpu_quota_percent {
            // Microseconds of processor time for each second.
            properties.push(("CPUQuotaPerSecUSec", Variant::from(u64::from(percent) * 10_000)));
        }
        properties.extend(more.iter().map(|(name, value)| (*name, value.clone())));
        let auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        let body = (request.name, "fail", properties, auxiliary);
        self.call::<_, OwnedObjectPath>(MANAGER_PATH, MANAGER, "StartTransientUnit", &body).map(drop)
    }

    /// How a service is; nothing where there is none.
    pub fn state(&self, name: &str) -> Result<Option<UnitState>> {
        let unit = match self.call::<_, OwnedObjectPath>(MANAGER_PATH, MANAGER, "GetUnit", &(name,)) {
            Ok(path) => path,
            Err(error) if error.is_named("org.freedesktop.systemd1.NoSuchUnit") => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let property = |interface: &str, name: &str| {
            let body = (format!("org.freedesktop.systemd1.{interface}"), name);
            match self.call::<_, OwnedVariant>(unit.as_str(), "org.freedesktop.DBus.Properties", "Get", &body) {
                Ok(value) => Ok(Some(String::try_from(value).unwrap_or_default())),
                // It went between the two questions.
                Err(error) if error.is_named("org.freedesktop.DBus.Error.UnknownObject") => Ok(None),
                Err(error) => Err(Error::from(error)),
            }
        };
        let (active, sub, result) =
            (property("Unit", "ActiveState")?, property("Unit", "SubState")?, property("Service", "Result")?);
        Ok(active.zip(sub).zip(result).map(|((active, sub), result)| UnitState { active, sub, result }))
    }

    /// Names and descriptions of all units whose name begins with `prefix`.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, String)>> {
        let all: Vec<ListedUnit> = self.call(MANAGER_PATH, MANAGER, "ListUnits", &())?;
        Ok(all.into_iter().filter(|unit| unit.0.starts_with(prefix)).map(|unit| (unit.0, unit.1)).collect())
    }

    /// The processes of a service that have not ended.
    pub fn processes(&self, name: &str) -> Result<Vec<Row>> {
        let unit = match self.call::<_, OwnedObjectPath>(MANAGER_PATH, MANAGER, "GetUnit", &(name,)) {
            Ok(path) => path,
            Err(error) if error.is_named("org.freedesktop.systemd1.NoSuchUnit") => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let body = ("org.freedesktop.systemd1.Service", "ControlGroup");
        let group: OwnedVariant = self.call(unit.as_str(), "org.freedesktop.DBus.Properties", "Get", &body)?;
        match String::try_from(group).unwrap_or_default().as_str() {
            "" => Ok(Vec::new()),
            path => Cgroup::at(path).map_or(Ok(Vec::new()), |group| group.processes()),
        }
    }

    /// Ends a service, and lets go of it. One that is not there is fine.
    pub fn stop(&self, name: &str) -> Result<()> {
        let gone = |error: &CallError| error.is_named("org.freedesktop.systemd1.NoSuchUnit");
        match self.call::<_, OwnedObjectPath>(MANAGER_PATH, MANAGER, "StopUnit", &(name, "replace")) {
            Ok(_) => {}
            Err(error) if gone(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        match self.call::<_, ()>(MANAGER_PATH, MANAGER, "ResetFailedUnit", &(name,)) {
            Ok(()) => Ok(()),
            Err(error) if gone(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn call<B, R>(&self, path: &str, interface: &str, method: &str, body: &B) -> std::result::Result<R, CallError>
    where
        B: serde::Serialize + Type,
        R: for<'de> Deserialize<'de> + Type,
    {
        let failed = |source| CallError { method: method.to_owned(), source };
        let call = self.connection.call_method(Some(BUS), path, Some(interface), method, body);
        let reply = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, call).await })
            .map_err(|_| failed(timed_out()))?
            .map_err(failed)?;
        reply.body().deserialize().map_err(failed)
    }
}

/// Of `a(ssssssouso)`, in its order: name, description, and what is not asked for here.
type ListedUnit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// systemd replaces `$NAME` in what it executes.
fn argument(argument: &OsStr) -> String {
    String::from_utf8_lossy(argument.as_bytes()).replace('$', "$$")
}

fn begun(result: std::result::Result<(), CallError>) -> Result<UnitStart> {
    match result {
        Ok(()) => Ok(UnitStart::Begun),
        Err(error) if error.is_named("org.freedesktop.systemd1.UnitExists") => Ok(UnitStart::Exists),
        Err(error) => Err(error.into()),
    }
}

fn answered<T>(
    runtime: &tokio::runtime::Runtime,
    method: &str,
    call: impl Future<Output = zbus::Result<T>>,
) -> Result<T> {
    runtime
        .block_on(async { tokio::time::timeout(PATIENCE, call).await })
        .unwrap_or_else(|_| Err(timed_out()))
        .map_err(|source| CallError { method: method.to_owned(), source }.into())
}

fn timed_out() -> zbus::Error {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}

struct CallError {
    method: String,
    source: zbus::Error,
}

impl CallError {
    fn is_named(&self, wanted: &str) -> bool {
        matches!(&self.source, zbus::Error::MethodError(name, ..) if name.as_str() == wanted)
    }
}

impl From<CallError> for Error {
    fn from(error: CallError) -> Self {
        Self::Systemd { call: error.method, said: error.source.to_string() }
    }
}
