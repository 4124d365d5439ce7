/* Steps of messages between two ranks: whatever the ways, what arrives is known. */
#ifndef MESSAGES_H
#define MESSAGES_H

#include "layouts.h"

#define NOTES_MAX 10

/* A message, as all ranks know it. */
struct note {
    int from, to, tag, count, way, packed;
    uint64_t shape;
};

static inline struct layout shape_of(const struct note *note) {
    struct rng rng = stream(note->shape, 1, 1);
    return some_layout(&rng, below(&rng, 4), 40);
}

/* What is sent. */
struct outgoing {
    struct layout layout;
    struct memory memory;
    char *packed;
    int len;
};

static inline struct outgoing outgoing(const struct note *note) {
    struct outgoing out = {.layout = shape_of(note)};
    OK(MPI_Type_commit(&out.layout.type));
    out.memory = memory_for(&out.layout, note->count);
    fill(&out.memory, note->shape, 3);
    if (note->packed) {
        int room;
        OK(MPI_Pack_size(note->count, out.layout.type, MPI_COMM_WORLD, &room));
        out.packed = malloc((size_t)room + 1);
        OK(MPI_Pack(out.memory.at, note->count, out.layout.type, out.packed, room, &out.len,
                    MPI_COMM_WORLD));
    }
    return out;
}

static inline void drop_outgoing(struct outgoing *out) {
    drop_layout(&out->layout);
    free(out->memory.base);
    free(out->packed);
}

/* What is received: the same items at other places, and room for more. */
struct incoming {
    struct layout layout;
    struct memory memory;
    int room;
};

static inline struct incoming incoming(const struct note *note) {
    struct rng rng = stream(note->shape, 2, 2);
    struct layout like = shape_of(note);
    struct incoming in = {.layout = scattered(&rng, &like), .room = note->count + below(&rng, 3)};
    /* MPICH 5.0.2 divides by 0 where nothing is expected. */
    if (in.room == 0) in.room = 1;
    drop_layout(&like);
    OK(MPI_Type_commit(&in.layout.type));
    in.memory = memory_for(&in.layout, in.room);
    empty(&in.memory);
    return in;
}

/* What was received is what was filled in for these numbers in this layout. */
static inline void items_are(const struct incoming *in, int count, const struct layout *sent,
                             uint64_t a, uint64_t b) {
    struct memory memory = memory_for(sent, count);
    fill(&memory, a, b);
    size_t len = gather_items(sent, count, memory.at, NULL);
    char *wanted = malloc(len + 1), *found = malloc(len + 1);
    gather_items(sent, count, memory.at, wanted);
    CHECK(gather_items(&in->layout, count, in->memory.at, found) == len);
    CHECK(memcmp(wanted, found, len) == 0);
    free(memory.base), free(wanted), free(found);
}

static inline uint64_t hash_status(uint64_t hash, const MPI_Status *status, MPI_Datatype type) {
    int count, elements, cancelled;
    OK(MPI_Get_count(status, type, &count));
    OK(MPI_Get_elements(status, type, &elements));
    OK(MPI_Test_cancelled(status, &cancelled));
    TELL("from %d tag %d: %d, %d elements", status->MPI_SOURCE, status->MPI_TAG, count, elements);
    hash = hash_number(hash_number(hash, status->MPI_SOURCE), status->MPI_TAG);
    return hash_number(hash_number(hash_number(hash, count), elements), cancelled);
}

