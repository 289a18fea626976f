//! Text of objects into the types of `base`. A server has checked most of it; objects from an older server or from a
//! file have to meet the same words.

use std::{net::IpAddr, str::FromStr, time::Duration};

use api::{
    names::reason,
    text::{Address, Span},
};
use base::InvalidId;

use crate::Problem;

/// Collects what is wrong with one object.
#[derive(Default)]
pub(crate) struct Faults(pub(crate) Vec<Problem>);

impl Faults {
    /// Something is wrong with the value at `path`.
    pub(crate) fn add(&mut self, path: &str, message: impl std::fmt::Display) {
        self.0.push(Problem::fatal(reason::INVALID, format!("{path}: {message}")));
    }

    /// An id.
    pub(crate) fn id<T: FromStr<Err = InvalidId>>(&mut self, path: &str, text: &str) -> Option<T> {
        text.parse().map_err(|e| self.add(path, e)).ok()
    }

    /// A time span.
    pub(crate) fn span(&mut self, path: &str, text: &Span) -> Duration {
        text.duration().unwrap_or_else(|| {
            self.add(path, format!("{:?} needs a whole number and a unit, for example 5s", text.0));
            Duration::ZERO
        })
    }

    /// A time span, if there is one.
    pub(crate) fn maybe_span(&mut self, path: &str, text: Option<&Span>) -> Option<Duration> {
        text.map(|t| self.span(path, t))
    }

    /// A time span in milliseconds; `default` where it is left out.
    pub(crate) fn ms(&mut self, path: &str, text: Option<&Span>, default: u32) -> u32 {
        let Some(span) = self.maybe_span(path, text) else { return default };
        u32::try_from(span.as_millis()).unwrap_or_else(|_| {
            self.add(path, "is longer than 49 days");
            default
        })
    }

    /// An address.
    pub(crate) fn address(&mut self, path: &str, text: &Address) -> Option<IpAddr> {
        let parsed = text.as_str().parse().ok();
        if parsed.is_none() {
            self.add(path, format!("{:?} must be an address without prefix", text.0));
        }
        parsed
    }

    /// A number within the limits of a smaller type.
    pub(crate) fn number<T: TryFrom<u32>>(&mut self, path: &str, value: u32) -> Option<T> {
        T::try_from(value).map_err(|_| self.add(path, format!("{value} is too large"))).ok()
    }
}
