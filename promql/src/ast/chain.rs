//! What a chain of binary operations needs so that nothing recurses along it: clone, compare, drop.

use super::{Binary, Expr, ExprKind, Span};

/// A left-associative chain unrolled: `first op operands[0] op operands[1] …`, each operand with its node's span.
struct Chain<'a> {
    first: &'a Expr,
    nodes: Vec<(Span, &'a Binary)>,
}

impl<'a> Chain<'a> {
    fn of(left: &'a Expr) -> Self {
        let mut first = left;
        let mut nodes = Vec::new();
        while let ExprKind::Binary(binary) = &first.kind {
            nodes.push((first.span, &**binary));
            first = &binary.left;
        }
        nodes.reverse();
        Self { first, nodes }
    }
}

impl Binary {
    fn clone_onto(&self, left: Expr) -> Self {
        let (right, matching) = (self.right.clone(), self.matching.clone());
        Self { op: self.op, left, right, matching, return_bool: self.return_bool }
    }

    fn equals_apart_from_left(&self, other: &Self) -> bool {
        (self.op, self.return_bool) == (other.op, other.return_bool) && self.matching == other.matching && self.right == other.right
    }
}

impl Clone for Binary {
    fn clone(&self) -> Self {
        let chain = Chain::of(&self.left);
        let mut left = chain.first.clone();
        for (span, node) in chain.nodes {
            left = Expr { span, kind: ExprKind::Binary(Box::new(node.clone_onto(left))) };
        }
        self.clone_onto(left)
    }
}

impl PartialEq for Binary {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (Chain::of(&self.left), Chain::of(&other.left));
        self.equals_apart_from_left(other)
            && ours.nodes.len() == theirs.nodes.len()
            && ours.first == theirs.first
            && ours.nodes.iter().zip(&theirs.nodes).all(|((s, a), (t, b))| s == t && a.equals_apart_from_left(b))
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.left);
        while let ExprKind::Binary(binary) = &mut left.kind {
            left = std::mem::take(&mut binary.left);
        }
    }
}
