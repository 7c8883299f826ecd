//! Tokens into a [`Statement`] by descent, one function for each line of the grammar. Bounded in
//! depth, comparisons and values of a list.

use super::lex::{self, Placed, Token};
use super::value::{self, Field};
use super::{
    COLUMNS, CONDITIONS_MAX, Column, DEPTH_MAX, Edge, Expr, OFFSET_MAX, ROWS, ROWS_MAX, RULE_MAX,
    SQL_MAX, SearchError, Select, Statement, VALUES_MAX, Value,
};
use crate::store::find::FindOrder;

/// Reads a whole search.
pub fn statement(text: &str) -> Result<Statement, SearchError> {
    check_length(text, SQL_MAX)?;
    let (tokens, end) = lex::tokens(text)?;
    let mut parser = Parser::new(&tokens, end);
    parser.keyword("select")?;
    let select = parser.select()?;
    parser.keyword("from")?;
    parser.exactly("device")?;
    let condition = match parser.takes_keyword("where") {
        true => Some(parser.condition()?),
        false => None,
    };
    let order = parser.order()?;
    let (offset, rows) = parser.limit()?;
    parser.end("where, order by, limit or the end")?;
    Ok(Statement {
        select,
        condition,
        order,
        offset,
        rows,
    })
}

/// Reads what would stand after `where`.
pub fn condition(text: &str) -> Result<Expr, SearchError> {
    check_length(text, RULE_MAX)?;
    let (tokens, end) = lex::tokens(text)?;
    let mut parser = Parser::new(&tokens, end);
    let condition = parser.condition()?;
    parser.end("and, or or the end")?;
    Ok(condition)
}

fn check_length(text: &str, max: usize) -> Result<(), SearchError> {
    match text.chars().count() {
        len if len > max => Err(SearchError::TooLong { len, max }),
        _ => Ok(()),
    }
}

