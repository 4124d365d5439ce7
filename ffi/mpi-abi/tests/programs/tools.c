/* The tool interface at two ranks: lists everything, sees counters grow by what is sent on the path
   that is used, and what is refused. */
#include "check.h"

typedef unsigned long long number;

static int is_tcp;

/* Refused with this code, which no error handler sees. */
#define NOT(code, call) CHECK((call) == (code))

static void before_the_beginning(void) {
    int n;
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_cvar_get_num(&n));
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_pvar_get_num(&n));
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_category_get_num(&n));
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_event_get_num(&n));
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_source_get_num(&n));
    NOT(MPI_T_ERR_NOT_INITIALIZED, MPI_T_finalize());
}

static int cvar(const char *name) {
    int at = -1;
    OK(MPI_T_cvar_get_index(name, &at));
    return at;
}

static void list_settings(void) {
    int n, at;
    OK(MPI_T_cvar_get_num(&n));
    CHECK(n > 10);
    for (int i = 0; i < n; i++) {
        char name[100], desc[300], tiny[4];
        int name_len = sizeof name, desc_len = sizeof desc, tiny_len = sizeof tiny, none = 0;
        int verbosity, bind, scope, count;
        MPI_Datatype type;
        MPI_T_enum items;
        MPI_T_cvar_handle handle;
        OK(MPI_T_cvar_get_info(i, name, &name_len, &verbosity, &type, &items, desc, &desc_len, &bind,
                               &scope));
        CHECK(name_len == (int)strlen(name) + 1 && desc_len == (int)strlen(desc) + 1);
        CHECK(strncmp(name, "cohost_", 7) == 0 && desc_len > 10);
        CHECK(bind == MPI_T_BIND_NO_OBJECT && verbosity >= MPI_T_VERBOSITY_USER_BASIC);
        OK(MPI_T_cvar_get_info(i, tiny, &tiny_len, NULL, NULL, NULL, NULL, &none, NULL, NULL));
        CHECK(strcmp(tiny, "coh") == 0 && tiny_len == name_len && none == desc_len);
        OK(MPI_T_cvar_get_index(name, &at));
        CHECK(at == i);
        OK(MPI_T_cvar_handle_alloc(i, NULL, &handle, &count));
        if (type == MPI_INT) {
            int value, num, back;
            char word[16], kind[64];
            int word_len = sizeof word, kind_len = sizeof kind;
            OK(MPI_T_cvar_read(handle, &value));
            CHECK(items != MPI_T_ENUM_NULL && count == 1);
            OK(MPI_T_enum_get_info(items, &num, kind, &kind_len));
            CHECK(num == 3);
            OK(MPI_T_enum_get_item(items, value, &back, word, &word_len));
            CHECK(back == value);
            CHECK(strcmp(word, is_tcp ? "tcp" : "auto") == 0);
            NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_enum_get_item(items, 3, &back, word, &word_len));
            printf("%s = %s: %s\n", name, word, desc);
        } else if (type == MPI_COUNT) {
            MPI_Count value;
            CHECK(count == 1 && items == MPI_T_ENUM_NULL);
            OK(MPI_T_cvar_read(handle, &value));
            printf("%s = %lld: %s\n", name, (long long)value, desc);
        } else {
            char *value = malloc((size_t)count);
            CHECK(type == MPI_CHAR && count > 100);
            OK(MPI_T_cvar_read(handle, value));
            printf("%s = '%s': %s\n", name, value, desc);
            free(value);
        }
        MPI_T_cvar_handle old = handle;
        OK(MPI_T_cvar_handle_free(&handle));
        CHECK(handle == MPI_T_CVAR_HANDLE_NULL);
        NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_read(old, name));
        NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_handle_free(&old));
    }
    MPI_T_cvar_handle handle;
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_cvar_handle_alloc(n, NULL, &handle, &at));
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_cvar_handle_alloc(-1, NULL, &handle, &at));
    NOT(MPI_T_ERR_INVALID_INDEX,
        MPI_T_cvar_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    NOT(MPI_T_ERR_INVALID_NAME, MPI_T_cvar_get_index("no such", &at));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_read(MPI_T_CVAR_HANDLE_NULL, &at));
}

