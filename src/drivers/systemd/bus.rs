//! The few words of systemd's manager that are needed, each bounded in time.

use core::time::Duration;

use tokio::{sync::Mutex, time::timeout};
use zbus::{
    Connection, DynamicType, Error, Message, OwnedObjectPath, OwnedVariant, Variant,
    connection::Builder,
};

use super::unit::{Unit, state};

/// One question. Systemd answers in less than a millisecond; a machine that is busy, or reloads, later.
const CALL_MAX: Duration = Duration::from_secs(5);
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "/org/freedesktop/systemd1";
const MANAGER_INTERFACE: &str = "org.freedesktop.systemd1.Manager";
const UNIT_INTERFACE: &str = "org.freedesktop.systemd1.Unit";
const SERVICE_INTERFACE: &str = "org.freedesktop.systemd1.Service";

/// What systemd lists of a unit: name, description, load, active and sub state, followed unit, path, job.
type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Why a question was not answered.
#[derive(Debug)]
pub(crate) enum BusError {
    /// Systemd does not know the unit.
    NoSuchUnit,
    /// Anything else: nothing is known.
    Unknown(String),
}

impl core::fmt::Display for BusError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoSuchUnit => f.write_str("systemd does not know this unit"),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// The machine's bus. Connected when first needed, and again after it broke.
pub(super) struct Bus {
    address: String,
    connection: Mutex<Option<Connection>>,
}

impl Bus {
    pub(super) fn new(address: String) -> Self {
        Self { address, connection: Mutex::new(None) }
    }

    async fn connected(&self) -> Result<Connection, BusError> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }
        let build = Builder::address(self.address.as_str()).build();
        let made = match timeout(CALL_MAX, build).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Err(self.away(&error.to_string())),
            Err(_) => return Err(self.away("no answer")),
        };
        *held = Some(made.clone());
        Ok(made)
    }

    fn away(&self, why: &str) -> BusError {
        BusError::Unknown(format!("the bus at {}: {why}", self.address))
    }

    async fn ask<B>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, BusError>
    where
        B: serde::Serialize + DynamicType + Sync,
    {
        let connection = self.connected().await?;
        let call = connection.call_method(Some(SYSTEMD), path, Some(interface), method, body);
        let why = match timeout(CALL_MAX, call).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Error::MethodError(name, why, _))) => {
                if name.as_str() == "org.freedesktop.systemd1.NoSuchUnit" {
                    return Err(BusError::NoSuchUnit);
                }
                // An answer, so the connection is sound.
                let why = why.unwrap_or_else(|| name.to_string());
                return Err(BusError::Unknown(format!("systemd refuses {method}: {why}")));
            }
            Ok(Err(error)) => format!("{method}: {error}"),
            Err(_) => format!("{method}: no answer from systemd"),
        };
        // Bus or systemd may have been restarted: the next question connects anew.
        *self.connection.lock().await = None;
        Err(self.away(&why))
    }

    /// The units whose names match.
    pub(super) async fn units(&self, pattern: &str) -> Result<Vec<Unit>, BusError> {
        let body = (Vec::<String>::new(), vec![pattern]);
        let answer = self.ask(MANAGER, MANAGER_INTERFACE, "ListUnitsByPatterns", &body).await?;
        let listed: Vec<Listed> = read(&answer)?;
        let unit = |(name, description, _, active, _, _, path, job, _, _): Listed| Unit {
            name,
            description,
            state: state(&active, job != 0),
            path: path.to_string(),
        };
        Ok(listed.into_iter().map(unit).collect())
    }

    pub(super) async fn start(
        &self,
        name: &str,
        properties: &[(&'static str, Variant<'static>)],
    ) -> Result<(), BusError> {
        // No auxiliary units.
        let auxiliary = Vec::<(String, Vec<(String, Variant<'static>)>)>::new();
        let body = (name, "fail", properties, auxiliary);
        self.ask(MANAGER, MANAGER_INTERFACE, "StartTransientUnit", &body).await.map(drop)
    }

    pub(super) async fn stop(&self, name: &str) -> Result<(), BusError> {
        self.ask(MANAGER, MANAGER_INTERFACE, "StopUnit", &(name, "replace")).await.map(drop)
    }

    /// SIGKILL to all of it.
    pub(super) async fn kill(&self, name: &str) -> Result<(), BusError> {
        let kill = rustix::process::Signal::KILL.as_raw();
        self.ask(MANAGER, MANAGER_INTERFACE, "KillUnit", &(name, "all", kill)).await.map(drop)
    }

    /// Forgets how it ended, so that the name is free.
    pub(super) async fn forget(&self, name: &str) -> Result<(), BusError> {
        match self.ask(MANAGER, MANAGER_INTERFACE, "ResetFailedUnit", &(name,)).await {
            Ok(_) | Err(BusError::NoSuchUnit) => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Pids of what is left of it.
    pub(super) async fn processes(&self, name: &str) -> Result<Vec<u32>, BusError> {
        match self.ask(MANAGER, MANAGER_INTERFACE, "GetUnitProcesses", &(name,)).await {
            Ok(answer) => {
                let all: Vec<(String, u32, String)> = read(&answer)?;
                Ok(all.into_iter().map(|(_, pid, _)| pid).collect())
            }
            Err(BusError::NoSuchUnit) => Ok(Vec::new()),
            Err(other) => Err(other),
        }
    }

    /// Its invocation: another for each run.
    pub(super) async fn invocation(&self, unit: &Unit) -> Result<Vec<u8>, BusError> {
        let value = self.property(unit, UNIT_INTERFACE, "InvocationID").await?;
        Vec::<u8>::try_from(value)
            .map_err(|error| BusError::Unknown(format!("InvocationID: {error}")))
    }

    /// How the last run ended, for people.
    pub(super) async fn result(&self, unit: &Unit) -> String {
        let said = async {
            let result = self.property(unit, SERVICE_INTERFACE, "Result").await?;
            let status = self.property(unit, SERVICE_INTERFACE, "ExecMainStatus").await?;
            let unreadable = |error: Error| BusError::Unknown(error.to_string());
            let result = String::try_from(result).map_err(unreadable)?;
            let status = i32::try_from(status).map_err(unreadable)?;
            Ok::<_, BusError>(format!("ended: {result}, status {status}"))
        };
        said.await.unwrap_or_else(|_| "ended".into())
    }

    async fn property(
        &self,
        unit: &Unit,
        interface: &str,
        name: &str,
    ) -> Result<OwnedVariant, BusError> {
        let body = (interface, name);
        let answer = self.ask(&unit.path, "org.freedesktop.DBus.Properties", "Get", &body).await?;
        read(&answer)
    }
}

fn read<T>(answer: &Message) -> Result<T, BusError>
where
    T: for<'d> zbus::wire::DynamicDeserialize<'d>,
{
    answer.body().deserialize().map_err(|error| {
        BusError::Unknown(format!("an answer of systemd that cannot be read: {error}"))
    })
}
