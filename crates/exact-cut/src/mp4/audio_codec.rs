//! The codecs of audio, as sample entries name them: which ones are decoded, and how long their frames last.
//!
//! Recorders write AAC for the most part. Those that dump a network stream also write G.711, MP3, Opus or plain PCM, others
//! AC-3 or lossless audio. A clip holds none of these: they are decoded and encoded to AAC.

use crate::mp4::boxes::{Fields, child};
use crate::mp4::sample_entry::SampleEntry;

/// Bytes of an audio sample entry before its boxes (ISO/IEC 14496-12, section 12.2.3).
const FIELDS: usize = 28;
/// The same of versions 1 and 2 of `mov` files.
const FIELDS_OF_VERSION_1: usize = 44;
const FIELDS_OF_VERSION_2: usize = 64;
/// The rates of AAC (ISO/IEC 14496-3, table 1.18) to which audio of other codecs is encoded: higher ones are heard by
/// nobody, and at lower ones an AAC frame lasts long.
const RATES: [u32; 3] = [32_000, 44_100, 48_000];
/// The most channels of encoded audio.
const MAX_CHANNELS: u16 = 2;

/// How audio is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AudioCodec {
    /// AAC of any kind.
    Aac,
    /// MPEG-1 or MPEG-2 audio, layer III.
    Mp3,
    /// Opus (RFC 6716).
    Opus,
    /// AC-3 or Enhanced AC-3.
    Ac3,
    /// Apple Lossless or FLAC.
    Lossless {
        /// PCM samples of each channel in a frame.
        frame_samples: u32,
    },
    /// PCM, linear or G.711.
    Pcm {
        /// Bytes of one PCM sample of all channels.
        frame_bytes: u32,
    },
}

/// What the fields of an audio sample entry state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct EntryFields {
    version: u16,
    channels: u16,
    bits: u16,
    rate: u32,
}

impl EntryFields {
    /// Reads the fields: those of version 1 of `mov` files begin like those of version 0, version 2 has its own (`QuickTime`
    /// File Format, "Sound Sample Descriptions"). Returns `None` without channels or rate.
    fn read(entry: &SampleEntry) -> Option<Self> {
        let mut fields = Fields(entry.payload().get(8..)?);
        let version = fields.u16()?;
        fields.skip(6)?;
        let (mut channels, mut bits) = (fields.u16()?, fields.u16()?);
        fields.skip(4)?;
        let mut rate = fields.u32()? >> 16;
        if version == 2 {
            fields.skip(4)?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // in range
            let whole = f64::from_bits(fields.u64()?).clamp(0.0, 1e6) as u32;
            channels = u16::try_from(fields.u32()?).ok()?;
            fields.skip(4)?;
            (rate, bits) = (whole, u16::try_from(fields.u32()?).ok()?);
        }
        (channels > 0 && rate > 0).then_some(Self { version, channels, bits, rate })
    }
}

impl AudioCodec {
    /// Returns the codec of a sample entry, if it is decoded.
    #[must_use]
    pub fn of(entry: &SampleEntry) -> Option<Self> {
        if entry.aac_config().is_some() {
            return Some(Self::Aac);
        }
        let bytes = match &entry.kind {
            // MPEG audio is told by its object type (ISO/IEC 14496-1, table 5)
            b"mp4a" => {
                return entry.decoder_config().filter(|(kind, _)| matches!(kind, 0x69 | 0x6b)).map(|_| Self::Mp3);
            }
            b".mp3" | b"ms\0\x55" => return Some(Self::Mp3),
            b"Opus" => return Some(Self::Opus),
            b"ac-3" | b"ec-3" => return Some(Self::Ac3),
            b"alac" | b"fLaC" => return lossless(entry),
            b"alaw" | b"ulaw" => 1,
            kind => {
                let fields = EntryFields::read(entry)?;
                linear_bytes(*kind, fields, entry.payload())?
            }
        };
        let channels = EntryFields::read(entry)?.channels;
        Some(Self::Pcm { frame_bytes: u32::from(channels) * bytes })
    }

    /// Returns PCM samples of each channel that one frame decodes to, in a track whose PCM samples come at `rate` a second:
    /// of PCM itself, in a frame of `size` bytes.
    #[must_use]
    pub fn samples_in_frame(self, rate: u32, size: u32) -> u32 {
        match self {
            Self::Aac => 1024,                 // ISO/IEC 14496-3, section 4.5.1.1
            Self::Mp3 if rate < 32_000 => 576, // ISO/IEC 13818-3, section 2.4.2.1
            Self::Mp3 => 1152,                 // ISO/IEC 11172-3, section 2.4.2.1
            Self::Opus => rate / 50,           // 20 ms, which nearly all encoders use
            Self::Ac3 => 1536, // ETSI TS 102 366, section 4.1; of Enhanced AC-3, what nearly all encoders use
            Self::Lossless { frame_samples } => frame_samples,
            Self::Pcm { frame_bytes } => size / frame_bytes.max(1),
        }
    }
}

/// Returns the rate at which the PCM samples of an entry come, as its fields state it.
#[must_use]
pub fn stated_rate(entry: &SampleEntry) -> Option<u32> {
    EntryFields::read(entry).map(|fields| fields.rate)
}

