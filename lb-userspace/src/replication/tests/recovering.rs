//! An agent that has restarted on a flow table that lives, and knows nothing of what it had said.

use super::super::step::{Recipes, Tables};
use super::*;

impl Desk {
    /// The first side's agent starts anew on its maps, and has a session again in which nothing has been said.
    fn restart(&mut self) {
        let recovering = Setup { recovering: true, ..setup("lb1", "lb2") };
        self.sides[0] = Replicator::new(recovering, self.sides[0].mark(), self.now);
        self.sides[0].configure([pair("rs1"), pair("rs2")]).unwrap();
        self.sides[0].begin(self.now);
        self.ids = [
            self.sides[0].connected(NodeId::of("lb2")).unwrap(),
            self.sides[1].connected(NodeId::of("lb1")).unwrap(),
        ];
    }

    /// The first side says this much, and hears nothing.
    fn first_says(&mut self, messages: usize) {
        for _ in 0..messages {
            let Some(body) = self.sides[0].transmit(self.ids[0], self.now) else { return };
            self.sides[1].receive(self.ids[1], &body, self.now).unwrap();
        }
    }
}

/// Seeds 737, 8445 and 9973 of the simulation: more had changed than is kept for a peer, so a digest of what was there so far
/// ended all that was not.
#[test]
fn a_busy_director_that_recovers_does_not_end_what_it_has_not_got_back() {
    let mut desk = Desk::new();
    for number in 0..50 {
        desk.sides[0].publish(flow(number), connection("rs1"), desk.now).unwrap();
    }
    desk.pass(1);
    desk.restart();
    // Each hears the other's hello, and no more than that.
    for from in [1, 0] {
        let hello = desk.sides[from].transmit(desk.ids[from], desk.now).unwrap();
        desk.sides[1 - from].receive(desk.ids[1 - from], &hello, desk.now).unwrap();
    }
    for number in 1000..2000 {
        desk.sides[0].publish(flow(number), connection("rs2"), desk.now).unwrap();
    }
    assert!(desk.lag().stale, "more than is kept");
    desk.first_says(10);
    assert_eq!(desk.sides[0].in_sync(NodeId::of("lb2")), Some(false), "it has not been told of a thousand");
    desk.talk();
    let held = |side: &Replicator| (0..50).filter(|number| side.replica(flow(*number)).is_some()).count();
    assert_eq!((held(&desk.sides[0]), held(&desk.sides[1])), (50, 50));
    desk.pass(20);
    assert!(!desk.sides[0].is_recovering());
    assert_eq!((held(&desk.sides[0]), held(&desk.sides[1])), (50, 50));
    assert!((1000..2000).all(|number| desk.sides[1].replica(flow(number)) == Some(&connection("rs2"))));
    assert!(desk.sides[0].acknowledged());
}

/// Seeds 737 and 9973: a record that its owner did not list ended under its own version at one director, and lived on for ever
/// at another one that had heard of the end.
#[test]
fn an_end_under_the_version_of_the_record_is_later_than_the_record() {
    let (Setup { origin, bounds, .. }, since, flow) = (setup("lb1", "lb2"), Instant::now(), flow(1));
    let entry = |content| Entry { version: Version { counter: 2, origin }, content, since };
    let live = entry(Content::Live(connection("rs1")));
    let mut store = Store::new(bounds);
    assert_eq!(store.merge(flow, live), Ok(Merge::Applied));
    assert_eq!(store.merge(flow, entry(Content::Ended)), Ok(Merge::Applied));
    assert_eq!((store.live(), store.tombstones()), (0, 1));
    assert_eq!(store.merge(flow, entry(Content::Ended)), Ok(Merge::Equal));
    assert_eq!(store.merge(flow, live), Ok(Merge::Older), "who still has it is told");
}

/// Seed 2103: the tombstone of a flow id is forgotten by the agent that restarts, and the entry behind which it stood is still at
/// the other director; the next connection of that flow id had not been told when the agent ended.
#[test]
fn an_agent_that_recovers_tells_what_could_be_derived() {
    let mut desk = Desk::new();
    let tables = Tables::of(Recipes::default());
    for side in &mut desk.sides {
        side.step_mut().found(Some(tables.clone()));
    }
    desk.pass(1);
    assert!(desk.sides[0].all_in_step());
    desk.restart();
    desk.sides[0].step_mut().found(Some(tables));
    for from in [1, 0] {
        desk.sides[from].tick(desk.now);
        while let Some(body) = desk.sides[from].transmit(desk.ids[from], desk.now) {
            desk.sides[1 - from].receive(desk.ids[1 - from], &body, desk.now).unwrap();
        }
    }
    assert!(desk.sides[0].is_recovering() && !desk.sides[0].all_in_step());
    desk.pass(20);
    assert!(!desk.sides[0].is_recovering() && desk.sides[0].all_in_step());
}
