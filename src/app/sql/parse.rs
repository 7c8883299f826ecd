//! Clauses by descent, a function for each line of the grammar. Bounded in depth and numbers.

use serde_json::Value;

use super::ast::{
    COMPARISONS, Comparison, Condition, FUNCTIONS, Function, Item, Operand, Path, Select, Step,
    is_reserved,
};
use super::cursor::Cursor;
use super::{Clause, DEPTH_MAX, ITEMS_MAX, NAME_MAX, PARTS_MAX, SqlError, TESTS_MAX};

const OPERAND: &str = "a path like notify_data.body.status (names with other characters than \
                       letters, digits and _ in \"double quotes\"), a number, a 'text', TRUE, \
                       FALSE or a function";

/// Reads `select`.
pub(super) fn select(text: &str) -> Result<Select, SqlError> {
    let mut parser = Parser::new(Clause::Select, text)?;
    parser.cursor.keyword("SELECT");
    let mut items = Vec::new();
    loop {
        let at = parser.cursor.at();
        parser.bounded(at, items.len() + 1, ITEMS_MAX, "selected values")?;
        let item = parser.item()?;
        let twice = items.iter().any(|known| key_of(known) == key_of(&item));
        if twice {
            let (clause, key) = (Clause::Select, key_of(&item).to_owned());
            return Err(SqlError::Twice { clause, at, key });
        }
        items.push(item);
        if !parser.cursor.symbol(",") {
            break;
        }
    }
    let takes = match items.last() {
        Some(Item::Value { named: false, .. }) => "AS with a name, a comma or the end",
        _ => "a comma or the end",
    };
    parser.end(takes)?;
    Ok(Select(items))
}

/// Reads `where`.
pub(super) fn condition(text: &str) -> Result<Condition, SqlError> {
    let mut parser = Parser::new(Clause::Where, text)?;
    parser.cursor.keyword("WHERE");
    let condition = parser.any()?;
    parser.end("AND, OR or the end")?;
    Ok(condition)
}

