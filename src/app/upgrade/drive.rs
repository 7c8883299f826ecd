//! One input of a device's upgrade: the engine steps, and what it wishes becomes requests, rows and
//! news.

use super::ending::end;
use super::pcp;
use super::reading::{self, Reading};
use super::request::ask;
use super::request::{RESULT, STATE};
use super::{Began, Begin, News, Package, UpgradeOrder, What};
use crate::app::command::reply::TokenAnswer;
use crate::app::command::send::{is_reachable, listens_for, wake, was_awake};
use crate::app::order::{OrderError, Told};
use crate::app::report::Taken;
use crate::app::step::{Draft, From, Loaded, Note, Outcome, Step};
use crate::app::trace::{Direction, TraceEntry};
use crate::base::time::Timestamp;
use crate::engine::exchange::Failure;
use crate::engine::upgrade::{self, Ask, Input, Kind, Measured, Reason, Saying, Upgrade, Wish};
use crate::store::upgrades::{
    KindRecord, MemoryRecord, PlaceRecord, StepRecord, UpgradeRecord, WayRecord,
};
use crate::wire::coap::Code;

/// A device that does not sleep listens for as long as anybody may ask.
const LISTENS_ALWAYS_S: u64 = 365 * 86_400;

/// Object 5, where the upgrade observes.
const OBJECT: &str = "/5/";

/// An order of the campaign or of the line.
pub fn order(loaded: &Loaded, order: &UpgradeOrder, now: Timestamp) -> Step {
    match order {
        UpgradeOrder::Begin(begin) => self::begin(loaded, begin, now),
        UpgradeOrder::Admit { task_seq, place } => admit(loaded, *task_seq, *place, now),
        UpgradeOrder::Fetched { done, total } => fetched(loaded, *done, *total, now),
        UpgradeOrder::Pushed { done, total } => pushed(loaded, *done, *total, now),
        UpgradeOrder::Stop { task_seq } => stop(loaded, *task_seq, now),
    }
}

fn begin(loaded: &Loaded, begin: &Begin, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let before = draft.state.upgrade.take();
    let is_ours = |u: &UpgradeRecord| u.task_seq == begin.task_seq && u.index == begin.index;
    if let Some(running) = before.as_ref().filter(|u| u.step != StepRecord::Ended) {
        // A commit that looked failed was not.
        let began = match is_ours(running) && running.tries == begin.tries {
            true => Began::UnderWay,
            false => Began::Conflict,
        };
        return told(began);
    }
    let kind = begin.package.kind;
    // What the device has of the same package is still there.
    let same = before.filter(|u| u.package_id == begin.package.package_id);
    let upgrade = match &same {
        Some(last) => last.engine().again(now),
        None => Upgrade::new(kind, now),
    };
    let mut record = UpgradeRecord {
        task_seq: begin.task_seq,
        index: begin.index,
        package_id: begin.package.package_id.clone(),
        kind: match kind {
            Kind::Firmware => KindRecord::Firmware,
            Kind::Software => KindRecord::Software,
        },
        step: StepRecord::Ended,
        version_at: None,
        measured_at: None,
        ranked_at: None,
        announced: false,
        place: None,
        open: None,
        tries: begin.tries,
        retry: begin.retry,
        // Somebody may try by hand what was given up.
        fruitless: same
            .as_ref()
            .filter(|_| begin.tries > 1)
            .map_or(0, |last| last.fruitless),
        software: MemoryRecord::from(&upgrade.software),
        answers: (loaded.random)(),
        answering: None,
        at: now,
        moved: 0,
        moved_since: now,
        way: WayRecord::Unknown,
        pushed: same.map_or(0, |last| last.pushed),
    };
    record.note(&upgrade);
    draft.state.upgrade = Some(Box::new(record));
    draft.guards.extend(begin.guards.iter().cloned());
    for change in &begin.changes {
        draft.change(change.clone());
    }
    tell(
        &mut draft,
        "an upgrade begins: waits for the device to show itself",
    );
    // One that always listens is there already.
    listens(&mut draft);
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Upgrade(Began::UnderWay)));
    step
}

