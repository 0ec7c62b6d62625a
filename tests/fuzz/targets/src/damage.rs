//! What may happen to a file while no program looks.
//!
//! No change writes bytes of the input's choice: libFuzzer watches the comparisons and made a right
//! checksum within a minute, which no accident does. What right checksums can do is tried
//! elsewhere.

use crate::input::Input;

/// Most changes that one input makes.
const MAX_CHANGES: usize = 8;

/// Changes `file` as the rest of the input says.
pub(crate) fn damage(file: &mut Vec<u8>, input: &mut Input<'_>) {
    for _ in 0..MAX_CHANGES {
        if input.is_empty() {
            return;
        }
        change(file, input);
    }
}

/// One change.
pub(crate) fn change(file: &mut Vec<u8>, input: &mut Input<'_>) {
    let kind = input.u8();
    // Counted from either end: headers are at one, trailers and torn tails at the other.
    let at = input.below(file.len());
    let at = if kind & 0x80 == 0 { at } else { file.len().saturating_sub(at) };
    match kind % 6 {
        0 => {
            if let Some(byte) = file.get_mut(at) {
                *byte ^= input.u8().max(1);
            }
        }
        1 => file.truncate(at),
        2 => file.extend(vec![input.u8(); usize::from(input.u8())]),
        3 => {
            let (len, mask) = (usize::from(input.u8()), input.u8());
            file.iter_mut().skip(at).take(len).for_each(|byte| *byte ^= mask);
        }
        4 => {
            let len = usize::from(input.u8());
            file.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0);
        }
        _ => {
            // A piece of the file over another one: old blocks that a disk brings back.
            let from = input.below(file.len());
            let piece: Vec<u8> = file.iter().skip(from).take(usize::from(input.u16())).copied().collect();
            file.iter_mut().skip(at).zip(piece).for_each(|(old, new)| *old = new);
        }
    }
}
