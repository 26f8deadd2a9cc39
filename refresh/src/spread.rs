//! A replica's place in the spread of an action that all replicas want: few places are early and most are late. So, whatever
//! the number of replicas, few act before they see the claim of the first one. These are the suppression timers of multicast (Nonnenmacher and Biersack; `RandomBackoff` of RFC 5401, which NORM, RFC 5740, uses).

/// Logarithm of the number of replicas for which the spread is designed. Ten times as many replicas lose ten times as many
/// races, which is still a small part of one.
const SHARPNESS: f64 = 10.0;

/// Returns the place, from 0 to 1, for a number drawn uniformly from 0 to 1: its density grows by `e^SHARPNESS` from
/// one end to the other. Where `n` places are drawn, on average `(1 + n / e^SHARPNESS) * (e^(SHARPNESS * d) - 1)` lie within
/// `d` after the first.
fn place(uniform: f64) -> f64 {
    (uniform * SHARPNESS.exp_m1()).ln_1p() / SHARPNESS
}

/// Returns the place, in 65536ths, for random bits.
pub fn drawn(random: u64) -> u16 {
    (place(random as f64 / u64::MAX as f64) * f64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random bits that are the same in every run (`SplitMix64`).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut bits = self.0;
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        }
    }

    /// How many of `replicas` come due within `latency` (a part of the whole spread) after the first, on average.
    fn behind_the_first(replicas: u32, latency: f64, random: &mut Random) -> f64 {
        const DRAWS: u32 = 20;
        let mut behind = 0;
        for _ in 0..DRAWS {
            let mut places: Vec<_> = (0..replicas).map(|_| drawn(random.next())).collect();
            places.sort_unstable();
            let seen = places[0].saturating_add((latency * f64::from(u16::MAX)) as u16);
            behind += places.iter().skip(1).take_while(|place| **place <= seen).count();
        }
        behind as f64 / f64::from(DRAWS)
    }

    #[test]
    fn few_come_due_before_the_first_is_seen_however_many_there_are() {
        let mut random = Random(1);
        for replicas in [1, 10, 100, 10_000, 100_000] {
            // A token of an hour has a spread of 360 s: these are 0.36 and 3.6 s of it. Uniform places would put
            // 100 and 1,000 of 100,000 replicas there.
            for (latency, most) in [(0.001, 0.2), (0.01, 1.2)] {
                let behind = behind_the_first(replicas, latency, &mut random);
                assert!(behind <= most, "{behind} of {replicas} within {latency}");
            }
        }
    }

    #[test]
    fn places_fill_the_whole_spread() {
        assert_eq!((drawn(0), drawn(u64::MAX)), (0, u16::MAX));
        let mut last = 0;
        for bits in 0..=64 {
            let place = drawn(u64::MAX >> (64_u32 - bits).min(63));
            assert!(place >= last, "in order");
            last = place;
        }
        // Half of all are within 7 % of the late end: one replica alone refreshes around 84 % of a token's life.
        assert!((0.92..0.95).contains(&place(0.5)));
    }
}
