//! Transactions: other families' commands, queued and run together, now and then spoiled or taken back.

use crate::draw::{Command, Draw, Rule, Step};

pub(crate) fn step(draw: &mut Draw, families: &[fn(&mut Draw) -> Step]) -> Step {
    let mut step = vec![plain("MULTI")];
    if draw.one_in(4) {
        step.insert(
            0,
            Command { words: vec![b"WATCH".to_vec(), draw.key(&["l1", "s1", "n1"])], rule: Rule::Exact },
        );
    }
    for _ in 0..draw.below(6) {
        let family = draw.pick(families);
        // Queued commands answer +QUEUED; their replies come in EXEC's, where only one rule can hold.
        step.extend(family(draw).into_iter().filter(|command| matches!(command.rule, Rule::Exact)));
    }
    if draw.one_in(20) {
        step.push(plain("MULTI"));
    }
    let end = draw.pick(&["EXEC", "EXEC", "EXEC", "EXEC", "EXEC", "DISCARD"]);
    step.push(plain(end));
    step
}

fn plain(name: &str) -> Command {
    Command { words: vec![name.into()], rule: Rule::Exact }
}
