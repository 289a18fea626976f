//! The pure half: a request and the power in, an answer and a command out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::crypto::aws_lc_rs;
use serde_json::{Value, json};

use super::Certificate;
use crate::chassis::{Command, Power};

/// Sessions at once, as on small boards (SAFETY.md 1.8).
const SESSIONS_MAX: usize = 4;
/// What happened last is kept, not all.
const EVENTS_MAX: usize = 1024;
const SYSTEMS: &str = "/redfish/v1/Systems";
const SESSIONS: &str = "/redfish/v1/SessionService/Sessions";

/// Who may log in, and to what. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct Account {
    /// Name.
    pub user: String,
    /// Password.
    pub password: String,
    /// `Id` of the one system.
    pub system: String,
    /// Its UUID, as text.
    pub uuid: String,
}

/// What goes wrong, on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Resets are accepted and nothing happens.
    pub stuck: bool,
    /// Resets are answered with this status and the claim that the power is off.
    pub reset_status: Option<u16>,
    /// There are no sessions, only name and password.
    pub no_sessions: bool,
    /// Everything is answered by a redirect to this place.
    pub redirects: Option<String>,
    /// Bodies are longer by so many bytes.
    pub padding: usize,
    /// The system has another UUID.
    pub uuid: Option<String>,
}

/// What it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session was opened.
    Opened,
    /// A session was closed.
    Closed,
    /// The state was read, and was so.
    Read(Power),
    /// A reset of this kind was accepted.
    Reset(String),
}

/// The service of one board. Clones are the same service.
#[derive(Clone)]
pub struct Redfish(Arc<Service>);

impl std::fmt::Debug for Redfish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redfish").field(&self.0.certificate).finish()
    }
}

struct Service {
    account: Account,
    certificate: Certificate,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    events: Vec<Event>,
    /// Number and token.
    sessions: Vec<(u64, String)>,
    last: u64,
}

/// As far as it is looked at.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) token: Option<&'a str>,
    pub(super) basic: Option<&'a str>,
    pub(super) body: &'a [u8],
}

#[derive(Default)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) token: Option<String>,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) command: Option<Command>,
}

impl Response {
    fn new(status: u16, body: &Value) -> Self {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        Self { status, body, ..Self::default() }
    }

    fn error(status: u16, id: &str, message: &str) -> Self {
        let info = json!([{"MessageId": format!("Base.1.8.{id}"), "Message": message}]);
        Self::new(
            status,
            &json!({"error": {"code": format!("Base.1.8.{id}"), "message": message, "@Message.ExtendedInfo": info}}),
        )
    }
}

impl Redfish {
    /// Nobody is logged in.
    #[must_use]
    pub fn new(account: Account, certificate: Certificate) -> Self {
        Self(Arc::new(Service { account, certificate, state: Mutex::default() }))
    }

