//! The audio track of a recording: frames on the clock of the recording's pictures (ISO/IEC 14496-3, section 1.6 for the
//! decoder configuration of AAC).

use shiguredo_mp4::bitstream::aac::parse_audio_specific_config;

use crate::mp4::audio_codec::{AudioCodec, encoded_format, stated_rate};
use crate::mp4::sample_entry::SampleEntry;

/// PCM samples of each channel that one frame of AAC-LC decodes to (ISO/IEC 14496-3, section 4.5.1.1).
pub const PCM_SAMPLES_PER_AAC_FRAME: u32 = 1024;

/// One coded frame, as it lies in the file. Of PCM, some consecutive samples are taken for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioFrame {
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Size in bytes.
    pub size: u32,
    /// Start in ticks of the track's timescale, counted from the recording's first picture; negative before it.
    pub at: i64,
}

/// An audio track of a codec that ffmpeg decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioTrack {
    /// Ticks a second.
    pub timescale: u32,
    /// Frames in order; at least one.
    pub frames: Vec<AudioFrame>,
    /// End of the last frame, in ticks, counted from the recording's first picture.
    pub end: i64,
    /// The sample entry, as it is in the file.
    pub entry: SampleEntry,
    /// How the frames are coded.
    pub codec: AudioCodec,
    /// All that a decoder needs to know: `AudioSpecificConfig` of AAC, else the sample entry.
    pub config: Vec<u8>,
}

impl AudioTrack {
    /// Returns the format of plain AAC-LC, whose frames can be copied, or `None` for anything else.
    #[must_use]
    pub fn aac_lc_format(&self) -> Option<AudioFormat> {
        (self.codec == AudioCodec::Aac).then_some(())?;
        let specific = &self.config;
        // bytes that follow describe extensions, which decoders of plain AAC-LC ignore
        let plain = if specific.first()? & 0x07 == 0x07 && specific.get(1)? & 0x80 == 0x80 { 5 } else { 2 };
        let config = parse_audio_specific_config(specific.get(..plain)?).ok()?;
        let channels = config.channel_configuration.channel_count();
        Some(AudioFormat { rate: config.sampling_frequency.hz(), channels })
    }

    /// Returns the format to which the audio is encoded if it cannot be copied.
    #[must_use]
    pub fn encoded_format(&self) -> AudioFormat {
        if self.codec == AudioCodec::Aac {
            return self.aac_lc_format().unwrap_or(AudioFormat { rate: 48_000, channels: 2 });
        }
        let (rate, channels) = encoded_format(&self.entry);
        AudioFormat { rate, channels }
    }

    /// Returns the PCM samples that come in a second, as the file states it.
    #[must_use]
    pub fn rate(&self) -> u32 {
        let stated = self.aac_lc_format().map(|format| format.rate);
        stated.or_else(|| stated_rate(&self.entry)).unwrap_or(self.timescale)
    }

    /// Returns a sample entry for an MP4 file: of AAC with the configuration and nothing else, else as it is.
    ///
    /// # Errors
    /// The encoder's own words.
    pub fn plain_entry(&self) -> Result<SampleEntry, String> {
        if self.codec != AudioCodec::Aac {
            return Ok(self.entry.clone());
        }
        let format = self.aac_lc_format().unwrap_or(AudioFormat { rate: self.timescale, channels: 2 });
        SampleEntry::mp4a(&self.config, format.rate, format.channels)
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