fn admit(loaded: &Loaded, task_seq: u64, place: PlaceRecord, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let waits = |u: &UpgradeRecord| {
        u.task_seq == task_seq && u.place == Some(place) && u.engine().is_in_line()
    };
    // A commit that looked failed was not.
    let has_it = |u: &UpgradeRecord| u.task_seq == task_seq && u.slot() == Some(place);
    if draft.state.upgrade.as_deref().is_some_and(has_it) {
        return told(Began::UnderWay);
    }
    // A slot is for a device that listens: a sleeping one keeps its rank.
    if !draft.state.upgrade.as_deref().is_some_and(waits) || !is_reachable(&draft) {
        return told(Began::Gone);
    }
    take(&mut draft, Input::Admitted);
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Upgrade(Began::UnderWay)));
    step
}

fn fetched(loaded: &Loaded, done: u32, total: u32, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    if !is_running(&draft) || !take(&mut draft, Input::Fetched) {
        return told(Began::Gone);
    }
    if let Some(upgrade) = &mut draft.state.upgrade {
        (upgrade.moved, upgrade.moved_since) = (done, now);
    }
    news(&mut draft, What::Moved { done, total });
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Upgrade(Began::UnderWay)));
    step
}

/// Blocks of 512 bytes, as others are told.
const UNIT: u32 = 512;

fn pushed(loaded: &Loaded, done: u32, total: u32, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    if !is_running(&draft) {
        return told(Began::Gone);
    }
    take(&mut draft, Input::Fetched);
    let units = done.div_ceil(UNIT);
    if let Some(upgrade) = &mut draft.state.upgrade {
        upgrade.pushed = done;
        (upgrade.moved, upgrade.moved_since) = (units, now);
    }
    let total = total.div_ceil(UNIT);
    news(&mut draft, What::Moved { done: units, total });
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Upgrade(Began::UnderWay)));
    step
}

fn stop(loaded: &Loaded, task_seq: u64, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    let is_it = |u: &UpgradeRecord| u.task_seq == task_seq && u.step != StepRecord::Ended;
    if !draft.state.upgrade.as_deref().is_some_and(is_it) {
        return told(Began::Gone);
    }
    if !take(&mut draft, Input::Stop) {
        return told(Began::UnderWay);
    }
    let mut step = draft.finish(Outcome::Done);
    step.told = Some(Ok(Told::Upgrade(Began::UnderWay)));
    step
}

fn told(began: Began) -> Step {
    Step {
        told: Some(Ok::<_, OrderError>(Told::Upgrade(began))),
        ..Step::default()
    }
}

/// The device listens, as far as is known: its upgrade goes on. True when anything changed.
pub fn reachable(draft: &mut Draft<'_>) -> bool {
    let step = draft.state.upgrade.as_ref().map(|u| u.step);
    let waits = matches!(step, Some(StepRecord::Online { .. }));
    // One that is waited for has to be heard: it may sleep without having said so.
    (!waits || was_awake(draft, draft.now)) && listens(draft)
}

fn listens(draft: &mut Draft<'_>) -> bool {
    is_running(draft) && is_reachable(draft) && take(draft, Input::Reachable)
}

/// It registered.
pub fn registered(draft: &mut Draft<'_>) {
    if is_running(draft) {
        // What was asked before a reboot is not answered any more.
        if let Some(upgrade) = &mut draft.state.upgrade {
            upgrade.open = None;
        }
        take(draft, Input::Registered);
    }
}

/// Ends what its time has come for. True when anything changed.
pub fn overdue(draft: &mut Draft<'_>) -> bool {
    let due = draft
        .state
        .upgrade
        .as_ref()
        .and_then(|u| u.engine().deadline());
    let input = unheard(draft).map_or(Input::Tick, |ask| Input::Lost { ask, asleep: true });
    due.is_some_and(|at| at <= draft.now) && take(draft, input)
}

/// What the device was asked while it slept, as far as is known.
fn unheard(draft: &Draft<'_>) -> Option<Ask> {
    let open = draft.state.upgrade.as_ref()?.open?;
    (!was_awake(draft, open.asked_at)).then(|| Ask::from(open.ask))
}

fn is_running(draft: &Draft<'_>) -> bool {
    let upgrade = draft.state.upgrade.as_ref();
    upgrade.is_some_and(|u| u.step != StepRecord::Ended)
}

/// Whether this token is of a request of the upgrade.
pub fn owns(loaded: &Loaded, token: u64) -> bool {
    let upgrade = loaded.state.upgrade.as_ref();
    let is_its =
        |u: &UpgradeRecord| u.answers == token || u.open.is_some_and(|open| open.token == token);
    upgrade.is_some_and(|u| is_its(u))
}

/// Whether an observation belongs to upgrades.
pub fn is_observed(path: &str) -> bool {
    path.starts_with(OBJECT)
}

