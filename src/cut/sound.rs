//! Which sound is heard when in a clip. Packets of AAC all last the same, so the clip's sound is a row of slots of that
//! length, and each is given the packet that lies nearest in the world's time. Pure.

use std::ops::Range;

use crate::cut::clock::{Clock, Wall};
use crate::footage::coverage::Coverage;
use crate::footage::sound::{Format, PACKET, Sound};
use crate::time::{Timestamp, rescaled};

/// A recording, as far as its sound is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// When its first frame was taken.
    pub starts: Timestamp,
    /// Its sound; none if it is to be had without.
    pub sound: Option<&'a Sound>,
}

/// How the sound gets into the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Packet by packet, byte for byte; the recordings' sample entries are all as that of this one.
    Copy(usize),
    /// Decoded and encoded anew.
    Encode {
        /// Why it is not copied.
        why: &'static str,
    },
}

/// Slots in a row that are filled alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub slots: usize,
    /// What is heard; silence without.
    pub heard: Option<Heard>,
}

/// Packets of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Index into the recordings.
    pub recording: usize,
    /// The packets: just as many as there are slots where they are copied, those that reach into them otherwise.
    pub packets: Range<usize>,
    /// When the first slot begins, in PCM samples after the recording's first frame is shown.
    pub at: i64,
}

/// A clip's sound, from its first frame to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundPlan {
    /// How it gets there.
    pub how: How,
    /// What the clip's packets are made for.
    pub format: Format,
    /// In order.
    pub runs: Vec<Run>,
}

/// What the clip's pictures need of time: when the first is shown in the world, and for how long all of them are.
#[derive(Clone, Copy, Debug)]
pub struct Pictures<'a> {
    /// The clip's clock, in any timescale.
    pub clock: Clock<'a>,
    /// When clip time 0 was.
    pub origin: Wall,
    /// The clip's length, in ticks and ticks a second.
    pub end: (i64, u32),
}

impl SoundPlan {
    /// Plans the sound of a clip; `None` if none of its parts has any.
    #[must_use]
    pub fn of(pictures: Pictures<'_>, coverage: &Coverage, sources: &[Source<'_>]) -> Option<Self> {
        let sounds = || coverage.parts.iter().filter_map(|part| Some((part.recording, sources[part.recording].sound?)));
        let (first, entry) = sounds().next().map(|(recording, sound)| (recording, &sound.entry))?;
        let plain = sounds().find_map(|(_, sound)| sound.format());
        let how = match plain {
            _ if sounds().any(|(_, sound)| sound.entry != *entry) => {
                How::Encode { why: "the recordings' sound differs" }
            }
            None => How::Encode { why: "the sound is not plain AAC-LC" },
            Some(_) => How::Copy(first),
        };
        let format = plain.unwrap_or(Format { rate: 48_000, channels: 2 });
        let clock = Clock { timescale: format.rate, ..pictures.clock };
        let origin = clock.ticks(pictures.origin);
        let end = rescaled(pictures.end.0, pictures.end.1, format.rate);
        let slots = slot(end).max(1);
        let mut runs: Vec<Run> = Vec::new();
        let mut filled = 0;
        for (index, part) in coverage.parts.iter().enumerate() {
            let Source { starts, sound } = sources[part.recording];
            let Some(sound) = sound else { continue };
            let is_last = index + 1 == coverage.parts.len();
            let begins = clock.ticks(Wall::at(part.span.start())) - origin;
            // the last frame may be shown a little longer than the span lasts
            let ends = if is_last { end } else { clock.ticks(Wall::at(part.span.end())) - origin };
            let (from, until) = (slot(begins).max(filled), slot(ends).min(slots));
            if from >= until {
                continue;
            }
            let into = i128::from(part.span.start().as_us()) - i128::from(starts.as_us());
            let into = i64::try_from((into * i128::from(format.rate) + 500_000).div_euclid(1_000_000)).ok()?;
            let at = |slot: i64| slot * i64::from(PACKET) - begins + into;
            silence(&mut runs, from - filled);
            match how {
                How::Copy(_) => copy(&mut runs, part.recording, sound, format.rate, (from..until).map(at)),
                How::Encode { .. } => {
                    let packets = reaching(sound, format.rate, at(from)..at(until));
                    let heard = Heard { recording: part.recording, packets, at: at(from) };
                    let slots = usize::try_from(until - from).unwrap_or_default();
                    runs.push(Run { slots, heard: Some(heard).filter(|heard| !heard.packets.is_empty()) });
                }
            }
            filled = until;
        }
        silence(&mut runs, slots - filled);
        runs.iter().any(|run| run.heard.is_some()).then_some(Self { how, format, runs })
    }

    /// How many packets the clip has.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.runs.iter().map(|run| run.slots).sum()
    }

    /// The packets of `recording` that must be read.
    pub fn packets(&self, recording: usize) -> impl Iterator<Item = Range<usize>> {
        let heard = self.runs.iter().filter_map(|run| run.heard.as_ref());
        heard.filter(move |heard| heard.recording == recording).map(|heard| heard.packets.clone())
    }
}

