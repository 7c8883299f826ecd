//! The query of a Register against `registrations.tsv`. Its link lists are the wire layer's.

use strait::engine::registration::{Register, RegisterError};

/// Answer, lifetime, version, binding, queue mode and node id, as the table writes them.
fn describe(query: &str) -> [String; 6] {
    match Register::parse(query.split('&').filter(|pair| !pair.is_empty())) {
        Ok(register) => [
            "2.01".to_owned(),
            register.lifetime_s.to_string(),
            register.version.as_str().to_owned(),
            register.binding,
            if register.queue_mode { "yes" } else { "no" }.to_owned(),
            register.node_id.as_str().to_owned(),
        ],
        Err(error) => {
            let answer = match error {
                RegisterError::NoEndpoint | RegisterError::Endpoint(_) => "4.00",
                RegisterError::Version(_) => "4.12",
            };
            [answer, "-", "-", "-", "-", "-"].map(str::to_owned)
        }
    }
}

#[test]
fn registrations() {
    let table = include_str!("../../fixtures/lwm2m/registrations.tsv");
    let lines = table
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let mut failures = Vec::new();
    let mut count = 0;
    for line in lines {
        let row: Vec<_> = line.split('\t').collect();
        let got = describe(row[1]);
        count += 1;
        if got != row[4..10] {
            failures.push(format!(
                "{}:\n  got  {got:?}\n  want {:?}",
                row[0],
                &row[4..10]
            ));
        }
    }
    assert!(count > 25, "the table is empty");
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
