//! Functions of one value.

/// See the function of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub(crate) enum MathFunction {
    Abs,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    Ceil,
    Cos,
    Cosh,
    Deg,
    Exp,
    Floor,
    Ln,
    Log10,
    Log2,
    Rad,
    Sgn,
    Sin,
    Sinh,
    Sqrt,
    Tan,
    Tanh,
}

impl MathFunction {
    pub(crate) fn find(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "acos" => Self::Acos,
            "acosh" => Self::Acosh,
            "asin" => Self::Asin,
            "asinh" => Self::Asinh,
            "atan" => Self::Atan,
            "atanh" => Self::Atanh,
            "ceil" => Self::Ceil,
            "cos" => Self::Cos,
            "cosh" => Self::Cosh,
            "deg" => Self::Deg,
            "exp" => Self::Exp,
            "floor" => Self::Floor,
            "ln" => Self::Ln,
            "log10" => Self::Log10,
            "log2" => Self::Log2,
            "rad" => Self::Rad,
            "sgn" => Self::Sgn,
            "sin" => Self::Sin,
            "sinh" => Self::Sinh,
            "sqrt" => Self::Sqrt,
            "tan" => Self::Tan,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }

    pub(crate) fn as_fn(self) -> fn(f64) -> f64 {
        match self {
            Self::Abs => f64::abs,
            Self::Acos => f64::acos,
            Self::Acosh => f64::acosh,
            Self::Asin => f64::asin,
            Self::Asinh => f64::asinh,
            Self::Atan => f64::atan,
            Self::Atanh => f64::atanh,
            Self::Ceil => f64::ceil,
            Self::Cos => f64::cos,
            Self::Cosh => f64::cosh,
            Self::Deg => |v| v * 180.0 / std::f64::consts::PI,
            Self::Exp => f64::exp,
            Self::Floor => f64::floor,
            Self::Ln => f64::ln,
            Self::Log10 => f64::log10,
            Self::Log2 => f64::log2,
            Self::Rad => |v| v * std::f64::consts::PI / 180.0,
            Self::Sgn => sgn,
            Self::Sin => f64::sin,
            Self::Sinh => f64::sinh,
            Self::Sqrt => f64::sqrt,
            Self::Tan => f64::tan,
            Self::Tanh => f64::tanh,
        }
    }
}

/// -1, 1, or the value itself if it is a zero or NaN.
fn sgn(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

/// The larger one; NaN if one is, unless the other is +Inf; as Go's `math.Max`.
pub(crate) fn max(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}

/// The smaller one; NaN if one is, unless the other is -Inf; as Go's `math.Min`.
pub(crate) fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}
