//! Owns: the memory of a task, how it is counted, its `Waker` and its handle.
//!
//! `refs` is the owner's and plain, `away` is what other threads have cloned; each reference is
//! dropped by the owner, to whom others send it. When both add up to nothing there is no reference
//! anywhere, and the owner frees the task. That is roundel's way of counting, without its end of a
//! loop: an executor lives for ever.

use std::{
    alloc::{Layout, dealloc},
    cell::{Cell, UnsafeCell},
    future::Future,
    marker::PhantomData,
    mem::{self, ManuallyDrop},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process,
    ptr::NonNull,
    rc::Rc,
    sync::atomic::{AtomicIsize, Ordering},
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use super::{Executor, Inbox, Letter};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Ready,
    Running,
    Woken,
    Ended,
}

#[repr(C)]
struct Header {
    owner: u64,
    away: AtomicIsize,
    refs: Cell<i32>,
    stage: Cell<Stage>,
    joiner: Cell<Option<Waker>>,
    inbox: &'static Inbox,
    vtable: &'static Vtable,
}

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    content: UnsafeCell<Content<F>>,
}

enum Content<F: Future> {
    Future(F),
    /// None if it panicked or was cancelled.
    Output(Option<F::Output>),
}

/// Each wants a pointer to a cell of its type, on the owner's thread, and while no other runs.
struct Vtable {
    /// Whether the future has ended. It is dropped then.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    cancel: unsafe fn(NonNull<Header>),
    /// Moves the output, or nothing, to where the second pointer points.
    take: unsafe fn(NonNull<Header>, NonNull<()>),
    free: unsafe fn(NonNull<Header>),
}

impl<F: Future> TaskCell<F> {
    const VTABLE: &'static Vtable = &Vtable {
        poll: Self::poll,
        cancel: Self::cancel,
        take: Self::take,
        free: Self::free,
    };

    /// # Safety
    ///
    /// The promise of the vtable's functions.
    unsafe fn content<'a>(task: NonNull<Header>) -> &'a mut Content<F> {
        let cell = task.cast::<Self>().as_ptr();
        // SAFETY: the cell is live, and nobody else uses its content.
        unsafe { &mut *UnsafeCell::raw_get(&raw const (*cell).content) }
    }

    unsafe fn poll(task: NonNull<Header>, context: &mut Context<'_>) -> bool {
        // SAFETY: the caller's promise.
        let content = unsafe { Self::content(task) };
        let Content::Future(future) = content else {
            unreachable!("it has not ended")
        };
        // SAFETY: it stays where it is until it is dropped there.
        let future = unsafe { Pin::new_unchecked(future) };
        let output = match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Some(output),
            Err(_) => None,
        };
        Self::settle(content, output);
        true
    }

    unsafe fn cancel(task: NonNull<Header>) {
        // SAFETY: the caller's promise.
        Self::settle(unsafe { Self::content(task) }, None);
    }

    fn settle(content: &mut Content<F>, output: Option<F::Output>) {
        let place: *mut Content<F> = content;
        // SAFETY: what is dropped in place is written over without being read, whatever the
        // destructor does.
        unsafe {
            let _ = catch_unwind(AssertUnwindSafe(|| place.drop_in_place()));
            place.write(Content::Output(output));
        }
    }

    unsafe fn take(task: NonNull<Header>, room: NonNull<()>) {
        // SAFETY: the caller's promise.
        let output = match unsafe { Self::content(task) } {
            Content::Output(output) => output.take(),
            Content::Future(_) => None,
        };
        // SAFETY: there is room for it.
        unsafe { room.cast::<Option<F::Output>>().write(output) };
    }

    unsafe fn free(task: NonNull<Header>) {
        let cell = task.cast::<Self>().as_ptr();
        // SAFETY: there is no reference left, and it came from the allocator with this layout.
        unsafe {
            let _ = catch_unwind(AssertUnwindSafe(|| cell.drop_in_place()));
            dealloc(cell.cast(), Layout::new::<Self>());
        }
    }
}

/// A reference, counted. Any thread may have it, clone it, wake by it and drop it.
pub(super) struct TaskRef(NonNull<Header>);

// SAFETY: what another thread can do with it asks whose thread this is before it touches anything
// that is not atomic.
unsafe impl Send for TaskRef {}

impl TaskRef {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: the reference keeps it alive, and nobody has a `&mut` of a header.
        unsafe { self.0.as_ref() }
    }

    /// The executor, on the owner's thread.
    #[inline]
    fn here(&self) -> Option<&'static Executor> {
        Executor::get().filter(|executor| executor.owner == self.header().owner)
    }

    #[inline]
    pub(super) fn step(self, executor: &Executor) {
        let header = self.header();
        match header.stage.get() {
            Stage::Ended => return,
            Stage::Ready => header.stage.set(Stage::Running),
            Stage::Waiting | Stage::Running | Stage::Woken => unreachable!("it was not ready"),
        }
        // SAFETY: the waker is not dropped, and needs no reference of its own. It is running, and has
        // been made so by this step.
        let ended = unsafe {
            let waker = ManuallyDrop::new(Waker::from_raw(raw_waker(self.0)));
            (header.vtable.poll)(self.0, &mut Context::from_waker(&waker))
        };
        if ended {
            header.end();
        } else if header.stage.get() == Stage::Woken {
            header.stage.set(Stage::Ready);
            executor.ready.borrow_mut().push_back(self);
        } else {
            header.stage.set(Stage::Waiting);
        }
    }

    #[inline]
    pub(super) fn wake_here(self, executor: &Executor) {
        if self.header().wakes() {
            executor.ready.borrow_mut().push_back(self);
        }
    }
}

