//! Owns: the memory of tasks: one allocation for header, future and result, how it is counted, and
//! the `Waker` that points to it. Leaves out: what state a task is in (`state`) and what a step
//! does (`step`).
//!
//! The proof that this is sound is the documentation of [`super`]. All unsafe code of this crate
//! is here.
#![allow(unsafe_code)]

use std::{
    alloc::{Layout, handle_alloc_error},
    cell::{Cell as OwnCell, RefCell, UnsafeCell},
    future::Future,
    marker::PhantomData,
    mem::{self, ManuallyDrop},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    process,
    ptr::{self, NonNull},
    rc::Rc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use roundel_core::Sender;

use super::{
    extras::Extras,
    joiner::Joiner,
    state::{Outcome, State, Wake},
};
use crate::{
    callback::Callback,
    current::Core,
    error::{Error, Panic},
    sync::{
        AtomicIsize, AtomicU64, AtomicUsize, Cell, Ordering, alloc, claim_thread_number, dealloc,
        thread_number,
    },
};

/// The owner of a task whose loop is gone: no thread has this number.
const NOBODY: u64 = u64::MAX;

// --- the allocation ------------------------------------------------------------------------

/// What is known about a task without knowing the type of its future.
#[repr(C)]
struct Header {
    /// The number of the thread that owns the loop, or `NOBODY`. Written by that thread only.
    owner: AtomicU64,
    /// References that other threads have made and the owner has not counted. When the loop is
    /// gone: all references.
    away: AtomicIsize,
    /// References that the owner knows of. It may be negative, when what another thread has made
    /// was dropped here; only the sum with `away` means something. The owner's.
    refs: Cell<i32>,
    /// Where the task is in the household's list. The owner's.
    slot: OwnCell<u32>,
    vtable: &'static Vtable,
    home: NonNull<Home>,
    /// The owner's, like all that follows.
    state: State,
    number: OwnCell<u64>,
    joiner: OwnCell<Joiner>,
    extras: RefCell<Option<Box<Extras>>>,
}

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    content: UnsafeCell<Content<F>>,
}

enum Content<F: Future> {
    Future(F),
    Output(Result<F::Output, Error>),
    Nothing,
}

/// What differs from one type of future to the next. Each function wants a pointer to a
/// `TaskCell` of its type.
struct Vtable {
    /// Polls the future, which must be there. When it ends, or panics, it is dropped and the
    /// result stands in its place. Owner only, not while another of these four runs.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<Outcome>,
    /// Drops the future, which must be there; the result is `Error::Cancelled`, or the panic of a
    /// destructor. As above.
    cancel: unsafe fn(NonNull<Header>) -> Outcome,
    /// Moves the result, which must be there, to where the second pointer points: room for a
    /// `Result` of the output. As above.
    take_output: unsafe fn(NonNull<Header>, NonNull<()>),
    /// Drops the result, which must be there. As above.
    drop_output: unsafe fn(NonNull<Header>),
    layout: Layout,
}

