//! Buffers that are no range give and take the same stream, whatever pieces are asked for.
