//! The compiled layout of a type: nested loops over runs of bytes.
//!
//! Every constructor builds its layout from those of the older types, which are shared. What is
//! regular becomes a loop, what lies together becomes one run, so the depth is that of the real
//! structure and not of the calls that described it.

use std::sync::Arc;

use crate::progress::Layout;

/// The layout of items of a type, one after another.
#[derive(Debug)]
pub struct Shape {
    pub(super) item: Part,
    pub(super) extent: isize,
}

/// A piece of a layout: where it begins, and how many bytes of data it has.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) at: isize,
    pub(super) size: usize,
    pub(super) node: Node,
}

#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `size` bytes side by side.
    Run,
    /// The same again and again.
    Loop { count: usize, stride: isize, inner: Arc<Part> },
    /// Runs of the same length.
    Blocks { len: usize, places: Arc<[isize]> },
    /// Runs of any length: where each begins in the packed stream (and where the last ends), and in
    /// memory.
    Runs { starts: Arc<[usize]>, places: Arc<[isize]> },
    /// Anything.
    Parts { starts: Arc<[usize]>, parts: Arc<[Part]> },
}

impl Shape {
    pub(super) fn new(item: Part, extent: i64) -> Self {
        Self { item, extent: extent as isize }
    }

    /// The run that one item is, if it is one.
    pub(super) fn run(&self) -> Option<(isize, usize)> {
        self.item.run()
    }
}

impl Part {
    pub(super) const EMPTY: Self = Self::run_of(0, 0);

    pub(super) const fn run_of(at: isize, size: usize) -> Self {
        Self { at, size, node: Node::Run }
    }

    /// Where it is, if it is one run.
    pub(super) fn run(&self) -> Option<(isize, usize)> {
        matches!(self.node, Node::Run).then_some((self.at, self.size))
    }

    pub(super) fn shifted(&self, by: i64) -> Self {
        // What begins nowhere must not be moved out of range.
        let by = if self.size == 0 { 0 } else { by as isize };
        Self { at: self.at.wrapping_add(by), ..self.clone() }
    }

    /// `count` copies, each `stride` bytes after the one before.
    pub(super) fn repeated(&self, count: i64, stride: i64) -> Self {
        let (count, stride) = (count as usize, stride as isize);
        if count == 0 || self.size == 0 {
            return Self::EMPTY;
        }
        let size = self.size * count;
        match &self.node {
            _ if count == 1 => self.clone(),
            Node::Run if stride == self.size as isize => Self { size, ..self.clone() },
            Node::Loop { count: times, stride: step, inner }
                if step.checked_mul(*times as isize) == Some(stride) =>
            {
                let inner = Arc::clone(inner);
                let node = Node::Loop { count: times * count, stride: *step, inner };
                Self { at: self.at, size, node }
            }
            _ => {
                let inner = Arc::new(Self { at: 0, ..self.clone() });
                Self { at: self.at, size, node: Node::Loop { count, stride, inner } }
            }
        }
    }

    /// All of these, in this order.
    pub(super) fn sequence(parts: impl Iterator<Item = Part>) -> Self {
        let mut runs = Runs::default();
        let mut parts = parts.filter(|part| part.size > 0);
        while let Some(part) = parts.next() {
            let Some((at, len)) = part.run() else {
                return Self::mixed(runs, part, parts);
            };
            runs.push(at, len);
        }
        runs.finish()
    }

    fn mixed(runs: Runs, next: Part, rest: impl Iterator<Item = Part>) -> Self {
        let mut all: Vec<Part> =
            runs.0.into_iter().map(|(at, len)| Part::run_of(at, len)).collect();
        for part in std::iter::once(next).chain(rest) {
            match (all.last_mut(), part.run()) {
                (Some(Part { at, size, node: Node::Run }), Some((next, len)))
                    if at.checked_add_unsigned(*size) == Some(next) =>
                {
                    *size += len;
                }
                _ => all.push(part),
            }
        }
        if let [only] = &all[..] {
            return only.clone();
        }
        let starts = starts(all.iter().map(|part| part.size));
        let size = starts.last().copied().unwrap_or(0);
        Self { at: 0, size, node: Node::Parts { starts, parts: all.into() } }
    }
}

/// Runs of bytes that are being collected; those that touch become one.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<(isize, usize)>);

impl Runs {
    pub(super) fn push(&mut self, at: isize, len: usize) {
        if len == 0 {
            return;
        }
        match self.0.last_mut() {
            Some((before, size)) if before.checked_add_unsigned(*size) == Some(at) => *size += len,
            _ => self.0.push((at, len)),
        }
    }

    /// The best form for what there is.
    pub(super) fn finish(self) -> Part {
        let (at, len) = match self.0[..] {
            [] => return Part::EMPTY,
            [(at, len)] => return Part::run_of(at, len),
            [(at, len), ..] => (at, len),
        };
        let size = self.0.iter().map(|(_, len)| len).sum();
        let places = || self.0.iter().map(|(at, _)| *at).collect();
        if self.0.iter().any(|(_, other)| *other != len) {
            let starts = starts(self.0.iter().map(|(_, len)| *len));
            return Part { at: 0, size, node: Node::Runs { starts, places: places() } };
        }
        match self.stride() {
            Some(stride) => Part::run_of(at, len).repeated(self.0.len() as i64, stride as i64),
            None => Part { at: 0, size, node: Node::Blocks { len, places: places() } },
        }
    }

    /// The distance of neighbours, if it is the same for all.
    fn stride(&self) -> Option<isize> {
        let mut steps = self.0.windows(2).map(|pair| pair[1].0.wrapping_sub(pair[0].0));
        let first = steps.next()?;
        steps.all(|step| step == first).then_some(first)
    }
}

/// Where each begins when they lie side by side, and where the last ends.
fn starts(sizes: impl Iterator<Item = usize>) -> Arc<[usize]> {
    let mut end = 0;
    let mut starts = vec![0];
    for size in sizes {
        end += size;
        starts.push(end);
    }
    starts.into()
}

impl Layout for Shape {
    unsafe fn pack(&self, base: *const u8, count: usize, from: usize, out: &mut [u8]) {
        // SAFETY: the caller's promise is the same.
        unsafe { Shape::pack(self, base, count, from, out) }
    }

    unsafe fn unpack(&self, base: *mut u8, count: usize, at: usize, bytes: &[u8]) {
        // SAFETY: the caller's promise is the same.
        unsafe { Shape::unpack(self, base, count, at, bytes) }
    }
}
