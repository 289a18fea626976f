//! Answers of good, slow, wrong and hostile services, without a socket.

mod answers;
mod limits;
