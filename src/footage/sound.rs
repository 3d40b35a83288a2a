//! The sound track of a recording: AAC, packet by packet, on the clock of the recording's pictures
//! (ISO/IEC 14496-3, section 1.6 for its configuration).

use shiguredo_mp4::bitstream::aac::parse_audio_specific_config;
use shiguredo_mp4::boxes::{Mp4aBox, SampleEntry};

/// PCM samples of each channel that one packet of AAC-LC decodes to (ISO/IEC 14496-3, section 4.5.1.1).
pub const PACKET: u32 = 1024;

/// A packet of sound, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundPacket {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u32,
    /// When it begins to be heard, in ticks after the recording's first frame is shown; below 0 before that.
    pub at: i64,
}

/// A sound track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Ticks a second.
    pub timescale: u32,
    /// In order; at least one.
    pub packets: Vec<SoundPacket>,
    /// When the last packet has been heard, in ticks after the recording's first frame is shown.
    pub end: i64,
    /// Its one sample entry.
    pub entry: SampleEntry,
}

impl Sound {
    /// Its format if its packets can be copied: plain AAC-LC.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        let specific = specific_config(&self.entry)?;
        // what may follow tells of extensions, which decoders of plain AAC-LC pass over
        let plain = if specific.first()? & 0x07 == 0x07 && specific.get(1)? & 0x80 == 0x80 { 5 } else { 2 };
        let config = parse_audio_specific_config(specific.get(..plain)?).ok()?;
        Some(Format { rate: config.sampling_frequency.hz(), channels: config.channel_configuration.channel_count() })
    }

    /// Whether it is AAC of any kind, which can be decoded here.
    #[must_use]
    pub fn is_aac(&self) -> bool {
        specific_config(&self.entry).is_some()
    }
}

/// What one packet of AAC-LC is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// PCM samples a second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
}

/// The `AudioSpecificConfig` of an entry that is AAC.
fn specific_config(entry: &SampleEntry) -> Option<&[u8]> {
    const AAC: u8 = shiguredo_mp4::descriptors::DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3;
    let SampleEntry::Mp4a(Mp4aBox { esds_box, .. }) = entry else { return None };
    let config = &esds_box.es.dec_config_descr;
    (config.object_type_indication == AAC).then_some(())?;
    config.dec_specific_info.as_ref().map(|specific| &specific.payload[..]).filter(|specific| specific.len() >= 2)
}
