//! The flags of `strait sim` that say how the devices treat commands.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::cli::values;
use crate::sim::device::{Answer, Conduct, Receipt};
use crate::sim::message;
use crate::sim::payload::Verdict;

/// How late a receipt is that an answer overtakes, when nothing else is said.
const OVERTAKEN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Treatment {
    /// 2.04 in the acknowledgement, the answer as a report
    Answer,
    /// The same, and the answer says that it failed
    Fail,
    /// 2.04 in the acknowledgement, no answer
    Ack,
    /// Empty acknowledgement, the answer as a 2.05 of its own with the command's token
    Content,
    /// The same, unconfirmed
    ContentNon,
    /// Empty acknowledgement, a 2.04 of its own, the answer as a report
    Separate,
    /// Empty acknowledgement alone, the answer as a report
    Empty,
    /// Everything twice: the acknowledgement and the answer
    Twice,
    /// The answer comes before the acknowledgement (--receipt-delay, else 1s later)
    Overtake,
    /// Answers with another command's mid
    WrongMid,
    /// Executes and answers, and acknowledges nothing
    NoAck,
    /// Executes; neither acknowledges nor answers
    Silent,
    /// Drops commands
    Ignore,
    /// 4.00 Bad Request
    RefuseBad,
    /// 4.05 Method Not Allowed
    Refuse,
    /// 5.00 Internal Server Error
    RefuseError,
    /// RST
    Reset,
    /// Each device another way, by the seed
    Mixed,
}

/// See the module.
#[derive(Debug, clap::Args)]
pub(super) struct CommandArgs {
    /// How the devices treat commands
    #[arg(long, value_enum, value_name = "HOW", default_value = "answer")]
    commands: Treatment,
    /// Answers come so much later; the longest delay with --commands mixed
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    answer_delay: Duration,
    /// Acknowledgements of commands come so much later
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = values::duration)]
    receipt_delay: Duration,
    /// Repeated commands are not recognised: they are executed again
    #[arg(long)]
    forget_duplicates: bool,
    /// Observations outlive a reboot and a new registration
    #[arg(long)]
    keep_observations: bool,
    /// Appends what the devices execute, one JSON object a line: time, node, product, order, msg_id,
    /// mid, payload
    #[arg(long, value_name = "FILE")]
    pub(super) executed: Option<PathBuf>,
}

impl CommandArgs {
    pub(super) fn verdict(&self) -> Verdict {
        match self.commands {
            Treatment::Fail => Verdict::Failed,
            Treatment::WrongMid => Verdict::WrongMid,
            _ => Verdict::Done,
        }
    }

    /// Of the device with this seed.
    pub(super) fn conduct(&self, seed: u64, awake: Option<Duration>) -> Conduct {
        let good = Conduct::default();
        let receipt = |receipt| Conduct { receipt, ..good };
        let answer = |receipt, answer| Conduct {
            receipt,
            answer,
            ..good
        };
        let content = |confirmable| answer(Receipt::Empty, Answer::Content { confirmable });
        let conduct = match self.commands {
            Treatment::Answer | Treatment::Fail | Treatment::WrongMid => good,
            Treatment::Ack => answer(Receipt::Piggybacked, Answer::None),
            Treatment::Content => content(true),
            Treatment::ContentNon => content(false),
            Treatment::Separate => receipt(Receipt::Separate),
            Treatment::Empty => receipt(Receipt::Empty),
            Treatment::Twice => Conduct {
                receipt: Receipt::Twice,
                answers: 2,
                ..good
            },
            Treatment::Overtake => Conduct {
                receipt_after: OVERTAKEN + self.answer_delay,
                ..good
            },
            Treatment::NoAck => receipt(Receipt::Never),
            Treatment::Silent => answer(Receipt::Never, Answer::None),
            Treatment::Ignore => receipt(Receipt::Ignored),
            Treatment::RefuseBad => receipt(Receipt::Refused(message::BAD_REQUEST)),
            Treatment::Refuse => receipt(Receipt::Refused(message::NOT_ALLOWED)),
            Treatment::RefuseError => receipt(Receipt::Refused(message::INTERNAL_ERROR)),
            Treatment::Reset => receipt(Receipt::Reset),
            Treatment::Mixed => {
                let mut rng = fastrand::Rng::with_seed(seed ^ 0xc0de);
                let drawn = Conduct::drawn(&mut rng, self.answer_delay);
                return Conduct {
                    awake,
                    keeps_observation: self.keep_observations,
                    recognises_duplicates: drawn.recognises_duplicates && !self.forget_duplicates,
                    ..drawn
                };
            }
        };
        let receipt_after = match self.receipt_delay {
            Duration::ZERO => conduct.receipt_after,
            delay => delay,
        };
        Conduct {
            receipt_after,
            answer_after: self.answer_delay,
            recognises_duplicates: !self.forget_duplicates,
            awake,
            keeps_observation: self.keep_observations,
            ..conduct
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CommandArgs,
    }

    fn conduct(flags: &[&str]) -> Conduct {
        let line = Line::parse_from(["sim"].iter().chain(flags));
        line.args.conduct(1, None)
    }

    #[test]
    fn words_become_conduct() {
        let good = Conduct::default();
        assert_eq!(conduct(&[]), good);
        let late = Duration::from_secs(5);
        let delayed = Conduct {
            answer_after: late,
            receipt: Receipt::Refused(0x85),
            ..good
        };
        let flags = ["--commands", "refuse", "--answer-delay", "5s"];
        assert_eq!(conduct(&flags), delayed);
        let content = Conduct {
            receipt: Receipt::Empty,
            answer: Answer::Content { confirmable: false },
            recognises_duplicates: false,
            ..good
        };
        let flags = ["--commands", "content-non", "--forget-duplicates"];
        assert_eq!(conduct(&flags), content);
        for flags in [
            &["--commands", "overtake", "--answer-delay", "5s"][..],
            &["--commands", "overtake"],
        ] {
            let overtaking = conduct(flags);
            assert!(
                overtaking.answer_after < overtaking.receipt_after,
                "{flags:?}"
            );
        }
        let line = Line::parse_from(["sim", "--commands", "wrong-mid"]);
        assert_eq!(line.args.verdict(), Verdict::WrongMid);
    }

    #[test]
    fn a_mixed_fleet_is_the_same_for_the_same_seed() {
        let line = Line::parse_from(["sim", "--commands", "mixed", "--answer-delay", "9s"]);
        let of = |seed| line.args.conduct(seed, Some(Duration::from_secs(2)));
        let kinds: Vec<_> = (0..40).map(of).collect();
        assert_eq!(kinds, (0..40).map(of).collect::<Vec<_>>());
        assert!(kinds.iter().any(|c| c.executes()) && kinds.iter().any(|c| !c.executes()));
        assert!(
            kinds
                .iter()
                .all(|c| c.awake.is_some() && c.answer_after <= Duration::from_secs(9))
        );
    }
}
