//! Writes H.264 bit by bit, of kinds that no available encoder writes.

/// Writes a NAL unit, its start code and its emulation prevention (section 7.4.1.1).
pub fn unit(stream: &mut Vec<u8>, header: u8, mut bits: Bits) {
    bits.align(true);
    stream.extend([0, 0, 0, 1, header]);
    let mut zeros = 0;
    for byte in bits.bytes {
        if zeros >= 2 && byte <= 3 {
            stream.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        stream.push(byte);
    }
}

/// Returns a picture parameter set: CAVLC, one picture to refer to, slices that say how they are deblocked.
pub fn picture_parameters() -> Bits {
    let mut bits = Bits::default();
    bits.ue(0);
    bits.ue(0);
    bits.bit(false); // CAVLC
    bits.bit(false);
    bits.ue(0);
    bits.ue(0); // one picture or field to refer to
    bits.ue(0);
    bits.bit(false);
    bits.bits(0, 2);
    bits.ue(0);
    bits.ue(0);
    bits.ue(0);
    bits.bit(true); // slices say how they are deblocked
    bits.bit(false);
    bits.bit(false);
    bits
}

/// What goes into a NAL unit.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    pub fn bit(&mut self, bit: bool) {
        if self.used == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << (7 - self.used);
        }
        self.used = (self.used + 1) % 8;
    }

    pub fn bits(&mut self, value: u32, count: u32) {
        (0..count).rev().for_each(|at| self.bit(value >> at & 1 == 1));
    }

    /// Exp-Golomb (section 9.1).
    pub fn ue(&mut self, value: u32) {
        let length = (value + 1).ilog2();
        self.bits(0, length);
        self.bits(value + 1, length + 1);
    }

    pub fn byte(&mut self, byte: u8) {
        self.bits(byte.into(), 8);
    }

    /// Fills the byte up with zeros, after a stop bit at the end of a unit.
    pub fn align(&mut self, stop: bool) {
        if stop {
            self.bit(true);
        }
        while self.used != 0 {
            self.bit(false);
        }
    }
}