impl<F: Future> TaskCell<F> {
    const VTABLE: &'static Vtable = &Vtable {
        poll: Self::poll,
        cancel: Self::cancel,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        layout: Layout::new::<Self>(),
    };

    /// # Safety
    ///
    /// `task` is a live `TaskCell<F>`, and nothing else uses its content for the time that the
    /// result is used.
    unsafe fn content<'a>(task: NonNull<Header>) -> &'a mut Content<F> {
        let cell = task.cast::<Self>().as_ptr();
        // SAFETY: the cell is live, and the caller has its content to itself. No reference to the
        // whole cell is made: others have some to the header.
        unsafe { &mut *UnsafeCell::raw_get(&raw const (*cell).content) }
    }

    unsafe fn poll(task: NonNull<Header>, context: &mut Context<'_>) -> Poll<Outcome> {
        // SAFETY: the caller's promise.
        let content = unsafe { Self::content(task) };
        let Content::Future(future) = content else {
            unreachable!("a task that has ended is not polled")
        };
        // SAFETY: the future is on the heap, and is dropped there (`settle`) without having been
        // moved.
        let future = unsafe { Pin::new_unchecked(future) };
        let output = match catch_unwind(AssertUnwindSafe(|| future.poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(Error::Panicked(Panic::new(payload))),
        };
        Poll::Ready(Self::settle(content, output))
    }

    unsafe fn cancel(task: NonNull<Header>) -> Outcome {
        // SAFETY: the caller's promise.
        let content = unsafe { Self::content(task) };
        Self::settle(content, Err(Error::Cancelled))
    }

    /// Drops the future where it is and puts the result there. A panic of the future's destructor
    /// takes the place of the result.
    fn settle(content: &mut Content<F>, output: Result<F::Output, Error>) -> Outcome {
        let place: *mut Content<F> = content;
        // SAFETY: the place is valid and is written to right after, without being read; what was
        // in it is dropped in place, as something pinned must be.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ptr::drop_in_place(place) }));
        let output = match dropped {
            Ok(()) => output,
            Err(payload) => {
                // The result goes nowhere; its own destructor may panic too.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(output)));
                Err(Error::Panicked(Panic::new(payload)))
            }
        };
        let outcome = match &output {
            Ok(_) => Outcome::Returned,
            Err(Error::Cancelled) => Outcome::Cancelled,
            Err(Error::Panicked(_)) => Outcome::Panicked,
        };
        // SAFETY: as above: valid, and holding nothing.
        unsafe { ptr::write(place, Content::Output(output)) };
        outcome
    }

    unsafe fn take_output(task: NonNull<Header>, room: NonNull<()>) {
        // SAFETY: the caller's promise.
        let content = unsafe { Self::content(task) };
        let Content::Output(output) = mem::replace(content, Content::Nothing) else {
            unreachable!("a result is taken once")
        };
        // SAFETY: the caller's promise: there is room for one.
        unsafe { room.cast::<Result<F::Output, Error>>().write(output) };
    }

    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: the caller's promise.
        let content = unsafe { Self::content(task) };
        debug_assert!(matches!(content, Content::Output(_)));
        let output = mem::replace(content, Content::Nothing);
        // The panic hook has reported it, and nobody waits for this value.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(output)));
    }
}

// --- the household: all tasks of one loop ---------------------------------------------------

/// What a loop's tasks point to. It outlives them all: the last of them frees it if the loop is
/// gone by then.
pub(crate) struct Home {
    sender: Sender<Callback>,
    /// Once the loop is gone: how many tasks are left, and one for the household itself.
    survivors: AtomicUsize,
    /// The loop. The owner's, and valid for as long as any task names that thread as its owner.
    core: OwnCell<*const Core>,
}

/// The list of a loop's tasks, those that have ended but are still referred to included.
///
/// When it is dropped the loop must be gone: see [`part`](Household::part).
pub(crate) struct Household {
    home: NonNull<Home>,
    tasks: RefCell<Vec<NonNull<Header>>>,
    kept: Kept,
    owner: u64,
}

/// The memory of the last few tasks that were freed, for the next ones of their size: a program that starts a task and
/// awaits it does so again and again, and the allocator takes a sixth of that. Of what is larger than [`Kept::LARGEST`]
/// nothing is kept. The owner's.
///
/// Tools that watch memory see no freeing where something is kept. `--cfg roundel_frees` is for them: nothing is.
#[derive(Default)]
struct Kept([OwnCell<Option<Memory>>; 4]);

/// Where it is, and what the allocator was asked for.
type Memory = (NonNull<u8>, Layout);

impl Kept {
    const LARGEST: usize = if cfg!(any(loom, roundel_frees)) {
        0
    } else {
        1024
    };

