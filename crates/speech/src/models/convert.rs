//! Whisper's weights from CTranslate2's file into ggml's, quantised to 8 bits.
//!
//! The same numbers come out on every machine, so that the result has one checksum. Formats: CTranslate2's
//! `model_spec.py` (binary version 6), whisper.cpp's `whisper_model_load` and ggml's `block_q8_0`.

use std::collections::BTreeMap;
use std::io::{self, Write};

use half::f16;

/// What ggml files of Whisper begin with.
pub(super) const GGML_MAGIC: u32 = 0x6767_6d6c;
/// The version of CTranslate2's file that is read.
const CTRANSLATE2_VERSION: u32 = 6;
/// CTranslate2's number for 16-bit floats.
const CTRANSLATE2_F16: u8 = 4;
/// ggml's file type for "mostly 8 bits", with its second version of quantising.
const FILE_TYPE: i32 = 2_007;
/// ggml's numbers for the types of a tensor.
const F32: i32 = 0;
const F16: i32 = 1;
const Q8_0: i32 = 8;
/// How many weights share a scale.
const BLOCK: usize = 32;
/// Tokens after these are marks, whose names whisper.cpp makes itself.
const WORDS_BEFORE_MARKS: &str = "<|endoftext|>";
/// Samples of Whisper's Fourier transform, and their rate.
const FFT_SAMPLES: usize = 400;
const SAMPLE_RATE_HZ: f64 = 16_000.0;
/// The width of an attention head is the same in all of OpenAI's models.
const HEAD_WIDTH: usize = 64;

/// Writes a model of Whisper in ggml's format: `weights` is CTranslate2's `model.bin`, `vocabulary` its `vocabulary.txt`.
pub(super) fn to_ggml(weights: &[u8], vocabulary: &str, out: &mut impl Write) -> io::Result<()> {
    let tensors = read(weights).ok_or_else(|| damaged("weights are not a model of CTranslate2's version 6"))?;
    let shape = Shape::of(&tensors)?;
    for number in shape.parameters() {
        out.write_all(&number.to_le_bytes())?;
    }
    write_filters(shape.mels, out)?;
    write_words(vocabulary, out)?;
    write_encoder(&tensors, &shape, out)?;
    write_decoder(&tensors, &shape, out)
}

fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

/// One tensor of 16-bit floats.
struct Tensor<'a> {
    dimensions: Vec<usize>,
    bytes: &'a [u8],
}

impl Tensor<'_> {
    /// Some of its rows, as floats.
    fn rows(&self, from: usize, to: usize) -> Vec<f32> {
        let row_bytes = self.bytes.len() / self.dimensions[0];
        let pairs = self.bytes[from * row_bytes..to * row_bytes].chunks_exact(2);
        pairs.map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
    }

    fn all(&self) -> Vec<f32> {
        self.rows(0, self.dimensions[0])
    }
}

type Tensors<'a> = BTreeMap<String, Tensor<'a>>;

fn tensor<'t, 'a>(tensors: &'t Tensors<'a>, name: &str) -> io::Result<&'t Tensor<'a>> {
    tensors.get(name).ok_or_else(|| damaged(format!("weights lack {name}")))
}

/// All tensors of 16-bit floats with dimensions; the settings among them are known from these.
fn read(file: &[u8]) -> Option<Tensors<'_>> {
    let mut rest = file;
    let version = take_u32(&mut rest)?;
    take_name(&mut rest)?;
    let _revision = take_u32(&mut rest)?;
    if version != CTRANSLATE2_VERSION {
        return None;
    }
    let mut tensors = Tensors::new();
    for _ in 0..take_u32(&mut rest)? {
        let name = take_name(&mut rest)?;
        let rank = take(&mut rest, 1)?[0];
        let dimensions: Vec<usize> =
            (0..rank).map(|_| take_u32(&mut rest).map(|n| n as usize)).collect::<Option<_>>()?;
        let kind = take(&mut rest, 1)?[0];
        let length = take_u32(&mut rest)? as usize;
        let bytes = take(&mut rest, length)?;
        if kind == CTRANSLATE2_F16 && !dimensions.is_empty() {
            let weights = dimensions.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))?;
            (weights > 0 && weights.checked_mul(2)? == bytes.len()).then_some(())?;
            tensors.insert(name, Tensor { dimensions, bytes });
        }
    }
    Some(tensors)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?))
}