/* Completes all requests in one of the ways that there are. */
static inline void complete(struct rng *rng, int n, MPI_Request requests[], MPI_Status statuses[]) {
    int how = below(rng, 7), left = n, index, flag = 0, some, list[64];
    MPI_Status found[64], status;
    if (how == 0) OK(MPI_Waitall(n, requests, statuses));
    if (how == 1) while (!flag) OK(MPI_Testall(n, requests, &flag, statuses));
    if (how == 2) for (int i = n - 1; i >= 0; i--) OK(MPI_Wait(&requests[i], &statuses[i]));
    for (; how > 2 && left > 0; flag = 0) {
        if (how == 3) {
            OK(MPI_Waitany(n, requests, &index, &status));
            flag = 1;
        }
        if (how == 4) OK(MPI_Testany(n, requests, &index, &flag, &status));
        if (how == 5) OK(MPI_Waitsome(n, requests, &some, list, found));
        if (how == 6) OK(MPI_Testsome(n, requests, &some, list, found));
        if (how > 4) {
            CHECK(some != MPI_UNDEFINED);
            for (int i = 0; i < some; i++) statuses[list[i]] = found[i];
            left -= some;
        } else if (flag) {
            CHECK(index != MPI_UNDEFINED);
            statuses[index] = status;
            left--;
        }
    }
}

enum { STANDARD, SYNCHRONOUS, BUFFERED, READY, BLOCKING = 4, PERSISTENT = 8 };

static inline void start_send(const void *at, int count, MPI_Datatype type, int to, int tag,
                              int way, MPI_Comm comm, MPI_Request *request) {
    *request = MPI_REQUEST_NULL;
    switch (way) {
    case STANDARD: OK(MPI_Isend(at, count, type, to, tag, comm, request)); break;
    case SYNCHRONOUS: OK(MPI_Issend(at, count, type, to, tag, comm, request)); break;
    case BUFFERED: OK(MPI_Ibsend(at, count, type, to, tag, comm, request)); break;
    case READY: OK(MPI_Irsend(at, count, type, to, tag, comm, request)); break;
    case BLOCKING + STANDARD: OK(MPI_Send(at, count, type, to, tag, comm)); break;
    case BLOCKING + SYNCHRONOUS: OK(MPI_Ssend(at, count, type, to, tag, comm)); break;
    case BLOCKING + BUFFERED: OK(MPI_Bsend(at, count, type, to, tag, comm)); break;
    case BLOCKING + READY: OK(MPI_Rsend(at, count, type, to, tag, comm)); break;
    case PERSISTENT + STANDARD: OK(MPI_Send_init(at, count, type, to, tag, comm, request)); break;
    case PERSISTENT + SYNCHRONOUS:
        OK(MPI_Ssend_init(at, count, type, to, tag, comm, request));
        break;
    case PERSISTENT + BUFFERED: OK(MPI_Bsend_init(at, count, type, to, tag, comm, request)); break;
    default: OK(MPI_Rsend_init(at, count, type, to, tag, comm, request)); break;
    }
    if (way & PERSISTENT) OK(MPI_Start(request));
}

static inline void free_all(int n, MPI_Request requests[]) {
    for (int i = 0; i < n; i++) {
        if (requests[i] != MPI_REQUEST_NULL) OK(MPI_Request_free(&requests[i]));
    }
}

/* Receives one message of this source and tag after it was found. */
static inline void receive_found(struct rng *rng, struct incoming *in, int source, int tag,
                                 MPI_Comm comm, MPI_Status *status) {
    int flag = 0, how = below(rng, 4);
    MPI_Message message;
    MPI_Request request;
    char *at = in->memory.at;
    if (how == 0) OK(MPI_Probe(source, tag, comm, status));
    if (how == 1) while (!flag) OK(MPI_Iprobe(source, tag, comm, &flag, status));
    if (how == 2) OK(MPI_Mprobe(source, tag, comm, &message, status));
    if (how == 3) while (!flag) OK(MPI_Improbe(source, tag, comm, &flag, &message, status));
    int found = status->MPI_SOURCE, with = status->MPI_TAG;
    CHECK(with == tag || tag == MPI_ANY_TAG);
    CHECK(found == source || source == MPI_ANY_SOURCE);
    if (how < 2) OK(MPI_Recv(at, in->room, in->layout.type, found, with, comm, status));
    if (how == 2) OK(MPI_Mrecv(at, in->room, in->layout.type, &message, status));
    if (how == 3) {
        OK(MPI_Imrecv(at, in->room, in->layout.type, &message, &request));
        OK(MPI_Wait(&request, status));
    }
}