/// The device answered such a request.
pub fn answered(loaded: &Loaded, from: From, answer: &TokenAnswer<'_>, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    draft.hear_from(from.origin);
    draft.reply(from.reply, Code::CHANGED, Vec::new());
    if pcp::is_answer(&draft, answer.token) {
        return pcp::arrived(draft, answer.code.is_success());
    }
    let open = draft.state.upgrade.as_mut().and_then(|u| u.open.take());
    let Some(open) = open else {
        return draft.finish(Outcome::Done);
    };
    let ask = Ask::from(open.ask);
    let code = answer.code.to_string();
    if answer.code.is_success() {
        let over_pcp = pcp::is_message(&draft, ask);
        let reading = match over_pcp {
            true => Reading::Done,
            false => reading::answer(ask, answer.payload, answer.content_format),
        };
        take_reading(&mut draft, ask, reading);
    } else if ask == Ask::Push && forget_pushed(&mut draft) {
        // It does not go on in the middle: from the start.
        self::ask(&mut draft, ask);
    } else {
        take(&mut draft, Input::Refused { ask, code: &code });
    }
    wake(&mut draft);
    let mut step = draft.finish(Outcome::Done);
    step.note = Some(Note::new(format!("answered {code} to {}", ask.words())));
    step
}

/// What was written to the device counts no more. True when it had something.
fn forget_pushed(draft: &mut Draft<'_>) -> bool {
    let upgrade = draft.state.upgrade.as_mut();
    upgrade.is_some_and(|u| std::mem::take(&mut u.pushed) > 0)
}

/// Such a request came to nothing: it goes again when the device speaks.
pub fn failed(loaded: &Loaded, token: u64, reason: Failure, now: Timestamp) -> Step {
    let mut draft = Draft::new(loaded, now);
    if pcp::is_answer(&draft, token) {
        return pcp::arrived(draft, false);
    }
    let open = draft.state.upgrade.as_mut().and_then(|u| u.open.take());
    let Some(open) = open else {
        return Step::default();
    };
    let ask = Ask::from(open.ask);
    let asleep = !was_awake(&draft, open.asked_at);
    if reason == Failure::Blockwise {
        forget_pushed(&mut draft);
    }
    match reason {
        Failure::Reset => take(&mut draft, Input::Refused { ask, code: "RST" }),
        Failure::Timeout | Failure::Busy | Failure::Blockwise => {
            take(&mut draft, Input::Lost { ask, asleep })
        }
    };
    draft.finish(Outcome::Done)
}

/// An observation of Object 5 came to nothing. `code`: the device's refusal; `None`: it said nothing.
pub fn unobserved(draft: &mut Draft<'_>, path: &str, code: Option<&str>) {
    let Some(ask) = observation_of(path) else {
        return;
    };
    if let Some(upgrade) = &mut draft.state.upgrade {
        upgrade.open = None;
    }
    match code {
        Some(code) => take(draft, Input::Refused { ask, code }),
        None => take(draft, Input::Lost { ask, asleep: false }),
    };
}

/// The device notified of Object 5, or answered that it observes it. `None`: nobody observes that
/// any more, and the device shall forget it.
pub fn notified(
    draft: &mut Draft<'_>,
    path: &str,
    payload: &[u8],
    content_format: Option<u16>,
) -> Option<Taken> {
    if !is_running(draft) {
        return None;
    }
    let ask = observation_of(path)?;
    if let Some(upgrade) = &mut draft.state.upgrade
        && upgrade.open.is_some_and(|open| Ask::from(open.ask) == ask)
    {
        upgrade.open = None;
    }
    let reading = reading::answer(ask, payload, content_format);
    let summary = match &reading {
        Reading::State(state) => format!("tells its update state: {state}"),
        Reading::Result(result) => format!("tells its update result: {result}"),
        _ => format!("tells of {path} what can't be read"),
    };
    take_reading(draft, ask, reading);
    Some(Taken::new(Outcome::Done, Note::new(summary)))
}

fn observation_of(path: &str) -> Option<Ask> {
    match path {
        STATE => Some(Ask::ObserveState),
        RESULT => Some(Ask::ObserveResult),
        _ => None,
    }
}

