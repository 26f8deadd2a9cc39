//! What goes wrong, and when: a pure function of the seed, so that a run can be had again.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// Nothing goes wrong before, so that the first token is there.
const QUIET_MS: u64 = 4_000;
/// How far a wall clock is off, in seconds.
const CLOCK_OFF_S: i64 = 600;

/// What a schedule is made for.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The seed.
    pub seed: u64,
    /// How long things go wrong.
    pub length_ms: u64,
    /// How many sidecars there are.
    pub sidecars: usize,
    /// The term of a claim.
    pub term_ms: u64,
}

/// One thing that goes wrong, or that a person does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// When, from the start.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub action: Action,
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whom {
    /// This one.
    Sidecar(usize),
    /// Whoever writes the next claim, so long after the API server took it.
    Holder {
        /// How long.
        after_ms: u64,
    },
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL, and a restart after a while.
    Kill {
        /// Whom.
        whom: Whom,
        /// Whether the spool goes with it, as with the pod.
        spool_lost: bool,
        /// How long it is down.
        down_ms: u64,
    },
    /// SIGSTOP, and SIGCONT after a while.
    Freeze {
        /// Whom.
        whom: Whom,
        /// How long.
        for_ms: u64,
    },
    /// The wall clock of one sidecar is set.
    Clock {
        /// Whose; one of [`with_own_clock`].
        sidecar: usize,
        /// How far off.
        offset_s: i64,
    },
    /// One sidecar cannot reach the API server.
    Cut {
        /// Whom.
        whom: Whom,
        /// Whether requests wait, instead of being refused.
        stalls: bool,
        /// How long.
        for_ms: u64,
    },
    /// A write of the state is spoilt on the way, whoever makes it.
    SpoilWrite {
        /// How.
        how: Spoilt,
        /// How many go well before.
        after: usize,
    },
    /// etcd stands still.
    EtcdFreeze {
        /// How long.
        for_ms: u64,
    },
    /// etcd is killed, and started again after a while.
    EtcdKill {
        /// How long it is down.
        down_ms: u64,
    },
    /// etcd's data is copied.
    Snapshot,
    /// etcd and the API server are killed, and start again from the last copy.
    Restore,
    /// The state Secret is emptied.
    Wipe,
    /// The grant Secret gets a login.
    Login(Login),
    /// The state asks for a refresh now, as a person does.
    Ask,
    /// The provider spoils the next answers; what it was told before is forgotten.
    Provider {
        /// How.
        how: Answer,
        /// Whether it carries the request out first.
        committed: bool,
        /// How many answers.
        calls: usize,
    },
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoilt {
    /// It never reaches the API server.
    Lost,
    /// Its answer is lost.
    Unanswered,
    /// Its sender is told nothing, and it reaches the API server later.
    Late {
        /// How much later.
        by_ms: u64,
    },
}

/// A login in the grant Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// A person has logged in again.
    New,
    /// An earlier login is put back, and the newest comes again later.
    Old,
    /// A login that the provider has never heard of, and the newest comes again later.
    Bad,
}

/// How an answer of the provider is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// 500, 502 and the like.
    Status(u16),
    /// None comes.
    Hang,
    /// The connection is closed.
    Close,
    /// It breaks off within the refresh token.
    Cut,
    /// A web page.
    Html,
}

/// Whether this sidecar's wall clock is its own, and can be off.
pub fn with_own_clock(sidecar: usize) -> bool {
    sidecar % 5 < 2
}

/// How far the wall clock of this sidecar is off at the start, in seconds.
pub fn clock_at_start(seed: u64, sidecar: usize) -> i64 {
    Random::new(seed ^ (sidecar as u64 + 1).wrapping_mul(0x9e37)).one(&[-CLOCK_OFF_S, CLOCK_OFF_S])
}

/// The schedule, in order.
pub fn plan(setting: &Setting) -> Vec<Planned> {
    let mut random = Random::new(setting.seed);
    let mut planned = Vec::new();
    let mut at_ms = QUIET_MS;
    while at_ms < setting.length_ms {
        planned.push(Planned { at_ms, action: action(&mut random, setting) });
        at_ms += random.between(200, 2_600);
    }
    // Something has to be presented for anything to go wrong with it; tokens alone would end too rarely.
    let mut at_ms = QUIET_MS / 2;
    while at_ms < setting.length_ms {
        planned.push(Planned { at_ms, action: Action::Ask });
        at_ms += random.between(1_000, 4_000);
    }
    planned.extend(backups(&mut random, setting));
    planned.sort_by_key(|planned| planned.at_ms);
    planned
}

