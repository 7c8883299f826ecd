//! Register, Update and Deregister of one device, as steps.
//!
//! A registration belongs to the device, not to its address. Its location and observation tokens
//! are made once and kept as long as the device: what a rebooted device still knows stays true.
//! An Update of a registration whose lifetime has passed revives it: some clients never register
//! again once they were answered 4.04. After a Deregister the answer is 4.04.

use super::command::send::set_down;
use super::downlink::{answer_wait_ms, observe, observe_again, resume_observed};
use super::step::{
    Draft, From, Input, Loaded, Note, Outcome, Refusal, Reply, Step, Unobserved, place, refusal,
};
use super::upgrade;
use super::wake::wake;
use crate::base::time::Timestamp;
use crate::engine::exchange::Resume;
use crate::engine::observe::{RAW_PATH, UPLINK_PATH};
use crate::engine::registration::{LINKS_MAX, Register, Update, location_text};
use crate::store::records::{
    ObservationRecord, ObservationStatus, RegistrationKind, RegistrationRecord,
};
use crate::wire::coap::{Code, option};
use crate::wire::lwm2m::ObjectList;

/// Object of the data container.
const CONTAINER_OBJECT: u16 = 19;

/// Why an update of an ended registration is refused, and what follows.
const DEREGISTERED: &str = "the device has deregistered";
const REGISTERS_ANEW: &str = "it registers anew by itself; if it does not, restart its client";

/// Random numbers nobody can guess and no device has yet.
pub struct Fresh {
    pub location: u64,
    pub token: u64,
}

/// `POST /rd?ep=…` and `POST /t/r?ep=…`.
pub fn register(
    loaded: &Loaded,
    from: From,
    register: &Register,
    kind: RegistrationKind,
    links: &str,
    now: Timestamp,
    fresh: &Fresh,
) -> Step {
    let mut draft = Draft::new(loaded, now);
    // A repeated Register is taken again, as it costs nothing: location and token stay, and if
    // it was a crash that came between, the device still has to be observed. The device may also
    // have rebooted and use its message ids again; so its answer is kept only for as long as it
    // repeats itself.
    draft.state.recent.clear();
    draft.remember_for = loaded.timing().max_transmit_span();
    draft.state.location.get_or_insert(fresh.location);
    draft.state.registration = Some(RegistrationRecord {
        kind,
        peer: from.origin.address(),
        registered_at: now,
        updated_at: now,
        lifetime_s: register.lifetime_s,
        lwm2m: match kind {
            RegistrationKind::Lwm2m => register.version.as_str().to_owned(),
            RegistrationKind::Raw => String::new(),
        },
        binding: register.binding.clone(),
        queue_mode: register.queue_mode,
        links: bounded(links),
        endpoint: register.endpoint.clone(),
        secured: from.origin.is_secured(),
    });
    draft.hear(from);
    let location = location_options(&draft, kind);
    draft.reply(from.reply, Code::CREATED, location);
    match kind {
        RegistrationKind::Lwm2m if has_container(links) => {
            observe(&mut draft, UPLINK_PATH, fresh.token);
        }
        RegistrationKind::Lwm2m => {}
        RegistrationKind::Raw => observe(&mut draft, RAW_PATH, fresh.token),
    }
    // Whatever it was about to say before it started anew, it says anew; and it owes no answers. But
    // those that it has sent already may come after this, and not each that registers has started anew.
    draft.state.queue.more_follows = false;
    let late_ms = u64::try_from(loaded.timing().exchange_lifetime.as_millis()).unwrap_or(u64::MAX);
    let owed_at = draft.state.queue.debts_at;
    if owed_at.is_none_or(|at| now.since_ms(at) >= late_ms) {
        draft.state.queue.debts = 0;
    }
    upgrade::drive::registered(&mut draft);
    wake(&mut draft);
    let mut step = draft.finish(Outcome::Registered);
    step.note = Some(Note::new(format!(
        "registered as {} for {} s from {}",
        register.endpoint, register.lifetime_s, from.origin
    )));
    step
}

