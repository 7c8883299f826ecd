//! A payload in each of the formats of LwM2M, and as a link list.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strait::wire::coap::ContentFormat;
use strait::wire::lwm2m::{ObjectList, link, path::Path, senml, tlv, value};

fuzz_target!(|input: &[u8]| {
    let _links = (link::parse(input), ObjectList::parse(input));
    let _entries = tlv::decode(input);
    let Ok(asked) = Path::parse("/4/0") else {
        return;
    };
    for format in [0, 42, 60, 110, 112, 1542, 11542, 11543, 11544] {
        let _values = value::read(ContentFormat(format), asked, input);
        let _records = senml::read(ContentFormat(format), asked, input);
    }
});