pub(super) fn key_of(item: &Item) -> &str {
    match item {
        Item::All => "*",
        Item::Value { key, .. } => key,
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    tests: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(clause: Clause, text: &'a str) -> Result<Self, SqlError> {
        Ok(Self {
            cursor: Cursor::new(clause, text)?,
            tests: 0,
            depth: 0,
        })
    }

    fn bounded(
        &self,
        at: usize,
        count: usize,
        max: usize,
        what: &'static str,
    ) -> Result<(), SqlError> {
        let clause = self.cursor.clause();
        match count > max {
            true => Err(SqlError::TooMany {
                clause,
                at,
                max,
                what,
            }),
            false => Ok(()),
        }
    }

    fn end(&self, takes: &str) -> Result<(), SqlError> {
        match self.cursor.is_at_end() {
            true => Ok(()),
            false => Err(self.cursor.unexpected(takes)),
        }
    }

    fn item(&mut self) -> Result<Item, SqlError> {
        if self.cursor.symbol("*") {
            return Ok(Item::All);
        }
        let operand = self
            .operand()?
            .ok_or_else(|| self.cursor.unexpected(format!("* or {OPERAND}")))?;
        if self.cursor.keyword("AS") {
            let key = self.name()?;
            return Ok(Item::Value {
                operand,
                key,
                named: true,
            });
        }
        match &operand {
            Operand::Path(path) => Ok(Item::Value {
                key: path.key(),
                operand,
                named: false,
            }),
            Operand::Constant(_) | Operand::Call(..) => {
                Err(self.cursor.unexpected("AS with a name for it"))
            }
        }
    }

    /// What follows AS.
    fn name(&mut self) -> Result<String, SqlError> {
        let takes = format!(
            "a name of 1 to {NAME_MAX} characters: letters, digits and _, others in \"double \
             quotes\""
        );
        let error = self.cursor.unexpected(takes);
        let name = match self.cursor.quoted('"')? {
            Some(name) => name,
            None => self.cursor.word().unwrap_or_default().to_owned(),
        };
        match name.chars().count() {
            1..=NAME_MAX => Ok(name),
            _ => Err(error),
        }
    }

    fn any(&mut self) -> Result<Condition, SqlError> {
        let mut parts = vec![self.all()?];
        while self.cursor.keyword("OR") {
            parts.push(self.all()?);
        }
        Ok(alone_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, SqlError> {
        let mut parts = vec![self.term()?];
        while self.cursor.keyword("AND") {
            parts.push(self.term()?);
        }
        Ok(alone_or(parts, Condition::All))
    }

    fn term(&mut self) -> Result<Condition, SqlError> {
        let at = self.cursor.at();
        if self.cursor.keyword("NOT") {
            self.deeper(at)?;
            let inner = self.term()?;
            self.depth -= 1;
            return Ok(Condition::Not(Box::new(inner)));
        }
        if self.cursor.symbol("(") {
            self.deeper(at)?;
            let inner = self.any()?;
            if !self.cursor.symbol(")") {
                return Err(self.cursor.unexpected("AND, OR or )"));
            }
            self.depth -= 1;
            return Ok(inner);
        }
        self.tests += 1;
        self.bounded(at, self.tests, TESTS_MAX, "tests")?;
        self.test()
    }

    fn deeper(&mut self, at: usize) -> Result<(), SqlError> {
        self.depth += 1;
        self.bounded(
            at,
            self.depth,
            DEPTH_MAX,
            "brackets and NOTs within one another",
        )
    }

    fn test(&mut self) -> Result<Condition, SqlError> {
        let left = self
            .operand()?
            .ok_or_else(|| self.cursor.unexpected(format!("NOT, ( or {OPERAND}")))?;
        if self.cursor.keyword("IS") {
            let negated = self.cursor.keyword("NOT");
            if !self.cursor.keyword("NULL") {
                let takes = if negated { "NULL" } else { "NULL or NOT NULL" };
                return Err(self.cursor.unexpected(takes));
            }
            return Ok(match negated {
                true => Condition::IsNotNull(left),
                false => Condition::IsNull(left),
            });
        }
        if let Some(comparison) = self.comparison() {
            let right = self.operand()?.ok_or_else(|| {
                let takes = format!("{OPERAND}; a missing value is tested with IS NULL");
                self.cursor.unexpected(takes)
            })?;
            return Ok(Condition::Compare(left, comparison, right));
        }
        match &left {
            Operand::Call(function, _) if function.is_truth() => Ok(Condition::Holds(left)),
            _ => Err(self
                .cursor
                .unexpected("IS NULL, IS NOT NULL or one of = <> > < >= <=")),
        }
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let signs = COMPARISONS.iter();
        let mut found = signs.filter(|(sign, _)| self.cursor.symbol(sign));
        found.next().map(|(_, comparison)| *comparison)
    }

    /// `None`: none begins here.
    fn operand(&mut self) -> Result<Option<Operand>, SqlError> {
        if let Some(text) = self.cursor.quoted('\'')? {
            return Ok(Some(Operand::Constant(Value::String(text))));
        }
        if self.cursor.begins_number() {
            let number = self.cursor.number().ok_or_else(|| {
                let takes = "a number like 5, -5 or 5.5 (a name that begins with a digit or has \
                             a - in \"double quotes\")";
                self.cursor.unexpected(takes)
            })?;
            return Ok(Some(Operand::Constant(Value::Number(number))));
        }
        for (word, truth) in [("TRUE", true), ("FALSE", false)] {
            if self.cursor.keyword(word) {
                return Ok(Some(Operand::Constant(Value::Bool(truth))));
            }
        }
        match self.cursor.peek_word() {
            Some((word, _)) if is_reserved(word) => Ok(None),
            Some((word, true)) => self.call(word).map(Some),
            Some((_, false)) => self.path().map(Some),
            None if self.cursor.begins_quoted() => self.path().map(Some),
            None => Ok(None),
        }
    }

    fn call(&mut self, word: &str) -> Result<Operand, SqlError> {
        let known = FUNCTIONS
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(word));
        let Some((name, function, wanted)) = known else {
            let names = FUNCTIONS.map(|(name, ..)| name).join(", ");
            return Err(self.cursor.unexpected(format!("one of {names}")));
        };
        self.cursor.word();
        self.cursor.symbol("(");
        self.texts(name, *function, wanted)
    }

    /// What a function is called with, to its closing bracket.
    fn texts(
        &mut self,
        name: &str,
        function: Function,
        wanted: &[&str],
    ) -> Result<Operand, SqlError> {
        let mut texts = Vec::new();
        for (i, what) in wanted.iter().enumerate() {
            if i > 0 && !self.cursor.symbol(",") {
                let takes = format!("a comma and the {what}, which {name} takes as well");
                return Err(self.cursor.unexpected(takes));
            }
            let text = self.cursor.quoted('\'')?;
            let takes = format!("the {what} as a 'text'");
            texts.push(text.ok_or_else(|| self.cursor.unexpected(takes))?);
        }
        if !self.cursor.symbol(")") {
            let takes = format!(") behind the {} of {name}", wanted.join(" and the "));
            return Err(self.cursor.unexpected(takes));
        }
        Ok(Operand::Call(function, texts))
    }

    fn path(&mut self) -> Result<Operand, SqlError> {
        let begin = self.cursor.at();
        let mut steps = self.first_steps()?;
        loop {
            self.bounded(begin, steps.len(), PARTS_MAX, "parts of a path")?;
            if self.cursor.symbol(".") {
                let error = self.cursor.unexpected(PART);
                let part = match self.cursor.quoted('"')? {
                    Some(part) => part,
                    None => self.cursor.word().unwrap_or_default().to_owned(),
                };
                if part.is_empty() {
                    return Err(error);
                }
                steps.push(Step::Key(part));
            } else if self.cursor.symbol("[") {
                let takes = "a place in the list: 0 is the first";
                let index = self.cursor.index();
                steps.push(Step::Index(
                    index.ok_or_else(|| self.cursor.unexpected(takes))?,
                ));
                if !self.cursor.symbol("]") {
                    return Err(self.cursor.unexpected("]"));
                }
            } else {
                return Ok(Operand::Path(Path(steps)));
            }
        }
    }

    /// A word, or a quoted part that may be a whole path.
    fn first_steps(&mut self) -> Result<Vec<Step>, SqlError> {
        let error = self.cursor.unexpected(PART);
        let parts = match self.cursor.quoted('"')? {
            Some(path) => path,
            None => self.cursor.word().unwrap_or_default().to_owned(),
        };
        if parts.split('.').any(str::is_empty) {
            return Err(error);
        }
        let keys = parts.split('.').map(|part| Step::Key(part.to_owned()));
        Ok(keys.collect())
    }
}

const PART: &str = "a name: letters, digits and _, others in \"double quotes\"";

/// What is alone needs no list around it.
fn alone_or(mut parts: Vec<Condition>, many: fn(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}
