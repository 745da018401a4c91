//! The documents that watchers get. For plain values byte for byte those of the C module.

use std::fmt::Write as _;

use super::xml::escape;

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
const PIDF: &str = "urn:ietf:params:xml:ns:pidf";
const DATA_MODEL: &str = "urn:ietf:params:xml:ns:pidf:data-model";
const RPID: &str = "urn:ietf:params:xml:ns:pidf:rpid";
const CIPID: &str = "urn:ietf:params:xml:ns:pidf:cipid";
const DIALOG_INFO: &str = "urn:ietf:params:xml:ns:dialog-info";
/// Call-ID of the one dialog of a document that says "no dialog": the constant that watchers of the C module know.
const NO_CALL: &str = "76001e23e09704ea9e1257ebea85e1f3";

/// PIDF for the state of a user: `state` is `early`, `confirmed`, `offline`, or anything else for available.
pub fn pidf(user: &str, call_id: &str, state: &str) -> String {
    let (basic, note, activity) = match state {
        "early" => ("open", "Busy", "<rpid:busy/>"),
        "confirmed" => ("open", "On the Phone", "<rpid:on-the-phone/>"),
        "offline" => ("closed", "Offline", ""),
        _ => ("open", "Available", ""),
    };
    let (user, call_id) = (escape(user), escape(call_id));
    format!(
        "{XML}<presence xmlns=\"{PIDF}\" xmlns:dm=\"{DATA_MODEL}\" xmlns:rpid=\"{RPID}\" xmlns:c=\"{CIPID}\" \
         entity=\"{user}\"> \
         <tuple xmlns=\"{PIDF}\" id=\"{call_id}\"><status><basic>{basic}</basic></status></tuple>\
         <note xmlns=\"{PIDF}\">{note}</note>\
         <dm:person xmlns:dm=\"{DATA_MODEL}\" xmlns:rpid=\"{RPID}\" id=\"1\">\
         <rpid:activities>{activity}</rpid:activities><dm:note>{note}</dm:note></dm:person></presence>"
    )
}

/// Counters of a mailbox; each is a text, empty when the payload has none.
#[derive(Clone, Copy, Debug)]
pub struct Mailbox<'t> {
    /// `yes` or `no`.
    pub waiting: &'t str,
    /// Address of the mailbox.
    pub account: &'t str,
    /// New messages.
    pub new: &'t str,
    /// Old messages.
    pub saved: &'t str,
    /// New urgent messages.
    pub urgent: &'t str,
    /// Old urgent messages.
    pub urgent_saved: &'t str,
}

impl Mailbox<'_> {
    /// The message-summary document: lines, not XML. A line end inside a value becomes a blank, so that no value makes
    /// a line of its own.
    pub fn summary(&self) -> String {
        let one_line = |text: &str| text.replace(['\r', '\n'], " ");
        format!(
            "Messages-Waiting: {}\r\nMessage-Account: {}\r\nVoice-Message: {}/{} ({}/{})\r\n",
            one_line(self.waiting),
            one_line(self.account),
            one_line(self.new),
            one_line(self.saved),
            one_line(self.urgent),
            one_line(self.urgent_saved)
        )
    }
}

/// One end of a dialog.
#[derive(Clone, Copy, Debug)]
pub struct Party<'t> {
    /// Shown name.
    pub display: &'t str,
    /// Address of record.
    pub identity: &'t str,
    /// Where it is reached; `None`: not told.
    pub target: Option<&'t str>,
}

/// A dialog as its watchers see it.
#[derive(Clone, Copy, Debug)]
pub struct Dialog<'t> {
    /// Whose dialog it is.
    pub entity: &'t str,
    /// Id of the dialog.
    pub id: &'t str,
    /// Call-ID; empty: there is no dialog.
    pub call_id: &'t str,
    /// Tag of the local end; empty: not told.
    pub local_tag: &'t str,
    /// Tag of the remote end; empty: not told.
    pub remote_tag: &'t str,
    /// `initiator` or `recipient`.
    pub direction: &'t str,
    /// State of the dialog.
    pub state: &'t str,
    /// The watched end.
    pub local: Party<'t>,
    /// The other end.
    pub remote: Party<'t>,
}

impl Dialog<'_> {
    /// The dialog-info document.
    pub fn info(&self) -> String {
        let entity = escape(self.entity);
        let dialog = if self.call_id.is_empty() { no_dialog() } else { self.element() };
        format!(
            "{XML}<dialog-info xmlns=\"{DIALOG_INFO}\" version=\"1\" state=\"full\" entity=\"{entity}\">\
             {dialog}</dialog-info>"
        )
    }

    fn element(&self) -> String {
        let (id, call_id) = (escape(self.id), escape(self.call_id));
        let (direction, state) = (escape(self.direction), escape(self.state));
        let (local_tag, remote_tag) = (tag("local-tag", self.local_tag), tag("remote-tag", self.remote_tag));
        let (local, remote) = (self.local.element("local"), self.remote.element("remote"));
        format!(
            "<dialog id=\"{id}\" call-id=\"{call_id}\" {local_tag} {remote_tag} direction=\"{direction}\">\
             <state>{state}</state>{local}{remote}</dialog>"
        )
    }
}

/// A document with no dialog at all would leave a watcher with the last state it knew.
fn no_dialog() -> String {
    format!(" <dialog call-id=\"{NO_CALL}\" direction=\"initiator\"><state>terminated</state></dialog>")
}

/// An attribute, or nothing for an empty value; the blanks around it stay either way.
fn tag(name: &str, value: &str) -> String {
    if value.is_empty() { String::new() } else { format!("{name}=\"{}\"", escape(value)) }
}

impl Party<'_> {
    fn element(&self, name: &str) -> String {
        let (display, identity) = (escape(self.display), escape(self.identity));
        let mut out = format!("<{name}><identity display=\"{display}\">{identity}</identity>");
        if let Some(target) = self.target {
            // Writing to a String cannot fail.
            let _ = write!(out, "<target uri=\"{}\"/>", escape(target));
        }
        out + &format!("</{name}>")
    }
}
