//! Legal moves as a table (STYLE.md 5): each line an event with its source states and its target.
//!
//! Out of the table fall an event enum, a total function from (state, event) to the next state, the whole matrix
//! as text and a DOT graph; the last two are snapshots, so a reviewer sees every changed edge.

/// Declares the events of a state machine over an existing fieldless `Copy + Eq + Debug` state enum.
///
/// ```
/// #[derive(Clone, Copy, Debug, PartialEq, Eq)]
/// pub enum Door { Open, Closed }
/// base::transitions! {
///     /// What may happen to a door.
///     pub Door by DoorEvent [Open, Closed]:
///     shut(Open) => Closed;
///     open(Closed) => Open;
/// }
/// assert_eq!(DoorEvent::shut.apply(Door::Open), Some(Door::Closed));
/// assert_eq!(DoorEvent::shut.apply(Door::Closed), None);
/// assert!(DoorEvent::matrix().contains("shut"));
/// ```
#[macro_export]
macro_rules! transitions {
    ($(#[$doc:meta])* $vis:vis $state:ident by $event:ident [$($all:ident),+ $(,)?]:
     $($name:ident($($from:ident)|+) => $to:ident;)+) => {
        $(#[$doc])*
        #[allow(non_camel_case_types, missing_docs, reason = "named as the table's rows")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $event { $($name),+ }

        impl $event {
            /// Every event, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            /// Every state, in the order of the table.
            pub const STATES: &'static [$state] = &[$($state::$all),+];

            /// The state after this event, `None` where the move is illegal.
            pub const fn apply(self, state: $state) -> ::core::option::Option<$state> {
                match (self, state) {
                    $((Self::$name, $($state::$from)|+) => ::core::option::Option::Some($state::$to),)+
                    #[allow(unreachable_patterns, reason = "a table may be total")]
                    _ => ::core::option::Option::None,
                }
            }

            /// States against events, one event a line, for snapshots.
            pub fn matrix() -> $crate::__alloc::string::String {
                use ::core::fmt::Write as _;
                let mut out = $crate::__alloc::string::String::new();
                for event in Self::ALL {
                    let _ = write!(out, "{event:?}:");
                    for state in Self::STATES {
                        match event.apply(*state) {
                            ::core::option::Option::Some(next) => { let _ = write!(out, " {state:?}->{next:?}"); }
                            ::core::option::Option::None => { let _ = write!(out, " {state:?}-x"); }
                        }
                    }
                    out.push('\n');
                }
                out
            }

            /// The same as a DOT graph, for the documentation.
            pub fn dot() -> $crate::__alloc::string::String {
                use ::core::fmt::Write as _;
                let mut out = $crate::__alloc::string::String::from("digraph {\n");
                for event in Self::ALL {
                    for state in Self::STATES {
                        if let ::core::option::Option::Some(next) = event.apply(*state) {
                            let _ = writeln!(out, "  {state:?} -> {next:?} [label=\"{event:?}\"];");
                        }
                    }
                }
                out.push_str("}\n");
                out
            }
        }
    };
}
