//! One request from its arrival to its answer: the order in which everything happens.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use tokio::time::{Instant, sleep};

use super::answer;
use super::body::SimBody;
use super::data::Reply;
use super::faults::FaultKind;
use super::faults_state::{Decision, Seen};
use super::limits::{Call, Figures, Refusal};
use super::ops::{self, Matched, Operation};
use super::service::SimError;
use super::sim::{Shared, Sim};
use super::truth::Answered;
use crate::server::Connection;

/// One request on its way.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    sim: &'a Sim,
    shared: &'a Shared,
    number: u64,
    parts: &'a Parts,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(sim: &'a Sim, number: u64, parts: &'a Parts) -> Self {
        Self { sim, shared: &sim.shared, number, parts }
    }

    pub(super) async fn run(&self, body: &Bytes) -> Result<Response<SimBody>, SimError> {
        let (matched, call, decision) = match self.enter() {
            Ok(entered) => entered,
            Err(response) => return Ok(*response),
        };
        let op = matched.op;
        pause(decision.before).await;
        let fault = decision.fault;
        if fault == Some(FaultKind::Reset) && decision.share() < self.reset_before_count() {
            return Err(self.reset(&decision));
        }
        if fault == Some(FaultKind::RateLimited) {
            let now = Instant::now();
            let wall = self.shared.clock.wall(now);
            let figures = self.shared.state().limits.full(call, now, wall);
            self.note(FaultKind::RateLimited);
            let mut response = answer::refused(Refusal::Burst);
            answer::figures(response.headers_mut(), &figures);
            return Ok(self.finish(response, Some(op), fault));
        }
        let figures = match self.count(op, call, &decision) {
            Ok(figures) => figures,
            Err(response) => return Ok(*response),
        };
        if let Some(status) = fault.and_then(FaultKind::server_error) {
            pause(decision.after).await;
            let mut response = answer::server_error(status);
            answer::figures(response.headers_mut(), &figures);
            self.note_some(fault);
            return Ok(self.finish(response, Some(op), fault));
        }
        let query = self.parts.uri.query().unwrap_or_default();
        let now = Instant::now();
        let wall = self.shared.clock.wall(now);
        self.shared.catch_up(now);
        let mut reply = self.shared.account.answer(&matched, query, body, wall);
        self.shared.served(reply.page.take(), wall);
        pause(decision.after).await;
        match fault {
            Some(FaultKind::Reset) => return Err(self.reset(&decision)),
            Some(FaultKind::Hang) => {
                self.note(FaultKind::Hang);
                return std::future::pending().await;
            }
            _ => {}
        }
        let (mut response, happened) = self.shape(reply, &decision);
        if happened {
            self.note_some(fault);
        } else {
            self.shared.state().faults.give_back(&decision);
        }
        answer::figures(response.headers_mut(), &figures);
        Ok(self.finish(response, Some(op), fault.filter(|_| happened)))
    }

    /// The edge, the token, the path, and what the faults have in store.
    fn enter(&self) -> Result<(Matched, Call, Decision), Box<Response<SimBody>>> {
        let path = self.parts.uri.path();
        let now = Instant::now();
        let mut state = self.shared.state();
        let query_token = self.shared.config.api_token_query_on_v2 || !path.starts_with("/api/v2/");
        let user = state.user(self.parts, query_token);
        if user.is_some_and(|user| state.limits.banned(user, now)) {
            state.ledger.refusals.edge += 1;
            drop(state);
            return Err(Box::new(self.finish(answer::banned(), None, None)));
        }
        let Some(user) = user.filter(|&user| !state.tokens[user].expired) else {
            state.ledger.refusals.unauthorized += 1;
            drop(state);
            return Err(Box::new(self.finish(answer::unauthorized(), None, None)));
        };
        let Some(matched) = ops::find(&self.parts.method, path) else {
            state.ledger.refusals.unknown += 1;
            drop(state);
            let (status, text) = if ops::methods(path).is_empty() {
                (404, "Not found")
            } else {
                (405, "Method not allowed")
            };
            return Err(Box::new(self.finish(answer::error(status, text), None, None)));
        };
        state.ledger.asked(self.number, matched.op);
        let since = now.saturating_duration_since(state.faults_since);
        let expires = state.faults.expires(since);
        let decision = state.faults.decide(Seen {
            method: self.parts.method.as_str(),
            path,
            query: self.parts.uri.query().unwrap_or(""),
        });
        if expires || decision.fault == Some(FaultKind::ExpiredToken) {
            state.tokens[user].expired = true;
            state.ledger.refusals.unauthorized += 1;
            state.ledger.fault(self.number, FaultKind::ExpiredToken);
            drop(state);
            let fault = Some(FaultKind::ExpiredToken);
            return Err(Box::new(self.finish(answer::unauthorized(), Some(matched.op), fault)));
        }
        let write = [Method::POST, Method::PUT, Method::PATCH].contains(&self.parts.method);
        let free = !self.shared.config.failed_calls_cost
            && decision.fault.is_some_and(|kind| kind.server_error().is_some());
        let tokens = if free { 0 } else { u64::from(matched.op.tokens) };
        let call = Call { user, tokens, search: matched.op.search, write };
        Ok((matched, call, decision))
    }

    /// Counts the request, or refuses it.
    fn count(
        &self,
        op: &'static Operation,
        call: Call,
        decision: &Decision,
    ) -> Result<Figures, Box<Response<SimBody>>> {
        let now = Instant::now();
        let wall = self.shared.clock.wall(now);
        let mut state = self.shared.state();
        let (outcome, figures) = state.limits.count(call, now, wall);
        match outcome {
            Ok(()) => {
                state.ledger.charged(self.number, op, call.tokens, now);
                Ok(figures)
            }
            Err(refusal) => {
                state.ledger.refused(op, refusal);
                state.faults.give_back(decision);
                drop(state);
                let mut response = answer::refused(refusal);
                answer::figures(response.headers_mut(), &figures);
                Err(Box::new(self.finish(response, Some(op), None)))
            }
        }
    }

    /// The answer with its fault, and whether the fault could happen to it.
    fn shape(&self, reply: Reply, decision: &Decision) -> (Response<SimBody>, bool) {
        let reply = match decision.fault {
            None => reply,
            Some(_) => reply.whole(&self.shared.account.base),
        };
        let Reply { status, body, rest, .. } = reply;
        if let Some(rest) = rest {
            return (answer::with_body(status, SimBody::rows(self.sim, body, rest)), true);
        }
        let good = (200..300).contains(&status);
        match decision.fault {
            Some(FaultKind::TruncatedJson) => {
                let cut = body.slice(..decision.part(body.len()).min(body.len()));
                (answer::json(status, cut), true)
            }
            Some(FaultKind::ResetInBody) => {
                let connection = self.parts.extensions.get::<Connection>().cloned();
                let body = SimBody::cut(&body, decision.part(body.len()), connection);
                (answer::with_body(status, body), true)
            }
            Some(FaultKind::SlowDrip) => {
                let drip = self.shared.state().faults.faults().drip;
                (answer::with_body(status, SimBody::drip(body, drip)), true)
            }
            Some(FaultKind::Html) => {
                (answer::html(200, "Pipedrive", "We will be back in a moment."), true)
            }
            Some(FaultKind::NullData) if good => {
                (answer::json(status, r#"{"success":true,"data":null}"#), true)
            }
            Some(FaultKind::RepeatedCursor) if good => match self.repeat_cursor(&body) {
                Some(body) => (answer::json(status, body), true),
                None => (answer::json(status, body), false),
            },
            _ => (answer::json(status, body), decision.fault.is_none()),
        }
    }

    /// The body with the cursor that was asked in place of the next one.
    fn repeat_cursor(&self, body: &Bytes) -> Option<Bytes> {
        let query = self.parts.uri.query()?;
        let (_, asked) = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, value)| name == "cursor" && !value.is_empty())?;
        let mut json: serde_json::Value = serde_json::from_slice(body).ok()?;
        let next = json.get_mut("additional_data")?.get_mut("next_cursor")?;
        if !next.is_string() {
            return None;
        }
        *next = asked.into_owned().into();
        Some(json.to_string().into())
    }

    fn reset_before_count(&self) -> f64 {
        self.shared.state().faults.faults().reset_before_count
    }

    /// Ends the connection without an answer: by RST or, as often, by a plain close.
    fn reset(&self, decision: &Decision) -> SimError {
        self.note(FaultKind::Reset);
        if let Some(connection) = self.parts.extensions.get::<Connection>() {
            if decision.dice & 1 == 0 {
                connection.reset();
            } else {
                connection.close();
            }
        }
        SimError::reset()
    }

    fn note(&self, kind: FaultKind) {
        self.shared.state().ledger.fault(self.number, kind);
    }

    fn note_some(&self, kind: Option<FaultKind>) {
        if let Some(kind) = kind {
            self.note(kind);
        }
    }

    /// Names the answer, counts it, tells who listens.
    pub(super) fn finish(
        &self,
        mut response: Response<SimBody>,
        operation: Option<&'static Operation>,
        fault: Option<FaultKind>,
    ) -> Response<SimBody> {
        let status = response.status().as_u16();
        answer::correlate(response.headers_mut(), self.shared.config.seed, self.number);
        let now = Instant::now();
        answer::date(response.headers_mut(), self.shared.clock.wall(now));
        let number = self.shared.state().ledger.answered(self.number, operation, status, now);
        self.shared.tell(&Answered { number, status, operation, fault });
        response
    }
}

async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}
