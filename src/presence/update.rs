//! From a payload to the row it writes.

use std::borrow::Cow;

use crate::payload::Value;

use super::body::{Dialog, Mailbox, Party, pidf};
use super::fields::Fields;
use super::row::{Flush, Row};

/// A package that has a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// State of a user.
    Presence,
    /// Mailbox of a user.
    MessageSummary,
    /// Dialogs of a user.
    Dialog,
}

impl Package {
    /// Name on the bus and in the table.
    pub const fn event(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::MessageSummary => "message-summary",
            Self::Dialog => "dialog",
        }
    }
}

/// What a payload says it is about; read by `kazoo_pua_publish` only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressed<'v> {
    /// An update of this package.
    To(Package),
    /// An update of a package without a function.
    Unknown(Cow<'v, str>),
    /// Another event: `Event-Name` is not `update`.
    NoUpdate,
}

/// Reads `Event-Name` and `Event-Package`; both are case-sensitive.
pub fn addressed<'v>(payload: &'v Value<'v>) -> Addressed<'v> {
    let fields = Fields(payload);
    if fields.text("Event-Name") != "update" {
        return Addressed::NoUpdate;
    }
    let name = fields.text("Event-Package");
    let known = [Package::Presence, Package::MessageSummary, Package::Dialog];
    known.into_iter().find(|package| package.event() == name).map_or(Addressed::Unknown(name), Addressed::To)
}

/// What does not come from the payload.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Unix time in seconds.
    pub now: i64,
    /// `pua_include_entity`: dialog bodies contain target elements.
    pub include_entity: bool,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The new row.
    pub row: Row,
    /// Which older rows it replaces.
    pub flush: Flush,
}

/// A payload that cannot be written: these fields are missing, null or empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the payload lacks {}", .0.join(", "))]
pub struct Missing(pub Vec<&'static str>);

/// The row that a payload writes for `package`.
pub fn update(package: Package, payload: &Value<'_>, options: Options) -> Result<Update, Missing> {
    let fields = Fields(payload);
    match package {
        Package::Presence => presence(fields, options),
        Package::MessageSummary => Ok(message_summary(fields, options)),
        Package::Dialog => dialog(fields, options),
    }
}

fn presence(fields: Fields<'_>, options: Options) -> Result<Update, Missing> {
    require(fields, &["From-User", "To-User", "State"])?;
    let body = pidf(&fields.text("From-User"), &fields.text("Call-ID"), &fields.text("State"));
    let sender = fields.first_of(&["Sender-URI", "Switch-URI", "From"]);
    let row = row(Package::Presence, fields, options, sender.into_owned(), body);
    Ok(Update { row, flush: Flush::Presentity })
}

fn message_summary(fields: Fields<'_>, options: Options) -> Update {
    let body = Mailbox {
        waiting: &fields.text("Messages-Waiting"),
        account: &fields.text("Message-Account"),
        new: &fields.text("Messages-New"),
        saved: &fields.text("Messages-Saved"),
        urgent: &fields.text("Messages-Urgent"),
        urgent_saved: &fields.text("Messages-Urgent-Saved"),
    }
    .summary();
    let row = row(Package::MessageSummary, fields, options, fields.text("From").into_owned(), body);
    Update { row, flush: Flush::Presentity }
}

fn dialog(fields: Fields<'_>, options: Options) -> Result<Update, Missing> {
    require(fields, &["From", "To", "State"])?;
    let presentity = Presentity::of(fields);
    let call_id = fields.text("Call-ID");
    let body = dialog_info(fields, &presentity.uri, &call_id, options.include_entity);
    let sender = match fields.first_of(&["Sender-URI", "Switch-URI"]) {
        sender if sender.is_empty() => format!("sip:{call_id}"),
        sender => sender.into_owned(),
    };
    let row = Row {
        username: presentity.user.into_owned(),
        domain: presentity.realm.into_owned(),
        ..row(Package::Dialog, fields, options, sender, body)
    };
    Ok(Update { row, flush: Flush::from_level(fields.int("Flush-Level")) })
}

fn dialog_info(fields: Fields<'_>, entity: &str, call_id: &str, include_entity: bool) -> String {
    let (from, to) = (fields.text("From"), fields.text("To"));
    let (from_uri, to_uri) = (fields.first_of(&["From-URI", "From"]), fields.first_of(&["To-URI", "To"]));
    let (from_user, to_user) = (fields.text("From-User"), fields.text("To-User"));
    Dialog {
        entity,
        id: &fields.first_of(&["Dialog-ID", "Call-ID"]),
        call_id,
        local_tag: &fields.text("From-Tag"),
        remote_tag: &fields.text("To-Tag"),
        direction: &fields.text("Direction"),
        state: &fields.text("State"),
        local: Party { display: &from_user, identity: &from, target: include_entity.then_some(&*from_uri) },
        remote: Party { display: &to_user, identity: &to, target: include_entity.then_some(&*to_uri) },
    }
    .info()
}

/// Whose dialog it is.
struct Presentity<'v> {
    uri: Cow<'v, str>,
    user: Cow<'v, str>,
    realm: Cow<'v, str>,
}

impl<'v> Presentity<'v> {
    /// The `Presentity*` fields if all three are there, else `From*`.
    fn of(fields: Fields<'v>) -> Self {
        let read = |[uri, user, realm]: [&str; 3]| Self {
            uri: fields.text(uri),
            user: fields.text(user),
            realm: fields.text(realm),
        };
        let own = read(["Presentity", "Presentity-User", "Presentity-Realm"]);
        let complete = ![&own.uri, &own.user, &own.realm].iter().any(|part| part.is_empty());
        if complete { own } else { read(["From", "From-User", "From-Realm"]) }
    }
}

/// The columns that all packages fill in the same way.
fn row(package: Package, fields: Fields<'_>, options: Options, sender: String, body: String) -> Row {
    Row {
        event: package.event(),
        domain: fields.text("From-Realm").into_owned(),
        username: fields.text("From-User").into_owned(),
        etag: fields.first_of(&["ETag", "Call-ID"]).into_owned(),
        sender,
        body,
        received_time: column(options.now),
        expires: expires(fields.int("Expires"), options.now),
    }
}

/// More than 0 counts from now; anything else is stored as it is.
fn expires(seconds: i64, now: i64) -> i32 {
    column(if seconds > 0 { seconds.saturating_add(now) } else { seconds })
}

/// A number as the table's 32 bits hold it, saturated.
fn column(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(if number < 0 { i32::MIN } else { i32::MAX })
}

fn require(fields: Fields<'_>, names: &[&'static str]) -> Result<(), Missing> {
    let missing: Vec<_> = names.iter().copied().filter(|name| fields.text(name).is_empty()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}