/// `POST /rd/<location>`.
pub fn update(
    loaded: &Loaded,
    from: From,
    update: &Update,
    links: Option<&str>,
    now: Timestamp,
) -> Step {
    let mut draft = Draft::new(loaded, now);
    let Some(registration) = &mut draft.state.registration else {
        return Step::refuse(from.reply, Code::NOT_FOUND, DEREGISTERED, REGISTERS_ANEW);
    };
    if loaded.is_duplicate(from, now) && !loaded.is_anything_forgotten() {
        draft.reply(from.reply, Code::CHANGED, Vec::new());
        return draft.repeat();
    }
    place(registration, from.origin);
    registration.updated_at = now;
    if let Some(lifetime_s) = update.lifetime_s {
        registration.lifetime_s = lifetime_s;
    }
    if let Some(binding) = &update.binding {
        registration.binding.clone_from(binding);
    }
    if let Some(queue_mode) = update.queue_mode {
        registration.queue_mode = queue_mode;
    }
    if let Some(links) = links {
        registration.links = bounded(links);
    }
    let kind = registration.kind;
    draft.remember(from.key);
    draft.hear(from);
    draft.reply(from.reply, Code::CHANGED, Vec::new());
    if kind == RegistrationKind::Lwm2m {
        observe_again(&mut draft);
    }
    wake(&mut draft);
    let mut step = draft.finish(Outcome::Updated);
    step.note = Some(Note::new(format!(
        "updated its registration from {}",
        from.origin
    )));
    step
}

/// `DELETE /rd/<location>`.
pub fn deregister(loaded: &Loaded, from: From, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    if loaded.is_duplicate(from, now) {
        draft.reply(from.reply, Code::DELETED, Vec::new());
        return draft.repeat();
    }
    if draft.state.registration.take().is_none() {
        return Step::refuse(from.reply, Code::NOT_FOUND, DEREGISTERED, REGISTERS_ANEW);
    }
    draft.remember(from.key);
    draft.hear(from);
    draft.reply(from.reply, Code::DELETED, Vec::new());
    let open = draft.state.queue.open.iter();
    let tokens: Vec<u64> = open.map(|o| o.token).collect();
    set_down(&mut draft, &tokens);
    let mut step = draft.finish(Outcome::Deregistered);
    step.note = Some(Note::new("deregistered"));
    step
}

/// A request of ours came to nothing. A timeout leaves the observation to be asked for again when
/// the device next shows itself; a refusal leaves it until the next registration. `reply`: to the
/// answer that said so, if it waits for one.
pub fn observe_failed(
    loaded: &Loaded,
    reply: Reply,
    token: u64,
    why: Unobserved,
    now: Timestamp,
) -> Step {
    let (error, hint) = match why {
        Unobserved::Refused => (
            "the device refused",
            "it reports nothing over LwM2M: has it the object 19, or what does its firmware observe? \
             It is asked again when it registers",
        ),
        Unobserved::Unsent => (
            "the device listened no longer when other exchanges had ended",
            "none is needed: it is asked when it next shows itself",
        ),
        Unobserved::Unanswered => (
            "no answer",
            "it is asked again when it next shows itself; if that goes on, it sleeps too early, or \
             coap.ack_timeout_s of the product's settings is too short for its radio",
        ),
    };
    let note = Some(Note::failed(
        "the observation was not established",
        error,
        hint,
    ));
    let mut draft = Draft::new(loaded, now);
    draft.reply(reply, Code::CHANGED, Vec::new());
    let path = draft.path_observed(token).unwrap_or_default();
    if upgrade::drive::is_observed(&path) {
        let code = (why == Unobserved::Refused).then_some("that it can't be observed");
        upgrade::drive::unobserved(&mut draft, &path, code);
        let mut step = draft.finish(Outcome::Done);
        step.note = note;
        return step;
    }
    let observation = draft
        .state
        .observations
        .iter_mut()
        .find(|o| o.token == token);
    let (status, asked_at) = match why {
        Unobserved::Refused => (ObservationStatus::Refused, None),
        Unobserved::Unanswered => (ObservationStatus::Asked, None),
        // No answer can come: it is asked for again without delay.
        Unobserved::Unsent => (ObservationStatus::Asked, Some(Timestamp::from_ms(0))),
    };
    let is_new =
        |o: &ObservationRecord| o.status != status || asked_at.is_some_and(|at| at != o.asked_at);
    match observation {
        Some(observation) if is_new(observation) => {
            observation.status = status;
            observation.asked_at = asked_at.unwrap_or(observation.asked_at);
            let mut step = draft.finish(Outcome::Done);
            step.note = note;
            step
        }
        Some(_) | None => Step {
            note,
            ..draft.answer(Outcome::Done)
        },
    }
}

/// What whoever may not speak for the device gets: a request is refused with 4.03, a notification
/// with a reset. That ends the observation at the device, so it is asked for again when the device
/// may come back; unless it was another's device, which changes nothing.
pub fn refuse(loaded: &Loaded, input: &Input, why: Refusal, now: Timestamp) -> Step {
    let answer = input.reply().and_then(|r| refusal(r, Code::FORBIDDEN));
    if answer.is_none() && input.notifies().is_none() {
        return Step::default();
    }
    let mut step = Step::answer(answer.into_iter().collect(), Outcome::Refused);
    if let Some(token) = input.notifies()
        && why != Refusal::Foreign
    {
        let mut draft = Draft::new(loaded, now);
        let lost = |o: &&mut ObservationRecord| {
            o.token == token && o.status == ObservationStatus::Established
        };
        if let Some(observation) = draft.state.observations.iter_mut().find(lost) {
            observation.status = ObservationStatus::Asked;
            step.effects.drain(..).for_each(|e| draft.effect(e));
            step = draft.finish(Outcome::Refused);
        }
    }
    let refused = format!("refused with {}", Code::FORBIDDEN);
    step.note = Some(Note::failed(refused, why.as_str(), why.hint()));
    step
}