/// A name with its length before it and a zero at its end.
fn take_name(rest: &mut &[u8]) -> Option<String> {
    let length = u16::from_le_bytes(take(rest, 2)?.try_into().ok()?);
    let bytes = take(rest, usize::from(length))?;
    Some(std::str::from_utf8(bytes.strip_suffix(&[0])?).ok()?.to_owned())
}

/// The sizes that make one model of Whisper differ from another.
struct Shape {
    vocabulary: usize,
    audio_context: usize,
    text_context: usize,
    width: usize,
    encoder_layers: usize,
    decoder_layers: usize,
    mels: usize,
}

impl Shape {
    fn of(tensors: &Tensors<'_>) -> io::Result<Self> {
        let dimension = |name: &str, nth: usize| {
            let found = tensor(tensors, name)?.dimensions.get(nth).copied();
            found.ok_or_else(|| damaged(format!("weights have too few dimensions in {name}")))
        };
        let layers = |side: &str| {
            let name = |n: usize| format!("{side}/layer_{n}/ffn/linear_0/weight");
            (0..).take_while(|&n| tensors.contains_key(&name(n))).count()
        };
        let shape = Self {
            vocabulary: dimension("decoder/embeddings/weight", 0)?,
            audio_context: dimension("encoder/position_encodings/encodings", 0)?,
            text_context: dimension("decoder/position_encodings/encodings", 0)?,
            width: dimension("decoder/embeddings/weight", 1)?,
            encoder_layers: layers("encoder"),
            decoder_layers: layers("decoder"),
            mels: dimension("encoder/conv1/weight", 1)?,
        };
        if !shape.width.is_multiple_of(BLOCK) {
            return Err(damaged(format!("weights in rows of {} cannot be quantised", shape.width)));
        }
        Ok(shape)
    }

    /// The file's head, in its order.
    fn parameters(&self) -> [i32; 12] {
        let heads = self.width / HEAD_WIDTH;
        let [vocabulary, audio_context, width, heads, encoder, text_context, decoder, mels] = [
            self.vocabulary,
            self.audio_context,
            self.width,
            heads,
            self.encoder_layers,
            self.text_context,
            self.decoder_layers,
            self.mels,
        ]
        .map(|n| n as i32);
        let magic = GGML_MAGIC as i32;
        [magic, vocabulary, audio_context, width, heads, encoder, text_context, width, heads, decoder, mels, FILE_TYPE]
    }
}

/// The triangular filters of the mel scale (Slaney's: linear below 1 kHz, logarithmic above, all of one area).
fn write_filters(mels: usize, out: &mut impl Write) -> io::Result<()> {
    const HZ_PER_MEL: f64 = 200.0 / 3.0;
    const BREAK_HZ: f64 = 1_000.0;
    const BREAK_MEL: f64 = BREAK_HZ / HZ_PER_MEL;
    let step = 6.4_f64.ln() / 27.0;
    let to_hz = |mel: f64| {
        if mel < BREAK_MEL { mel * HZ_PER_MEL } else { BREAK_HZ * (step * (mel - BREAK_MEL)).exp() }
    };
    let mel_max = BREAK_MEL + (SAMPLE_RATE_HZ / 2.0 / BREAK_HZ).ln() / step;
    let edges: Vec<f64> = (0..mels + 2).map(|n| to_hz(mel_max * n as f64 / (mels + 1) as f64)).collect();
    let bins = FFT_SAMPLES / 2 + 1;
    out.write_all(&(mels as i32).to_le_bytes())?;
    out.write_all(&(bins as i32).to_le_bytes())?;
    for edge in edges.windows(3) {
        let [low, middle, high] = [edge[0], edge[1], edge[2]];
        for bin in 0..bins {
            let hz = bin as f64 * SAMPLE_RATE_HZ / FFT_SAMPLES as f64;
            let slope = ((hz - low) / (middle - low)).min((high - hz) / (high - middle)).max(0.0);
            let weight = slope * 2.0 / (high - low);
            out.write_all(&(weight as f32).to_le_bytes())?;
        }
    }
    Ok(())
}