/// The first slot whose middle comes at `pcm` or later.
fn slot(pcm: i64) -> i64 {
    let packet = i64::from(PACKET);
    (pcm - packet / 2 + packet - 1).div_euclid(packet)
}

fn silence(runs: &mut Vec<Run>, slots: i64) {
    if let Ok(slots @ 1..) = usize::try_from(slots) {
        match runs.last_mut() {
            Some(Run { slots: before, heard: None }) => *before += slots,
            _ => runs.push(Run { slots, heard: None }),
        }
    }
}

/// Gives each slot its packet. The one nearest begins a run; those behind it follow as long as they are off by less than
/// one packet, so that neither rounded times nor a slow drift of the recording's clock tears the sound.
fn copy(runs: &mut Vec<Run>, recording: usize, sound: &Sound, rate: u32, slots: impl Iterator<Item = i64>) {
    let packet = i64::from(PACKET);
    let at = |index: usize| rescaled(sound.packets[index].at, sound.timescale, rate);
    for wanted in slots {
        let last = runs.last_mut().and_then(|run| Some((&mut run.slots, run.heard.as_mut()?)));
        if let Some((slots, heard)) = last
            && heard.recording == recording
            && heard.packets.end < sound.packets.len()
            && (at(heard.packets.end) - wanted).abs() < packet
            && heard.at + i64::try_from(*slots).unwrap_or(i64::MAX) * packet == wanted
        {
            heard.packets.end += 1;
            *slots += 1;
            continue;
        }
        let after = sound.packets.partition_point(|packet| rescaled(packet.at, sound.timescale, rate) < wanted);
        let near = [after.checked_sub(1), Some(after).filter(|&after| after < sound.packets.len())];
        let heard = runs.iter().rev().filter_map(|run| run.heard.as_ref()).find(|heard| heard.recording == recording);
        let unheard = heard.map_or(0, |heard| heard.packets.end); // the last packet may be the nearest to the slot behind it
        let near = near.into_iter().flatten().filter(|&index| index >= unheard);
        let nearest = near.min_by_key(|&index| (at(index) - wanted).abs());
        match nearest.filter(|&index| (at(index) - wanted).abs() <= packet / 2) {
            Some(index) => {
                let heard = Heard { recording, packets: index..index + 1, at: wanted };
                runs.push(Run { slots: 1, heard: Some(heard) });
            }
            None => silence(runs, 1),
        }
    }
}