/// A notification with an unknown token was reset: the device observes for somebody of before, so
/// it is asked to observe for us.
pub fn strayed(loaded: &Loaded, now: Timestamp, fresh: &Fresh) -> Step {
    let kind = loaded.state.registration.as_ref().map(|r| r.kind);
    let Some(kind) = kind else {
        return Step::default();
    };
    // One request is on its way already: answering each stray would make a stranger's datagrams
    // cost the device its battery.
    let wait_ms = answer_wait_ms(loaded);
    if loaded
        .state
        .observations
        .iter()
        .any(|o| now.since_ms(o.asked_at) < wait_ms)
    {
        return Step::default();
    }
    let mut draft = Draft::new(loaded, now);
    let path = match kind {
        RegistrationKind::Lwm2m => UPLINK_PATH,
        RegistrationKind::Raw => RAW_PATH,
    };
    observe(&mut draft, path, fresh.token);
    let mut step = draft.finish(Outcome::Done);
    step.note = Some(Note::new(
        "sent a notification of an unknown observation: observed again",
    ));
    step
}

/// A notification's body goes on in further blocks: ask for them. It is acknowledged when the whole
/// body has had its effect.
pub fn fetch_rest(loaded: &Loaded, token: u64, resume: &Resume, now: Timestamp) -> Step {
    let reply = resume.settle.map_or(Reply::None, Reply::Notification);
    let path = loaded
        .state
        .observations
        .iter()
        .find(|o| o.token == token)
        .map(|o| &o.path);
    let Some(path) = path else {
        let hint = "none is needed: the device is asked to observe anew when it registers";
        return Step::refuse(reply, Code::FORBIDDEN, "not observed", hint);
    };
    let mut draft = Draft::new(loaded, now);
    resume_observed(&mut draft, path, token, resume.clone());
    draft.finish(Outcome::Done)
}

/// Dispatches the inputs of this page; `None` for others.
pub fn step(loaded: &Loaded, input: &Input, now: Timestamp, fresh: &Fresh) -> Option<Step> {
    Some(match input {
        Input::Register {
            from,
            register: r,
            kind,
            links,
        } => register(loaded, *from, r, *kind, links, now, fresh),
        Input::Update {
            from,
            update: u,
            links,
        } => update(loaded, *from, u, links.as_deref(), now),
        Input::Deregister { from } => deregister(loaded, *from, now),
        Input::ObserveFailed {
            reply, token, why, ..
        } => observe_failed(loaded, *reply, *token, *why, now),
        Input::Strayed { .. } => strayed(loaded, now, fresh),
        // The exchange layer has answered and counted it.
        Input::Repeated { .. } => Step {
            outcome: Outcome::Done,
            ..Draft::new(loaded, now).repeat()
        },
        Input::Partial { token, resume, .. } => fetch_rest(loaded, *token, resume, now),
        Input::Report { .. }
        | Input::Acknowledged { .. }
        | Input::Answered { .. }
        | Input::RequestFailed { .. }
        | Input::Resume { .. }
        | Input::Order { .. }
        | Input::Over { .. }
        | Input::Due
        | Input::Changed => return None,
    })
}

/// `/rd/<location>` as Location-Path; raw devices need none.
fn location_options(draft: &Draft<'_>, kind: RegistrationKind) -> Vec<(u16, Vec<u8>)> {
    match (kind, draft.state.location) {
        (RegistrationKind::Lwm2m, Some(location)) => vec![
            (option::LOCATION_PATH, b"rd".to_vec()),
            (option::LOCATION_PATH, location_text(location).into_bytes()),
        ],
        (RegistrationKind::Lwm2m, None) | (RegistrationKind::Raw, _) => Vec::new(),
    }
}

/// Whether the device has a data container. One that lists nothing readable may have it.
fn has_container(links: &str) -> bool {
    match ObjectList::parse(links.as_bytes()) {
        Ok(list) => list.objects.is_empty() || list.object(CONTAINER_OBJECT).is_some(),
        Err(_) => true,
    }
}

/// The list, cut at a character when it is longer than is kept.
fn bounded(links: &str) -> String {
    let mut end = links.len().min(LINKS_MAX);
    while !links.is_char_boundary(end) {
        end -= 1;
    }
    links.get(..end).unwrap_or_default().to_owned()
}