/* A limit can be set before the beginning, and is what is read ever after. */
static void set_a_limit(void) {
    MPI_T_cvar_handle handle;
    int count;
    MPI_Count value = 12345, back = 0;
    OK(MPI_T_cvar_handle_alloc(cvar("cohost_own_copy_max"), NULL, &handle, &count));
    OK(MPI_T_cvar_write(handle, &value));
    OK(MPI_T_cvar_read(handle, &back));
    CHECK(back == 12345);
    value = 0;
    NOT(MPI_T_ERR_INVALID, MPI_T_cvar_write(handle, &value));
    OK(MPI_T_cvar_handle_free(&handle));
    OK(MPI_T_cvar_handle_alloc(cvar("cohost_unasked_max"), NULL, &handle, &count));
    NOT(MPI_T_ERR_CVAR_SET_NEVER, MPI_T_cvar_write(handle, &value));
    OK(MPI_T_cvar_handle_free(&handle));
}

static void limits_are_fixed_now(void) {
    MPI_T_cvar_handle handle;
    int count;
    MPI_Count value = 1;
    OK(MPI_T_cvar_handle_alloc(cvar("cohost_own_copy_max"), NULL, &handle, &count));
    NOT(MPI_T_ERR_CVAR_SET_NOT_NOW, MPI_T_cvar_write(handle, &value));
    OK(MPI_T_cvar_read(handle, &value));
    CHECK(value == 12345);
    OK(MPI_T_cvar_handle_free(&handle));
}

