//! From a service's messages to hypotheses: times on the stream's axis, and how far all has been told.

use serde_json::Value;

use super::protocol::Answers as Places;
use super::refusal::Refusal;
use crate::axis::Axis;
use crate::error::ErrorKind;
use crate::recognise::{Hypothesis, Word};

/// What a message says.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// Audio may come.
    Ready,
    /// Something was heard.
    Heard(Hypothesis),
    /// All was told.
    End,
    /// Nothing that matters here.
    Nothing,
}

/// Reads the messages of one stream.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    places: &'a Places,
    /// All before this place has been told.
    until_ms: u64,
    /// The last one, if it was not final.
    interim: Option<Hypothesis>,
}

impl<'a> Answers<'a> {
    pub(super) const fn new(places: &'a Places) -> Self {
        Self { places, until_ms: 0, interim: None }
    }

    pub(super) fn read(&mut self, text: &str, axis: &Axis) -> Result<Told, Refusal> {
        // Not serde's own words: they may repeat what was said.
        let message: Value = serde_json::from_str(text).map_err(|e| {
            let what = format!("a message of it is no JSON (line {}, column {}): see its log", e.line(), e.column());
            Refusal::new(ErrorKind::Internal, what)
        })?;
        let kind = at(&message, &self.places.kind).and_then(Value::as_str);
        let is = |sort: &str| !sort.is_empty() && kind == Some(sort);
        let error = at(&message, &self.places.error).filter(|error| !error.is_null());
        if is(&self.places.error_kind) || (self.places.error_kind.is_empty() && error.is_some()) {
            let words = error.map(|error| error.as_str().map_or_else(|| error.to_string(), str::to_owned));
            return Err(Refusal::said(&words.unwrap_or_else(|| "error".to_owned())));
        }
        if is(&self.places.ready_kind) {
            return Ok(Told::Ready);
        }
        if is(&self.places.end_kind) {
            return Ok(Told::End);
        }
        if !self.places.result_kind.is_empty() && !is(&self.places.result_kind) {
            return Ok(Told::Nothing);
        }
        match at(&message, &self.places.text).and_then(Value::as_str) {
            Some(text) => Ok(self.result(&message, text, axis).map_or(Told::Nothing, Told::Heard)),
            None if self.places.result_kind.is_empty() => Ok(Told::Nothing),
            None => {
                let what = format!("a result of it has no text at {}: mend `answers.text`", self.places.text);
                Err(Refusal::new(ErrorKind::Invalid, what))
            }
        }
    }

    /// When the service has ended the stream as it should: what it did not make final by then is as good as it gets.
    pub(super) fn rest(&mut self) -> Option<Hypothesis> {
        let last = self.interim.take()?;
        Some(Hypothesis { is_final: true, until_ms: last.end_ms, ..last })
    }

    fn result(&mut self, message: &Value, text: &str, axis: &Axis) -> Option<Hypothesis> {
        let places = self.places;
        let is_final = places.is_final.is_empty() || is_set(at(message, &places.is_final));
        let words = self.words(message, axis);
        let told_start = self.time(message, &places.start, axis);
        let told_end = self.time(message, &places.end, axis).or_else(|| {
            let start = number(message, &places.start)?;
            let end = start + number(message, &places.duration)?;
            Some(self.ms(end, axis))
        });
        let first = words.first().map(|word| word.start_ms);
        let start_ms = first.or(told_start).unwrap_or(self.until_ms);
        let last = words.last().map(|word| word.end_ms);
        let end_ms = last.or(told_end).unwrap_or_else(|| axis.sent_ms()).max(start_ms);
        // The pause after the last word has been heard too. Its middle is far from the last word and from the next.
        let until_ms = end_ms + told_end.unwrap_or(end_ms).saturating_sub(end_ms) / 2;
        if is_final {
            self.until_ms = self.until_ms.max(until_ms);
            self.interim = None;
        }
        let joined = || words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        let text = Some(text.trim().to_owned()).filter(|text| !text.is_empty()).unwrap_or_else(joined);
        if text.is_empty() {
            return None;
        }
        let hypothesis = Hypothesis {
            text,
            is_final,
            start_ms,
            end_ms,
            until_ms: self.until_ms,
            confidence: sure(message, &places.confidence),
            stability: None,
            language: at(message, &places.language).and_then(Value::as_str).map(str::to_owned),
            words,
            alternatives: Vec::new(),
        };
        if !is_final {
            self.interim = Some(hypothesis.clone());
        }
        Some(hypothesis)
    }

    fn words(&self, message: &Value, axis: &Axis) -> Vec<Word> {
        let places = self.places;
        let words = at(message, &places.words).and_then(Value::as_array).into_iter().flatten();
        let words = words.filter_map(|word| {
            let start_ms = self.time(word, &places.word_start, axis)?;
            Some(Word {
                word: at(word, &places.word)?.as_str().map(str::trim).filter(|word| !word.is_empty())?.to_owned(),
                start_ms,
                end_ms: self.time(word, &places.word_end, axis)?.max(start_ms),
                confidence: sure(word, &places.word_confidence),
                speaker: None,
            })
        });
        words.collect()
    }

    fn time(&self, value: &Value, place: &str, axis: &Axis) -> Option<u64> {
        number(value, place).map(|time| self.ms(time, axis))
    }

    /// Nothing can have been heard beyond what was sent.
    fn ms(&self, time: f64, axis: &Axis) -> u64 {
        axis.stream_ms(self.places.time_unit.ms(time)).min(axis.sent_ms())
    }
}

