//! Scan and exscan: rank `r` gets the operands of the ranks up to (or before) it, combined in their order.

use super::accumulate::{Accumulator, Operands};
use super::{Buf, Schedule, Shape, Slice, group::Group};

/// Appends the inclusive scan, by recursive doubling (Hillis, Steele 1986): in round `k` each rank passes
/// on what the `2^k` ranks up to it have, so `log2 n` rounds for any number of ranks, always in order.
pub fn scan(shape: &Shape, operands: Operands, schedule: &mut Schedule) {
    let operand = if operands.in_place { Buf::Recv } else { Buf::Send };
    let home = Slice::new(Buf::Recv, 0, operands.bytes);
    let mut value = Accumulator::new(Slice::new(operand, 0, operands.bytes), Some(home));
    doubling(&Group::all(shape), 0, &mut value, schedule);
    value.settle(schedule);
}

/// Appends the exclusive scan: every operand moves one rank up, then ranks from 1 on scan. Rank 0's receive
/// buffer is left as it is.
pub fn exscan(shape: &Shape, operands: Operands, schedule: &mut Schedule) {
    let group = Group::all(shape);
    let home = Slice::new(Buf::Recv, 0, operands.bytes);
    let operand = if operands.in_place { home } else { Slice { buf: Buf::Send, ..home } };
    if group.me + 1 < group.size {
        schedule.send(group.rank(group.me + 1), operand);
    }
    if group.me == 0 {
        schedule.wait();
        return;
    }
    // In place, our own operand is still leaving from where the neighbour's will be.
    let arrived = if operands.in_place { schedule.scratch(operands.bytes) } else { home };
    schedule.recv(group.rank(group.me - 1), arrived);
    schedule.wait();
    let mut value = Accumulator::new(arrived, Some(home));
    doubling(&group, 1, &mut value, schedule);
    value.settle(schedule);
}

/// Scan over the indices from `first` on, of which this rank is one.
fn doubling(group: &Group, first: usize, value: &mut Accumulator, schedule: &mut Schedule) {
    let mut distance = 1;
    while distance < group.size - first {
        let give = value.value();
        let above = group.me + distance;
        let below = group.me.checked_sub(distance).filter(|&below| below >= first);
        if above < group.size {
            schedule.send(group.rank(above), give);
        }
        match below {
            Some(below) => value.absorb(schedule, group.rank(below), true),
            None => schedule.wait(),
        }
        distance *= 2;
    }
}
