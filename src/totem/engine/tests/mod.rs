//! The ring as a whole: scenarios by name, random runs under faults, the checker over all of them.

mod broken_links;
mod evs;
mod hostile;
mod net;
mod reform;
mod refused;
mod runs;
mod scenarios;
