//! How loud samples are, in dB below full scale.
//!
//! 0 dBFS is the amplitude 32768: a square wave at full scale has an RMS level of 0, a sine at full scale -3.01.
//! Silence is minus infinity.

/// Full scale of a 16-bit sample.
const FULL_SCALE: f64 = 32_768.0;

/// The level of the loudest sample, in dBFS.
pub fn peak_dbfs(samples: &[i16]) -> f64 {
    let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap_or(0);
    20.0 * (f64::from(peak) / FULL_SCALE).log10()
}

/// The root of the mean square of the samples, in dBFS.
pub fn rms_dbfs(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return f64::NEG_INFINITY;
    }
    let sum: u64 = samples.iter().map(|&s| u64::from(s.unsigned_abs()).pow(2)).sum();
    10.0 * (sum as f64 / samples.len() as f64 / FULL_SCALE.powi(2)).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_known_signals() {
        let sine: Vec<i16> = (0..8000).map(|n| (f64::from(n) * 0.1).sin()).map(|x| (x * 16_384.0) as i16).collect();
        for (name, samples, peak, rms) in [
            ("nothing", vec![], f64::NEG_INFINITY, f64::NEG_INFINITY),
            ("silence", vec![0; 160], f64::NEG_INFINITY, f64::NEG_INFINITY),
            ("square at full scale", vec![i16::MIN; 160], 0.0, 0.0),
            ("square at half scale", vec![-16_384; 160], -6.02, -6.02),
            ("sine at half scale", sine, -6.02, -9.03),
        ] {
            let near = |a: f64, b: f64| a == b || (a - b).abs() < 0.01;
            assert!(near(peak_dbfs(&samples), peak), "{name}: peak {}", peak_dbfs(&samples));
            assert!(near(rms_dbfs(&samples), rms), "{name}: rms {}", rms_dbfs(&samples));
        }
    }
}
