//! From a provider's time, which counts all it was sent, to the stream's, which does not count silence that we added.

/// How much was sent, and where silence of our own stands in it.
#[derive(Debug)]
pub(crate) struct Axis {
    sample_rate_hz: u32,
    samples_sent: u64,
    /// The provider's time at which it begins, and how long it is, both in ms; in order.
    added: Vec<(u64, u64)>,
}

impl Axis {
    pub(crate) const fn new(sample_rate_hz: u32) -> Self {
        Self { sample_rate_hz, samples_sent: 0, added: Vec::new() }
    }

    /// So many samples of the stream were sent.
    pub(crate) const fn sent(&mut self, samples: usize) {
        self.samples_sent += samples as u64;
    }

    /// So many samples of silence were sent that are not of the stream.
    pub(crate) fn sent_silence(&mut self, samples: usize) {
        let begin_ms = self.provider_ms();
        self.sent(samples);
        let length_ms = self.provider_ms() - begin_ms;
        match self.added.last_mut() {
            // A pause without end adds no entries.
            Some((at, length)) if *at + *length == begin_ms => *length += length_ms,
            _ => self.added.push((begin_ms, length_ms)),
        }
    }

    /// The stream's time of a time of the provider's, in ms. What lies in added silence is where that was added.
    pub(crate) fn stream_ms(&self, provider_ms: u64) -> u64 {
        let before = self.added.iter().take_while(|(at, _)| *at < provider_ms);
        provider_ms - before.map(|(at, length)| (provider_ms - at).min(*length)).sum::<u64>()
    }

    /// The stream's time of all that was sent, in ms.
    pub(crate) fn sent_ms(&self) -> u64 {
        self.stream_ms(self.provider_ms())
    }

    const fn provider_ms(&self) -> u64 {
        self.samples_sent * 1_000 / self.sample_rate_hz as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_silence_is_not_counted() {
        let mut axis = Axis::new(8_000);
        axis.sent(8_000);
        axis.sent_silence(800);
        axis.sent_silence(800);
        axis.sent(4_000);
        axis.sent_silence(1_600);
        axis.sent(800);
        assert_eq!(axis.added, [(1_000, 200), (1_700, 200)]);
        for (provider_ms, stream_ms) in [
            (0, 0),
            (999, 999),
            (1_000, 1_000),
            (1_100, 1_000),
            (1_200, 1_000),
            (1_201, 1_001),
            (1_700, 1_500),
            (1_850, 1_500),
            (1_900, 1_500),
            (2_000, 1_600),
        ] {
            assert_eq!(axis.stream_ms(provider_ms), stream_ms, "{provider_ms}");
        }
        assert_eq!(axis.sent_ms(), 1_600);
    }
}