/// The packets that reach into `wanted`, and the one before them, which a decoder needs to begin with.
fn reaching(sound: &Sound, rate: u32, wanted: Range<i64>) -> Range<usize> {
    let before = |pcm: i64| sound.packets.partition_point(|packet| rescaled(packet.at, sound.timescale, rate) < pcm);
    before(wanted.start).saturating_sub(2)..before(wanted.end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shiguredo_mp4::boxes::{AudioSampleEntryFields, EsdsBox, Mp4aBox, SampleEntry};
    use shiguredo_mp4::descriptors::{DecoderConfigDescriptor, DecoderSpecificInfo, EsDescriptor, SlConfigDescriptor};
    use shiguredo_mp4::{FixedPointNumber, Uint};

    use super::*;
    use crate::footage::sound::SoundPacket;
    use crate::time::Span;

    /// AAC-LC, 48 kHz, two channels.
    const CONFIG: [u8; 2] = [0x11, 0x90];
    const RATE: u32 = 48_000;

    fn entry() -> SampleEntry {
        let config = DecoderConfigDescriptor {
            object_type_indication: DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3,
            stream_type: DecoderConfigDescriptor::STREAM_TYPE_AUDIO,
            up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
            buffer_size_db: Uint::new(0),
            max_bitrate: 0,
            avg_bitrate: 0,
            dec_specific_info: Some(DecoderSpecificInfo { payload: CONFIG.to_vec() }),
        };
        SampleEntry::Mp4a(Mp4aBox {
            audio: AudioSampleEntryFields {
                data_reference_index: AudioSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
                channelcount: 2,
                samplesize: 16,
                samplerate: FixedPointNumber::new(48_000, 0),
            },
            esds_box: EsdsBox {
                es: EsDescriptor {
                    es_id: 1,
                    stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
                    depends_on_es_id: None,
                    url_string: None,
                    ocr_es_id: None,
                    dec_config_descr: config,
                    sl_config_descr: SlConfigDescriptor,
                },
            },
            unknown_boxes: Vec::new(),
        })
    }

    prop_compose! {
        /// Sound in a timescale that may not divide a packet, which begins some ticks off the pictures.
        fn sound()(
            timescale in prop_oneof![Just(RATE), Just(90_000_u32), Just(1000)],
            count in 1_i64..200,
            lead in -50_i64..50,
        ) -> Sound {
            let at = |n: i64| lead + rescaled(n * i64::from(PACKET), RATE, timescale);
            let packets = (0..count).map(|n| SoundPacket { offset: 0, size: 1, at: at(n) }).collect();
            Sound { timescale, packets, end: at(count), entry: entry() }
        }
    }

    /// Recordings of up to four seconds, one behind the other, with holes and overlaps; and a span.
    fn request() -> impl Strategy<Value = (Vec<(Timestamp, Option<Sound>)>, Span)> {
        let one = (prop::option::weighted(0.8, sound()), -400_000_i64..700_000);
        (prop::collection::vec(one, 1..4), 0_i64..3_000_000, 1_i64..6_000_000).prop_map(|(recordings, from, length)| {
            let mut at = 0;
            let placed = recordings.into_iter().map(|(sound, hole)| {
                let starts = Timestamp::from_us(at);
                at += 4_000_000 + hole;
                (starts, sound)
            });
            let (from, to) = (Timestamp::from_us(from), Timestamp::from_us(from + length));
            (placed.collect(), Span::new(from, to).expect("in order"))
        })
    }

    fn planned(recordings: &[(Timestamp, Option<Sound>)], span: Span) -> Option<(SoundPlan, Coverage)> {
        let shown: Vec<Span> = recordings
            .iter()
            .map(|(starts, _)| Span::new(*starts, Timestamp::from_us(starts.as_us() + 4_000_000)).expect("in order"))
            .collect();
        let coverage = Coverage::of(span, &shown, 500_000);
        let clock = Clock { span, gaps: &coverage.gaps, timescale: 90_000 };
        let origin = coverage.parts.first()?.span.start();
        let end = clock.ticks(Wall::at(span.end())) - clock.ticks(Wall::at(origin));
        let pictures = Pictures { clock, origin: Wall::at(origin), end: (end.max(1), 90_000) };
        let sources: Vec<Source<'_>> =
            recordings.iter().map(|(starts, sound)| Source { starts: *starts, sound: sound.as_ref() }).collect();
        let plan = SoundPlan::of(pictures, &coverage, &sources)?;
        Some((plan, coverage))
    }

    proptest! {
        #[test]
        fn every_packet_is_heard_within_half_a_packet_of_its_time_where_a_run_begins((recordings, span) in request()) {
            let Some((plan, _)) = planned(&recordings, span) else { return Ok(()) };
            for heard in plan.runs.iter().filter_map(|run| run.heard.as_ref()) {
                let sound = recordings[heard.recording].1.as_ref().expect("a recording with sound");
                let at = |packet: usize| rescaled(sound.packets[packet].at, sound.timescale, RATE);
                for (slot, packet) in (0..).zip(heard.packets.clone()) {
                    let off = at(packet) - heard.at - slot * i64::from(PACKET);
                    let most = if slot == 0 { PACKET / 2 } else { PACKET };
                    prop_assert!(off.abs() <= i64::from(most), "slot {slot} of {heard:?} is {off} off");
                }
            }
        }

        #[test]
        fn slots_fill_the_clip_and_no_packet_is_heard_twice((recordings, span) in request()) {
            let Some((plan, coverage)) = planned(&recordings, span) else { return Ok(()) };
            prop_assert!(matches!(plan.how, How::Copy(_)));
            let cut_out: i64 = coverage.gaps.iter().map(|gap| gap.length_us()).sum();
            let heard_us = i64::try_from(plan.slots()).expect("few") * i64::from(PACKET) * 1_000_000 / i64::from(RATE);
            let packet_us = i64::from(PACKET) * 1_000_000 / i64::from(RATE);
            let held = span.length_us() - cut_out;
            prop_assert!((heard_us - held).abs() <= 500_000 + packet_us, "{heard_us} µs of {held}");
            for run in &plan.runs {
                prop_assert!(run.slots > 0);
                prop_assert!(run.heard.as_ref().is_none_or(|heard| heard.packets.len() == run.slots));
            }
            for recording in 0..recordings.len() {
                let mut packets: Vec<Range<usize>> = plan.packets(recording).collect();
                packets.sort_by_key(|packets| packets.start);
                prop_assert!(packets.windows(2).all(|pair| pair[0].end <= pair[1].start), "{packets:?}");
            }
        }
    }
}