static void list_variables(void) {
    int n, at;
    OK(MPI_T_pvar_get_num(&n));
    CHECK(n > 15);
    for (int i = 0; i < n; i++) {
        char name[100], desc[300];
        int name_len = sizeof name, desc_len = sizeof desc;
        int verbosity, class, bind, readonly, continuous, atomic;
        MPI_Datatype type;
        MPI_T_enum items;
        OK(MPI_T_pvar_get_info(i, name, &name_len, &verbosity, &class, &type, &items, desc, &desc_len,
                               &bind, &readonly, &continuous, &atomic));
        CHECK(type == MPI_UNSIGNED_LONG_LONG && items == MPI_T_ENUM_NULL);
        CHECK(bind == MPI_T_BIND_NO_OBJECT && desc_len > 10);
        CHECK(readonly == (class == MPI_T_PVAR_CLASS_LEVEL) && continuous == readonly);
        OK(MPI_T_pvar_get_index(name, class, &at));
        CHECK(at == i);
        NOT(MPI_T_ERR_INVALID_NAME, MPI_T_pvar_get_index(name, MPI_T_PVAR_CLASS_TIMER, &at));
        printf("%s: %s\n", name, desc);
    }
    NOT(MPI_T_ERR_INVALID_INDEX,
        MPI_T_pvar_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    NOT(MPI_T_ERR_INVALID_INDEX,
        MPI_T_pvar_get_info(-1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
}

/* Every variable and setting is in one category, all categories but the first in the first. */
static void list_categories(void) {
    int n, cvars, pvars, total_cvars = 0, total_pvars = 0, changed = -1;
    OK(MPI_T_category_get_num(&n));
    OK(MPI_T_category_changed(&changed));
    for (int i = 0; i < n; i++) {
        char name[100], desc[300];
        int name_len = sizeof name, desc_len = sizeof desc, c, p, s, events = -1, at, list[100];
        OK(MPI_T_category_get_info(i, name, &name_len, desc, &desc_len, &c, &p, &s));
        CHECK(s == (i == 0 ? n - 1 : 0));
        OK(MPI_T_category_get_index(name, &at));
        CHECK(at == i);
        memset(list, -1, sizeof list);
        OK(MPI_T_category_get_cvars(i, c, list));
        CHECK(c == 0 || (list[0] >= 0 && list[c - 1] >= 0));
        CHECK(list[c] == -1);
        OK(MPI_T_category_get_pvars(i, 1, list));
        CHECK(list[1] == (c > 1 ? list[1] : -1));
        OK(MPI_T_category_get_categories(i, 100, list));
        OK(MPI_T_category_get_num_events(i, &events));
        CHECK(events == 0);
        OK(MPI_T_category_get_events(i, 100, list));
        total_cvars += c, total_pvars += p;
        printf("%s (%d settings, %d counters, %d categories): %s\n", name, c, p, s, desc);
    }
    OK(MPI_T_cvar_get_num(&cvars));
    OK(MPI_T_pvar_get_num(&pvars));
    CHECK(total_cvars == cvars && total_pvars == pvars);
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_category_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_category_get_cvars(-1, 0, NULL));
    NOT(MPI_T_ERR_INVALID_NAME, MPI_T_category_get_index("no such", &n));
}

static void events_and_sources(void) {
    int n, name_len = 100, desc_len = 100, at;
    MPI_T_source_order order;
    char name[100], desc[100];
    MPI_Count per_second, max, first, second;
    MPI_Info info;
    MPI_T_event_registration registration;
    OK(MPI_T_event_get_num(&n));
    CHECK(n == 0);
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_event_get_info(0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
                                                      NULL, NULL, NULL));
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_event_handle_alloc(0, NULL, MPI_INFO_NULL, &registration));
    NOT(MPI_T_ERR_INVALID_NAME, MPI_T_event_get_index("no such", &at));
    OK(MPI_T_source_get_num(&n));
    CHECK(n == 1);
    OK(MPI_T_source_get_info(0, name, &name_len, desc, &desc_len, &order, &per_second, &max, &info));
    CHECK(per_second == 1000000000 && max > per_second && order == MPI_T_SOURCE_ORDERED);
    OK(MPI_Info_free(&info));
    OK(MPI_T_source_get_timestamp(0, &first));
    OK(MPI_T_source_get_timestamp(0, &second));
    CHECK(second >= first && first > 0);
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_source_get_timestamp(1, &first));
}

static MPI_T_pvar_session session;

static MPI_T_pvar_handle watch(const char *name, int class) {
    MPI_T_pvar_handle handle;
    int at, count;
    OK(MPI_T_pvar_get_index(name, class, &at));
    OK(MPI_T_pvar_handle_alloc(session, at, NULL, &handle, &count));
    CHECK(count == 1);
    return handle;
}

static number value(MPI_T_pvar_handle handle) {
    number found = ~0ull;
    OK(MPI_T_pvar_read(session, handle, &found));
    return found;
}

static MPI_T_pvar_handle of_path(int tcp, const char *what, int class) {
    char name[100];
    snprintf(name, sizeof name, "cohost_%s_%s", tcp ? "tcp" : "ring", what);
    return watch(name, class);
}

/* `n` messages of `len` bytes from rank 0 to rank 1, and one of one byte back, which says that all
   have come. */