impl Header {
    /// Whether it has to be put on the ready queue.
    #[inline]
    fn wakes(&self) -> bool {
        match self.stage.get() {
            Stage::Waiting => {
                self.stage.set(Stage::Ready);
                true
            }
            Stage::Running => {
                self.stage.set(Stage::Woken);
                false
            }
            Stage::Ready | Stage::Woken | Stage::Ended => false,
        }
    }

    #[inline]
    fn end(&self) {
        self.stage.set(Stage::Ended);
        if let Some(joiner) = self.joiner.take() {
            joiner.wake();
        }
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> Self {
        let header = self.header();
        if self.here().is_some() {
            let refs = header.refs.get();
            if refs == i32::MAX {
                process::abort();
            }
            header.refs.set(refs + 1);
        } else if header.away.fetch_add(1, Ordering::Relaxed) > isize::MAX / 2 {
            process::abort();
        }
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let header = self.header();
        if self.here().is_none() {
            header.inbox.send(Letter::Drop(Self(self.0)));
            return;
        }
        let refs = header.refs.get() - 1;
        header.refs.set(refs);
        if refs <= 0 && refs as isize + header.away.load(Ordering::Acquire) == 0 {
            // SAFETY: that was the last reference, on the owner's thread.
            unsafe { (header.vtable.free)(self.0) };
        }
    }
}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn raw_waker(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast(), &WAKER)
}

/// # Safety
///
/// `data` is a waker's.
#[inline]
unsafe fn borrowed(data: *const ()) -> ManuallyDrop<TaskRef> {
    // SAFETY: a waker's data is the pointer of a header.
    ManuallyDrop::new(TaskRef(
        unsafe { NonNull::new_unchecked(data.cast_mut()) }.cast(),
    ))
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker's promise.
    let task = unsafe { borrowed(data) };
    raw_waker(ManuallyDrop::new(TaskRef::clone(&task)).0)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's promise; it is given up here.
    let task = ManuallyDrop::into_inner(unsafe { borrowed(data) });
    match task.here() {
        Some(executor) => task.wake_here(executor),
        None => task.header().inbox.send(Letter::Wake(TaskRef(
            // The letter has the reference now.
            ManuallyDrop::new(task).0,
        ))),
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker's promise.
    let task = unsafe { borrowed(data) };
    match task.here() {
        Some(executor) => {
            if task.header().wakes() {
                executor.ready.borrow_mut().push_back(TaskRef::clone(&task));
            }
        }
        None => task
            .header()
            .inbox
            .send(Letter::Wake(TaskRef::clone(&task))),
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's promise; it is given up here.
    drop(ManuallyDrop::into_inner(unsafe { borrowed(data) }));
}

/// The right to the result of a task, for its thread. Dropping it lets the task go on.
pub struct Task<T> {
    task: TaskRef,
    output: PhantomData<Rc<T>>,
}

impl<T> Task<T> {
    #[inline]
    pub(super) fn create<F>(executor: &'static Executor, future: F) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        let cell = Box::new(TaskCell {
            header: Header {
                owner: executor.owner,
                away: AtomicIsize::new(0),
                // The handle's, and the ready queue's.
                refs: Cell::new(2),
                stage: Cell::new(Stage::Ready),
                joiner: Cell::new(None),
                inbox: &executor.inbox,
                vtable: TaskCell::<F>::VTABLE,
            },
            content: UnsafeCell::new(Content::Future(future)),
        });
        let task = NonNull::from(Box::leak(cell)).cast();
        executor.ready.borrow_mut().push_back(TaskRef(task));
        Self {
            task: TaskRef(task),
            output: PhantomData,
        }
    }

    #[inline]
    pub(super) fn has_ended(&self) -> bool {
        self.task.header().stage.get() == Stage::Ended
    }

    /// The output of a task that has ended; None if it panicked, was cancelled, or gave it before.
    #[inline]
    pub(super) fn take(&self) -> Option<T> {
        if !self.has_ended() {
            return None;
        }
        let mut output = mem::MaybeUninit::<Option<T>>::uninit();
        // SAFETY: the task was made from a future with this output; it has ended, so nothing else
        // uses its content; `take` writes to the room that there is.
        unsafe {
            let room = NonNull::from(&mut output).cast();
            (self.task.header().vtable.take)(self.task.0, room);
            output.assume_init()
        }
    }

    /// Drops the future where it is.
    pub fn cancel(&self) {
        let header = self.task.header();
        match header.stage.get() {
            Stage::Ended => {}
            Stage::Waiting | Stage::Ready => {
                // Running, so that nothing else gets at the content meanwhile.
                header.stage.set(Stage::Running);
                // SAFETY: this is the owner's thread, as the handle cannot leave it.
                unsafe { (header.vtable.cancel)(self.task.0) };
                header.end();
            }
            Stage::Running | Stage::Woken => panic!("a task cannot cancel itself"),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.has_ended() {
            return Poll::Ready(self.take());
        }
        let joiner = &self.task.header().joiner;
        let known = joiner.take();
        let known = known.filter(|known| known.will_wake(context.waker()));
        joiner.set(Some(known.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }
}
