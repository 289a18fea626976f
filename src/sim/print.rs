//! Lines for people. Who reads only the beginning (`| head`) ends the program and does not make it panic.

use std::{fmt, io::Write};

/// What a shell says of a program that wrote into a closed pipe.
const BROKEN_PIPE: i32 = 141;

/// A line on stdout.
pub fn line(text: fmt::Arguments<'_>) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(BROKEN_PIPE);
    }
}

/// A line on stderr, where progress goes; nobody has to read it.
pub fn progress(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