static inline void exchange_step(struct rng *shared, MPI_Comm comm) {
    struct note notes[NOTES_MAX];
    int size, rank, n = between(shared, 1, NOTES_MAX), posted = below(shared, 2);
    int unique = below(shared, 2), any = below(shared, 2), times = once_in(shared, 3) ? 2 : 1;
    OK(MPI_Comm_size(comm, &size));
    OK(MPI_Comm_rank(comm, &rank));
    for (int i = 0; i < n; i++) {
        struct note note = {below(shared, size), below(shared, size), 0, below(shared, 5), 0,
                            once_in(shared, 4), draw(shared)};
        note.tag = unique ? 10 + i : below(shared, 3);
        if (once_in(shared, 5)) note.count = between(shared, 100, 400);
        /* MPICH 5.0.2 divides by 0 where nothing is packed. */
        if (note.packed && note.count == 0) note.count = 1;
        note.way = (int[]){STANDARD, SYNCHRONOUS, BUFFERED, READY}[below(shared, posted ? 4 : 3)];
        note.way += (int[]){0, BLOCKING, PERSISTENT}[below(shared, 3)];
        if (note.way & BLOCKING && (!posted || note.from == note.to)) note.way -= BLOCKING;
        TELL("note %d of %d: %d to %d, tag %d, count %d, way %d, packed %d, posted %d any %d", i, n,
             note.from, note.to, note.tag, note.count, note.way, note.packed, posted, any);
        notes[i] = note;
    }
    struct rng mine = stream(shared->state, (uint64_t)rank, 9);
    struct outgoing out[NOTES_MAX];
    struct incoming in[NOTES_MAX];
    MPI_Request sends[NOTES_MAX], receives[NOTES_MAX];
    MPI_Status statuses[NOTES_MAX], ignored[NOTES_MAX];
    int outs = 0, ins = 0, source[NOTES_MAX], tag[NOTES_MAX], which[NOTES_MAX];
    for (int i = 0; i < n; i++) {
        if (notes[i].from == rank) out[outs++] = outgoing(&notes[i]);
        if (notes[i].to != rank) continue;
        in[ins] = incoming(&notes[i]);
        which[ins] = i;
        source[ins] = any && unique ? MPI_ANY_SOURCE : notes[i].from;
        tag[ins++] = any && !unique ? MPI_ANY_TAG : notes[i].tag;
    }
    /* MPICH 5.0.2 divides by 0 in some MPI_Start. */
    int again = times > 1 && !peer;
    for (int i = 0; i < ins && posted && again; i++) {
        OK(MPI_Recv_init(in[i].memory.at, in[i].room, in[i].layout.type, source[i], tag[i], comm,
                         &receives[i]));
    }
    uint64_t hash = HASH;
    for (int time = 0; time < times; time++) {
        if (posted && again) OK(MPI_Startall(ins, receives));
        for (int i = 0; i < ins && posted && !again; i++) {
            OK(MPI_Irecv(in[i].memory.at, in[i].room, in[i].layout.type, source[i], tag[i], comm,
                         &receives[i]));
        }
        OK(MPI_Barrier(comm));
        for (int i = 0, k = 0; i < n; i++) {
            if (notes[i].from != rank) continue;
            struct outgoing *it = &out[k];
            if (time > 0 && notes[i].way & PERSISTENT) OK(MPI_Start(&sends[k]));
            else if (it->packed) {
                start_send(it->packed, it->len, MPI_PACKED, notes[i].to, notes[i].tag,
                           notes[i].way, comm, &sends[k]);
            } else {
                start_send(it->memory.at, notes[i].count, it->layout.type, notes[i].to,
                           notes[i].tag, notes[i].way, comm, &sends[k]);
            }
            k++;
        }
        if (posted) complete(&mine, ins, receives, statuses);
        for (int i = 0; i < ins && !posted; i++) {
            receive_found(&mine, &in[i], source[i], tag[i], comm, &statuses[i]);
        }
        OK(MPI_Waitall(outs, sends, ignored));
        for (int i = 0; i < ins; i++) {
            hash = hash_status(hash, &statuses[i], in[i].layout.type);
            hash = hash_memory(hash, &in[i].memory);
            const struct note *note = &notes[which[i]];
            struct layout sent = shape_of(note);
            items_are(&in[i], note->count, &sent, note->shape, 3);
            drop_layout(&sent);
            empty(&in[i].memory);
        }
    }
    free_all(outs, sends);
    if (posted && again) free_all(ins, receives);
    for (int i = 0; i < outs; i++) drop_outgoing(&out[i]);
    for (int i = 0; i < ins; i++) drop_layout(&in[i].layout), free(in[i].memory.base);
    say("exchange", hash);
}

