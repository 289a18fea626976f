//! Boxes as people have them, in the order in which a person meets them: life and death of one, many troubles in one, the tutorial, the page.

mod alone;
mod balance;
mod boxed;
mod canary;
mod life;
mod page;
mod real_api;
mod scrape;
mod soak;
mod tutorial;
