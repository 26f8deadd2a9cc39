//! Plans the faults of a run as a pure function of the seed, so that a run can be repeated.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// Start of the faults; the first token is obtained before.
const QUIET_MS: u64 = 4_000;
/// Offset of a wrong wall clock, in seconds.
const CLOCK_OFF_S: i64 = 600;

/// The parameters of a schedule.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The seed.
    pub seed: u64,
    /// Duration of the faults.
    pub length_ms: u64,
    /// Number of sidecars.
    pub sidecars: usize,
    /// Claim term.
    pub term_ms: u64,
}

/// A fault, or an action of a person, at a planned time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Time since the start.
    pub at_ms: u64,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// The target of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This sidecar.
    Sidecar(usize),
    /// The sidecar that writes the next claim, this long after the API server accepted it.
    Holder {
        /// The delay.
        after_ms: u64,
    },
}

/// A fault, or an action of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL, and a restart later.
    Kill {
        /// Its target.
        target: Target,
        /// Whether the spool is lost too, as with the pod.
        spool_lost: bool,
        /// Time until the restart.
        down_ms: u64,
    },
    /// SIGSTOP, and SIGCONT later.
    Freeze {
        /// Its target.
        target: Target,
        /// Its duration.
        for_ms: u64,
    },
    /// The wall clock of one sidecar is set.
    Clock {
        /// Its target, one of [`with_own_clock`].
        sidecar: usize,
        /// The new offset.
        offset_s: i64,
    },
    /// One sidecar cannot reach the API server.
    Cut {
        /// Its target.
        target: Target,
        /// Whether requests hang; otherwise they are refused.
        stalls: bool,
        /// Its duration.
        for_ms: u64,
    },
    /// The next write of the state fails on the way to the API server.
    SpoilWrite {
        /// The kind of failure.
        how: Spoilt,
        /// Number of writes that succeed before.
        after: usize,
    },
    /// etcd is stopped with SIGSTOP.
    EtcdFreeze {
        /// Its duration.
        for_ms: u64,
    },
    /// etcd is killed and restarted later.
    EtcdKill {
        /// Time until the restart.
        down_ms: u64,
    },
    /// etcd's data is copied.
    Snapshot,
    /// etcd and the API server are killed and restarted from the last copy.
    Restore,
    /// The state Secret is emptied.
    Wipe,
    /// The grant Secret gets another login.
    Login(Login),
    /// A person requests a refresh.
    Ask,
    /// The provider's next answers fail; earlier orders are dropped.
    Provider {
        /// The kind of failure.
        how: Answer,
        /// Whether the request is carried out first.
        committed: bool,
        /// Number of answers.
        calls: usize,
    },
}

/// A failure of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoilt {
    /// The write never reaches the API server.
    Lost,
    /// The answer to the write is lost.
    Unanswered,
    /// The write reaches the API server later, and the sender gets no answer.
    Late {
        /// The delay.
        by_ms: u64,
    },
}

/// A login in the grant Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Login {
    /// A person has logged in again.
    New,
    /// An earlier login is written back, and the newest follows later.
    Old,
    /// An unknown refresh token is written, and the newest login follows later.
    Bad,
}

/// A failure of the provider's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// This status, such as 500 or 502.
    Status(u16),
    /// No answer.
    Hang,
    /// The connection is closed.
    Close,
    /// The body ends within the refresh token.
    Cut,
    /// A web page with status 200.
    Html,
}

/// Whether this sidecar has a wall clock of its own, which can be wrong.
pub fn with_own_clock(sidecar: usize) -> bool {
    sidecar % 5 < 2
}

/// Returns the offset of this sidecar's wall clock at the start, in seconds.
pub fn clock_at_start(seed: u64, sidecar: usize) -> i64 {
    Random::new(seed ^ (sidecar as u64 + 1).wrapping_mul(0x9e37)).one(&[-CLOCK_OFF_S, CLOCK_OFF_S])
}

/// Returns the schedule, sorted by time.
pub fn plan(setting: &Setting) -> Vec<Planned> {
    let mut random = Random::new(setting.seed);
    let mut planned = Vec::new();
    let mut at_ms = QUIET_MS;
    while at_ms < setting.length_ms {
        planned.push(Planned { at_ms, action: action(&mut random, setting) });
        at_ms += random.between(200, 2_600);
    }
    // Faults matter only around presentations. The expiry of tokens alone causes too few of them.
    let mut at_ms = QUIET_MS / 2;
    while at_ms < setting.length_ms {
        planned.push(Planned { at_ms, action: Action::Ask });
        at_ms += random.between(1_000, 4_000);
    }
    planned.extend(backups(&mut random, setting));
    planned.sort_by_key(|planned| planned.at_ms);
    planned
}

/// Plans a backup and a restore for about every minute.
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
    let target = |random: &mut Random| {
        if random.chance(60) {
            Target::Holder { after_ms: random.between(0, 600) }
        } else {
            Target::Sidecar(any(random))
        }
    };
    match random.between(0, 100) {
        0..25 => Action::Kill {
            target: target(random),
            spool_lost: random.chance(35),
            down_ms: random.between(100, term_ms),
        },
        25..42 => Action::Freeze { target: target(random), for_ms: random.between(200, 2 * term_ms) },
        42..47 => {
            let own: Vec<_> = (0..setting.sidecars).filter(|sidecar| with_own_clock(*sidecar)).collect();
            let offset_s = random.one(&[-CLOCK_OFF_S, 0, CLOCK_OFF_S]);
            Action::Clock { sidecar: random.one(&own), offset_s }
        }
        47..59 => Action::Cut {
            target: target(random),
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
    fn a_seed_determines_the_schedule() {
        assert_eq!(plan(&setting(7)), plan(&setting(7)));
        assert_ne!(plan(&setting(7)), plan(&setting(8)));
        let starts = |seed| [0, 1, 5, 6].map(|sidecar| clock_at_start(seed, sidecar));
        assert_eq!(starts(7), starts(7));
    }

    #[test]
    fn a_schedule_is_sorted_and_within_its_duration() {
        let plan = plan(&setting(7));
        assert!(plan.windows(2).all(|two| two[0].at_ms <= two[1].at_ms));
        assert!(plan.iter().all(|planned| (2_000..180_000).contains(&planned.at_ms)), "{plan:?}");
        assert!(plan.len() > 100, "{}", plan.len());
    }

    #[test]
    fn every_kind_of_fault_is_planned() {
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
    fn only_sidecars_with_their_own_clock_get_a_wrong_one() {
        for planned in plan(&setting(3)) {
            if let Action::Clock { sidecar, .. } = planned.action {
                assert!(with_own_clock(sidecar));
            }
        }
    }
}