/// The words, as the bytes that they stand for.
fn write_words(vocabulary: &str, out: &mut impl Write) -> io::Result<()> {
    let bytes = bytes_of_letters();
    let words: Vec<&str> = vocabulary.lines().take_while(|&word| word != WORDS_BEFORE_MARKS).collect();
    out.write_all(&(words.len() as i32).to_le_bytes())?;
    for word in words {
        let word: Vec<u8> = word
            .chars()
            .map(|letter| bytes.get(&letter).copied())
            .collect::<Option<_>>()
            .ok_or_else(|| damaged("vocabulary has a letter that stands for no byte"))?;
        out.write_all(&(word.len() as u32).to_le_bytes())?;
        out.write_all(&word)?;
    }
    Ok(())
}

/// GPT-2 writes each byte as a letter that can be seen: itself, or one from U+0100 on.
fn bytes_of_letters() -> BTreeMap<char, u8> {
    let seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let itself = (0..=u8::MAX).filter(seen).map(|byte| (char::from(byte), byte));
    let unseen = (0..=u8::MAX).filter(|byte| !seen(byte));
    let moved = ('\u{100}'..).zip(unseen);
    itself.chain(moved).collect()
}

fn write_encoder(tensors: &Tensors<'_>, shape: &Shape, out: &mut impl Write) -> io::Result<()> {
    let width = shape.width;
    let positions = tensor(tensors, "encoder/position_encodings/encodings")?;
    write_floats("encoder.positional_embedding", &[width, shape.audio_context], &positions.all(), out)?;
    for (number, inputs) in [(1, shape.mels), (2, width)] {
        let weight = tensor(tensors, &format!("encoder/conv{number}/weight"))?;
        write_head(&format!("encoder.conv{number}.weight"), &[3, inputs, width], F16, out)?;
        out.write_all(weight.bytes)?;
        let bias = tensor(tensors, &format!("encoder/conv{number}/bias"))?;
        write_floats(&format!("encoder.conv{number}.bias"), &[1, width], &bias.all(), out)?;
    }
    write_norm(tensors, "encoder/layer_norm", "encoder.ln_post", out)?;
    for layer in 0..shape.encoder_layers {
        let (from, to) = (format!("encoder/layer_{layer}"), format!("encoder.blocks.{layer}"));
        write_self_attention(tensors, &from, &to, width, out)?;
        write_feed_forward(tensors, &from, &to, out)?;
    }
    Ok(())
}

