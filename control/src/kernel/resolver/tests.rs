//! Whom the kernel is asked for, and when.

use super::*;

struct Desk {
    resolver: Resolver,
    now: Instant,
}

fn hop(number: u32) -> NextHop {
    (InterfaceId(0), IpAddr::V4(number.into()))
}

fn on_link(number: u32) -> OnLink {
    (7, hop(number).1)
}

impl Desk {
    fn new() -> Self {
        Self { resolver: Resolver::new(), now: Instant::now() }
    }

    fn packet(&mut self, standing: Standing, number: u32) -> Queued {
        self.resolver.queue(standing, hop(number), on_link(number), &[0], self.now)
    }

    fn pass(&mut self, time: Duration) -> Expired {
        self.now += time;
        self.resolver.tick(self.now)
    }

    fn requests(&mut self) -> Vec<Request> {
        self.resolver.take_requests(usize::MAX)
    }

    fn uses(&mut self) -> Vec<u32> {
        let number = |neighbor: OnLink| match neighbor.1 {
            IpAddr::V4(v4) => u32::from(v4),
            IpAddr::V6(_) => unreachable!("these tests use IPv4"),
        };
        let asked = |request| match request {
            Request::Use(neighbor) => Some(number(neighbor)),
            Request::Forget(_) => None,
        };
        self.requests().into_iter().filter_map(asked).collect()
    }
}

#[test]
fn a_neighbour_is_asked_for_once_a_second_as_long_as_somebody_waits() {
    let mut desk = Desk::new();
    desk.packet(Standing::Known, 1);
    desk.packet(Standing::Known, 1);
    desk.packet(Standing::Known, 2);
    assert_eq!(desk.uses(), [1, 2]);
    desk.pass(Duration::from_millis(900));
    assert_eq!(desk.uses(), [0; 0]);
    let _ = desk.resolver.take(hop(2));
    desk.pass(TICK);
    assert_eq!(desk.uses(), [1], "nobody waits for the other any more");
}

#[test]
fn an_answered_question_may_be_asked_again() {
    let mut desk = Desk::new();
    desk.packet(Standing::Known, 1);
    assert_eq!(desk.uses(), [1]);
    desk.resolver.resolved(on_link(1));
    let _ = desk.resolver.take(hop(1));
    desk.packet(Standing::Known, 1);
    assert_eq!(desk.uses(), [1]);
}

#[test]
fn a_packet_that_comes_when_all_questions_are_asked_is_not_forgotten() {
    let mut desk = Desk::new();
    (0..250).for_each(|number| {
        desk.packet(Standing::Known, number);
    });
    assert_eq!(desk.uses().len(), 200);
    desk.pass(TICK);
    let mut rest = desk.uses();
    rest.sort_unstable();
    assert_eq!(rest, (200..250).collect::<Vec<_>>());
}

/// RFC 6583: 19,000 addresses a second for ten seconds, none of which answers.
#[test]
fn a_scan_takes_a_small_part_of_the_kernels_table_and_no_known_hosts_turn() {
    let mut desk = Desk::new();
    let mut entries = HashSet::new();
    let (mut most, mut asked) = (0, 0);
    for millisecond in 0..10_000 {
        for n in 0..19 {
            let number = 1_000_000 + millisecond * 19 + n;
            let standing = desk.resolver.standing(on_link(number), false, || false);
            desk.packet(standing, number);
        }
        for request in desk.requests() {
            match request {
                Request::Use(neighbor) => {
                    asked += 1;
                    entries.insert(neighbor);
                }
                Request::Forget(neighbor) => assert!(entries.remove(&neighbor), "asked for before"),
            };
        }
        most = most.max(entries.len());
        assert_eq!(entries.len(), desk.resolver.unanswered());
        if millisecond % 1000 == 500 {
            for (standing, number) in [(Standing::Known, millisecond), (Standing::Gateway, millisecond + 1)] {
                desk.packet(standing, number);
                assert_eq!(desk.uses(), [number], "at once");
                desk.resolver.resolved(on_link(number));
                assert_eq!(desk.resolver.take(hop(number)).count(), 1);
            }
        }
        if millisecond % 100 == 99 {
            desk.resolver.tick(desk.now);
        }
        desk.now += Duration::from_millis(1);
    }
    assert!(most <= DEFAULT_TABLE / 4, "{most}");
    assert!((1000..10_000).contains(&asked), "{asked}");
}

