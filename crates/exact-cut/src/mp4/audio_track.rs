//! The audio track of a recording: AAC frames on the clock of the recording's pictures (ISO/IEC 14496-3, section 1.6 for
//! the decoder configuration).

use shiguredo_mp4::bitstream::aac::parse_audio_specific_config;
use shiguredo_mp4::boxes::{Mp4aBox, SampleEntry};
use shiguredo_mp4::descriptors::DecoderConfigDescriptor;

/// PCM samples of each channel that one frame of AAC-LC decodes to (ISO/IEC 14496-3, section 4.5.1.1).
pub const PCM_SAMPLES_PER_AAC_FRAME: u32 = 1024;

/// One AAC frame, as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
    /// Start in ticks of the track's timescale, counted from the recording's first picture; negative before it.
    pub at: i64,
}

/// An audio track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Ticks a second.
    pub timescale: u32,
    /// AAC frames in order; at least one.
    pub frames: Vec<AudioFrame>,
    /// End of the last frame, in ticks, counted from the recording's first picture.
    pub end: i64,
    /// The one sample entry.
    pub entry: SampleEntry,
}

impl AudioTrack {
    /// Returns the format of plain AAC-LC, whose frames can be copied, or `None` for anything else.
    #[must_use]
    pub fn aac_lc_format(&self) -> Option<AudioFormat> {
        let specific = audio_specific_config(&self.entry)?;
        // bytes that follow describe extensions, which decoders of plain AAC-LC ignore
        let plain = if specific.first()? & 0x07 == 0x07 && specific.get(1)? & 0x80 == 0x80 { 5 } else { 2 };
        let config = parse_audio_specific_config(specific.get(..plain)?).ok()?;
        let channels = config.channel_configuration.channel_count();
        Some(AudioFormat { rate: config.sampling_frequency.hz(), channels })
    }

    /// Returns whether this is AAC of any kind, which ffmpeg decodes.
    #[must_use]
    pub fn is_aac(&self) -> bool {
        audio_specific_config(&self.entry).is_some()
    }
}

/// Format of decoded audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFormat {
    /// PCM samples a second.
    pub rate: u32,
    /// Number of channels.
    pub channels: u16,
}

/// Returns the `AudioSpecificConfig` of an AAC sample entry.
fn audio_specific_config(entry: &SampleEntry) -> Option<&[u8]> {
    const AAC: u8 = DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3;
    let SampleEntry::Mp4a(Mp4aBox { esds_box, .. }) = entry else { return None };
    let config = &esds_box.es.dec_config_descr;
    (config.object_type_indication == AAC).then_some(())?;
    config.dec_specific_info.as_ref().map(|specific| &specific.payload[..]).filter(|specific| specific.len() >= 2)
}
