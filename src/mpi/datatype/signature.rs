//! Which basic types come in which order, without where they lie.

use std::sync::Arc;

use super::Basic;

/// The basic types of one item, in order. Pairs are taken apart into their two values.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// Bytes in memory's representation.
    pub(super) bytes: i64,
    /// Basic elements.
    pub(super) elements: i64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// `elements` of one type; of any type when there are none.
    Of(Basic),
    /// The same again and again.
    Repeat(i64, Arc<Signature>),
    /// One after another.
    Sequence(Arc<[Signature]>),
}

impl Signature {
    pub(super) const EMPTY: Self = Self { bytes: 0, elements: 0, kind: Kind::Of(Basic::Byte) };

    pub(super) fn of(basic: Basic) -> Self {
        match basic.pair() {
            Some((first, _, second)) => {
                Self::sequence([Self::of(first), Self::of(second)].into_iter())
            }
            None => Self { bytes: basic.size(), elements: 1, kind: Kind::Of(basic) },
        }
    }

    /// The caller has made sure that the bytes can be counted.
    pub(super) fn repeated(&self, count: i64) -> Self {
        if count == 0 || self.elements == 0 {
            return Self::EMPTY;
        }
        let (bytes, elements) = (self.bytes * count, self.elements * count);
        let kind = match &self.kind {
            _ if count == 1 => return self.clone(),
            Kind::Of(basic) => Kind::Of(*basic),
            Kind::Repeat(times, inner) => Kind::Repeat(times * count, Arc::clone(inner)),
            Kind::Sequence(_) => Kind::Repeat(count, Arc::new(self.clone())),
        };
        Self { bytes, elements, kind }
    }

    pub(super) fn sequence(parts: impl Iterator<Item = Signature>) -> Self {
        let mut all: Vec<Signature> = Vec::new();
        for part in parts.filter(|part| part.elements > 0) {
            match (all.last_mut(), &part.kind) {
                (Some(Self { bytes, elements, kind: Kind::Of(before) }), Kind::Of(next))
                    if before == next =>
                {
                    (*bytes, *elements) = (*bytes + part.bytes, *elements + part.elements);
                }
                _ => all.push(part),
            }
        }
        match all.len() {
            0 => Self::EMPTY,
            1 => all.remove(0),
            _ => Self {
                bytes: all.iter().map(|part| part.bytes).sum(),
                elements: all.iter().map(|part| part.elements).sum(),
                kind: Kind::Sequence(all.into()),
            },
        }
    }

    /// Elements in this many bytes of items; none when they end within an element.
    pub(super) fn elements_in(&self, bytes: i64) -> Option<i64> {
        if self.bytes == 0 {
            return (bytes == 0).then_some(0);
        }
        let (whole, rest) = (bytes / self.bytes, bytes % self.bytes);
        Some(whole.checked_mul(self.elements)? + self.elements_within(rest)?)
    }

    fn elements_within(&self, mut bytes: i64) -> Option<i64> {
        match &self.kind {
            Kind::Of(basic) => (bytes % basic.size() == 0).then_some(bytes / basic.size()),
            Kind::Repeat(_, inner) => inner.elements_in(bytes),
            Kind::Sequence(parts) => {
                let mut elements = 0;
                for part in parts.iter() {
                    if bytes < part.bytes {
                        return Some(elements + part.elements_within(bytes)?);
                    }
                    (bytes, elements) = (bytes - part.bytes, elements + part.elements);
                }
                Some(elements)
            }
        }
    }

    /// Bytes of this many elements.
    pub(super) fn bytes_of(&self, elements: i64) -> Option<i64> {
        if self.elements == 0 {
            return (elements == 0).then_some(0);
        }
        let (whole, rest) = (elements / self.elements, elements % self.elements);
        whole.checked_mul(self.bytes)?.checked_add(self.bytes_within(rest))
    }

    fn bytes_within(&self, mut elements: i64) -> i64 {
        match &self.kind {
            Kind::Of(basic) => elements * basic.size(),
            Kind::Repeat(_, inner) => inner.bytes_of(elements).unwrap_or(0),
            Kind::Sequence(parts) => {
                let mut bytes = 0;
                for part in parts.iter() {
                    if elements < part.elements {
                        return bytes + part.bytes_within(elements);
                    }
                    (elements, bytes) = (elements - part.elements, bytes + part.bytes);
                }
                bytes
            }
        }
    }
}

impl Signature {
    /// Calls `with` for every run of elements of the same type, in order.
    pub(super) fn each_run<E>(
        &self,
        with: &mut impl FnMut(Basic, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.kind {
            Kind::Of(basic) => with(*basic, self.elements),
            Kind::Repeat(times, inner) => (0..*times).try_for_each(|_| inner.each_run(with)),
            Kind::Sequence(parts) => parts.iter().try_for_each(|part| part.each_run(with)),
        }
    }

    /// The sum of `of` over all elements.
    pub(super) fn sum(&self, of: &impl Fn(Basic) -> i64) -> i64 {
        match &self.kind {
            Kind::Of(basic) => self.elements * of(*basic),
            Kind::Repeat(times, inner) => times * inner.sum(of),
            Kind::Sequence(parts) => parts.iter().map(|part| part.sum(of)).sum(),
        }
    }
}
