//! A latency distribution in a report.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::stats;

/// A latency distribution: its summary and, in `hdr`, the distribution itself.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Stat {
    /// Samples.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Of all samples.
    pub mean: f64,
    /// The standard deviation.
    pub stdev: f64,
    /// The most.
    pub max: u64,
    /// Samples beyond the histogram's range, recorded at its end.
    pub saturated: u64,
    /// Percentile (`"50"`, `"99.9"`) -> value. A percentile with fewer than ten samples beyond it is left out: it
    /// would be an anecdote.
    pub p: BTreeMap<String, u64>,
    /// Percentile -> 95 % confidence interval, of the response alone: what a run that short cannot say is left out.
    pub ci95: BTreeMap<String, [u64; 2]>,
    /// The histogram, HdrHistogram V2 with DEFLATE, base64 (`HISTFAAA…`). Absent where only a summary is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hdr: Option<String>,
}

/// The percentiles every report carries, as keys of [`Stat::p`] and as quantiles.
pub const PERCENTILES: [(&str, f64); 5] =
    [("50", 0.5), ("90", 0.9), ("99", 0.99), ("99.9", 0.999), ("99.99", 0.9999)];

impl Stat {
    /// Summary and histogram of `h`, nanoseconds. `saturated` is how many samples were beyond its range.
    ///
    /// Compressing the histogram takes about a millisecond: not for the thread that sends.
    pub fn new(h: &Histogram<u64>, saturated: u64) -> Stat {
        Stat { hdr: Some(encode(h)), ..Stat::brief(h, saturated) }
    }

    /// The summary alone, for the rows of a time series.
    pub fn brief(h: &Histogram<u64>, saturated: u64) -> Stat {
        let carried = |(key, q): (&str, f64)| Some((key.to_owned(), stats::percentile(h, q)?));
        Stat {
            count: h.len(),
            min: h.min(),
            mean: h.mean(),
            stdev: h.stdev(),
            max: h.max(),
            saturated,
            p: PERCENTILES.into_iter().filter_map(carried).collect(),
            ci95: BTreeMap::new(),
            hdr: None,
        }
    }

    /// The histogram itself.
    ///
    /// # Errors
    /// When none is embedded or the blob is not a V2 histogram.
    pub fn histogram(&self) -> Result<Histogram<u64>, String> {
        decode(self.hdr.as_deref().ok_or("the report holds no histogram, only its summary")?)
    }
}

fn encode(h: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(h, &mut bytes).expect("writing to memory cannot fail");
    STANDARD.encode(bytes)
}

/// Bytes of counts that a V2 histogram says it has, compressed or not.
fn announced(bytes: &[u8]) -> Option<u32> {
    const COMPRESSED: [u8; 4] = [0x1C, 0x84, 0x93, 0x14];
    let (cookie, rest) = bytes.split_first_chunk::<4>()?;
    let mut size = [0; 4];
    if *cookie == COMPRESSED {
        let mut head = [0; 8];
        flate2::read::ZlibDecoder::new(rest.get(4..)?).read_exact(&mut head).ok()?;
        size.copy_from_slice(&head[4..]);
    } else {
        size.copy_from_slice(rest.get(..4)?);
    }
    Some(u32::from_be_bytes(size))
}

/// More bytes than the counts of any histogram take.
const COUNTS_MAX: u32 = 4 << 20;

fn decode(blob: &str) -> Result<Histogram<u64>, String> {
    let bytes = STANDARD.decode(blob).map_err(|e| format!("histogram blob: {e}"))?;
    // hdrhistogram makes room for as much as the blob says that it has, whatever it has.
    if announced(&bytes).is_some_and(|size| size > COUNTS_MAX) {
        return Err("histogram blob: more counts than a histogram has".into());
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(|e| format!("histogram blob: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_that_says_it_has_gigabytes_is_refused_unread() {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits");
        histogram.record(5).expect("in range");
        let mut bytes = Vec::new();
        hdrhistogram::serialization::V2Serializer::new()
            .serialize(&histogram, &mut bytes)
            .expect("in memory");
        assert_eq!(decode(&STANDARD.encode(&bytes)).expect("a histogram").len(), 1);
        bytes[4] = 0x9D;
        let mut deflated = flate2::read::ZlibEncoder::new(&bytes[..], flate2::Compression::fast());
        let mut compressed = [&[0x1C, 0x84, 0x93, 0x14][..], &[0, 0, 1, 0]].concat();
        deflated.read_to_end(&mut compressed).expect("in memory");
        for blob in [bytes, compressed] {
            let error = decode(&STANDARD.encode(blob)).expect_err("gigabytes");
            assert!(error.contains("more counts"), "{error}");
        }
    }
}