    /// What it shows to whoever comes.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// From now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// What it saw, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// Sessions that nobody has closed.
    #[must_use]
    pub fn open_sessions(&self) -> usize {
        self.state().sessions.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing can panic under the lock.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn answer(&self, request: &Request<'_>, power: Power) -> Response {
        let mut state = self.state();
        if let Some(location) = state.faults.redirects.clone() {
            return Response { status: 302, location: Some(location), ..Response::default() };
        }
        let mut response = self.route(&mut state, request, power);
        let padding = state.faults.padding;
        // JSON may end in blanks.
        response.body.extend(std::iter::repeat_n(b' ', padding));
        response
    }

    fn route(&self, state: &mut State, request: &Request<'_>, power: Power) -> Response {
        let account = &self.0.account;
        let path = request.path.trim_end_matches('/');
        let system = format!("{SYSTEMS}/{}", account.system);
        match (request.method, path) {
            ("GET", "/redfish") => return Response::new(200, &json!({"v1": "/redfish/v1/"})),
            ("GET", "/redfish/v1") => return Response::new(200, &root(state)),
            ("POST", SESSIONS) if !state.faults.no_sessions => {
                return self.log_in(state, request.body);
            }
            _ => {}
        }
        if !self.is_allowed(state, request) {
            return Response::error(401, "NoValidSession", "There is no valid session");
        }
        match (request.method, path) {
            ("GET", SYSTEMS) => Response::new(
                200,
                &json!({
                    "@odata.id": SYSTEMS, "@odata.type": "#ComputerSystemCollection.ComputerSystemCollection",
                    "Name": "Systems", "Members@odata.count": 1, "Members": [{"@odata.id": system}],
                }),
            ),
            ("GET", _) if path == system => {
                remember(state, Event::Read(power));
                let uuid = state.faults.uuid.as_ref().unwrap_or(&account.uuid);
                Response::new(200, &system_body(&system, &account.system, uuid, power))
            }
            ("POST", _) if path == format!("{system}/Actions/ComputerSystem.Reset") => {
                reset(state, request.body)
            }
            ("GET", "/redfish/v1/SessionService") if !state.faults.no_sessions => Response::new(
                200,
                &json!({
                    "@odata.id": "/redfish/v1/SessionService", "@odata.type": "#SessionService.v1_1_8.SessionService",
                    "Id": "SessionService", "Name": "Sessions", "Sessions": {"@odata.id": SESSIONS},
                }),
            ),
            ("GET", SESSIONS) if !state.faults.no_sessions => {
                let members: Vec<Value> = state
                    .sessions
                    .iter()
                    .map(|(number, _)| json!({"@odata.id": format!("{SESSIONS}/{number}")}))
                    .collect();
                Response::new(
                    200,
                    &json!({
                        "@odata.id": SESSIONS, "@odata.type": "#SessionCollection.SessionCollection",
                        "Name": "Sessions", "Members@odata.count": members.len(), "Members": members,
                    }),
                )
            }
            ("DELETE", _) => log_out(state, path),
            _ => Response::error(404, "ResourceMissingAtURI", "There is nothing at this place"),
        }
    }

    fn is_allowed(&self, state: &State, request: &Request<'_>) -> bool {
        if let Some(token) = request.token {
            return state.sessions.iter().any(|(_, known)| known == token);
        }
        let account = &self.0.account;
        let wanted = STANDARD.encode(format!("{}:{}", account.user, account.password));
        request.basic == Some(wanted.as_str())
    }

    fn log_in(&self, state: &mut State, body: &[u8]) -> Response {
        let account = &self.0.account;
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if body["UserName"] != *account.user || body["Password"] != *account.password {
            return Response::error(401, "InsufficientPrivilege", "Name or password are wrong");
        }
        let mut random = [0; 16];
        let filled = aws_lc_rs::default_provider().secure_random.fill(&mut random);
        if filled.is_err() || state.sessions.len() >= SESSIONS_MAX {
            return Response::error(503, "SessionLimitExceeded", "All sessions are in use");
        }
        let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        state.last += 1;
        let place = format!("{SESSIONS}/{}", state.last);
        state.sessions.push((state.last, token.clone()));
        remember(state, Event::Opened);
        let body = json!({
            "@odata.id": place, "@odata.type": "#Session.v1_3_0.Session", "Id": state.last.to_string(),
            "Name": "Session", "UserName": account.user,
        });
        Response { token: Some(token), location: Some(place), ..Response::new(201, &body) }
    }
}

fn remember(state: &mut State, event: Event) {
    if state.events.len() >= EVENTS_MAX {
        state.events.remove(0);
    }
    state.events.push(event);
}

fn root(state: &State) -> Value {
    let mut root = json!({
        "@odata.id": "/redfish/v1/", "@odata.type": "#ServiceRoot.v1_9_0.ServiceRoot",
        "Id": "RootService", "Name": "bmcsim", "RedfishVersion": "1.15.0",
        "Systems": {"@odata.id": SYSTEMS},
    });
    if !state.faults.no_sessions {
        root["SessionService"] = json!({"@odata.id": "/redfish/v1/SessionService"});
        root["Links"] = json!({"Sessions": {"@odata.id": SESSIONS}});
    }
    root
}

fn system_body(place: &str, id: &str, uuid: &str, power: Power) -> Value {
    let power = match power {
        Power::On => "On",
        Power::PoweringOff => "PoweringOff",
        Power::Off => "Off",
        Power::PoweringOn => "PoweringOn",
    };
    json!({
        "@odata.id": place, "@odata.type": "#ComputerSystem.v1_13_0.ComputerSystem",
        "Id": id, "Name": "System", "SystemType": "Physical", "UUID": uuid, "PowerState": power,
        "Actions": {"#ComputerSystem.Reset": {
            "target": format!("{place}/Actions/ComputerSystem.Reset"),
            "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "ForceRestart"],
        }},
    })
}

fn reset(state: &mut State, body: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let kind = body["ResetType"].as_str().unwrap_or_default();
    let command = match kind {
        "ForceOff" => Command::Off,
        "On" => Command::On,
        "ForceRestart" => Command::Cycle,
        _ => {
            return Response::error(
                400,
                "ActionParameterValueNotInList",
                "This is no ResetType here",
            );
        }
    };
    remember(state, Event::Reset(kind.to_owned()));
    let claim = json!({"PowerState": "Off"});
    let mut response = match state.faults.reset_status {
        Some(204) | None => Response::new(204, &Value::Null),
        Some(status) => Response::new(status, &claim),
    };
    response.command = (!state.faults.stuck).then_some(command);
    response
}

fn log_out(state: &mut State, path: &str) -> Response {
    let number = path.strip_prefix(SESSIONS).and_then(|rest| rest.strip_prefix('/'));
    let number: Option<u64> = number.and_then(|number| number.parse().ok());
    let before = state.sessions.len();
    state.sessions.retain(|(open, _)| Some(*open) != number);
    if state.sessions.len() == before {
        return Response::error(404, "ResourceMissingAtURI", "There is no such session");
    }
    remember(state, Event::Closed);
    Response::new(204, &Value::Null)
}