fn take_reading(draft: &mut Draft<'_>, ask: Ask, reading: Reading) -> bool {
    match reading {
        Reading::Version(version) => {
            note_version(draft, &version);
            take(draft, Input::Said(Saying::Version(&version)))
        }
        Reading::State(state) => {
            // Nothing is begun: what was written to it is gone.
            if state == 0
                && let Some(upgrade) = &mut draft.state.upgrade
            {
                upgrade.pushed = 0;
            }
            take(draft, Input::Said(Saying::State(state)))
        }
        Reading::Delivery(delivery) => take(draft, Input::Said(Saying::Delivery(delivery))),
        Reading::Result(result) => take(draft, Input::Said(Saying::Result(result))),
        Reading::Done => take(draft, Input::Said(Saying::Done(ask))),
        Reading::Radio(radio) => {
            let place = draft.loaded.levels.place(radio).map(PlaceRecord::from);
            let measured = match place {
                Some(_) => Measured::Cell,
                None => Measured::Nothing,
            };
            // A late answer moves nobody who stands in line or holds a slot already.
            if let Some(upgrade) = &mut draft.state.upgrade
                && matches!(
                    upgrade.step,
                    StepRecord::Coverage { .. } | StepRecord::Cell { .. }
                )
            {
                upgrade.place = place.or(upgrade.place);
            }
            take(draft, Input::Measured(measured))
        }
        // As good as no answer: its time decides.
        Reading::Unreadable => take(
            draft,
            Input::Refused {
                ask,
                code: "something unreadable",
            },
        ),
    }
}

/// What the device itself says of its version is shown with it.
fn note_version(draft: &mut Draft<'_>, version: &str) {
    let kind = draft.state.upgrade.as_ref().map(|u| u.kind);
    match kind {
        Some(KindRecord::Firmware) => draft.state.fw_version = Some(version.to_owned()),
        Some(KindRecord::Software) => draft.state.sw_version = Some(version.to_owned()),
        None => {}
    }
}

/// Steps the engine; does what it wishes. True when anything changed.
pub fn take(draft: &mut Draft<'_>, input: Input<'_>) -> bool {
    let Some(record) = draft.state.upgrade.as_deref() else {
        return false;
    };
    let before = record.engine();
    let mut upgrade = before;
    let package = draft.loaded.package.clone();
    let wishes = match package.as_deref().map(Package::target) {
        Some(target) => upgrade.step(draft.now, input, &target),
        // A package in use can't be deleted, but for its product's end or damage.
        None => vec![Wish::End(upgrade::Outcome::Failed(Reason::NoPackage))],
    };
    let changed = upgrade != before;
    draft.is_passing &= wishes.is_empty();
    note(draft, &upgrade);
    follow(draft, &upgrade, wishes) | changed
}

/// The row as the engine left it.
pub(super) fn note(draft: &mut Draft<'_>, upgrade: &Upgrade) {
    let now = draft.now;
    if let Some(record) = &mut draft.state.upgrade {
        record.note(upgrade);
        record.at = now;
    }
}

/// Does what the engine wishes. True when that changed anything.
pub(super) fn follow(draft: &mut Draft<'_>, upgrade: &Upgrade, wishes: Vec<Wish>) -> bool {
    let mut changed = false;
    for wish in wishes {
        changed |= match wish {
            Wish::Ask(what) => ask(draft, what),
            Wish::Line => line(draft, upgrade),
            Wish::End(outcome) => {
                end(draft, &outcome);
                true
            }
        };
    }
    changed
}

fn line(draft: &mut Draft<'_>, upgrade: &Upgrade) -> bool {
    let Some(record) = draft.state.upgrade.as_deref() else {
        return false;
    };
    let (Some(place), Some(ranked_at)) = (record.place, upgrade.ranked_at) else {
        return false;
    };
    let what = What::Waits {
        task_seq: record.task_seq,
        place,
        ranked_at,
        attempt: record.attempt(),
        awake_until: is_reachable(draft).then(|| match listens_for(draft) {
            Some(span) => draft
                .now
                .plus_ms(u64::try_from(span.as_millis()).unwrap_or(0)),
            None => draft.now.plus_s(LISTENS_ALWAYS_S),
        }),
    };
    news(draft, what);
    true
}

/// Tells those who look over all devices, once it is durable.
pub fn news(draft: &mut Draft<'_>, what: What) {
    let device = &draft.loaded.device;
    draft.news.push(News {
        device_id: device.device_id.clone(),
        device_seq: device.seq,
        what,
    });
}

/// For the device's trace.
pub fn tell(draft: &mut Draft<'_>, summary: &str) {
    draft.trace(|now| TraceEntry::new(now, "upgrade", Direction::Platform, summary));
}