/// What stands at a place that is named.
fn at<'v>(value: &'v Value, place: &str) -> Option<&'v Value> {
    if place.is_empty() { None } else { value.pointer(place) }
}

fn number(value: &Value, place: &str) -> Option<f64> {
    at(value, place)?.as_f64()
}

fn sure(value: &Value, place: &str) -> Option<f32> {
    number(value, place).filter(|sure| (0.0..=1.0).contains(sure)).map(|sure| sure as f32)
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Preset, Protocol};
    use super::*;

    fn axis() -> Axis {
        let mut axis = Axis::new(1_000);
        axis.sent(10_000);
        axis
    }

    fn read(answers: &mut Answers<'_>, message: Value) -> Result<Told, Refusal> {
        answers.read(&message.to_string(), &axis())
    }

    fn heard(answers: &mut Answers<'_>, message: Value) -> Hypothesis {
        match read(answers, message) {
            Ok(Told::Heard(hypothesis)) => hypothesis,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn deepgram_is_read() {
        let protocol = Protocol::read(Preset::Deepgram, "").unwrap();
        let mut answers = Answers::new(&protocol.answers);
        let result = |text: &str, is_final: bool, start: f64, duration: f64, words: Value| {
            let alternatives = json!([{ "transcript": text, "confidence": 0.98, "words": words }]);
            json!({ "type": "Results", "start": start, "duration": duration, "is_final": is_final,
                "speech_final": is_final, "channel": { "alternatives": alternatives } })
        };
        let word =
            json!({ "word": "thanks", "punctuated_word": "Thanks.", "start": 1.2, "end": 1.6, "confidence": 0.9 });
        assert_eq!(read(&mut answers, json!({ "type": "SpeechStarted", "timestamp": 1.1 })), Ok(Told::Nothing));
        assert_eq!(read(&mut answers, result("", false, 0.0, 1.0, json!([]))), Ok(Told::Nothing));
        let interim = heard(&mut answers, result("than", false, 0.0, 1.4, json!([])));
        assert_eq!((interim.is_final, interim.start_ms, interim.end_ms, interim.until_ms), (false, 0, 1_400, 0));
        let last = heard(&mut answers, result("Thanks.", true, 0.0, 2.0, json!([word])));
        assert_eq!((last.text.as_str(), last.is_final, last.confidence), ("Thanks.", true, Some(0.98)));
        assert_eq!((last.start_ms, last.end_ms, last.until_ms), (1_200, 1_600, 1_800));
        assert_eq!((last.words[0].word.as_str(), last.words[0].confidence), ("Thanks.", Some(0.9)));
        assert_eq!(answers.rest(), None);
        let error = read(&mut answers, json!({ "type": "Error", "description": "too many requests" })).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Busy);
        let odd = read(&mut answers, json!({ "type": "Results", "channel": {} })).unwrap_err();
        assert_eq!(odd.kind, ErrorKind::Invalid, "{odd:?}");
    }

    #[test]
    fn assemblyai_is_read() {
        let protocol = Protocol::read(Preset::AssemblyAi, "").unwrap();
        let mut answers = Answers::new(&protocol.answers);
        let turn = |text: &str, is_over: bool| {
            let word = |text, start, is_final| {
                json!({ "text": text, "start": start, "end": start + 300,
                "confidence": 0.8, "word_is_final": is_final })
            };
            json!({ "type": "Turn", "turn_order": 0, "turn_is_formatted": is_over, "end_of_turn": is_over,
                "transcript": text, "end_of_turn_confidence": 0.3, "utterance": "",
                "words": [word("good", 900, true), word("day", 1_300, is_over)] })
        };
        assert_eq!(read(&mut answers, json!({ "type": "Begin", "id": "x", "expires_at": 1 })), Ok(Told::Ready));
        let interim = heard(&mut answers, turn("", false));
        assert_eq!((interim.text.as_str(), interim.start_ms, interim.end_ms), ("good day", 900, 1_600));
        let left = answers.interim.clone().unwrap();
        let last = heard(&mut answers, turn("Good day.", true));
        assert_eq!((last.text.as_str(), last.is_final, last.until_ms), ("Good day.", true, 1_600));
        assert_eq!(answers.rest(), None);
        // A turn that was never over when the session ended.
        answers.interim = Some(left);
        let rest = answers.rest().unwrap();
        assert_eq!((rest.is_final, rest.text.as_str(), rest.until_ms), (true, "good day", 1_600));
        assert_eq!(read(&mut answers, json!({ "type": "Termination", "audio_duration_seconds": 2 })), Ok(Told::End));
        let error = read(&mut answers, json!({ "type": "Error", "error_code": 1008, "error": "Unauthorized" }));
        assert_eq!(error.unwrap_err().kind, ErrorKind::Unauthorised);
    }

    #[test]
    fn numbers_out_of_range_do_no_harm() {
        let protocol = Protocol::read(Preset::Deepgram, "").unwrap();
        let mut answers = Answers::new(&protocol.answers);
        let words =
            json!([{ "punctuated_word": "odd", "start": -3.0, "end": 1e300, "confidence": 7 }, { "start": 1 }, 5]);
        let message = json!({ "type": "Results", "start": -1e9, "duration": 1e300, "is_final": 1,
            "channel": { "alternatives": [{ "transcript": "odd", "words": words }] } });
        let odd = heard(&mut answers, message);
        assert_eq!((odd.is_final, odd.start_ms, odd.words.len(), odd.words[0].confidence), (true, 0, 1, None));
        assert!(!answers.read("[1, \"secret words", &axis()).unwrap_err().what.contains("secret"));
    }
}
