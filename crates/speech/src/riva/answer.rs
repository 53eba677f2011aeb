//! From Riva's results to hypotheses: times on the stream's axis, and how far all has been told.

use super::proto::asr::{
    SpeechRecognitionAlternative, SpeechRecognitionResult, StreamingRecognitionResult, StreamingRecognizeResponse,
    WordInfo,
};
use crate::axis::Axis;
use crate::recognise::{Hypothesis, Word};

/// Reads the answers of one stream.
#[derive(Debug)]
pub(super) struct Answers {
    /// Whether speakers are told apart: Riva numbers all words otherwise too.
    speakers: bool,
    /// All before this place has been told.
    until_ms: u64,
}

impl Answers {
    pub(super) const fn new(speakers: bool) -> Self {
        Self { speakers, until_ms: 0 }
    }

    /// What an answer says: its finals, and one interim hypothesis of all its interim results.
    pub(super) fn read(&mut self, response: StreamingRecognizeResponse, axis: &Axis) -> Vec<Hypothesis> {
        let (finals, interims): (Vec<_>, Vec<_>) = response.results.into_iter().partition(|result| result.is_final);
        let mut heard: Vec<Hypothesis> = finals
            .into_iter()
            .filter_map(|result| self.last(result.alternatives, result.audio_processed, axis))
            .collect();
        heard.extend(self.interim(interims, axis));
        heard
    }

    /// What the answer to a whole recording says.
    pub(super) fn whole(&mut self, results: Vec<SpeechRecognitionResult>, axis: &Axis) -> Vec<Hypothesis> {
        results.into_iter().filter_map(|result| self.last(result.alternatives, result.audio_processed, axis)).collect()
    }

    /// A final hypothesis; nothing where nothing was said.
    fn last(
        &mut self,
        alternatives: Vec<SpeechRecognitionAlternative>,
        processed_s: f32,
        axis: &Axis,
    ) -> Option<Hypothesis> {
        let mut alternatives = alternatives.into_iter();
        let first = alternatives.next()?;
        let words = self.words(&first.words, axis);
        let processed_ms = self.processed_ms(processed_s, axis);
        let (start_ms, end_ms) = self.place(&words, processed_ms);
        // The pause after the last word has been processed too. Its middle is far from the last word and from the next.
        self.until_ms = end_ms + processed_ms.saturating_sub(end_ms) / 2;
        let text = first.transcript.trim().to_owned();
        (!text.is_empty()).then(|| Hypothesis {
            text,
            is_final: true,
            start_ms,
            end_ms,
            until_ms: self.until_ms,
            confidence: sure(first.confidence),
            stability: None,
            language: first.language_code.into_iter().find(|code| !code.is_empty()),
            words,
            alternatives: alternatives.map(|other| other.transcript.trim().to_owned()).collect(),
        })
    }

    /// The stable and the unstable part of what is being said stand in one answer, the spaces between them in their texts.
    fn interim(&self, results: Vec<StreamingRecognitionResult>, axis: &Axis) -> Option<Hypothesis> {
        let processed_s = results.iter().map(|result| result.audio_processed).fold(0.0, f32::max);
        let stability = results.iter().map(|result| result.stability).reduce(f32::min);
        let firsts: Vec<_> = results.into_iter().filter_map(|result| result.alternatives.into_iter().next()).collect();
        let text: String = firsts.iter().map(|first| first.transcript.as_str()).collect();
        let text = text.trim().to_owned();
        if text.is_empty() {
            return None;
        }
        let words: Vec<Word> = firsts.iter().flat_map(|first| self.words(&first.words, axis)).collect();
        let (start_ms, end_ms) = self.place(&words, self.processed_ms(processed_s, axis));
        Some(Hypothesis {
            text,
            is_final: false,
            start_ms,
            end_ms,
            until_ms: self.until_ms,
            confidence: None,
            stability,
            language: firsts.into_iter().flat_map(|first| first.language_code).find(|code| !code.is_empty()),
            words,
            alternatives: Vec::new(),
        })
    }

    fn words(&self, words: &[WordInfo], axis: &Axis) -> Vec<Word> {
        let ms = |riva_ms: i32| axis.stream_ms(u64::try_from(riva_ms).unwrap_or(0));
        let words = words.iter().filter(|info| !info.word.is_empty());
        words
            .map(|info| Word {
                word: info.word.clone(),
                start_ms: ms(info.start_time),
                end_ms: ms(info.end_time.max(info.start_time)),
                confidence: sure(info.confidence),
                speaker: u32::try_from(info.speaker_tag).ok().filter(|_| self.speakers),
            })
            .collect()
    }

    /// Where words say it is; without them, from the last final to what was processed.
    fn place(&self, words: &[Word], processed_ms: u64) -> (u64, u64) {
        match words {
            [first, .., last] => (first.start_ms, last.end_ms.max(first.start_ms)),
            [only] => (only.start_ms, only.end_ms),
            [] => (self.until_ms, processed_ms.max(self.until_ms)),
        }
    }