    /// Memory with anything in it; null if there is none.
    ///
    /// # Safety
    ///
    /// The layout has a size.
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() <= Self::LARGEST {
            for place in &self.0 {
                if let Some((memory, of)) = place.get()
                    && of == layout
                {
                    place.set(None);
                    return memory.as_ptr();
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { alloc(layout) }
    }

    /// # Safety
    ///
    /// The memory came from [`alloc`](Kept::alloc) with this layout, here or elsewhere, and nobody uses it.
    #[inline]
    unsafe fn dealloc(&self, memory: NonNull<u8>, layout: Layout) {
        if layout.size() <= Self::LARGEST {
            for place in &self.0 {
                if place.get().is_none() {
                    return place.set(Some((memory, layout)));
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { dealloc(memory.as_ptr(), layout) };
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (memory, layout) in self.0.iter().filter_map(OwnCell::take) {
            // SAFETY: it came from the allocator with this layout, and nobody uses what is kept.
            unsafe { dealloc(memory.as_ptr(), layout) };
        }
    }
}

impl Household {
    pub(crate) fn new(sender: Sender<Callback>) -> Self {
        let home = Box::new(Home {
            sender,
            survivors: AtomicUsize::new(0),
            core: OwnCell::new(ptr::null()),
        });
        Self {
            home: NonNull::from(Box::leak(home)),
            tasks: RefCell::default(),
            kept: Kept::default(),
            owner: claim_thread_number(),
        }
    }

    /// Tells where the loop is that this household is a part of, before the first task.
    pub(crate) fn settle(&self, core: &Core) {
        // SAFETY: the home lives at least as long as the household.
        unsafe { self.home.as_ref() }.core.set(core);
    }

    /// Makes a task. Two references are in it: the household's own, until the task has ended, and
    /// the one that is returned; the result has a claim on it ([`State::new`]).
    #[inline]
    pub(crate) fn create<F: Future + 'static>(&self, future: F, number: u64) -> TaskRef {
        let layout = const { Layout::new::<TaskCell<F>>() };
        // SAFETY: the layout has a size: the header does.
        let memory = unsafe { self.kept.alloc(layout) };
        let Some(cell) = NonNull::new(memory.cast::<TaskCell<F>>()) else {
            handle_alloc_error(layout)
        };
        let tasks = &mut *self.tasks.borrow_mut();
        let slot = u32::try_from(tasks.len()).expect("fewer than 2^32 tasks exist");
        // SAFETY: fresh memory of the layout that is written.
        unsafe {
            cell.write(TaskCell {
                header: Header {
                    owner: AtomicU64::new(self.owner),
                    away: AtomicIsize::new(0),
                    refs: Cell::new(2),
                    slot: OwnCell::new(slot),
                    vtable: TaskCell::<F>::VTABLE,
                    home: self.home,
                    state: State::new(),
                    number: OwnCell::new(number),
                    joiner: OwnCell::new(Joiner::Nobody),
                    extras: RefCell::new(None),
                },
                content: UnsafeCell::new(Content::Future(future)),
            });
        }
        let task = cell.cast::<Header>();
        tasks.push(task);
        TaskRef(task)
    }

    /// All tasks that have not ended, in no order that means something.
    pub(crate) fn living(&self) -> Vec<TaskRef> {
        self.tasks
            .borrow()
            .iter()
            // SAFETY: what is listed is alive: it leaves the list before it is freed.
            .filter(|task| unsafe { task.as_ref() }.state.ended().eq(&false))
            .map(|&task| {
                let task = ManuallyDrop::new(TaskRef(task));
                TaskRef::clone(&task)
            })
            .collect()
    }

    /// The loop is about to go: from here on no thread owns its tasks, and all references are
    /// counted by the atomic number. All tasks must have ended.
    pub(crate) fn part(&self) {
        let tasks = self.tasks.borrow();
        for task in &*tasks {
            // SAFETY: as above.
            let header = unsafe { task.as_ref() };
            let refs = header.refs.get() as isize;
            // One more keeps it until the household is dropped.
            header.away.fetch_add(refs + 1, Ordering::AcqRel);
            header.owner.store(NOBODY, Ordering::Release);
        }
        // SAFETY: the home lives at least as long as the household.
        let home = unsafe { self.home.as_ref() };
        home.survivors.store(tasks.len() + 1, Ordering::Release);
    }
}

impl Drop for Household {
    /// The inbox is closed: whoever drops a reference from here on counts it down himself.
    fn drop(&mut self) {
        for task in mem::take(self.tasks.get_mut()) {
            // SAFETY: this is the reference that `part` added.
            unsafe { release(task) };
        }
        // SAFETY: this is the household's own.
        unsafe { Home::release(self.home) };
    }
}

impl Home {
    /// # Safety
    ///
    /// One of the survivors gives up its claim, once.
    unsafe fn release(home: NonNull<Self>) {
        // SAFETY: the claim keeps it alive up to here.
        let survivors = unsafe { &home.as_ref().survivors };
        if survivors.fetch_sub(1, Ordering::Release) == 1 {
            // All others' claims lie before this. A load, since the thread sanitizer knows no fences.
            survivors.load(Ordering::Acquire);
            // SAFETY: it came from a box, and nobody else has a claim.
            drop(unsafe { Box::from_raw(home.as_ptr()) });
        }
    }
}

// --- references ------------------------------------------------------------------------------

/// A reference to a task, counted. Any thread may have it, clone it and drop it; everything else is
/// for the thread that owns the loop, and for the handle of a task, which cannot leave that thread.
pub struct TaskRef(NonNull<Header>);

// SAFETY: cloning, waking and dropping ask whose thread this is before they touch anything that is
// not atomic. The other methods are reached on the owner's thread only: what another thread holds
// is a `Waker`, or a callback in the inbox, and both do these three things only.
unsafe impl Send for TaskRef {}

impl TaskRef {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: a reference keeps the task alive, and nobody makes a `&mut` of a header.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(crate) fn state(&self) -> &State {
        &self.header().state
    }

    pub(crate) fn number(&self) -> u64 {
        self.header().number.get()
    }

    #[inline]
    pub(crate) fn replace_joiner(&self, joiner: Joiner) -> Joiner {
        self.header().joiner.replace(joiner)
    }

    /// What few tasks have.
    pub(crate) fn extras(&self) -> &RefCell<Option<Box<Extras>>> {
        &self.header().extras
    }

    #[inline]
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// Wakes the task, on the owner's thread: it comes behind all that is ready.
    #[inline]
    pub(crate) fn wake_here(self) {
        match self.state().wake() {
            Wake::Push => self.push(),
            Wake::Tell => self.tell_host(),
            Wake::Nothing => {}
        }
    }

    /// Tells the host of a lodger, as its state says, that it can go on.
    #[cold]
    pub(crate) fn tell_host(&self) {
        let joiner = self.replace_joiner(Joiner::Nobody);
        let token = match &joiner {
            Joiner::Host(token) => Some(*token),
            Joiner::Nobody | Joiner::Task(_) | Joiner::Waker(_) | Joiner::Member(..) => None,
        };
        self.replace_joiner(joiner);
        if let Some(token) = token {
            // SAFETY: as in `push`.
            let core = unsafe { &*self.header().home.as_ref().core.get() };
            core.event_loop().world().tell_host(token);
        }
    }

    /// Puts the task on the ready queue, where its state says it is.
    #[inline]
    pub(crate) fn push(self) {
        debug_assert!(self.header().is_here());
        // SAFETY: this thread is named as the owner, so the loop has not begun to go.
        let core = unsafe { &*self.header().home.as_ref().core.get() };
        core.event_loop().call_soon(Callback::Step(self));
        core.was_pushed();
    }

    /// Polls the future.
    #[inline]
    pub(crate) fn poll(&self) -> Poll<Outcome> {
        // SAFETY: the waker is not dropped, so it needs no reference of its own.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw_waker(self.0)) });
        let header = self.header();
        // SAFETY: this is the function of this cell's type. A step is the only one who gets here:
        // the state is `Running`, and has been made so by this step.
        unsafe { (header.vtable.poll)(self.0, &mut Context::from_waker(&waker)) }
    }

    /// Drops the future; the result is that it was cancelled.
    pub(crate) fn drop_future(&self) -> Outcome {
        // SAFETY: as for `poll`.
        unsafe { (self.header().vtable.cancel)(self.0) }
    }

    /// Drops the result, which must be there.
    pub(crate) fn drop_output(&self) {
        // SAFETY: the state is `Ended` and nobody has taken the result: the caller has asked.
        unsafe { (self.header().vtable.drop_output)(self.0) };
    }

    /// Takes the result, which must be there, and must be of this type.
    ///
    /// # Safety
    ///
    /// The task was made from a future with the output `T`.
    unsafe fn take_output<T>(&self) -> Result<T, Error> {
        let mut output = mem::MaybeUninit::<Result<T, Error>>::uninit();
        let room = NonNull::from(&mut output).cast();
        // SAFETY: the function of this cell's type; there is room for the type, which is the
        // caller's promise; the state says that the result is there.
        unsafe {
            (self.header().vtable.take_output)(self.0, room);
            output.assume_init()
        }
    }

    /// Gives up the household's reference: the task has ended. It is not the last, as there is also
    /// the one that this is called by.
    #[inline]
    pub(crate) fn leave_household(&self) {
        let header = self.header();
        debug_assert!(header.is_here());
        header.refs.set(header.refs.get() - 1);
    }

    /// A clone, where it is known that this is the owner's thread.
    #[inline]
    pub(crate) fn clone_here(&self) -> Self {
        let header = self.header();
        debug_assert!(header.is_here());
        header.add_here();
        Self(self.0)
    }

    /// Remembers a joiner of a task that has none.
    #[inline]
    pub(crate) fn set_joiner(&self, joiner: Joiner) {
        let nobody = self.header().joiner.replace(joiner);
        debug_assert!(matches!(nobody, Joiner::Nobody));
        mem::forget(nobody);
    }

    /// The task that a waker wakes, if it is one of ours whose loop this thread owns.
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Option<Self> {
        let ours = ptr::eq(waker.vtable(), &raw const WAKER);
        let task = NonNull::new(waker.data().cast_mut())?.cast::<Header>();
        // SAFETY: the vtable says what the data is, and the waker keeps it alive.
        (ours && unsafe { task.as_ref() }.is_here()).then(|| {
            let task = ManuallyDrop::new(TaskRef(task));
            task.clone_here()
        })
    }

    /// Whether a waker wakes this task.
    #[inline]
    pub(crate) fn is_woken_by(&self, waker: &Waker) -> bool {
        ptr::eq(waker.vtable(), &raw const WAKER) && ptr::eq(waker.data(), self.0.as_ptr().cast())
    }
}

impl Header {
    /// Whether this thread owns the loop, which then is still there.
    #[inline]
    fn is_here(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == thread_number()
    }

    /// Counts one more reference, on the owner's thread.
    #[inline]
    fn add_here(&self) {
        let refs = self.refs.get();
        if refs == i32::MAX {
            // Somebody forgets wakers without end; one more and the count would begin anew.
            process::abort();
        }
        self.refs.set(refs + 1);
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> Self {
        let header = self.header();
        if header.is_here() {
            header.add_here();
        } else {
            let away = header.away.fetch_add(1, Ordering::Relaxed);
            if away > isize::MAX / 2 {
                process::abort();
            }
        }
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let header = self.header();
        if header.is_here() {
            let refs = header.refs.get() - 1;
            header.refs.set(refs);
            if refs <= 0 && refs as isize + header.away.load(Ordering::Acquire) == 0 {
                // SAFETY: that was the last reference.
                unsafe { free_here(self.0) };
            }
        } else {
            send_home(Self(self.0), Callback::Drop);
        }
    }
}

/// Gives a reference to the loop's own thread. If the loop is gone, the reference is dropped.
#[cold]
fn send_home(task: TaskRef, letter: impl FnOnce(TaskRef) -> Callback) {
    // A clone: as soon as the loop has the reference, the task may be gone, and its home too.
    // SAFETY: a home outlives its tasks, and the reference is still here.
    let sender = unsafe { task.header().home.as_ref() }.sender.clone();
    if let Err(letter) = sender.send(letter(task)) {
        let task = match letter {
            Callback::Drop(task) | Callback::Wake(task) => ManuallyDrop::new(task),
            Callback::Step(_)
            | Callback::Ended(_)
            | Callback::Ring(_)
            | Callback::Call(_)
            | Callback::Source(..)
            | Callback::Signal(_)
            | Callback::Remote(_) => unreachable!("what comes back is what was sent"),
        };
        // SAFETY: this reference was not dropped by anybody else. The inbox is closed, so the
        // household has parted: all references are counted together.
        unsafe { release(task.0) };
    }
}

/// Counts down a reference to a task whose loop is gone.
///
/// # Safety
///
/// The reference is the caller's to give up. The household has parted.
unsafe fn release(task: NonNull<Header>) {
    // SAFETY: the reference keeps it alive up to here.
    let header = unsafe { task.as_ref() };
    if header.away.fetch_sub(1, Ordering::Release) == 1 {
        // All that others have done with it lies before this; a load as in `Home::release`.
        header.away.load(Ordering::Acquire);
        let home = header.home;
        // SAFETY: that was the last reference; the loop is gone and has no list any more. Each
        // task that it left behind is one of the survivors.
        unsafe {
            let layout = clear(task);
            dealloc(task.as_ptr().cast(), layout);
            Home::release(home);
        }
    }
}

/// Frees a task of a living loop.
///
/// # Safety
///
/// There is no reference to it. This thread owns the loop.
unsafe fn free_here(task: NonNull<Header>) {
    // SAFETY: it is alive until `free`, and the loop is there.
    let (header, core) = unsafe {
        let header = task.as_ref();
        (header, &*header.home.as_ref().core.get())
    };
    let slot = header.slot.get();
    {
        let tasks = &mut *core.household().tasks.borrow_mut();
        tasks.swap_remove(slot as usize);
        if let Some(moved) = tasks.get(slot as usize) {
            // SAFETY: what is listed is alive.
            unsafe { moved.as_ref() }.slot.set(slot);
        }
    }
    // SAFETY: the caller's promise; it is off the list. The memory came from this household.
    unsafe {
        let layout = clear(task);
        core.household().kept.dealloc(task.cast(), layout);
    }
}

/// Drops what is left in a task. What remains is memory of this layout.
///
/// # Safety
///
/// There is no reference to the task, and it is on no list.
unsafe fn clear(task: NonNull<Header>) -> Layout {
    // SAFETY: the task has ended (the household has a reference until then), so future and result
    // are gone, nobody waits for it, and of the extras only the name is left, which any thread may
    // drop. The rest of the header is plain data.
    unsafe {
        let header = task.as_ref();
        drop(header.extras.take());
        header.vtable.layout
    }
}

// --- the handle's side -------------------------------------------------------------------------

/// A reference with the right to the result, of type `T`. Not `Send`: it belongs to the owner's
/// thread, also when the loop is gone.
pub(crate) struct Claim<T> {
    task: TaskRef,
    /// Like a shared `T` of this thread: neither `Send` nor `Sync`.
    output: PhantomData<Rc<T>>,
}

impl<T> Claim<T> {
    /// Makes a task with its claim, and a reference for the ready queue.
    #[inline]
    pub(crate) fn create<F>(household: &Household, future: F, number: u64) -> Self
    where
        F: Future<Output = T> + 'static,
    {
        Self {
            task: household.create(future, number),
            output: PhantomData,
        }
    }

    #[inline]
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Takes the result of a task that has ended. None if it was taken before.
    #[inline]
    pub(crate) fn take(&self) -> Option<Result<T, Error>> {
        // SAFETY: `create` has made the task from a future with the output `T`.
        self.task
            .state()
            .take()
            .then(|| unsafe { self.task.take_output() })
    }
}

// --- wakers --------------------------------------------------------------------------------------

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

fn raw_waker(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast(), &WAKER)
}

/// # Safety
///
/// `data` is a waker's, which is borrowed for as long as the result is used.
unsafe fn borrowed(data: *const ()) -> ManuallyDrop<TaskRef> {
    // SAFETY: a waker's data is the pointer of a header.
    let task = unsafe { NonNull::new_unchecked(data.cast_mut()) }.cast();
    ManuallyDrop::new(TaskRef(task))
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker's promise.
    let task = unsafe { borrowed(data) };
    raw_waker(ManuallyDrop::new(TaskRef::clone(&task)).0)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: the waker's promise; it is given up here.
    let task = ManuallyDrop::into_inner(unsafe { borrowed(data) });
    if task.header().is_here() {
        task.wake_here();
    } else {
        send_home(task, Callback::Wake);
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker's promise.
    let task = unsafe { borrowed(data) };
    if task.header().is_here() {
        match task.state().wake() {
            Wake::Push => TaskRef::clone(&task).push(),
            Wake::Tell => task.tell_host(),
            Wake::Nothing => {}
        }
    } else {
        send_home(TaskRef::clone(&task), Callback::Wake);
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: the waker's promise; it is given up here.
    drop(ManuallyDrop::into_inner(unsafe { borrowed(data) }));
}

// --- the task that runs -----------------------------------------------------------------------

/// Which task of a loop is in its step.
pub(crate) struct Running(OwnCell<Option<NonNull<Header>>>);

impl Running {
    pub(crate) const fn new() -> Self {
        Self(OwnCell::new(None))
    }

    /// Says that `task` is running for as long as `step` does, however that ends.
    #[inline]
    pub(crate) fn during<R>(&self, task: &TaskRef, step: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Running, Option<NonNull<Header>>);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.0.set(self.1);
            }
        }
        let _restore = Restore(self, self.0.replace(Some(task.0)));
        step()
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<TaskRef> {
        self.with(|task| task.cloned())
    }

    /// Shows the task to `f`.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(Option<&TaskRef>) -> R) -> R {
        // The reference that `during` borrows is what keeps the task alive.
        let task = self.0.get().map(|task| ManuallyDrop::new(TaskRef(task)));
        f(task.as_deref())
    }
}
