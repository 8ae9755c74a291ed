//! Owns: task-local values, the counterpart of contextvars. Leaves out: nothing.
//!
//! A context never changes: setting a value makes a new one, so that giving a task the context of
//! its maker is one pointer. Looking up goes through a short list: programs have few of them.

use std::{any::Any, fmt, marker::PhantomData, rc::Rc};

use super::extras;
use crate::current::{self, Core};

/// What a variable is recognised by: the place of its static.
type Key = usize;

type Values = Vec<(Key, Rc<dyn Any>)>;

/// The values that a task sees.
#[derive(Clone, Default)]
pub(crate) struct Context(Option<Rc<Values>>);

impl Context {
    /// Of the task, or callback, that is running.
    #[inline]
    pub(crate) fn current(core: &Core) -> Self {
        core.running().with(|task| match task {
            Some(task) => match &*task.extras().borrow() {
                Some(extras) => extras.context.clone(),
                None => Self(None),
            },
            None => core.calls().context(),
        })
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    fn get(&self, key: Key) -> Option<Rc<dyn Any>> {
        let values = self.0.as_ref()?;
        let (_, value) = values.iter().find(|&&(other, _)| other == key)?;
        Some(Rc::clone(value))
    }

    fn with(&self, key: Key, value: Option<Rc<dyn Any>>) -> Self {
        let mut values: Values = self.0.as_deref().cloned().unwrap_or_default();
        values.retain(|&(other, _)| other != key);
        values.extend(value.map(|value| (key, value)));
        Self((!values.is_empty()).then(|| Rc::new(values)))
    }
}

/// Sets the context of what is running; returns the one that it had, to be dropped when nothing is
/// borrowed.
fn set_current(core: &Core, context: Context) -> Context {
    core.running().with(|task| match task {
        Some(task) => extras::with(task, |extras| {
            std::mem::replace(&mut extras.context, context)
        }),
        None => core.calls().set_context(context),
    })
}

/// A variable whose value belongs to a task: what `contextvars.ContextVar` is in Python.
///
/// A task begins with the values that its maker had when it made it; what it sets is seen by itself
/// and by the tasks that it makes from then on. The same holds for what
/// [`call_soon`](crate::call_soon) and its like schedule. It has to be a `static`.
///
/// ```
/// use roundel::{TaskLocal, create_task};
///
/// static USER: TaskLocal<String> = TaskLocal::new();
///
/// roundel::run(async {
///     USER.set("Ada".to_owned());
///     let task = create_task(async {
///         let inherited = USER.get();
///         USER.set("Grace".to_owned());
///         inherited
///     });
///     assert_eq!(task.await.unwrap().as_deref(), Some("Ada"));
///     assert_eq!(USER.get().as_deref(), Some("Ada"));
/// });
/// ```
pub struct TaskLocal<T> {
    /// So that two of them never have the same place.
    _place: u8,
    value: PhantomData<fn() -> T>,
}

impl<T: 'static> TaskLocal<T> {
    /// A variable that has no value anywhere yet.
    ///
    /// ```
    /// static DEPTH: roundel::TaskLocal<u32> = roundel::TaskLocal::new();
    /// roundel::run(async { assert_eq!(DEPTH.get(), None) });
    /// ```
    #[must_use]
    #[allow(clippy::new_without_default)] // A default would be a value, not a static.
    pub const fn new() -> Self {
        Self {
            _place: 0,
            value: PhantomData,
        }
    }

    /// A copy of the value, if the running task has one.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// static DEPTH: roundel::TaskLocal<u32> = roundel::TaskLocal::new();
    /// roundel::run(async {
    ///     DEPTH.set(3);
    ///     assert_eq!(DEPTH.get(), Some(3));
    /// });
    /// ```
    pub fn get(&'static self) -> Option<T>
    where
        T: Clone,
    {
        self.with(|value| value.cloned())
    }

    /// Shows the value, or that there is none, to `f`.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// static PATH: roundel::TaskLocal<String> = roundel::TaskLocal::new();
    /// roundel::run(async {
    ///     PATH.set("/tea".to_owned());
    ///     assert_eq!(PATH.with(|path| path.map(String::len)), Some(4));
    /// });
    /// ```
    pub fn with<R>(&'static self, f: impl FnOnce(Option<&T>) -> R) -> R {
        let context = current::with("TaskLocal::with", Context::current);
        let value = context.get(self.key());
        f(value.as_deref().and_then(<dyn Any>::downcast_ref))
    }

    /// Sets the value for the running task, or callback, and for the tasks that it makes from now
    /// on.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// static DEPTH: roundel::TaskLocal<u32> = roundel::TaskLocal::new();
    /// roundel::run(async {
    ///     DEPTH.set(1);
    ///     DEPTH.set(2);
    ///     assert_eq!(DEPTH.get(), Some(2));
    /// });
    /// ```
    pub fn set(&'static self, value: T) {
        self.replace("TaskLocal::set", Some(Rc::new(value)));
    }

    /// Takes the value away from the running task, or callback.
    ///
    /// # Panics
    ///
    /// Outside of [`run`](crate::run).
    ///
    /// ```
    /// static DEPTH: roundel::TaskLocal<u32> = roundel::TaskLocal::new();
    /// roundel::run(async {
    ///     DEPTH.set(1);
    ///     DEPTH.unset();
    ///     assert_eq!(DEPTH.get(), None);
    /// });
    /// ```
    pub fn unset(&'static self) {
        self.replace("TaskLocal::unset", None);
    }

    fn replace(&'static self, name: &str, value: Option<Rc<dyn Any>>) {
        let old = current::with(name, |core| {
            let new = Context::current(core).with(self.key(), value);
            set_current(core, new)
        });
        drop(old);
    }

    fn key(&'static self) -> Key {
        std::ptr::from_ref(self).addr()
    }
}

impl<T> fmt::Debug for TaskLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocal").finish_non_exhaustive()
    }
}