#[test]
fn who_is_sought_again_and_again_gets_a_turn_in_a_scan() {
    let mut desk = Desk::new();
    let mut turns = 0;
    for second in 0..10 {
        for n in 0..9500 {
            let number = 1_000_000 + second * 9500 + n;
            let standing = desk.resolver.standing(on_link(number), false, || false);
            desk.packet(standing, number);
            if n % 500 == 499 {
                desk.now += Duration::from_millis(50);
            }
            if n % 1000 == 999 {
                desk.resolver.tick(desk.now);
            }
        }
        let standing = desk.resolver.standing(on_link(1), false, || false);
        desk.packet(standing, 1);
        turns += desk.uses().iter().filter(|number| **number == 1).count();
    }
    assert!(turns >= 5, "{turns}");
}

#[test]
fn failed_neighbours_are_forgotten_before_those_that_may_still_answer() {
    let mut desk = Desk::new();
    (0..100).for_each(|number| {
        desk.packet(Standing::Unknown, number);
    });
    desk.pass(TICK);
    (100..128).for_each(|number| {
        desk.packet(Standing::Unknown, number);
    });
    desk.requests();
    desk.resolver.failed(on_link(77));
    assert_eq!(desk.resolver.take(hop(77)).count(), 1);
    desk.packet(Standing::Unknown, 500);
    assert_eq!(desk.requests(), [Request::Forget(on_link(77)), Request::Use(on_link(500))]);
    desk.packet(Standing::Unknown, 501);
    assert_eq!(desk.requests(), [], "all others still have their chance");
    assert_eq!(desk.pass(CHANCE).late, 1, "the packet of the one that is given up");
    assert_eq!(desk.requests(), [Request::Forget(on_link(0)), Request::Use(on_link(501))]);
}

#[test]
fn a_larger_table_has_more_places() {
    let mut desk = Desk::new();
    desk.resolver.set_table_size(false, 16_384);
    for _ in 0..5 {
        (0..2000).for_each(|number| {
            desk.packet(Standing::Unknown, number);
        });
        desk.pass(TICK);
    }
    assert!(desk.resolver.unanswered() > 300);
}

#[test]
fn a_full_table_is_the_reason_of_those_that_wait_in_vain() {
    let mut desk = Desk::new();
    desk.packet(Standing::Known, 1);
    desk.packet(Standing::Known, 2);
    desk.resolver.refused(on_link(1));
    assert_eq!(desk.pass(PATIENCE), Expired { late: 1, table_full: 1 });
}

#[test]
fn refreshes_are_spread_and_not_doubled() {
    let mut desk = Desk::new();
    for n in 0..60 {
        desk.resolver.refresh(on_link(n));
        desk.resolver.refresh(on_link(n));
    }
    desk.pass(Duration::ZERO);
    assert_eq!(desk.uses().len(), REFRESHES_PER_TICK);
    desk.pass(TICK);
    assert_eq!(desk.uses().len(), 10);
    desk.resolver.refresh(on_link(0));
    desk.pass(TICK);
    assert_eq!(desk.uses().len(), 0, "asked for less than a second ago");
    desk.pass(ASK_INTERVAL);
    assert_eq!(desk.uses(), [0], "put off, not forgotten");
}

#[test]
fn one_that_answers_before_the_kernel_is_told_to_forget_it_stays() {
    let mut desk = Desk::new();
    (0..128).for_each(|number| {
        desk.packet(Standing::Unknown, number);
    });
    desk.pass(TICK);
    desk.requests();
    desk.resolver.failed(on_link(77));
    desk.packet(Standing::Unknown, 500);
    desk.resolver.resolved(on_link(77));
    assert_eq!(desk.requests(), [Request::Use(on_link(500))]);
}

#[test]
fn a_kernel_that_takes_no_requests_is_not_given_more_and_more() {
    let mut desk = Desk::new();
    for tick in 0..100 {
        (0..100).for_each(|number| {
            desk.packet(Standing::Gateway, tick * 100 + number);
        });
        desk.pass(TICK);
    }
    let waiting = desk.requests().len();
    assert!((BACKLOG..BACKLOG + 1000).contains(&waiting), "{waiting}");
}
