//! The world made from a seed: its time jumps, its order is the seed's.
#![cfg(not(loom))]

use std::{cell::RefCell, panic::catch_unwind, rc::Rc, time::Duration};

use roundel::{TimeoutError, create_task, gather, sim, sleep, wait_for};

fn order(seed: u64) -> Vec<u32> {
    let order = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&order);
    sim::run(seed, async move {
        let all = gather((0..8).map(|n| {
            let order = Rc::clone(&order);
            async move {
                sleep(Duration::from_secs(60)).await;
                order.borrow_mut().push(n);
            }
        }));
        all.await.unwrap();
    });
    Rc::try_unwrap(seen).unwrap().into_inner()
}

#[test]
fn the_same_seed_is_the_same_order_and_another_one_another() {
    assert_eq!(order(1), order(1));
    assert!((2..10).any(|seed| order(seed) != order(1)));
}

#[test]
fn hours_pass_at_once_and_to_the_nanosecond() {
    let hour = Duration::from_secs(3600);
    let now = sim::run(3, async move {
        assert_eq!(wait_for(sleep(hour * 1000), hour).await, Err(TimeoutError));
        let task = create_task(sleep(hour));
        sleep(hour * 2).await;
        assert!(task.is_finished());
        roundel::time()
    });
    assert_eq!(now.saturating_since(roundel::Instant::default()), hour * 3);
}

#[test]
fn waiting_for_ever_is_said_with_who_waits() {
    let payload = catch_unwind(|| {
        sim::run(1, async {
            create_task(std::future::pending::<()>())
                .with_name("tea")
                .await
        })
    });
    let payload = payload.unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("nothing can ever happen"), "{message}");
    assert!(message.ends_with("waiting: Task-1, tea"), "{message}");
}