static void send_some(int rank, int n, int len) {
    char *bytes = calloc(1, (size_t)len + 1);
    for (int i = 0; i < n; i++) {
        if (rank == 0) OK(MPI_Send(bytes, len, MPI_CHAR, 1, i, MPI_COMM_WORLD));
        if (rank == 1) OK(MPI_Recv(bytes, len, MPI_CHAR, 0, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    }
    if (rank == 1) OK(MPI_Send(bytes, 1, MPI_CHAR, 0, 99, MPI_COMM_WORLD));
    if (rank == 0) OK(MPI_Recv(bytes, 1, MPI_CHAR, 1, 99, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    free(bytes);
}

static void counters_grow_by_what_is_sent(int rank) {
    const int count = MPI_T_PVAR_CLASS_COUNTER, sum = MPI_T_PVAR_CLASS_AGGREGATE;
    MPI_T_pvar_handle sent = of_path(is_tcp, "messages_sent", count);
    MPI_T_pvar_handle sent_bytes = of_path(is_tcp, "bytes_sent", sum);
    MPI_T_pvar_handle got = of_path(is_tcp, "messages_received", count);
    MPI_T_pvar_handle got_bytes = of_path(is_tcp, "bytes_received", sum);
    MPI_T_pvar_handle other = of_path(!is_tcp, "messages_sent", count);
    send_some(rank, 3, 10);
    CHECK(value(sent) == 0 && value(got) == 0);
    OK(MPI_T_pvar_start(session, MPI_T_PVAR_ALL_HANDLES));
    /* Short, eager in pieces, and by rendezvous. */
    send_some(rank, 5, 100);
    send_some(rank, 2, 50000);
    send_some(rank, 2, 3000000);
    number out = rank == 0 ? 9 : 3, in = rank == 0 ? 3 : 9;
    number long_bytes = 5 * 100 + 2 * 50000 + 2 * 3000000;
    number out_bytes = rank == 0 ? long_bytes : 3, in_bytes = rank == 0 ? 3 : long_bytes;
    if (value(sent) != out || value(sent_bytes) != out_bytes)
        printf("rank %d sent %llu of %llu, %llu bytes of %llu\n", rank, value(sent), out,
               value(sent_bytes), out_bytes);
    CHECK(value(sent) == out && value(sent_bytes) == out_bytes);
    CHECK(value(got) == in && value(got_bytes) == in_bytes);
    CHECK(value(other) == 0);

    OK(MPI_T_pvar_stop(session, sent));
    send_some(rank, 4, 10);
    CHECK(value(sent) == out && value(sent_bytes) == out_bytes + (rank == 0 ? 40 : 1));
    OK(MPI_T_pvar_start(session, sent));
    send_some(rank, 1, 10);
    CHECK(value(sent) == out + 1);
    number before = 0, given = 1000;
    OK(MPI_T_pvar_readreset(session, sent, &before));
    CHECK(before == out + 1 && value(sent) == 0);
    OK(MPI_T_pvar_write(session, sent, &given));
    send_some(rank, 1, 10);
    CHECK(value(sent) == 1001);
    OK(MPI_T_pvar_reset(session, MPI_T_PVAR_ALL_HANDLES));
    CHECK(value(sent) == 0 && value(sent_bytes) == 0 && value(got) == 0);
    OK(MPI_T_pvar_handle_free(session, &other));
    CHECK(other == MPI_T_PVAR_HANDLE_NULL);
}

static void messages_to_oneself_are_counted(void) {
    MPI_T_pvar_handle sent = watch("cohost_self_messages_sent", MPI_T_PVAR_CLASS_COUNTER);
    MPI_T_pvar_handle bytes = watch("cohost_self_bytes_received", MPI_T_PVAR_CLASS_AGGREGATE);
    MPI_T_pvar_handle level = watch("cohost_unexpected_messages", MPI_T_PVAR_CLASS_LEVEL);
    MPI_T_pvar_handle kept = watch("cohost_unexpected_bytes", MPI_T_PVAR_CLASS_LEVEL);
    MPI_T_pvar_handle most = watch("cohost_unexpected_bytes_max", MPI_T_PVAR_CLASS_HIGHWATERMARK);
    char out[300] = {1}, in[300];
    OK(MPI_T_pvar_start(session, sent));
    OK(MPI_T_pvar_start(session, bytes));
    OK(MPI_T_pvar_start(session, most));
    number idle = value(level), idle_bytes = value(kept);
    for (int i = 0; i < 2; i++) OK(MPI_Send(out, 300, MPI_CHAR, 0, 7, MPI_COMM_SELF));
    CHECK(value(level) == idle + 2 && value(kept) == idle_bytes + 600);
    CHECK(value(sent) == 2 && value(bytes) == 0);
    for (int i = 0; i < 2; i++)
        OK(MPI_Recv(in, 300, MPI_CHAR, 0, 7, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(value(level) == idle && value(kept) == idle_bytes);
    CHECK(value(bytes) == 600 && value(most) == idle_bytes + 600);
    OK(MPI_T_pvar_reset(session, most));
    CHECK(value(most) == idle_bytes);
    number any = 1;
    NOT(MPI_T_ERR_PVAR_NO_STARTSTOP, MPI_T_pvar_start(session, level));
    NOT(MPI_T_ERR_PVAR_NO_STARTSTOP, MPI_T_pvar_stop(session, level));
    NOT(MPI_T_ERR_PVAR_NO_WRITE, MPI_T_pvar_reset(session, level));
    NOT(MPI_T_ERR_PVAR_NO_WRITE, MPI_T_pvar_write(session, level, &any));
    NOT(MPI_T_ERR_PVAR_NO_ATOMIC, MPI_T_pvar_readreset(session, level, &any));
}

static void handles_end_with_their_session(void) {
    MPI_T_pvar_session other = MPI_T_PVAR_SESSION_NULL, old;
    MPI_T_pvar_handle mine = watch("cohost_sleeps", MPI_T_PVAR_CLASS_COUNTER), gone = mine;
    number any;
    int count;
    OK(MPI_T_pvar_session_create(&other));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(other, mine, &any));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(session, MPI_T_PVAR_ALL_HANDLES, &any));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_start(session, MPI_T_PVAR_HANDLE_NULL));
    NOT(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_read(MPI_T_PVAR_SESSION_NULL, mine, &any));
    NOT(MPI_T_ERR_INVALID_INDEX, MPI_T_pvar_handle_alloc(session, 9999, NULL, &mine, &count));
    OK(MPI_T_pvar_handle_free(session, &mine));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(session, gone, &any));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_handle_free(session, &gone));
    int at;
    OK(MPI_T_pvar_get_index("cohost_yields", MPI_T_PVAR_CLASS_COUNTER, &at));
    OK(MPI_T_pvar_handle_alloc(other, at, NULL, &mine, &count));
    old = other;
    OK(MPI_T_pvar_session_free(&other));
    CHECK(other == MPI_T_PVAR_SESSION_NULL);
    NOT(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_read(old, mine, &any));
    NOT(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(session, mine, &any));
    NOT(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_session_free(&old));
}

int main(int argc, char **argv) {
    int provided, rank;
    is_tcp = getenv("COHOST_PATH") != NULL;
    before_the_beginning();
    OK(MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided));
    CHECK(provided == MPI_THREAD_MULTIPLE);
    OK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    OK(MPI_T_finalize());
    list_settings();
    list_variables();
    list_categories();
    set_a_limit();
    MPI_T_pvar_session first;
    OK(MPI_T_pvar_session_create(&session));
    MPI_T_pvar_handle early = of_path(is_tcp, "messages_sent", MPI_T_PVAR_CLASS_COUNTER);
    OK(MPI_T_pvar_start(session, early));
    CHECK(value(early) == 0);
    first = session;
    OK(MPI_T_pvar_session_create(&session));

    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    limits_are_fixed_now();
    events_and_sources();
    counters_grow_by_what_is_sent(rank);
    messages_to_oneself_are_counted();
    handles_end_with_their_session();
    if (rank == 0) printf("all claims hold\n");
    OK(MPI_Finalize());

    OK(MPI_T_pvar_session_free(&session));
    session = first;
    CHECK(value(early) > 0);
    OK(MPI_T_pvar_session_free(&session));
    OK(MPI_T_finalize());
    before_the_beginning();
    OK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    OK(MPI_T_finalize());
    return 0;
}
