//! Reads a Pacemaker CIB (configuration and status, schemas 1.3 to 3.10) into the policy model.
//!
//! Promises: never panics, whatever the bytes; everything has a limit; each error names line, column and element and
//! says what to do. What Pacemaker itself ignores with a warning (references to what does not exist) is left to the
//! engine, which warns too. Never: files, sockets, clocks.
//!
//! ```text
//!   XML ─▶ document (limits, id-ref) ─▶ configuration, resources, constraints, status ─▶ policy::Model
//! ```
//!
//! Follows "Pacemaker Explained"; `fencing-*` and `stonith-*` names both pass and mean the same.
#![forbid(unsafe_code)]

mod bundles;
mod configuration;
mod constraints;
mod dates;
mod document;
mod outline;
mod remote;
mod resources;
mod rules;
mod status;

pub use dates::parse_instant;
pub use document::{BYTES_MAX, DEPTH_MAX, ELEMENTS_MAX, Error};

use policy::Model;

/// A CIB as read: the model, and what the file says about time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cib {
    /// The model; its `now` is `execution-date`, or zero without one.
    pub model: Model,
    /// `execution-date` in seconds since 1970, which stands for the clock when the file was written.
    pub execution_date: Option<i64>,
}

/// Reads a CIB.
///
/// # Errors
/// [`Error`] with line, column and element; nothing of the text is kept.
pub fn read(text: &str) -> Result<Cib, Error> {
    let xml = document::parse(text)?;
    let doc = document::Document::index(&xml)?;
    let mut model = Model::default();
    let root = doc.root;
    doc.check_version(root)?;
    model.quorate = document::boolean(root.attribute("have-quorum")).unwrap_or(false);
    model.coordinator = root.attribute("dc-uuid").map(str::to_owned);
    model.had_quorum = document::boolean(root.attribute("no-quorum-panic")).unwrap_or(false);
    model.have_watchdog = document::boolean(root.attribute("have-watchdog")).unwrap_or(false);
    let execution_date = match root.attribute("execution-date") {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .map_err(|_| doc.error(root, "execution-date must be seconds since 1970"))?,
        ),
    };
    model.now = execution_date.unwrap_or(0);
    let Some(section) = document::child(root, "configuration") else {
        return Err(
            doc.error(root, "has no <configuration>; pass the output of `cibadmin --query`")
        );
    };
    configuration::read(&doc, section, &mut model)?;
    let mut names = resources::read(&doc, section, &mut model)?;
    bundles::expand(&doc, section, &mut names, &mut model)?;
    remote::expand(&doc, section, &mut names, &mut model)?;
    constraints::read(&doc, section, &names, &mut model)?;
    if let Some(section) = document::child(root, "status") {
        status::read(&doc, section, &mut model)?;
    }
    model.validate().map_err(|error| doc.error(root, &error.to_string()))?;
    Ok(Cib { model, execution_date })
}
