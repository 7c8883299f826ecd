//! A condition of a rule; one that is taken is read again from what it says of itself.

#![no_main]

use libfuzzer_sys::fuzz_target;
use strait::app::sql::Filter;

fuzz_target!(|text: &str| {
    if let Ok(filter) = Filter::parse(None, Some(text)) {
        let said = filter.condition_text();
        assert!(Filter::parse(None, said.as_deref()).is_ok(), "{said:?}");
    }
});
