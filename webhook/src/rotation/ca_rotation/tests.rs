//! Whole lives with a clock of their own. The judge is not the code's: at every moment, whatever any server may still be
//! serving has to be acceptable to whatever any client may still be trusting.

use std::collections::VecDeque;

use super::super::certificate_set::Data;
use super::super::stable_since::StableSince;
use super::*;

const START: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
/// A kubelet, and the server behind it.
const MOUNTED: i64 = 130;
/// A client that read what it trusts so long ago.
const STALE: i64 = 9 * 60;

fn names() -> BTreeSet<String> {
    ["agent-creds-admit.agent-creds-system.svc".to_owned()].into()
}

/// What is stored, and what was.
struct World {
    now: i64,
    set: CertificateSet,
    secret_version: u64,
    targets: Vec<(String, u64)>,
    asked: bool,
    history: VecDeque<Moment>,
    made: u32,
    log: Vec<Step>,
    /// Once somebody is served.
    judged: bool,
}

/// From when on what was served, and what was trusted.
#[derive(Clone, PartialEq)]
struct Moment {
    since: i64,
    served: Option<Certificate>,
    trusted: Vec<String>,
}

/// The Secret and its version, the targets and theirs, and whether a person asks.
type Read = (CertificateSet, u64, Vec<(String, u64)>, bool);

/// A manager: what it read, and how long it has been so.
#[derive(Default)]
struct Manager {
    stable: StableSince<(u64, Vec<u64>)>,
    read: Option<Read>,
}

impl World {
    fn new() -> Self {
        Self {
            now: START,
            set: CertificateSet::default(),
            secret_version: 1,
            targets: vec![(String::new(), 1); 3],
            asked: false,
            history: VecDeque::new(),
            made: 0,
            log: Vec::new(),
            judged: false,
        }
    }

    /// Somebody edits the Secret.
    fn edit(&mut self, change: impl FnOnce(&mut Data)) {
        let mut data = Data::new();
        self.set.write(&mut data);
        change(&mut data);
        self.set = CertificateSet::read(&data);
        self.secret_version += 1;
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.now - START).unwrap())
    }

    /// A manager reads.
    fn read(&self, manager: &mut Manager) {
        manager.read = Some((self.set.clone(), self.secret_version, self.targets.clone(), self.asked));
    }

    /// It decides on what it read, and writes if nothing has changed since. Whether it rests.
    fn act(&mut self, manager: &mut Manager, timing: &Timing) -> bool {
        let Some((set, version, targets, asked)) = manager.read.take() else { return true };
        let bundle = set.bundle();
        let stale = targets.iter().position(|(trusted, _)| *trusted != bundle);
        let versions = (version, targets.iter().map(|(_, version)| *version).collect());
        let stable_for = manager.stable.observe(versions, self.uptime());
        let view = View { set: &set, names: &names(), published: stale.is_none(), asked, stable_for };
        let step = next(&view, self.now, timing);
        match step {
            Step::Rest => return true,
            Step::Publish => {
                let place = stale.unwrap();
                if self.targets[place].1 == targets[place].1 {
                    self.targets[place] = (bundle, targets[place].1 + 1);
                }
            }
            step => {
                self.made += 1;
                let after = set.after(step, &names(), &self.made.to_string(), self.now, timing).unwrap();
                if self.secret_version == version {
                    self.secret_version += 1;
                    self.set = after;
                    self.log.push(step);
                    self.asked &= step != Step::Promote;
                }
            }
        }
        self.judge();
        false
    }

    /// The rule.
    fn judge(&mut self) {
        let served = self.set.leaf.as_ref().map(|pair| pair.certificate.clone());
        let mut trusted: Vec<_> = self.targets.iter().map(|(bundle, _)| bundle.clone()).collect();
        trusted.dedup();
        self.judged |= served.is_some();
        let moment = Moment { since: self.now, served, trusted };
        let same = |last: &Moment| last.served == moment.served && last.trusted == moment.trusted;
        if !self.history.back().is_some_and(same) {
            self.history.push_back(moment);
        }
        // What held before the window began is what held at its beginning.
        while self.history.len() > 1 && self.history[1].since <= self.now - STALE {
            self.history.pop_front();
        }
        if !self.judged {
            return;
        }
        let ends = |i: usize| self.history.get(i + 1).map_or(i64::MAX, |next| next.since);
        let late = (0..self.history.len()).filter(|i| ends(*i) >= self.now - MOUNTED);
        let served: Vec<_> = late.filter_map(|i| self.history[i].served.as_ref()).collect();
        // Until the first certificate nobody was served.
        for moment in self.history.iter().filter(|moment| moment.served.is_some()) {
            for bundle in &moment.trusted {
                let trusted = Certificate::parse(bundle.as_bytes());
                for leaf in &served {
                    let ca = trusted.iter().find(|ca| leaf.is_from(ca));
                    let fine = ca.is_some_and(|ca| ca.is_valid(self.now)) && leaf.is_valid(self.now);
                    assert!(fine, "day {}: {:?}", (self.now - START) / DAY, self.log);
                }
            }
        }
    }

    /// Nobody is served for now, and what was is forgotten.
    fn outage(&mut self) {
        self.judged = false;
        self.history.clear();
    }

    /// One manager until it rests.
    fn settle(&mut self, manager: &mut Manager, timing: &Timing) {
        for _ in 0..20 {
            self.read(manager);
            if self.act(manager, timing) {
                return;
            }
        }
        panic!("it never rests: {:?}", self.log);
    }

    /// Time passes: quickly where nothing is under way.
    fn pass(&mut self) {
        let under_way = self.set.next.is_some() || !self.set.retired.is_empty();
        self.now += if under_way { 60 } else { DAY / 2 };
        self.judge();
    }
}

