//! Mutations of inputs: bits, bytes, numbers, and parts that are doubled, dropped, swapped or taken from another input.

use testkit::random::SplitMix64;

/// Numbers at which readers change their behaviour.
const NUMBERS: [u32; 12] = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];

/// Words with a meaning for one of the readers.
const WORDS: [&[u8]; 28] = [
    b"moov",
    b"moof",
    b"trak",
    b"stts",
    b"ctts",
    b"stss",
    b"stsz",
    b"stco",
    b"co64",
    b"stsc",
    b"elst",
    b"traf",
    b"trun",
    b"tfhd",
    b"avcC",
    b"mp4a",
    b"mvex",
    b"null",
    b"None",
    b"{",
    b"]",
    b"'",
    b"\\",
    b"1e999",
    b"99999999999999999999",
    b"%f",
    b"..",
    b"\xF0\x9F",
];

/// Returns one of `seeds`, mutated one to eight times.
pub fn mutated(seeds: &[Vec<u8>], random: &mut SplitMix64) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        let length = 1 + random.below(16);
        let part = at..bytes.len().min(at + length);
        match random.below(10) {
            _ if bytes.is_empty() => bytes.push(0),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = u8::try_from(random.below(256)).expect("a byte"),
            2 | 3 => {
                let number = NUMBERS[random.below(NUMBERS.len())].to_be_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number[4 - (end - at)..]);
            }
            4 => drop(bytes.drain(part)),
            5 => {
                let doubled = bytes[part].to_vec();
                bytes.splice(at..at, doubled);
            }
            6 => {
                let word = WORDS[random.below(WORDS.len())];
                let end = bytes.len().min(at + word.len() * random.below(2));
                bytes.splice(at..end, word.iter().copied());
            }
            7 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let taken = other[from..other.len().min(from + 8 * length)].to_vec();
                let end = bytes.len().min(at + taken.len());
                bytes.splice(at..end, taken);
            }
            8 => bytes.truncate(bytes.len().max(1) - random.below(bytes.len() / 8 + 1)),
            _ => {
                let end = random.below(bytes.len());
                bytes.swap(at, end);
            }
        }
    }
    bytes
}
