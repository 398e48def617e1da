//! What passes between agent and service: watched, and where a test wants it, held or renamed.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use slipway_tests::proxy::{Answer, Fate, Passing, Rule};

/// The agent's connection to the service.
#[derive(Clone, Debug, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    renamed: Option<Renamed>,
    names: HashMap<String, String>,
    results: Vec<CommandResult>,
    polled_by: BTreeSet<String>,
    hold_after: Option<String>,
    polls_held: u64,
    holds_polls: bool,
    refuses_bundles: bool,
    bundles_refused: u64,
}

#[derive(Clone, Copy, Debug)]
struct Renamed {
    from: &'static str,
    to: &'static str,
}

/// What the agent reported for one host command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResult {
    /// The command's identifier.
    pub id: String,
    /// The command's name, as the agent was given it.
    pub name: String,
    /// `Succeeded` or `Failed`.
    pub status: String,
}

impl Wire {
    /// From now on the agent is given the event `to` where the service means `from`: so it meets events that
    /// the service has only with a load balancer.
    pub fn rename(&self, from: &'static str, to: &'static str) {
        self.state().renamed = Some(Renamed { from, to });
    }

    /// All that was reported until now.
    pub fn results(&self) -> Vec<CommandResult> {
        self.state().results.clone()
    }

    /// The identifiers that hosts have polled with.
    pub fn polled_by(&self) -> BTreeSet<String> {
        self.state().polled_by.clone()
    }

    /// As soon as the result of that command has come, polls find nothing.
    pub fn hold_polls_after(&self, name: &str) {
        self.state().hold_after = Some(name.to_owned());
    }

    /// How many polls found nothing because they were held.
    pub fn polls_held(&self) -> u64 {
        self.state().polls_held
    }

    /// Bundles cannot be fetched: the bucket answers with an error that passes.
    pub fn refuse_bundles(&self) {
        self.state().refuses_bundles = true;
    }

    /// How many times a bundle was refused.
    pub fn bundles_refused(&self) -> u64 {
        self.state().bundles_refused
    }

    /// Everything passes again as it is.
    pub fn let_pass(&self) {
        let mut state = self.state();
        state.renamed = None;
        (state.hold_after, state.holds_polls, state.polls_held) = (None, false, 0);
        (state.refuses_bundles, state.bundles_refused) = (false, 0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rule for Wire {
    fn request(&self, request: &Passing) -> Fate {
        let mut state = self.state();
        if request.operation == "PollHostCommand" {
            let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            state.polled_by.extend(body["HostIdentifier"].as_str().map(str::to_owned));
        }
        match request.operation.as_str() {
            "PollHostCommand" if state.holds_polls => {
                state.polls_held += 1;
                Fate::Answer(made_up(200, "{}"))
            }
            "PutHostCommandComplete" => {
                state.completed(&request.body);
                Fate::Forward
            }
            operation if operation.starts_with("GET /") && state.refuses_bundles => {
                state.bundles_refused += 1;
                Fate::Answer(made_up(
                    500,
                    "<Error><Code>InternalError</Code><Message>it is tried again</Message></Error>",
                ))
            }
            _ => Fate::Forward,
        }
    }

    fn answer(&self, request: &Passing, mut answer: Answer) -> Answer {
        if request.operation == "PollHostCommand"
            && let Ok(mut body) = serde_json::from_slice::<Value>(&answer.body)
            && body["HostCommand"].is_object()
        {
            let mut state = self.state();
            let command = &mut body["HostCommand"];
            if let Some(Renamed { from, to }) = state.renamed
                && command["CommandName"] == from
            {
                command["CommandName"] = json!(to);
            }
            let text = |member: &str| command[member].as_str().unwrap_or_default().to_owned();
            state.names.insert(text("HostCommandIdentifier"), text("CommandName"));
            answer.body = body.to_string().into_bytes();
        }
        answer
    }
}

impl State {
    fn completed(&mut self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
        let id = text("HostCommandIdentifier");
        let name = self.names.get(&id).cloned().unwrap_or_default();
        if self.hold_after.as_ref() == Some(&name) {
            self.holds_polls = true;
        }
        self.results.push(CommandResult { id, name, status: text("CommandStatus") });
    }
}

fn made_up(status: u16, body: &str) -> Answer {
    let headers = [("content-type", "application/x-amz-json-1.1")];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
    Answer { status, headers: headers.collect(), body: body.as_bytes().to_vec() }
}
