//! The ring as a whole: scenarios by name, random runs under faults, the checker over all of them.

mod evs;
mod net;
mod runs;
mod scenarios;
