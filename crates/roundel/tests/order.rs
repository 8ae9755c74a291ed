//! Turns and their order: what takes a turn in asyncio takes one here. The figures are those that
//! the same programs show on CPython 3.13.
#![cfg(not(loom))]

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use roundel::{
    ReturnWhen, Task, as_completed, call_soon, create_task, gather_tasks, run, shield, sleep, wait,
    wait_for,
};

/// Counts turns for as long as it is asked to.
#[derive(Clone, Default)]
struct Turns(Rc<(Cell<u32>, Cell<bool>)>);

impl Turns {
    fn tick(&self) {
        self.0.0.set(self.0.0.get() + 1);
        if !self.0.1.get() {
            let turns = self.clone();
            call_soon(move || turns.tick());
        }
    }
}

/// How many turns lie between the last step of a task and the next one of who waits for it.
fn turns_until<F: Future>(wait_for_it: impl FnOnce(Task<()>) -> F + 'static) -> u32 {
    run(async move {
        let turns = Turns::default();
        let (counting, ended) = (turns.clone(), Rc::new(Cell::new(0)));
        call_soon(move || counting.tick());
        let (counted, at) = (turns.clone(), Rc::clone(&ended));
        let task = create_task(async move {
            for _ in 0..3 {
                sleep(Duration::ZERO).await;
            }
            at.set(counted.0.0.get());
        });
        wait_for_it(task).await;
        turns.0.1.set(true);
        turns.0.0.get() - ended.get()
    })
}

#[test]
fn an_awaited_task_wakes_in_the_next_turn() {
    assert_eq!(turns_until(|task| task), 1);
    assert_eq!(
        turns_until(|task| wait_for(task, Duration::from_secs(9))),
        1
    );
}

#[test]
fn those_who_listen_wake_in_the_turn_after_that() {
    assert_eq!(turns_until(|task| gather_tasks([task])), 2);
    assert_eq!(
        turns_until(|task| wait([task], ReturnWhen::AllCompleted)),
        2
    );
    assert_eq!(turns_until(shield), 2);
    let first = async |task| as_completed([task]).next().await;
    assert_eq!(turns_until(first), 2);
}

type Log = Rc<RefCell<Vec<String>>>;

async fn rounds(name: &'static str, log: Log) {
    for n in 0..2 {
        log.borrow_mut().push(format!("{name}{n}"));
        sleep(Duration::ZERO).await;
    }
}

#[test]
fn tasks_begin_in_the_order_of_their_making_and_take_turns() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    run(async move {
        let tasks = ["a", "b", "c"].map(|name| create_task(rounds(name, Rc::clone(&log))));
        log.borrow_mut().push("made".to_owned());
        gather_tasks(tasks).await.unwrap();
    });
    assert_eq!(*seen.borrow(), ["made", "a0", "b0", "c0", "a1", "b1", "c1"]);
}

#[test]
fn what_a_callback_schedules_runs_in_the_next_turn() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    run(async move {
        let (one, two) = (Rc::clone(&log), Rc::clone(&log));
        call_soon(move || {
            one.borrow_mut().push("first".to_owned());
            let one = Rc::clone(&one);
            call_soon(move || one.borrow_mut().push("third".to_owned()));
        });
        call_soon(move || two.borrow_mut().push("second".to_owned()));
        sleep(Duration::ZERO).await;
        log.borrow_mut().push("main".to_owned());
        sleep(Duration::ZERO).await;
    });
    assert_eq!(*seen.borrow(), ["first", "second", "main", "third"]);
}

#[test]
fn timers_for_the_same_time_fire_in_the_order_of_their_making() {
    let log = Log::default();
    let seen = Rc::clone(&log);
    run(async move {
        let when = roundel::time();
        for name in ["a", "b", "c"] {
            let log = Rc::clone(&log);
            roundel::call_at(when, move || log.borrow_mut().push(name.to_owned()));
        }
        sleep(Duration::ZERO).await;
        sleep(Duration::ZERO).await;
    });
    assert_eq!(*seen.borrow(), ["a", "b", "c"]);
}