fn write_decoder(tensors: &Tensors<'_>, shape: &Shape, out: &mut impl Write) -> io::Result<()> {
    let width = shape.width;
    let positions = tensor(tensors, "decoder/position_encodings/encodings")?;
    write_floats("decoder.positional_embedding", &[width, shape.text_context], &positions.all(), out)?;
    let words = tensor(tensors, "decoder/embeddings/weight")?;
    write_quantised("decoder.token_embedding.weight", &[width, shape.vocabulary], &words.all(), out)?;
    write_norm(tensors, "decoder/layer_norm", "decoder.ln", out)?;
    for layer in 0..shape.decoder_layers {
        let (from, to) = (format!("decoder/layer_{layer}"), format!("decoder.blocks.{layer}"));
        write_self_attention(tensors, &from, &to, width, out)?;
        write_norm(tensors, &format!("{from}/attention/layer_norm"), &format!("{to}.cross_attn_ln"), out)?;
        let attention = format!("{from}/attention");
        let linear = |n| format!("{attention}/linear_{n}");
        write_rows(tensors, &linear(0), 0..width, true, &format!("{to}.cross_attn.query"), out)?;
        write_rows(tensors, &linear(1), 0..width, false, &format!("{to}.cross_attn.key"), out)?;
        write_rows(tensors, &linear(1), width..2 * width, true, &format!("{to}.cross_attn.value"), out)?;
        write_rows(tensors, &linear(2), 0..width, true, &format!("{to}.cross_attn.out"), out)?;
        write_feed_forward(tensors, &from, &to, out)?;
    }
    Ok(())
}

/// Query, key and value are one matrix in CTranslate2; Whisper's key has no bias.
fn write_self_attention(
    tensors: &Tensors<'_>,
    from: &str,
    to: &str,
    width: usize,
    out: &mut impl Write,
) -> io::Result<()> {
    let attention = format!("{from}/self_attention");
    write_norm(tensors, &format!("{attention}/layer_norm"), &format!("{to}.attn_ln"), out)?;
    let joined = format!("{attention}/linear_0");
    write_rows(tensors, &joined, 0..width, true, &format!("{to}.attn.query"), out)?;
    write_rows(tensors, &joined, width..2 * width, false, &format!("{to}.attn.key"), out)?;
    write_rows(tensors, &joined, 2 * width..3 * width, true, &format!("{to}.attn.value"), out)?;
    write_rows(tensors, &format!("{attention}/linear_1"), 0..width, true, &format!("{to}.attn.out"), out)
}

fn write_feed_forward(tensors: &Tensors<'_>, from: &str, to: &str, out: &mut impl Write) -> io::Result<()> {
    write_norm(tensors, &format!("{from}/ffn/layer_norm"), &format!("{to}.mlp_ln"), out)?;
    for (layer, name) in [("linear_0", "mlp.0"), ("linear_1", "mlp.2")] {
        let from = format!("{from}/ffn/{layer}");
        let rows = tensor(tensors, &format!("{from}/weight"))?.dimensions[0];
        write_rows(tensors, &from, 0..rows, true, &format!("{to}.{name}"), out)?;
    }
    Ok(())
}

fn write_norm(tensors: &Tensors<'_>, from: &str, to: &str, out: &mut impl Write) -> io::Result<()> {
    for (theirs, ours) in [("gamma", "weight"), ("beta", "bias")] {
        let values = tensor(tensors, &format!("{from}/{theirs}"))?.all();
        write_floats(&format!("{to}.{ours}"), &[values.len()], &values, out)?;
    }
    Ok(())
}

/// Some rows of a matrix, and of its bias where it is wanted.
fn write_rows(
    tensors: &Tensors<'_>,
    from: &str,
    rows: std::ops::Range<usize>,
    with_bias: bool,
    to: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let (weight, bias) = (tensor(tensors, &format!("{from}/weight"))?, tensor(tensors, &format!("{from}/bias"))?);
    let [height, width] = weight.dimensions[..] else { return Err(damaged(format!("{from} is no matrix"))) };
    if rows.end > height || bias.dimensions != [height] || !width.is_multiple_of(BLOCK) {
        return Err(damaged(format!("{from} has another shape than Whisper's")));
    }
    write_quantised(&format!("{to}.weight"), &[width, rows.len()], &weight.rows(rows.start, rows.end), out)?;
    if with_bias {
        write_floats(&format!("{to}.bias"), &[rows.len()], &bias.rows(rows.start, rows.end), out)?;
    }
    Ok(())
}

