//! The syntax tree. Every node knows which bytes of the query it came from.

mod chain;
mod duration;

pub use duration::{Duration, DurationError, DurationErrorReason, DurationExpr, DurationKind, DurationOp, QueryTimes};

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
        /// Length of the window.
        range: Duration,
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
    /// `offset` as written (negative looks ahead).
    pub offset: Duration,
    /// `@`.
    pub at: Option<At>,
    /// `anchored` or `smoothed`.
    pub extended: Option<Extended>,
}

/// How a selector treats the ends of its window, beyond taking the samples in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extended {
    /// `anchored`: the newest sample before each end stands for it.
    Anchored,
    /// `smoothed`: the ends are interpolated between the samples around them.
    Smoothed,
}

impl Extended {
    /// The modifier as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anchored => "anchored",
            Self::Smoothed => "smoothed",
        }
    }
}

/// `expr[range:step] offset … @ …`.
#[derive(Clone, Debug, PartialEq)]
pub struct Subquery {
    /// Evaluated at every step of the window.
    pub expr: Expr,
    /// Length of the window.
    pub range: Duration,
    /// Step; none means the default resolution.
    pub step: Option<Duration>,
    /// `offset` as written.
    pub offset: Duration,
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

impl AggregateOp {
    /// All of them. They travel by their places in this list: new ones are appended.
    pub const ALL: [Self; 14] = [
        Self::Sum,
        Self::Avg,
        Self::Count,
        Self::Min,
        Self::Max,
        Self::Group,
        Self::Stddev,
        Self::Stdvar,
        Self::Topk,
        Self::Bottomk,
        Self::CountValues,
        Self::Quantile,
        Self::Limitk,
        Self::LimitRatio,
    ];

    /// The operator's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Count => "count",
            Self::Min => "min",
            Self::Max => "max",
            Self::Group => "group",
            Self::Stddev => "stddev",
            Self::Stdvar => "stdvar",
            Self::Topk => "topk",
            Self::Bottomk => "bottomk",
            Self::CountValues => "count_values",
            Self::Quantile => "quantile",
            Self::Limitk => "limitk",
            Self::LimitRatio => "limit_ratio",
        }
    }

    /// The type of the parameter, where the operator takes one.
    #[must_use]
    pub fn param_type(self) -> Option<ValueType> {
        match self {
            Self::Topk | Self::Bottomk | Self::Quantile | Self::Limitk | Self::LimitRatio => Some(ValueType::Scalar),
            Self::CountValues => Some(ValueType::String),
            _ => None,
        }
    }

    /// Needs `promql-experimental-functions`.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        matches!(self, Self::Limitk | Self::LimitRatio)
    }
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
    /// `</`: histograms without what is above a bound.
    TrimUpper,
    /// `>/`: histograms without what is below a bound.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// The operator as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Sub => "-",
            Self::Mul => "*",
            Self::Div => "/",
            Self::Mod => "%",
            Self::Pow => "^",
            Self::Atan2 => "atan2",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::TrimUpper => "</",
            Self::TrimLower => ">/",
            Self::And => "and",
            Self::Or => "or",
            Self::Unless => "unless",
        }
    }

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
#[derive(Clone, Debug, PartialEq)]
pub struct VectorMatching {
    /// From `group_left` (many to one), `group_right` (one to many), a set operator (many to many) or none.
    pub cardinality: Cardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether the modifier is `on`.
    pub on: bool,
    /// Labels of `group_left(…)` or `group_right(…)`.
    pub include: Vec<String>,
    /// From `fill(…)` and `fill_left(…)`: stands for a missing sample of the left side.
    pub fill_left: Option<f64>,
    /// From `fill(…)` and `fill_right(…)`: stands for a missing sample of the right side.
    pub fill_right: Option<f64>,
}

/// A binary operation.
///
/// A chain of left-associative operators nests as deep as it is long, so nothing here recurses to the left.
#[derive(Debug)]
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

/// A placeholder: the number 0 from nowhere.
impl Default for Expr {
    fn default() -> Self {
        Self { span: Span::default(), kind: ExprKind::Number { value: 0.0, is_duration: false } }
    }
}

impl Expr {
    /// The type of the value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        let mut expr = self;
        let mut is_operand = false;
        let value_type = loop {
            break match &expr.kind {
                ExprKind::Number { .. } => ValueType::Scalar,
                ExprKind::String(_) => ValueType::String,
                ExprKind::Vector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
                ExprKind::Matrix { .. } | ExprKind::Subquery(_) => ValueType::Matrix,
                ExprKind::Call { function, .. } => function.returns,
                ExprKind::Unary { expr: inner, .. } | ExprKind::Paren(inner) => {
                    expr = inner;
                    continue;
                }
                ExprKind::Binary(binary) if binary.right.value_type() == ValueType::Scalar => {
                    expr = &binary.left;
                    is_operand = true;
                    continue;
                }
                ExprKind::Binary(_) => ValueType::Vector,
            };
        };
        // An operation is a scalar only if both operands are.
        if is_operand && value_type != ValueType::Scalar { ValueType::Vector } else { value_type }
    }
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
    /// The name the API uses for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// The name error messages use for it.
    #[must_use]
    pub fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}
