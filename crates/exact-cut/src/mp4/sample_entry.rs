//! Sample entries: codec, size, and how a decoder is set up (ISO/IEC 14496-12, sections 8.5.2 and 12.1).
//!
//! An entry is kept as the bytes that it is, so that a decoder gets what the camera wrote, and searched for what is needed.
//! `mov` files put other bytes between and behind the boxes of an entry.

use std::num::NonZeroU32;

use shiguredo_mp4::boxes::{AudioSampleEntryFields, AvccBox, EsdsBox, Mp4aBox, UnknownBox, VisualSampleEntryFields};
use shiguredo_mp4::descriptors::{DecoderConfigDescriptor, DecoderSpecificInfo, EsDescriptor, SlConfigDescriptor};
use shiguredo_mp4::{BoxSize, BoxType, Decode, Encode, FixedPointNumber, Uint};

use crate::codec::VideoCodec;
use crate::h264::nal_units::{Codec, NalFormat};
use crate::mp4::boxes::{Fields, boxed, child, children};

/// Bytes of a visual sample entry before its boxes (section 12.1.3).
const VISUAL_FIELDS: usize = 78;
/// Bytes of an audio sample entry before its boxes: version 0, and the versions 1 and 2 of `mov` files.
const AUDIO_FIELDS: [usize; 3] = [28, 44, 64];
/// Children of a visual sample entry that say how pictures are displayed.
const DISPLAY: [&[u8; 4]; 3] = [b"pasp", b"colr", b"clap"];

/// Object type of MPEG-4 pictures (ISO/IEC 14496-1, table 5).
const MPEG4_VISUAL: u8 = 0x20;

/// A sample entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleEntry {
    /// Its type, such as `avc1`.
    pub kind: [u8; 4],
    /// What follows its header.
    payload: Vec<u8>,
}

impl SampleEntry {
    /// Returns the entry of that type and content.
    #[must_use]
    pub fn new(kind: [u8; 4], payload: &[u8]) -> Self {
        Self { kind, payload: payload.to_vec() }
    }

    /// Returns an `avc1` entry for pictures of `width` × `height`, with the boxes `display` about how they are displayed.
    ///
    /// # Errors
    /// The encoder's own words if `avcc` is incomplete.
    pub fn avc1(width: u16, height: u16, avcc: &AvccBox, display: &[u8]) -> Result<Self, String> {
        let visual = VisualSampleEntryFields {
            data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
            width,
            height,
            horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
            vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
            frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
            compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
            depth: VisualSampleEntryFields::DEFAULT_DEPTH,
        };
        let encoded =
            |thing: &dyn Fn() -> Result<Vec<u8>, shiguredo_mp4::Error>| thing().map_err(|error| error.to_string());
        let visual = encoded(&|| visual.encode_to_vec())?;
        let avcc = encoded(&|| avcc.encode_to_vec())?;
        Ok(Self { kind: *b"avc1", payload: [&visual[..], &avcc, display].concat() })
    }

    /// Returns an `mp4a` entry for AAC with this `AudioSpecificConfig`.
    ///
    /// # Errors
    /// The encoder's own words.
    pub fn mp4a(config: &[u8], rate: u32, channels: u16) -> Result<Self, String> {
        let entry = Mp4aBox {
            audio: AudioSampleEntryFields {
                data_reference_index: AudioSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
                channelcount: channels,
                samplesize: AudioSampleEntryFields::DEFAULT_SAMPLESIZE,
                samplerate: FixedPointNumber::new(u16::try_from(rate).unwrap_or_default(), 0),
            },
            esds_box: EsdsBox {
                es: EsDescriptor {
                    es_id: EsDescriptor::MIN_ES_ID,
                    stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
                    depends_on_es_id: None,
                    url_string: None,
                    ocr_es_id: None,
                    dec_config_descr: DecoderConfigDescriptor {
                        object_type_indication: DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3,
                        stream_type: DecoderConfigDescriptor::STREAM_TYPE_AUDIO,
                        up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
                        buffer_size_db: Uint::new(0),
                        max_bitrate: 0,
                        avg_bitrate: 0,
                        dec_specific_info: Some(DecoderSpecificInfo { payload: config.to_vec() }),
                    },
                    sl_config_descr: SlConfigDescriptor,
                },
            },
            unknown_boxes: Vec::new(),
        };
        let bytes = entry.encode_to_vec().map_err(|error| error.to_string())?;
        Ok(Self::new(*b"mp4a", bytes.get(8..).unwrap_or_default()))
    }

