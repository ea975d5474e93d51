//! Words that are more than names.

use super::Token;
use crate::ast::{AggregateOp, BinaryOp};

/// Words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Bool,
    By,
    GroupLeft,
    GroupRight,
    Ignoring,
    Offset,
    On,
    Without,
    Anchored,
    Smoothed,
    Fill,
    FillLeft,
    FillRight,
}

/// Words that name times of the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MinOf,
    MaxOf,
}

/// The token of a word that is more than a name, in any case of letters.
pub(super) fn keyword(word: &str) -> Option<Token> {
    let mut buffer = [0u8; 12];
    let lower = buffer.get_mut(..word.len())?;
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    Some(match &*lower {
        b"and" => Token::Operator(BinaryOp::And),
        b"or" => Token::Operator(BinaryOp::Or),
        b"unless" => Token::Operator(BinaryOp::Unless),
        b"atan2" => Token::Operator(BinaryOp::Atan2),
        b"sum" => Token::Aggregator(AggregateOp::Sum),
        b"avg" => Token::Aggregator(AggregateOp::Avg),
        b"count" => Token::Aggregator(AggregateOp::Count),
        b"min" => Token::Aggregator(AggregateOp::Min),
        b"max" => Token::Aggregator(AggregateOp::Max),
        b"group" => Token::Aggregator(AggregateOp::Group),
        b"stddev" => Token::Aggregator(AggregateOp::Stddev),
        b"stdvar" => Token::Aggregator(AggregateOp::Stdvar),
        b"topk" => Token::Aggregator(AggregateOp::Topk),
        b"bottomk" => Token::Aggregator(AggregateOp::Bottomk),
        b"count_values" => Token::Aggregator(AggregateOp::CountValues),
        b"quantile" => Token::Aggregator(AggregateOp::Quantile),
        b"limitk" => Token::Aggregator(AggregateOp::Limitk),
        b"limit_ratio" => Token::Aggregator(AggregateOp::LimitRatio),
        b"bool" => Token::Keyword(Keyword::Bool),
        b"by" => Token::Keyword(Keyword::By),
        b"group_left" => Token::Keyword(Keyword::GroupLeft),
        b"group_right" => Token::Keyword(Keyword::GroupRight),
        b"ignoring" => Token::Keyword(Keyword::Ignoring),
        b"offset" => Token::Keyword(Keyword::Offset),
        b"on" => Token::Keyword(Keyword::On),
        b"without" => Token::Keyword(Keyword::Without),
        b"anchored" => Token::Keyword(Keyword::Anchored),
        b"smoothed" => Token::Keyword(Keyword::Smoothed),
        b"fill" => Token::Keyword(Keyword::Fill),
        b"fill_left" => Token::Keyword(Keyword::FillLeft),
        b"fill_right" => Token::Keyword(Keyword::FillRight),
        b"start" => Token::Preprocessor(Preprocessor::Start),
        b"end" => Token::Preprocessor(Preprocessor::End),
        b"step" => Token::Preprocessor(Preprocessor::Step),
        b"range" => Token::Preprocessor(Preprocessor::Range),
        b"min_of" => Token::Preprocessor(Preprocessor::MinOf),
        b"max_of" => Token::Preprocessor(Preprocessor::MaxOf),
        b"inf" | b"nan" => Token::Number,
        _ => return None,
    })
}
