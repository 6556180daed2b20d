//! Futures that are polled by hand: which of those that are woken goes on next is the world's choice.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    /// What it is called in the trace.
    name: String,
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Flag>,
}

/// The futures of one life of the server. Dropping them is what a kill does to them.
#[derive(Default)]
pub(crate) struct Tasks(Vec<Task>);

impl Tasks {
    /// Polls a future with the others from now on.
    pub(crate) fn run(&mut self, name: String, future: impl Future<Output = ()> + 'static) {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        // The budget of tokio would let a future yield for no reason that the world knows of.
        self.0.push(Task { name, future: Box::pin(tokio::task::unconstrained(future)), woken });
    }

    /// How many of them could go on.
    pub(crate) fn woken(&self) -> usize {
        self.0.iter().filter(|task| task.woken.0.load(Ordering::Relaxed)).count()
    }

    /// Polls one of those that could go on, counted from 0; its name, and whether it has ended.
    pub(crate) fn poll(&mut self, which: usize) -> Option<(String, bool)> {
        let mut woken = (0..self.0.len()).filter(|index| self.0[*index].woken.0.load(Ordering::Relaxed));
        let index = woken.nth(which)?;
        let task = &mut self.0[index];
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.woken));
        let ended = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let name = if ended { self.0.remove(index).name } else { task.name.clone() };
        Some((name, ended))
    }

    /// Whether a future of this name has not ended.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|task| task.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use tokio::sync::oneshot;

    #[test]
    fn only_who_is_woken_goes_on() {
        let said = Rc::new(RefCell::new(Vec::new()));
        let mut tasks = Tasks::default();
        let mut tells = Vec::new();
        for name in ["one", "two"] {
            let (tell, told) = oneshot::channel::<u32>();
            tells.push(tell);
            let said = Rc::clone(&said);
            tasks.run(name.to_owned(), async move {
                let number = told.await.unwrap();
                said.borrow_mut().push((name, number));
            });
        }
        assert_eq!(tasks.woken(), 2);
        assert_eq!(tasks.poll(1), Some(("two".to_owned(), false)));
        assert_eq!(tasks.poll(0), Some(("one".to_owned(), false)));
        assert_eq!((tasks.woken(), tasks.poll(0)), (0, None));
        tells.pop().unwrap().send(7).unwrap();
        assert_eq!(tasks.poll(0), Some(("two".to_owned(), true)));
        assert_eq!((tasks.has("one"), tasks.has("two")), (true, false));
        assert_eq!(*said.borrow(), [("two", 7)]);
    }
}
