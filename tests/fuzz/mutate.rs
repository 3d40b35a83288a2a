//! Mutations: bits, bytes, numbers, pieces doubled, dropped, moved and taken from elsewhere.

/// A stream of numbers that look random, the same for the same seed (`SplitMix64`).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).expect("below a usize")
    }
}

/// Numbers at which things change.
const NUMBERS: [u32; 12] = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF];

/// Words that mean something to one of the readers.
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

/// One of `seeds`, mutated one to eight times.
pub fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(8) {
        let at = dice.below(bytes.len());
        let length = 1 + dice.below(16);
        let piece = at..bytes.len().min(at + length);
        match dice.below(10) {
            _ if bytes.is_empty() => bytes.push(0),
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = u8::try_from(dice.below(256)).expect("a byte"),
            2 | 3 => {
                let number = NUMBERS[dice.below(NUMBERS.len())].to_be_bytes();
                let end = bytes.len().min(at + 4);
                bytes[at..end].copy_from_slice(&number[4 - (end - at)..]);
            }
            4 => drop(bytes.drain(piece)),
            5 => {
                let doubled = bytes[piece].to_vec();
                bytes.splice(at..at, doubled);
            }
            6 => {
                let word = WORDS[dice.below(WORDS.len())];
                let end = bytes.len().min(at + word.len() * dice.below(2));
                bytes.splice(at..end, word.iter().copied());
            }
            7 => {
                let other = &seeds[dice.below(seeds.len())];
                let from = dice.below(other.len());
                let taken = other[from..other.len().min(from + 8 * length)].to_vec();
                let end = bytes.len().min(at + taken.len());
                bytes.splice(at..end, taken);
            }
            8 => bytes.truncate(bytes.len().max(1) - dice.below(bytes.len() / 8 + 1)),
            _ => {
                let end = dice.below(bytes.len());
                bytes.swap(at, end);
            }
        }
    }
    bytes
}
