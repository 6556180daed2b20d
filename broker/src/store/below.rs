//! Stores on top of another one.

/// Methods of [`Store`](crate::store::Store), by their names, that a store passes on to the one below it: `store_below!(field: session due)`
/// inside its `impl Store`.
#[macro_export]
macro_rules! store_below {
    ($below:tt: $($method:ident)+) => {
        $($crate::store_below!(@$method $below);)+
    };
    (@session $below:tt) => {
        fn session(
            &self,
            key: &$crate::store::SessionKey,
        ) -> Result<Option<$crate::store::StoredSession>, $crate::store::StoreError> {
            self.$below.session(key)
        }
    };
    (@read_queue $below:tt) => {
        fn read_queue(
            &self,
            key: &$crate::store::SessionKey,
            after: u64,
            limit: $crate::source::ReadLimit,
        ) -> Result<$crate::source::Read, $crate::store::StoreError> {
            self.$below.read_queue(key, after, limit)
        }
    };
    (@queue_end $below:tt) => {
        fn queue_end(&self, key: &$crate::store::SessionKey) -> Result<u64, $crate::store::StoreError> {
            self.$below.queue_end(key)
        }
    };
    (@retained $below:tt) => {
        fn retained(
            &self,
            filter: &str,
            resume: Option<&$crate::retained::Resume>,
            max_items: usize,
        ) -> Result<$crate::store::RetainedPage, $crate::store::StoreError> {
            self.$below.retained(filter, resume, max_items)
        }
    };
    (@retained_at $below:tt) => {
        fn retained_at(
            &self,
            topic: &str,
        ) -> Result<Option<$crate::message::Message>, $crate::store::StoreError> {
            self.$below.retained_at(topic)
        }
    };
    (@retained_totals $below:tt) => {
        fn retained_totals(
            &self,
        ) -> Result<Option<$crate::store::RetainedTotals>, $crate::store::StoreError> {
            self.$below.retained_totals()
        }
    };
    (@each_retained $below:tt) => {
        fn each_retained(
            &self,
            visit: &mut dyn FnMut($crate::message::Message),
        ) -> Result<(), $crate::store::StoreError> {
            self.$below.each_retained(visit)
        }
    };
    (@expired $below:tt) => {
        fn expired(
            &self,
            to_ms: u64,
            max_items: usize,
        ) -> Result<Vec<(u64, $crate::codec::ByteStr)>, $crate::store::StoreError> {
            self.$below.expired(to_ms, max_items)
        }
    };
    (@plain_sessions $below:tt) => {
        fn plain_sessions(
            &self,
            visit: &mut dyn FnMut($crate::store::SessionKey, $crate::store::StoredSession),
        ) -> Result<(), $crate::store::StoreError> {
            self.$below.plain_sessions(visit)
        }
    };
    (@due $below:tt) => {
        fn due(
            &self,
            from_ms: u64,
            to_ms: u64,
            max_items: usize,
        ) -> Result<Vec<$crate::store::Due>, $crate::store::StoreError> {
            self.$below.due(from_ms, to_ms, max_items)
        }
    };
    (@commit $below:tt) => {
        fn commit(&self, ops: Vec<$crate::store::StoreOp>, done: Option<$crate::store::Committed>) {
            self.$below.commit(ops, done);
        }
    };
    (@cursors_moved $below:tt) => {
        fn cursors_moved(
            &self,
            key: &$crate::store::SessionKey,
            moves: Vec<$crate::store::CursorMove>,
            last_packet_id: u16,
        ) {
            self.$below.cursors_moved(key, moves, last_packet_id);
        }
    };
}
