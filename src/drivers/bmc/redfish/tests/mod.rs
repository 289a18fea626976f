//! Answers of good, slow, wrong and hostile services, without a socket; and a service of somebody else.

mod answers;
mod limits;
mod peer;