    /// Returns what follows the header of the entry.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns the box that a muxer writes.
    #[must_use]
    pub fn as_box(&self) -> shiguredo_mp4::boxes::SampleEntry {
        let box_size = BoxSize::U32(u32::try_from(self.payload.len() + 8).unwrap_or(u32::MAX));
        let (box_type, payload) = (BoxType::Normal(self.kind), self.payload.clone());
        shiguredo_mp4::boxes::SampleEntry::Unknown(UnknownBox { box_type, box_size, payload })
    }

    /// Returns the codec of the pictures, if they are decoded: not of another codec, and not encrypted.
    #[must_use]
    pub fn video_codec(&self) -> Option<VideoCodec> {
        Some(match &self.kind {
            // the types that begin with d are those of Dolby Vision
            b"avc1" | b"avc3" | b"dva1" | b"dvav" => VideoCodec::H264,
            b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => VideoCodec::Hevc,
            b"av01" => VideoCodec::Av1,
            b"vp09" => VideoCodec::Vp9,
            b"s263" | b"h263" => VideoCodec::H263,
            b"mp4v" => match decoder_config(self.visual_child(b"esds")?)? {
                (MPEG4_VISUAL, _) => VideoCodec::Mpeg4,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// Returns whether the samples are encrypted (ISO/IEC 14496-12, section 8.12).
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(&self.kind, b"encv" | b"enca" | b"drmi" | b"drms")
    }

    /// Returns the size in pixels that the entry of a video track states.
    #[must_use]
    pub fn stated_size(&self) -> Option<(u16, u16)> {
        let mut fields = Fields(&self.payload);
        fields.skip(24)?;
        (self.payload.len() >= VISUAL_FIELDS).then_some((fields.u16()?, fields.u16()?))
    }

    /// Returns the content of a box in the entry of a video track.
    #[must_use]
    pub fn visual_child(&self, name: &[u8; 4]) -> Option<&[u8]> {
        child(self.payload.get(VISUAL_FIELDS..)?, name)
    }

    /// Returns `avcC`, if it can be read.
    #[must_use]
    pub fn avcc(&self) -> Option<AvccBox> {
        (self.video_codec()? == VideoCodec::H264).then_some(())?;
        let avcc = boxed(b"avcC", self.visual_child(b"avcC")?);
        AvccBox::decode(&avcc).ok().map(|(avcc, _)| avcc)
    }

    /// Returns how the NAL units of the samples are written (ISO/IEC 14496-15, sections 5.3.3.1 and 8.3.3.1).
    #[must_use]
    pub fn nal_format(&self) -> Option<NalFormat> {
        let (family, configuration) = self.decoder_configuration()?;
        let (codec, at) = if family == b"avc1" { (Codec::H264, 4) } else { (Codec::Hevc, 21) };
        Some(NalFormat { codec, length_size: usize::from(configuration.get(at)? & 3) + 1 })
    }

    /// Returns width and height of a pixel (`pasp`, section 12.1.4), if they are stated.
    #[must_use]
    pub fn pixel_aspect(&self) -> Option<(NonZeroU32, NonZeroU32)> {
        let mut fields = Fields(self.visual_child(b"pasp")?);
        Some((NonZeroU32::new(fields.u32()?)?, NonZeroU32::new(fields.u32()?)?))
    }

    /// Returns the colour description of `colr` (section 12.1.5), or of the configuration of VP9: primaries, transfer
    /// characteristics, matrix coefficients, and whether luma uses its full range, if that is stated.
    #[must_use]
    pub fn colour(&self) -> Option<([u8; 3], Option<bool>)> {
        let Some(colr) = self.visual_child(b"colr") else {
            // version and flags, profile, level, depth and range ("VP Codec ISO Media File Format Binding", "VP Codec Configuration
            // Box")
            let vpcc = self.visual_child(b"vpcC")?;
            return Some((vpcc.get(7..10)?.try_into().ok()?, Some(vpcc[6] & 1 != 0)));
        };
        let mut fields = Fields(colr);
        let kind = fields.name()?;
        let codes = [fields.u16()?, fields.u16()?, fields.u16()?].map(|code| u8::try_from(code).unwrap_or(2));
        match &kind {
            b"nclx" => Some((codes, Some(fields.u8()? & 0x80 != 0))),
            b"nclc" => Some((codes, None)),
            _ => None,
        }
    }

    /// Returns the boxes about how pictures are displayed, as bytes.
    #[must_use]
    pub fn display_boxes(&self) -> Vec<u8> {
        let boxes = children(self.payload.get(VISUAL_FIELDS..).unwrap_or_default());
        boxes.filter(|(name, _)| DISPLAY.contains(&name)).flat_map(|(name, content)| boxed(&name, content)).collect()
    }

    /// Returns the entry without what says how pictures are displayed, with this size. A decoder then goes by the parameter
    /// sets alone.
    #[must_use]
    pub fn for_decoding(&self, size: Option<(u16, u16)>) -> Self {
        let Some((fields, boxes)) = self.payload.split_at_checked(VISUAL_FIELDS) else { return self.clone() };
        let mut fields = fields.to_vec();
        if let Some((width, height)) = size {
            fields[24..28].copy_from_slice(&[width.to_be_bytes(), height.to_be_bytes()].concat());
        }
        let kept = children(boxes).filter(|(name, _)| !DISPLAY.contains(&name));
        let kept: Vec<u8> = kept.flat_map(|(name, content)| boxed(&name, content)).collect();
        Self { kind: self.kind, payload: [fields, kept].concat() }
    }

    /// Returns the entry of a video track with that width and height of a pixel, unless it states others.
    #[must_use]
    pub fn with_pixel_aspect(&self, (across, down): (u32, u32)) -> Self {
        match self.payload.split_at_checked(VISUAL_FIELDS) {
            Some((fields, boxes)) if self.visual_child(b"pasp").is_none() => {
                let pasp = boxed(b"pasp", &[across.to_be_bytes(), down.to_be_bytes()].concat());
                Self { kind: self.kind, payload: [fields, &pasp, boxes].concat() }
            }
            _ => self.clone(),
        }
    }

    /// Returns the entry of a video track with another content of one of its boxes.
    #[must_use]
    pub fn with_child(&self, name: [u8; 4], content: &[u8]) -> Self {
        let Some((fields, boxes)) = self.payload.split_at_checked(VISUAL_FIELDS) else { return self.clone() };
        let boxes = children(boxes).map(|(other, own)| boxed(&other, if other == name { content } else { own }));
        Self { kind: self.kind, payload: [fields.to_vec(), boxes.flatten().collect()].concat() }
    }

    /// Returns what a decoder of pictures needs: type and configuration.
    #[must_use]
    pub fn decoder_configuration(&self) -> Option<(&[u8; 4], &[u8])> {
        let (family, name) = match self.video_codec()? {
            VideoCodec::H264 => (b"avc1", b"avcC"),
            VideoCodec::Hevc => (b"hvc1", b"hvcC"),
            _ => return None,
        };
        Some((family, self.visual_child(name)?))
    }

    /// Returns the elementary stream descriptor of an audio entry. `mov` files have it behind further fields, or in `wave`.
    fn esds(&self) -> Option<&[u8]> {
        AUDIO_FIELDS.iter().find_map(|&fields| {
            let boxes = self.payload.get(fields..)?;
            child(boxes, b"esds").or_else(|| child(child(boxes, b"wave")?, b"esds"))
        })
    }

    /// Returns the `AudioSpecificConfig` of AAC. MPEG-2's AAC (object types 0x66 to 0x68, ISO/IEC 14496-1, table 5) has the
    /// same packets as MPEG-4's.
    #[must_use]
    pub fn aac_config(&self) -> Option<&[u8]> {
        const AAC: [u8; 4] = [0x40, 0x66, 0x67, 0x68];
        let (object_type, mut fields) = self.decoder_config()?;
        AAC.contains(&object_type).then_some(())?;
        fields.skip(12)?;
        let length = descriptor(&mut fields, 5)?;
        fields.0.get(..length.min(fields.0.len())).filter(|config| config.len() >= 2)
    }

    /// Returns the object type that the elementary stream descriptor of an `mp4a` entry states, and what follows it.
    pub(super) fn decoder_config(&self) -> Option<(u8, Fields<'_>)> {
        (&self.kind == b"mp4a").then_some(())?;
        decoder_config(self.esds()?)
    }
}

/// Returns the object type that an elementary stream descriptor states, and what follows it.
fn decoder_config(esds: &[u8]) -> Option<(u8, Fields<'_>)> {
    let mut fields = Fields(esds.get(4..)?);
    descriptor(&mut fields, 3)?;
    fields.skip(2)?;
    let flags = fields.u8()?;
    if flags & 0x80 != 0 {
        fields.skip(2)?;
    }
    if flags & 0x40 != 0 {
        let length = fields.u8()?;
        fields.skip(length.into())?;
    }
    if flags & 0x20 != 0 {
        fields.skip(2)?;
    }
    descriptor(&mut fields, 4)?;
    Some((fields.u8()?, fields))
}

/// Reads the header of a descriptor with that tag, and returns the length that it states (ISO/IEC 14496-1, section 8.3.3).
fn descriptor(fields: &mut Fields<'_>, tag: u8) -> Option<usize> {
    (fields.u8()? == tag).then_some(())?;
    let mut length = 0_usize;
    for _ in 0..4 {
        let byte = fields.u8()?;
        length = length << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: [u8; 2] = [0x11, 0x90];

    #[test]
    fn finds_the_configuration_of_aac_where_mov_files_put_it() {
        let entry = SampleEntry::mp4a(&CONFIG, 48_000, 2).expect("writable");
        assert_eq!(entry.aac_config(), Some(&CONFIG[..]));
        let (fields, esds) = entry.payload.split_at(28);
        let wave = [boxed(b"frma", b"mp4a"), esds.to_vec(), vec![0; 8]].concat();
        for (name, payload) in [
            ("version 1", [fields, &[0; 16], esds].concat()),
            ("version 1 with wave", [fields, &[0; 16], &boxed(b"wave", &wave)].concat()),
            ("version 2", [fields, &[0; 36], &boxed(b"wave", &wave)].concat()),
            ("a terminator", [fields, esds, &[0; 4]].concat()),
            ("cut short", [fields, &esds[..esds.len()]].concat()),
        ] {
            assert_eq!(SampleEntry::new(*b"mp4a", &payload).aac_config(), Some(&CONFIG[..]), "{name}");
        }
        for object_type in [0x66, 0x67, 0x68, 0x6b] {
            let mut payload = entry.payload.clone();
            let at = payload.iter().rposition(|&byte| byte == 0x40).expect("the object type");
            payload[at] = object_type;
            let found = SampleEntry::new(*b"mp4a", &payload);
            assert_eq!(found.aac_config().is_some(), object_type != 0x6b, "{object_type:#x}");
        }
    }

    #[test]
    fn reads_a_visual_entry_with_bytes_behind_its_last_box() {
        let pasp = boxed(b"pasp", &[0, 0, 0, 4, 0, 0, 0, 3]);
        let colr = boxed(b"colr", &[b'n', b'c', b'l', b'x', 0, 1, 0, 13, 0, 6, 0x80]);
        let btrt = boxed(b"btrt", &[0; 12]);
        let fields = [&[0; 24][..], &[5, 0, 2, 0xd0], &[0; 50]].concat();
        let entry = SampleEntry::new(*b"avc1", &[&fields[..], &pasp, &colr, &btrt, &[0; 4]].concat());
        assert_eq!(entry.stated_size(), Some((1280, 720)));
        assert_eq!(entry.pixel_aspect().map(|(a, b)| (a.get(), b.get())), Some((4, 3)));
        assert_eq!(entry.colour(), Some(([1, 13, 6], Some(true))));
        assert_eq!(entry.display_boxes(), [pasp, colr].concat());
        assert_eq!(entry.for_decoding(None).payload, [&fields[..], &btrt].concat());
        let resized = [&fields[..24], &[5, 0, 2, 0xd8], &fields[28..], &btrt].concat();
        assert_eq!(entry.for_decoding(Some((1280, 728))).payload, resized);
        assert_eq!(entry.with_pixel_aspect((1, 1)), entry, "it states one");
        let pixel = SampleEntry::new(*b"avc1", &fields).with_pixel_aspect((4, 3)).pixel_aspect();
        assert_eq!(pixel.map(|(a, b)| (a.get(), b.get())), Some((4, 3)));
    }
}