/* All pass something to a neighbour and get as much from another. */
static inline void ring_step(struct rng *shared, MPI_Comm comm) {
    int rank, size, away, how = below(shared, 4), open = below(shared, 2);
    OK(MPI_Comm_size(comm, &size));
    OK(MPI_Comm_rank(comm, &rank));
    away = below(shared, size);
    struct note note = {0, 0, 0, below(shared, 5), 0, 0, draw(shared)};
    if (once_in(shared, 4)) note.count = between(shared, 100, 400);
    int to = (rank + away) % size, from = (rank - away + size) % size;
    if (open && rank + away >= size) to = MPI_PROC_NULL;
    if (open && rank - away < 0) from = MPI_PROC_NULL;
    struct outgoing out = outgoing(&note);
    struct incoming in = incoming(&note);
    fill(&out.memory, (uint64_t)rank, 4);
    MPI_Status status;
    MPI_Request request;
    char *at = out.memory.at, *into = in.memory.at;
    MPI_Datatype type = out.layout.type, theirs = in.layout.type;
    TELL("ring %d by %d, count %d", how, away, note.count);
    if (how == 0) {
        OK(MPI_Sendrecv(at, note.count, type, to, 3, into, in.room, theirs, from, 3, comm, &status));
    } else if (how == 1) {
        OK(MPI_Isendrecv(at, note.count, type, to, 3, into, in.room, theirs, from, MPI_ANY_TAG,
                         comm, &request));
        OK(MPI_Wait(&request, &status));
    } else {
        free(in.memory.base);
        in.memory = memory_for(&in.layout, note.count);
        into = in.memory.at;
        fill(&in.memory, (uint64_t)rank, 5);
        if (how == 2) {
            OK(MPI_Sendrecv_replace(into, note.count, theirs, to, 3, from, 3, comm, &status));
        } else {
            OK(MPI_Isendrecv_replace(into, note.count, theirs, to, 3, from, 3, comm, &request));
            OK(MPI_Wait(&request, &status));
        }
    }
    /* MPICH 5.0.2 gives no status where both sides are under way at once. */
    uint64_t hash = how & 1 ? HASH : hash_status(HASH, &status, theirs);
    if (how & 1 && !peer) {
        int elements;
        OK(MPI_Get_elements(&status, theirs, &elements));
        CHECK(status.MPI_SOURCE == from && elements == (from < 0 ? 0 : note.count * in.layout.n));
    }
    struct layout *sent = how < 2 ? &out.layout : &in.layout;
    if (from >= 0 && (how != 3 || !peer)) {
        struct incoming filled = in;
        items_are(&filled, note.count, sent, (uint64_t)from, how < 2 ? 4 : 5);
    }
    /* Nor does it replace what is replaced by one's own message. */
    say("ring", how == 3 && peer ? 0 : hash_memory(hash, &in.memory));
    drop_outgoing(&out);
    drop_layout(&in.layout), free(in.memory.base);
}