/// What stands before a tensor's numbers; its dimensions, the innermost first.
fn write_head(name: &str, dimensions: &[usize], kind: i32, out: &mut impl Write) -> io::Result<()> {
    for number in [dimensions.len() as i32, name.len() as i32, kind] {
        out.write_all(&number.to_le_bytes())?;
    }
    for &dimension in dimensions {
        out.write_all(&(dimension as i32).to_le_bytes())?;
    }
    out.write_all(name.as_bytes())
}

fn write_floats(name: &str, dimensions: &[usize], values: &[f32], out: &mut impl Write) -> io::Result<()> {
    write_head(name, dimensions, F32, out)?;
    values.iter().try_for_each(|value| out.write_all(&value.to_le_bytes()))
}

fn write_quantised(name: &str, dimensions: &[usize], values: &[f32], out: &mut impl Write) -> io::Result<()> {
    write_head(name, dimensions, Q8_0, out)?;
    values.chunks(BLOCK).try_for_each(|block| out.write_all(&quantised(block)))
}

/// A scale as a 16-bit float, then each weight as a number of so many scales.
fn quantised(block: &[f32]) -> Vec<u8> {
    let largest = block.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    let scale = largest / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let scale = f16::from_f32(scale).to_le_bytes();
    scale.into_iter().chain(block.iter().map(|weight| (weight * inverse).round() as i8 as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_gpt2_writes_them() {
        let bytes = bytes_of_letters();
        assert_eq!(bytes.len(), 256);
        for (letter, byte) in [('!', b'!'), ('Ġ', b' '), ('Ċ', b'\n'), ('Ń', 0xAD), ('ÿ', 0xFF)] {
            assert_eq!(bytes[&letter], byte, "{letter}");
        }
    }

    #[test]
    fn words_end_where_marks_begin() {
        let mut out = Vec::new();
        write_words("a\nĠthe\n<|endoftext|>\n<|en|>\n", &mut out).unwrap();
        assert_eq!(out, b"\x02\0\0\0\x01\0\0\0a\x04\0\0\0 the");
        assert!(write_words("\u{4e00}\n", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_block_is_its_scale_and_its_weights() {
        let block: Vec<f32> = (0..32).map(|n| n as f32 - 16.0).collect();
        let bytes = quantised(&block);
        assert_eq!(bytes.len(), 34);
        let scale = f16::from_le_bytes([bytes[0], bytes[1]]).to_f32();
        for (weight, &byte) in block.iter().zip(&bytes[2..]) {
            assert!((f32::from(byte as i8) * scale - weight).abs() < 0.07, "{weight}");
        }
        assert_eq!(quantised(&[0.0; 32]), [0; 34]);
    }

    #[test]
    fn filters_cover_the_band_with_one_area() {
        let mut out = Vec::new();
        write_filters(80, &mut out).unwrap();
        assert_eq!(out.len(), 8 + 80 * 201 * 4);
        let weights: Vec<f32> = out[8..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        // Known of librosa's filters, which Whisper was trained with.
        assert!((weights[1] - 0.024_862_6).abs() < 1e-6, "{}", weights[1]);
        let (top, bin) = (&weights[79 * 201..], SAMPLE_RATE_HZ as f32 / FFT_SAMPLES as f32);
        assert!((top.iter().sum::<f32>() * bin - 1.0).abs() < 0.02);
    }

    #[test]
    fn what_is_no_model_is_refused() {
        for weights in [&b""[..], b"\x06\0\0\0", &[0xFF; 64]] {
            assert!(to_ggml(weights, "a\n", &mut Vec::new()).is_err());
        }
        // One variable whose length is beyond the file.
        let mut long = b"\x06\0\0\0\x02\0S\0\x03\0\0\0\x01\0\0\0\x02\0w\0\x01\xFF\xFF\xFF\x7F\x04".to_vec();
        long.extend(u32::MAX.to_le_bytes());
        assert!(to_ggml(&long, "a\n", &mut Vec::new()).is_err());
    }
}