    /// What was processed, or what was sent where the server does not say.
    fn processed_ms(&self, processed_s: f32, axis: &Axis) -> u64 {
        if processed_s > 0.0 {
            // Saturates; nothing real comes near.
            axis.stream_ms((f64::from(processed_s) * 1_000.0).round() as u64).min(axis.sent_ms())
        } else {
            axis.sent_ms()
        }
    }
}

/// A confidence; 0 means that there is none, and some models give logarithms.
fn sure(confidence: f32) -> Option<f32> {
    (confidence > 0.0 && confidence <= 1.0).then_some(confidence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(word: &str, start_time: i32, end_time: i32) -> WordInfo {
        WordInfo { word: word.to_owned(), start_time, end_time, speaker_tag: 1, ..Default::default() }
    }

    fn alternative(transcript: &str, words: &[WordInfo]) -> SpeechRecognitionAlternative {
        SpeechRecognitionAlternative {
            transcript: transcript.to_owned(),
            words: words.to_vec(),
            ..SpeechRecognitionAlternative::default()
        }
    }

    fn result(
        is_final: bool,
        audio_processed: f32,
        transcript: &str,
        words: &[WordInfo],
    ) -> StreamingRecognitionResult {
        let alternatives = vec![alternative(transcript, words)];
        StreamingRecognitionResult { alternatives, is_final, audio_processed, stability: 0.9, ..Default::default() }
    }

    fn read(answers: &mut Answers, axis: &Axis, results: Vec<StreamingRecognitionResult>) -> Vec<Hypothesis> {
        answers.read(StreamingRecognizeResponse { results }, axis)
    }

    fn axis(sent_ms: usize) -> Axis {
        let mut axis = Axis::new(1_000);
        axis.sent(sent_ms);
        axis
    }

    #[test]
    fn a_final_is_told_until_the_middle_of_the_pause() {
        let mut answers = Answers::new(false);
        let axis = axis(5_000);
        let words = [word("hello", 1_000, 1_400), word("there", 1_500, 2_000)];
        let heard = read(&mut answers, &axis, vec![result(true, 2.8, " hello there ", &words)]);
        let [one] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((one.text.as_str(), one.start_ms, one.end_ms, one.until_ms), ("hello there", 1_000, 2_000, 2_400));
        assert_eq!((one.is_final, one.stability, one.words[1].speaker), (true, None, None));
        // Without times of words the next begins where all was told.
        let heard = read(&mut answers, &axis, vec![result(true, 4.0, "yes", &[])]);
        assert_eq!((heard[0].start_ms, heard[0].end_ms, heard[0].until_ms), (2_400, 4_000, 4_000));
    }

    #[test]
    fn parts_of_one_interim_are_one() {
        let mut answers = Answers::new(true);
        let mut unstable = result(false, 1.2, " worl", &[word("worl", 700, 900)]);
        unstable.stability = 0.1;
        let heard = read(
            &mut answers,
            &axis(1_300),
            vec![
                result(true, 0.4, "so", &[word("so", 0, 100)]),
                result(false, 1.0, "hello", &[word("hello", 500, 650)]),
                unstable,
            ],
        );
        let [first, second] = &heard[..] else { panic!("{heard:?}") };
        assert_eq!((first.text.as_str(), first.is_final), ("so", true));
        assert_eq!((second.text.as_str(), second.stability, second.is_final), ("hello worl", Some(0.1), false));
        assert_eq!((second.start_ms, second.end_ms, second.until_ms), (500, 900, 250));
        assert_eq!(second.words[0].speaker, Some(1));
    }

    #[test]
    fn what_says_nothing_is_no_hypothesis() {
        let mut answers = Answers::new(false);
        let empty = StreamingRecognitionResult::default();
        assert_eq!(read(&mut answers, &axis(900), vec![empty, result(false, 0.5, "  ", &[])]), []);
        assert_eq!(read(&mut answers, &axis(900), vec![result(true, 0.8, "", &[])]), []);
        assert_eq!(answers.until_ms, 800, "silence is told too");
    }

    #[test]
    fn numbers_out_of_range_do_no_harm() {
        let mut answers = Answers::new(true);
        let mut odd = word("odd", -5, i32::MAX);
        odd.confidence = -1.5;
        odd.speaker_tag = -1;
        let heard = read(&mut answers, &axis(700), vec![result(true, f32::INFINITY, "odd", &[odd])]);
        let one = &heard[0].words[0];
        assert_eq!((one.start_ms, one.confidence, one.speaker), (0, None, None));
        let heard = read(&mut answers, &axis(700), vec![result(true, f32::NAN, "even", &[])]);
        assert_eq!(heard[0].start_ms, heard[0].until_ms, "{heard:?}");
    }
}