#[test]
fn two_years_of_one_manager() {
    let timing = Timing::default();
    let (mut world, mut manager) = (World::new(), Manager::default());
    let mut first = Vec::new();
    while world.now < START + 730 * DAY {
        world.settle(&mut manager, &timing);
        if first.is_empty() {
            first.clone_from(&world.log);
        }
        world.pass();
    }
    assert_eq!(first, [Step::Announce, Step::Promote], "at once, since nobody was served before");
    let count = |step| world.log.iter().filter(|done| **done == step).count();
    // A CA is followed after 243 days, so there are three in two years; a leaf after 60.
    assert_eq!(
        (count(Step::Announce), count(Step::Promote), count(Step::Forget)),
        (3, 3, 2),
        "{:?}",
        world.log
    );
    assert_eq!(count(Step::Renew), 12, "{:?}", world.log);
    assert_eq!(Certificate::parse(world.targets[0].0.as_bytes()).len(), 1, "what is over is forgotten");
}

#[test]
fn a_crash_after_any_write_and_before_it_changes_no_promise() {
    let timing = Timing::default();
    for crash in 0..16 {
        let (mut world, mut manager) = (World::new(), Manager::default());
        let (mut writes, mut looks) = (0, 0);
        while world.now < START + 300 * DAY {
            world.read(&mut manager);
            looks += 1;
            if looks == crash {
                manager = Manager::default(); // it had decided and did not write
                continue;
            }
            if world.act(&mut manager, &timing) {
                world.pass();
            } else {
                writes += 1;
                if writes == crash {
                    manager = Manager::default(); // it wrote, and never learned of it
                }
            }
        }
        assert_eq!(
            world.log.iter().filter(|step| **step == Step::Promote).count(),
            2,
            "{crash}: {:?}",
            world.log
        );
        assert!(world.set.retired.is_empty() && world.set.next.is_none(), "{crash}");
    }
}

#[test]
fn a_manager_that_is_started_again_all_the_time_breaks_nothing() {
    let timing = Timing::default();
    let (mut world, mut manager) = (World::new(), Manager::default());
    while world.now < START + 200 * DAY {
        world.settle(&mut manager, &timing);
        world.pass();
    }
    // It never sees anything for as long as it wants to; only before the end of all it goes on nevertheless.
    world.asked = true;
    for _ in 0..200 {
        world.settle(&mut Manager::default(), &timing);
        world.now += 60;
        world.judge();
    }
    assert_eq!(world.log.last(), Some(&Step::Announce), "waits");
    for _ in 0..100 {
        world.settle(&mut manager, &timing);
        world.pass();
    }
    assert!(world.log.ends_with(&[Step::Announce, Step::Promote, Step::Forget]), "{:?}", world.log);
}

/// Two that both believe to hold the Lease, each reading, standing still and writing whenever it likes.
#[test]
fn two_managers_at_once_do_no_harm() {
    let timing = Timing::default();
    for seed in 1..8_u64 {
        let mut random = seed;
        let mut dice = |sides: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % sides
        };
        let mut world = World::new();
        let mut managers = [Manager::default(), Manager::default()];
        for turn in 0..4000 {
            let manager = &mut managers[usize::try_from(dice(2)).unwrap()];
            match dice(8) {
                0..=2 => world.read(manager),
                3..=5 => drop(world.act(manager, &timing)),
                6 => {
                    world.now += i64::try_from(dice(200)).unwrap();
                    world.judge();
                }
                _ if turn % 500 < 10 => *manager = Manager::default(),
                _ => world.asked |= world.judged,
            }
        }
        assert!(
            world.log.iter().filter(|step| **step == Step::Forget).count() > 1,
            "{seed}: {:?}",
            world.log
        );
    }
}