struct Parser<'a> {
    tokens: std::slice::Iter<'a, Placed<'a>>,
    /// The place behind the last character.
    end: usize,
    conditions: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn new(tokens: &'a [Placed<'a>], end: usize) -> Self {
        Self {
            tokens: tokens.iter(),
            end,
            conditions: 0,
            depth: 0,
        }
    }

    fn peek(&self) -> Option<&'a Placed<'a>> {
        self.tokens.as_slice().first()
    }

    fn at(&self) -> usize {
        self.peek().map_or(self.end, |placed| placed.at)
    }

    fn unexpected(&self, takes: impl Into<String>) -> SearchError {
        let found = self.peek().map(|placed| placed.token.describe());
        SearchError::Unexpected {
            at: self.at(),
            found: found.unwrap_or_else(|| "the end".to_owned()),
            takes: takes.into(),
        }
    }

    fn peek_keyword(&self, word: &str) -> bool {
        let next = self.peek().map(|placed| &placed.token);
        matches!(next, Some(Token::Word(found)) if found.eq_ignore_ascii_case(word))
    }

    fn takes_keyword(&mut self, word: &str) -> bool {
        let there = self.peek_keyword(word);
        if there {
            self.tokens.next();
        }
        there
    }

    fn keyword(&mut self, word: &str) -> Result<(), SearchError> {
        match self.takes_keyword(word) {
            true => Ok(()),
            false => Err(self.unexpected(word)),
        }
    }

    /// A word as it is written here.
    fn exactly(&mut self, word: &str) -> Result<(), SearchError> {
        match self.peek().map(|placed| &placed.token) {
            Some(Token::Word(found)) if *found == word => {
                self.tokens.next();
                Ok(())
            }
            _ => Err(self.unexpected(word)),
        }
    }

    fn takes_symbol(&mut self, symbol: char) -> bool {
        let there = self.peek().map(|placed| &placed.token) == Some(&Token::Symbol(symbol));
        if there {
            self.tokens.next();
        }
        there
    }

    fn symbol(&mut self, symbol: char) -> Result<(), SearchError> {
        match self.takes_symbol(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(symbol)),
        }
    }

    fn end(&self, takes: &str) -> Result<(), SearchError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected(takes)),
        }
    }

    fn select(&mut self) -> Result<Select, SearchError> {
        if self.takes_symbol('*') {
            return Ok(Select::All);
        }
        if self.takes_keyword("count") {
            self.symbol('(')?;
            if !self.takes_symbol('*') {
                self.exactly("1").map_err(|_| self.unexpected("* or 1"))?;
            }
            self.symbol(')')?;
            return Ok(Select::Count);
        }
        let mut columns = vec![self.column()?];
        while self.takes_symbol(',') {
            let column = self.column()?;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        Ok(Select::Columns(columns))
    }

    fn column(&mut self) -> Result<Column, SearchError> {
        let word = match self.peek().map(|placed| &placed.token) {
            Some(Token::Word(word)) => *word,
            _ => "",
        };
        match COLUMNS.iter().find(|(name, _)| *name == word) {
            Some((_, column)) => {
                self.tokens.next();
                Ok(*column)
            }
            None => {
                let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
                Err(self.unexpected(format!("*, count(*) or columns: {}", names.join(", "))))
            }
        }
    }

    fn order(&mut self) -> Result<FindOrder, SearchError> {
        if !self.takes_keyword("order") {
            return Ok(FindOrder::NewestFirst);
        }
        self.keyword("by")?;
        self.exactly("marker")?;
        if self.takes_keyword("desc") {
            return Ok(FindOrder::NewestFirst);
        }
        self.takes_keyword("asc");
        Ok(FindOrder::OldestFirst)
    }

    /// Offset and rows.
    fn limit(&mut self) -> Result<(usize, usize), SearchError> {
        if !self.takes_keyword("limit") {
            return Ok((0, ROWS));
        }
        let at = self.at();
        let first = self.number(OFFSET_MAX)?;
        if self.takes_symbol(',') {
            return Ok((first, self.number(ROWS_MAX)?));
        }
        if first > ROWS_MAX {
            return Err(SearchError::Unexpected {
                at,
                found: first.to_string(),
                takes: format!("a whole number from 0 to {ROWS_MAX}"),
            });
        }
        Ok((0, first))
    }

    fn number(&mut self, max: usize) -> Result<usize, SearchError> {
        let found = match self.peek().map(|placed| &placed.token) {
            Some(Token::Word(word)) if word.bytes().all(|b| b.is_ascii_digit()) => {
                word.parse().ok()
            }
            _ => None,
        };
        match found.filter(|n| *n <= max) {
            Some(number) => {
                self.tokens.next();
                Ok(number)
            }
            None => Err(self.unexpected(format!("a whole number from 0 to {max}"))),
        }
    }

    fn condition(&mut self) -> Result<Expr, SearchError> {
        let mut any = vec![self.chain()?];
        while self.takes_keyword("or") {
            any.push(self.chain()?);
        }
        Ok(alone_or(any, Expr::Or))
    }

    /// Comparisons joined by `and`.
    fn chain(&mut self) -> Result<Expr, SearchError> {
        let mut all = vec![self.term()?];
        while self.takes_keyword("and") {
            all.push(self.term()?);
        }
        Ok(alone_or(all, Expr::And))
    }

    fn term(&mut self) -> Result<Expr, SearchError> {
        let at = self.at();
        if self.takes_symbol('(') {
            self.depth += 1;
            self.bounded(at, self.depth, DEPTH_MAX, "brackets within brackets")?;
            let inner = self.condition()?;
            self.symbol(')')
                .map_err(|_| self.unexpected("and, or or )"))?;
            self.depth -= 1;
            return Ok(inner);
        }
        self.conditions += 1;
        self.bounded(at, self.conditions, CONDITIONS_MAX, "comparisons")?;
        let field = self.field()?;
        self.test(field)
    }

    fn bounded(
        &self,
        at: usize,
        count: usize,
        max: usize,
        what: &'static str,
    ) -> Result<(), SearchError> {
        match count > max {
            true => Err(SearchError::TooMany { at, max, what }),
            false => Ok(()),
        }
    }

    fn field(&mut self) -> Result<Field, SearchError> {
        let found = match self.peek().map(|placed| &placed.token) {
            Some(Token::Word(word)) => Field::named(word),
            _ => None,
        };
        match found {
            Some(field) => {
                self.tokens.next();
                Ok(field)
            }
            None => Err(self.unexpected(format!("( or a field: {}", Field::names()))),
        }
    }

    fn test(&mut self, field: Field) -> Result<Expr, SearchError> {
        let negated = field.has_list() && self.takes_keyword("not");
        if field.has_list() && self.peek_keyword("in") {
            self.tokens.next();
            let values = self.list(field)?;
            return Ok(match negated {
                true => Expr::NotIn(values),
                false => Expr::In(values),
            });
        }
        if negated {
            return Err(self.unexpected("in"));
        }
        if let Some(named) = field.like()
            && self.takes_keyword("like")
        {
            let (at, text) = self.text()?;
            let prefix = value::prefix(field, text).map_err(|problem| wrong(at, field, problem))?;
            return Ok(Expr::Like(named, prefix));
        }
        if self.takes_symbol('=') {
            return self.value(field).map(Expr::Is);
        }
        if self.peek().map(|placed| &placed.token) == Some(&Token::Unequal) {
            self.tokens.next();
            return self.value(field).map(Expr::IsNot);
        }
        if field.has_order() {
            if self.takes_symbol('>') {
                return self.edge(field).map(Expr::Above);
            }
            if self.takes_symbol('<') {
                return self.edge(field).map(Expr::Below);
            }
        }
        Err(self.unexpected(format!("{} after {}", field.tests(), field.name())))
    }

    /// `'…'` and its place.
    fn text(&mut self) -> Result<(usize, &'a str), SearchError> {
        let at = self.at();
        match self.peek().map(|placed| &placed.token) {
            Some(Token::Text(text)) => {
                self.tokens.next();
                Ok((at, text))
            }
            _ => Err(self.unexpected("a text in single quotes")),
        }
    }

    fn value(&mut self, field: Field) -> Result<Value, SearchError> {
        let (at, text) = self.text()?;
        field
            .value(text)
            .map_err(|problem| wrong(at, field, problem))
    }

    fn edge(&mut self, field: Field) -> Result<Edge, SearchError> {
        let (at, text) = self.text()?;
        field
            .edge(text)
            .map_err(|problem| wrong(at, field, problem))
    }

    fn list(&mut self, field: Field) -> Result<Vec<Value>, SearchError> {
        self.symbol('(')?;
        let mut values = vec![self.value(field)?];
        while self.takes_symbol(',') {
            let at = self.at();
            values.push(self.value(field)?);
            self.bounded(at, values.len(), VALUES_MAX, "values in a list")?;
        }
        self.symbol(')').map_err(|_| self.unexpected(", or )"))?;
        Ok(values)
    }
}

fn wrong(at: usize, field: Field, problem: String) -> SearchError {
    SearchError::Value {
        at,
        field: field.name(),
        problem,
    }
}

/// One part stands for itself.
fn alone_or(mut parts: Vec<Expr>, many: fn(Vec<Expr>) -> Expr) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            many(parts)
        }
        (_, None) => many(parts),
    }
}
