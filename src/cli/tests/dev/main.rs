//! Boxes as people have them, in the order in which a person meets them: life and death of one, many troubles in one, the tutorial.

mod boxed;
mod life;
mod soak;
mod tutorial;