/// Returns the rate and the number of channels with which audio of that entry is encoded to AAC: the nearest rate above its
/// own, and at most two channels.
#[must_use]
pub fn encoded_format(entry: &SampleEntry) -> (u32, u16) {
    let fields = EntryFields::read(entry);
    let (rate, channels) = fields.map_or((48_000, 2), |fields| (fields.rate, fields.channels));
    let whole = RATES.into_iter().find(|nice| *nice >= rate && nice.is_multiple_of(rate));
    let above = RATES.into_iter().find(|nice| *nice >= rate);
    (whole.or(above).unwrap_or(48_000), channels.min(MAX_CHANNELS))
}

/// Returns the bytes of a linear PCM sample of one channel, if ffmpeg's `mov` demuxer and our decoders know the kind.
fn linear_bytes(kind: [u8; 4], EntryFields { version, bits, .. }: EntryFields, payload: &[u8]) -> Option<u32> {
    let bytes = u32::from(bits / 8);
    match &kind {
        b"twos" | b"sowt" | b"raw " => Some(bytes).filter(|bytes| matches!(bytes, 1 | 2)),
        b"in24" => Some(3),
        b"in32" | b"fl32" => Some(4),
        b"lpcm" if version == 2 => Some(bytes).filter(|bytes| (1..=4).contains(bytes)),
        // ISO/IEC 23003-5: flags, then the bits of a sample
        b"ipcm" => pcm_configuration(payload, version).filter(|bytes| (2..=4).contains(bytes)),
        b"fpcm" => pcm_configuration(payload, version).filter(|bytes| *bytes == 4),
        _ => None,
    }
}

/// Returns the codec of a lossless entry: its configuration states how many PCM samples a frame has.
fn lossless(entry: &SampleEntry) -> Option<AudioCodec> {
    let fields = match EntryFields::read(entry)?.version {
        0 => FIELDS,
        1 => FIELDS_OF_VERSION_1,
        _ => FIELDS_OF_VERSION_2,
    };
    let boxes = entry.payload().get(fields..)?;
    let frame_samples = if &entry.kind == b"fLaC" {
        // version and flags, the header of the block STREAMINFO, the least and the most samples (RFC 9639, section 8.2)
        let mut fields = Fields(child(boxes, b"dfLa")?);
        fields.skip(10)?;
        fields.u16()?.into()
    } else {
        // version and flags (Apple Lossless, "ALACMagicCookieDescription"); `mov` files have it in `wave`
        let mut fields = Fields(child(boxes, b"alac").or_else(|| child(child(boxes, b"wave")?, b"alac"))?);
        fields.skip(4)?;
        fields.u32()?
    };
    Some(AudioCodec::Lossless { frame_samples }).filter(|_| frame_samples > 0)
}

/// Returns the bytes of a sample that `pcmC` states.
fn pcm_configuration(payload: &[u8], version: u16) -> Option<u32> {
    let fields = if version == 2 { FIELDS_OF_VERSION_2 } else { FIELDS };
    let mut configuration = Fields(child(payload.get(fields..)?, b"pcmC")?);
    configuration.skip(5)?;
    configuration.u8().map(|bits| u32::from(bits) / 8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mp4::boxes::boxed;

    #[allow(clippy::trivially_copy_pass_by_ref)] // as byte strings are written
    fn entry(kind: &[u8; 4], channels: u8, bits: u8, rate: u16, boxes: &[u8]) -> SampleEntry {
        let rate = rate.to_be_bytes();
        let fields = [&[0; 16][..], &[0, channels, 0, bits, 0, 0, 0, 0], &rate, &[0; 2], boxes].concat();
        SampleEntry::new(*kind, &fields)
    }

    #[test]
    fn knows_pcm_by_its_type_and_its_bits() {
        let frame = |kind: &[u8; 4], channels: u8, bits: u8, boxes: &[u8]| match AudioCodec::of(&entry(
            kind, channels, bits, 8000, boxes,
        )) {
            Some(AudioCodec::Pcm { frame_bytes }) => frame_bytes,
            _ => 0,
        };
        assert_eq!(frame(b"alaw", 1, 16, &[]), 1, "the bits are those of the decoded sample");
        assert_eq!(frame(b"ulaw", 2, 8, &[]), 2);
        assert_eq!(frame(b"twos", 2, 16, &[]), 4);
        assert_eq!(frame(b"sowt", 1, 16, &[]), 2);
        assert_eq!(frame(b"in24", 1, 16, &[]), 3);
        assert_eq!(frame(b"fl64", 1, 64, &[]), 0, "not decoded");
        assert_eq!(frame(b"ac-4", 2, 16, &[]), 0, "not decoded");
        assert_eq!(frame(b"ipcm", 2, 16, &boxed(b"pcmC", &[0, 0, 0, 0, 1, 24])), 6);
        assert_eq!(frame(b"ipcm", 2, 16, &[]), 0, "no configuration");
        assert_eq!(frame(b"alaw", 0, 16, &[]), 0, "no channels");
    }

    #[test]
    fn encodes_at_a_whole_multiple_of_the_rate() {
        let format = |rate: u16, channels: u8| encoded_format(&entry(b"twos", channels, 16, rate, &[]));
        assert_eq!(format(8000, 1), (32_000, 1));
        assert_eq!(format(11_025, 2), (44_100, 2));
        assert_eq!(format(16_000, 1), (32_000, 1));
        assert_eq!(format(12_000, 1), (48_000, 1));
        assert_eq!(format(44_100, 6), (44_100, 2));
        assert_eq!(format(48_000, 2), (48_000, 2));
        assert_eq!(format(37_800, 1), (44_100, 1));
    }
}