/// A backup and a restore in each minute or so.
fn backups(random: &mut Random, setting: &Setting) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut from_ms = QUIET_MS;
    while from_ms + 50_000 < setting.length_ms {
        let taken = from_ms + random.between(2_000, 12_000);
        let restored = taken + random.between(2_000, 25_000);
        planned.push(Planned { at_ms: taken, action: Action::Snapshot });
        planned.push(Planned { at_ms: restored, action: Action::Restore });
        from_ms += random.between(60_000, 120_000);
    }
    planned
}

fn action(random: &mut Random, setting: &Setting) -> Action {
    let term_ms = setting.term_ms;
    let any = |random: &mut Random| {
        usize::try_from(random.between(0, setting.sidecars as u64)).expect("a number of sidecars")
    };
    let whom = |random: &mut Random| {
        if random.chance(60) {
            Whom::Holder { after_ms: random.between(0, 600) }
        } else {
            Whom::Sidecar(any(random))
        }
    };
    match random.between(0, 100) {
        0..25 => Action::Kill {
            whom: whom(random),
            spool_lost: random.chance(35),
            down_ms: random.between(100, term_ms),
        },
        25..42 => Action::Freeze { whom: whom(random), for_ms: random.between(200, 2 * term_ms) },
        42..47 => {
            let own: Vec<_> = (0..setting.sidecars).filter(|sidecar| with_own_clock(*sidecar)).collect();
            let offset_s = random.one(&[-CLOCK_OFF_S, 0, CLOCK_OFF_S]);
            Action::Clock { sidecar: random.one(&own), offset_s }
        }
        47..59 => Action::Cut {
            whom: whom(random),
            stalls: random.chance(40),
            for_ms: random.between(200, 2 * term_ms),
        },
        59..73 => {
            let late = Spoilt::Late { by_ms: random.between(50, term_ms) };
            let how = random.one(&[Spoilt::Unanswered, Spoilt::Unanswered, Spoilt::Lost, late]);
            Action::SpoilWrite { how, after: random.one(&[0, 1, 2]) }
        }
        73..76 => Action::EtcdFreeze { for_ms: random.between(300, term_ms) },
        76..79 => Action::EtcdKill { down_ms: random.between(200, term_ms) },
        79..84 => Action::Wipe,
        84..91 => Action::Login(random.one(&[Login::New, Login::New, Login::Old, Login::Bad])),
        _ => Action::Provider {
            how: random.one(&[
                Answer::Status(500),
                Answer::Status(503),
                Answer::Status(429),
                Answer::Hang,
                Answer::Close,
                Answer::Cut,
                Answer::Html,
            ]),
            committed: random.chance(35),
            calls: random.one(&[1, 1, 1, 2]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(seed: u64) -> Setting {
        Setting { seed, length_ms: 180_000, sidecars: 20, term_ms: 6_000 }
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(plan(&setting(7)), plan(&setting(7)));
        assert_ne!(plan(&setting(7)), plan(&setting(8)));
        let starts = |seed| [0, 1, 5, 6].map(|sidecar| clock_at_start(seed, sidecar));
        assert_eq!(starts(7), starts(7));
    }

    #[test]
    fn it_is_in_order_and_within_its_time() {
        let plan = plan(&setting(7));
        assert!(plan.windows(2).all(|two| two[0].at_ms <= two[1].at_ms));
        assert!(plan.iter().all(|planned| (2_000..180_000).contains(&planned.at_ms)), "{plan:?}");
        assert!(plan.len() > 100, "{}", plan.len());
    }

    #[test]
    fn every_fault_comes_up() {
        let names: std::collections::BTreeSet<_> = (0..4)
            .flat_map(|seed| plan(&setting(seed)))
            .map(|planned| {
                let json = serde_json::to_value(&planned).expect("plain data");
                json["action"].as_str().expect("a name").to_owned()
            })
            .collect();
        let all = "ask clock cut etcd_freeze etcd_kill freeze kill login provider restore snapshot spoil_write wipe";
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>().join(" "), all);
    }

    #[test]
    fn only_clocks_that_are_somebodys_own_are_set() {
        for planned in plan(&setting(3)) {
            if let Action::Clock { sidecar, .. } = planned.action {
                assert!(with_own_clock(sidecar));
            }
        }
    }
}