fn ready(timing: &Timing) -> (World, Manager) {
    let (mut world, mut manager) = (World::new(), Manager::default());
    world.settle(&mut manager, timing);
    (world, manager)
}

#[test]
fn a_bundle_that_somebody_emptied_is_filled_before_anything_else() {
    let timing = Timing::default();
    let (mut world, mut manager) = ready(&timing);
    let before = world.targets[1].0.clone();
    world.targets[1] = (String::new(), 9);
    world.asked = true;
    world.read(&mut manager);
    world.targets[1].0.clone_from(&before); // for the judge: what an outage is cannot be repaired afterwards
    assert!(!world.act(&mut manager, &timing));
    assert_eq!(world.targets[1], (before, 10));
    assert_eq!(world.log, [Step::Announce, Step::Promote]);
}

#[test]
fn a_lost_key_of_the_ca_does_not_end_what_it_signed() {
    let timing = Timing::default();
    let (mut world, mut manager) = ready(&timing);
    world.edit(|data| drop(data.remove("ca.key")));
    let leaf = world.set.leaf.as_ref().unwrap().certificate.clone();
    world.settle(&mut manager, &timing);
    assert_eq!(world.set.leaf.as_ref().unwrap().certificate, leaf, "a new CA is trusted first");
    assert_eq!(Certificate::parse(world.targets[2].0.as_bytes()).len(), 2);
    for _ in 0..200 {
        world.pass();
        world.settle(&mut manager, &timing);
    }
    assert_eq!(world.log[2..5], [Step::Announce, Step::Promote, Step::Forget]);
}

#[test]
fn what_the_servers_cannot_use_is_made_anew() {
    let timing = Timing::default();
    let spoil: [fn(&mut World); 4] = [
        |world| world.edit(|data| drop(data.remove("tls.key"))),
        |world| world.edit(|data| drop(data.insert("tls.crt".to_owned(), b"nonsense".to_vec()))),
        |world| world.now += 91 * DAY,
        |world| {
            // A certificate for another name, of the right CA.
            let other = ["other.svc".to_owned()].into();
            let timing = Timing::default();
            world.set = world.set.after(Step::Renew, &other, "", world.now, &timing).unwrap();
        },
    ];
    for spoil in spoil {
        let (mut world, mut manager) = ready(&timing);
        spoil(&mut world);
        world.outage();
        world.settle(&mut manager, &timing);
        assert_eq!(world.log[2..], [Step::Renew]);
        let leaf = &world.set.leaf.as_ref().unwrap().certificate;
        assert!(leaf.is_valid(world.now) && leaf.names == names());
    }
}

#[test]
fn a_certificate_never_outlives_its_ca_and_is_not_renewed_for_nothing() {
    let timing = Timing::default();
    let (mut world, mut manager) = ready(&timing);
    let ca = world.set.signing.as_ref().unwrap().certificate.clone();
    // A year in which nobody could announce a CA: the place for it was closed.
    world.now = ca.not_after - 40 * DAY;
    let set = world.set.clone();
    let view = View { set: &set, names: &names(), published: true, asked: false, stable_for: Duration::ZERO };
    assert_eq!(next(&view, world.now, &timing), Step::Renew);
    let renewed = set.after(Step::Renew, &names(), "", world.now, &timing).unwrap();
    assert_eq!(renewed.leaf.as_ref().unwrap().certificate.not_after, ca.not_after);
    let view = View { set: &renewed, ..view };
    assert_eq!(next(&view, ca.not_after - 1, &timing), Step::Announce);
    // And once it has ended, nothing is waited for.
    world.now = ca.not_after + DAY;
    world.outage();
    world.set.leaf = None;
    world.settle(&mut manager, &timing);
    assert!(world.log.ends_with(&[Step::Announce, Step::Promote]), "{:?}", world.log);
}

#[test]
fn what_is_written_is_read_back_and_what_is_not_ours_stays() {
    let timing = Timing::default();
    let (world, _) = ready(&timing);
    let set = world.set;
    let announced = set.after(Step::Announce, &names(), "two", world.now, &timing).unwrap();
    let promoted = announced.after(Step::Promote, &names(), "", world.now, &timing).unwrap();
    let mut data: Data = [("note".to_owned(), b"ours".to_vec())].into();
    for state in [&announced, &promoted, &set] {
        state.write(&mut data);
        assert!(CertificateSet::read(&data) == *state);
        assert_eq!(data["note"], b"ours");
    }
    assert!(!data.contains_key("next.crt") && !data.contains_key("retired.crt"));
    assert_eq!(Certificate::parse(promoted.bundle().as_bytes()).len(), 2);
    assert!(!promoted.bundle().contains("PRIVATE"));
}
