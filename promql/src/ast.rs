//! The syntax tree. Every node knows which bytes of the query it came from.

use model::{Matcher, Timestamp};

/// Bytes `start..end` of the query text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Where it stands in the query.
    pub span: Span,
    /// What it is.
    pub kind: ExprKind,
}

/// The kinds of nodes.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number; `is_duration` if it was written as one (`5m`), which the printer keeps.
    Number {
        /// Seconds, if a duration.
        value: f64,
        /// Whether it was written with units.
        is_duration: bool,
    },
    /// A string; PromQL strings are bytes.
    String(Vec<u8>),
    /// An instant vector selector.
    Vector(VectorSelector),
    /// A range vector selector, `selector[range]`.
    Matrix {
        /// What is selected.
        selector: VectorSelector,
        /// Length of the window in milliseconds.
        range_ms: i64,
    },
    /// `expr[range:step]`.
    Subquery(Box<Subquery>),
    /// `sum by (a) (expr)` and its kin.
    Aggregate(Box<Aggregate>),
    /// `function(args…)`.
    Call {
        /// Which function.
        function: &'static crate::functions::Function,
        /// Its arguments as written.
        args: Vec<Expr>,
    },
    /// `+expr` or `-expr`.
    Unary {
        /// Whether the sign is a minus.
        negative: bool,
        /// The operand.
        expr: Box<Expr>,
    },
    /// `left op right`.
    Binary(Box<Binary>),
    /// `(expr)`.
    Paren(Box<Expr>),
}

/// What `@` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A fixed time in milliseconds.
    Time(Timestamp),
    /// `start()` of the whole query.
    Start,
    /// `end()` of the whole query.
    End,
}

/// Metric name, matchers and time modifiers.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorSelector {
    /// The name before the braces, for printing; it is among the matchers too.
    pub name: String,
    /// All conditions, `__name__` included.
    pub matchers: Vec<Matcher>,
    /// `offset` in milliseconds, as written (negative looks ahead).
    pub offset_ms: i64,
    /// `@`.
    pub at: Option<At>,
}

/// `expr[range:step] offset … @ …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Evaluated at every step of the window.
    pub expr: Expr,
    /// Length of the window in milliseconds.
    pub range_ms: i64,
    /// Step in milliseconds; none means the default resolution.
    pub step_ms: Option<i64>,
    /// `offset` in milliseconds.
    pub offset_ms: i64,
    /// `@`.
    pub at: Option<At>,
}

/// Aggregation operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    Limitk,
    LimitRatio,
}

/// An aggregation.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: AggregateOp,
    /// What is aggregated.
    pub expr: Expr,
    /// `k`, the quantile or the label name, where the operator takes one.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`, as written.
    pub grouping: Vec<String>,
    /// Whether the modifier is `without`.
    pub without: bool,
}

/// Binary operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// Whether it is one of `==`, `!=`, `>`, `<`, `>=`, `<=`.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual | Self::Greater | Self::Less | Self::GreaterOrEqual | Self::LessOrEqual)
    }

    /// Whether it is one of `and`, `or`, `unless`.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Unless)
    }
}

/// How many series of each side may match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cardinality {
    OneToOne,
    ManyToOne,
    OneToMany,
    ManyToMany,
}

/// How the two sides of a vector operation find each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorMatching {
    /// From `group_left` (many to one), `group_right` (one to many), a set operator (many to many) or none.
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether the modifier is `on`.
    pub on: bool,
    /// Labels of `group_left(…)` or `group_right(…)`.
    pub include: Vec<String>,
}

/// A binary operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left operand.
    pub left: Expr,
    /// Right operand.
    pub right: Expr,
    /// Present when both sides are vectors.
    pub matching: Option<VectorMatching>,
    /// `bool` after a comparison.
    pub return_bool: bool,
}

/// The type of an expression's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// A number at each step.
    Scalar,
    /// A string.
    String,
    /// Series with one sample each.
    Vector,
    /// Series with a window of samples each.
    Matrix,
}

impl ValueType {
    /// The name the API and error messages use for it (`instant vector`, …: see `check`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }
}
