//! Promises of the store, each broken on purpose: proof that whoever judges histories notices.
//!
//! With the cargo feature `mutations`, which nothing that serves turns on, the environment variable `CHASQUI_MUTATION` names the one that
//! is not kept. Without the feature `mutated` is the constant `false`, and nothing of this is compiled in.
//!
//! To add one: a name here, which says what the broken server does; `&& !mutated(…)` or `|| mutated(…)` at the place in the code that keeps
//! the promise; and a line in `sim/tests/mutants.rs`.

/// Makes `Mutation` of these names, and `mutated`, in whichever crate names some; the feature is that of the crate.
#[doc(hidden)]
#[macro_export]
macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A promise to be broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutation { $($(#[$doc])* $name,)* }

        impl Mutation {
            /// All of them, with their names.
            pub const ALL: &[(&str, Mutation)] = &[$((stringify!($name), Mutation::$name),)*];
        }

        /// Whether this promise is to be broken.
        #[cfg(not(feature = "mutations"))]
        #[inline]
        pub(crate) const fn mutated(_: Mutation) -> bool {
            false
        }

        /// Whether this promise is to be broken.
        #[cfg(feature = "mutations")]
        pub(crate) fn mutated(mutation: Mutation) -> bool {
            static NAMED: std::sync::LazyLock<Option<Mutation>> = std::sync::LazyLock::new(|| {
                let named = std::env::var("CHASQUI_MUTATION").ok()?;
                Mutation::ALL.iter().find(|(name, _)| **name == named).map(|(_, mutation)| *mutation)
            });
            *NAMED == Some(mutation)
        }
    };
}

mutations! {
    /// A batch counts as durable before it is flushed.
    SkipsFlush,
    /// A chunk counts as durable before the key-value store has flushed it, and the log behind it goes.
    SkipsStateFlush,
    /// A write that failed is forgotten, and the next one goes on in its place.
    GoesOnAfterFailure,
}
