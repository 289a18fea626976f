//! The IPMI client against a double of our own (both suites), against `ipmi_sim` (suite 3), and against noise.

mod noise;
mod real;
mod udp;
mod vectors;