/* A receive that nobody sends to, and messages from nobody. */
static inline void cancel_step(struct rng *shared, MPI_Comm comm) {
    int buffer[4] = {1, 2, 3, 4}, flag;
    MPI_Request request;
    MPI_Status status;
    int source = once_in(shared, 2) ? MPI_ANY_SOURCE : 0, again = below(shared, 2);
    if (again) {
        OK(MPI_Recv_init(buffer, 4, MPI_INT, source, 99, comm, &request));
        OK(MPI_Start(&request));
    } else OK(MPI_Irecv(buffer, 4, MPI_INT, source, 99, comm, &request));
    OK(MPI_Test(&request, &flag, &status));
    CHECK(!flag);
    OK(MPI_Cancel(&request));
    OK(MPI_Wait(&request, &status));
    OK(MPI_Test_cancelled(&status, &flag));
    CHECK(flag);
    if (again) OK(MPI_Request_free(&request));
    OK(MPI_Recv(buffer, 4, MPI_INT, MPI_PROC_NULL, 5, comm, &status));
    uint64_t hash = hash_status(HASH, &status, MPI_INT);
    OK(MPI_Iprobe(MPI_PROC_NULL, 5, comm, &flag, &status));
    hash = hash_status(hash_number(hash, flag), &status, MPI_INT);
    say("cancel", hash_bytes(hash, buffer, sizeof buffer));
}

/* One message in parts, of which the two sides may have different numbers. */
static inline void partitioned_step(struct rng *shared, MPI_Comm comm) {
    int rank, size, total = 12 * between(shared, 1, 20), parts[] = {1, 2, 3, 4, 6, 12};
    int sent = parts[below(shared, 6)], wanted = parts[below(shared, 6)];
    OK(MPI_Comm_size(comm, &size));
    OK(MPI_Comm_rank(comm, &rank));
    int from = below(shared, size), to = below(shared, size), times = between(shared, 1, 3), flag;
    struct note note = {0, 0, 0, total, 0, 0, draw(shared)};
    struct incoming in = incoming(&note), out = incoming(&note);
    MPI_Request send = MPI_REQUEST_NULL, receive = MPI_REQUEST_NULL;
    MPI_Datatype type = in.layout.type;
    uint64_t hash = HASH;
    TELL("partitioned %d to %d, %d in %d and %d, %d times", from, to, total, sent, wanted, times);
    if (rank == from) {
        OK(MPI_Psend_init(out.memory.at, sent, total / sent, type, to, 6, comm, MPI_INFO_NULL, &send));
    }
    if (rank == to) {
        OK(MPI_Precv_init(in.memory.at, wanted, total / wanted, type, from, 6, comm, MPI_INFO_NULL,
                          &receive));
    }
    for (int time = 0; time < times; time++) {
        int order[12];
        fill(&out.memory, note.shape, (uint64_t)time);
        if (rank == to) OK(MPI_Start(&receive));
        if (rank == from) {
            for (int i = 0; i < sent; i++) order[i] = i;
            shuffle(shared, order, sent);
            OK(MPI_Start(&send));
            for (int i = 0; i < sent; i++) OK(MPI_Pready(order[i], send));
        }
        for (int i = 0; i < wanted && rank == to; i++) {
            for (flag = 0; !flag;) OK(MPI_Parrived(receive, i, &flag));
        }
        if (rank == from) OK(MPI_Wait(&send, MPI_STATUS_IGNORE));
        if (rank == to) OK(MPI_Wait(&receive, MPI_STATUS_IGNORE));
        hash = hash_memory(hash, &in.memory);
    }
    if (rank == from) OK(MPI_Request_free(&send));
    if (rank == to) OK(MPI_Request_free(&receive));
    drop_layout(&in.layout), free(in.memory.base);
    drop_layout(&out.layout), free(out.memory.base);
    say("partitioned", hash);
}

static inline void messages_step(struct rng *shared, MPI_Comm comm) {
    switch (below(shared, 8)) {
    case 0: cancel_step(shared, comm); break;
    case 1: ring_step(shared, comm); break;
    case 2: partitioned_step(shared, comm); break;
    default: exchange_step(shared, comm);
    }
}

#endif
