//! Bytes as fields, and the checksum around them. Errors are sentences that name the field.

/// CRC-16/MODBUS for each value of a byte: polynomial 0x8005, reflected.
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut sum = n as u16;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { sum >> 1 ^ 0xa001 } else { sum >> 1 };
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
};

fn checksum(bytes: &[u8]) -> u16 {
    let next = |sum: u16, byte: &u8| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)];
    bytes.iter().fold(0xffff, next)
}

/// What stands before the checksum, when that is right.
pub fn checked(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((fields, sum)) = bytes.split_last_chunk() else {
        return Err(format!("crc: needs 2 bytes, the message has {}", bytes.len()));
    };
    let (got, want) = (u16::from_le_bytes(*sum), checksum(fields));
    if got == want {
        Ok(fields)
    } else {
        Err(format!("crc: is {got:#06x}, computed {want:#06x}"))
    }
}

pub fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&bytes).to_le_bytes();
    bytes.extend(sum);
    bytes
}

/// Takes fields off the front.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn end(&self) -> Result<(), String> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(format!("{left} bytes are left over")),
        }
    }

    fn take(&mut self, field: &str, len: usize) -> Result<&'a [u8], String> {
        let have = self.rest.len();
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(format!("{field}: needs {len} bytes, {have} are left"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(field, N)?);
        Ok(array)
    }

    pub fn u8(&mut self, field: &str) -> Result<u8, String> {
        self.array(field).map(u8::from_be_bytes)
    }

    pub fn u16(&mut self, field: &str) -> Result<u16, String> {
        self.array(field).map(u16::from_be_bytes)
    }

    pub fn i16(&mut self, field: &str) -> Result<i16, String> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub fn u32(&mut self, field: &str) -> Result<u32, String> {
        self.array(field).map(u32::from_be_bytes)
    }

    pub fn u32_le(&mut self, field: &str) -> Result<u32, String> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A signed number in groups of seven bits, at most nine bytes.
    pub fn zigzag(&mut self, field: &str) -> Result<i64, String> {
        let mut number = 0_u64;
        for group in 0..9 {
            let byte = self.u8(field)?;
            number |= u64::from(byte & 0x7f) << (7 * group);
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(format!("{field}: a number of more than 9 bytes"))
    }

    /// Two digits in each byte.
    pub fn bcd(&mut self, field: &str, len: usize) -> Result<String, String> {
        let bytes = self.take(field, len)?;
        let mut text = String::with_capacity(2 * len);
        for byte in bytes {
            for digit in [byte >> 4, byte & 15] {
                if digit > 9 {
                    return Err(format!("{field}: is not BCD: {bytes:02x?}"));
                }
                text.push(char::from(b'0' + digit));
            }
        }
        Ok(text)
    }

    pub fn ascii(&mut self, field: &str, len: usize) -> Result<String, String> {
        let bytes = self.take(field, len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => Ok(text.to_owned()),
            _ => Err(format!("{field}: is not ASCII: {bytes:02x?}")),
        }
    }
}
