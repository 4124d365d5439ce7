/* Sessions: with WITHOUT_WORLD set there is no MPI_Init; else one is open over all its life. */
#include "claim.h"

static MPI_Comm comm_of(MPI_Session session, const char *set, const char *tag)
{
    MPI_Group group;
    MPI_Comm comm;

    OK(MPI_Group_from_session_pset(session, set, &group));
    OK(MPI_Comm_create_from_group(group, tag, MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm));
    OK(MPI_Group_free(&group));
    return comm;
}

static void sets(MPI_Session session)
{
    int count, len = 0, at, world = 0, flag, room = 8;
    char name[MPI_MAX_PSET_NAME_LEN], value[8];
    MPI_Info info;
    MPI_Group group;

    OK(MPI_Session_get_num_psets(session, MPI_INFO_NULL, &count));
    CLAIM(count == 2);
    for (at = 0; at < count; at++) {
        len = 0;
        OK(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, at, &len, NULL));
        OK(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, at, &len, name));
        CLAIM((int)strlen(name) + 1 == len);
        world += strcmp(name, "mpi://WORLD") == 0;
    }
    CLAIM(world == 1);
    FAILS(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, 2, &len, name), MPI_ERR_ARG);
    FAILS(MPI_Group_from_session_pset(session, "mpi://NOWHERE", &group), MPI_ERR_ARG);
    OK(MPI_Session_get_pset_info(session, "mpi://WORLD", &info));
    OK(MPI_Info_get_string(info, "mpi_size", &room, value, &flag));
    CLAIM(flag && strcmp(value, "4") == 0);
    OK(MPI_Info_free(&info));
}

static void alone(void)
{
    MPI_Session session, second;
    MPI_Comm all, self;
    MPI_Info info;
    char value[32], room[2048], *at;
    int flag, len = sizeof value, size, got;

    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "thread_level", "MPI_THREAD_MULTIPLE"));
    OK(MPI_Session_init(info, MPI_ERRORS_RETURN, &session));
    OK(MPI_Info_free(&info));
    OK(MPI_Session_get_info(session, &info));
    OK(MPI_Info_get_string(info, "thread_level", &len, value, &flag));
    CLAIM(flag && strcmp(value, "MPI_THREAD_MULTIPLE") == 0);
    OK(MPI_Info_free(&info));
    OK(MPI_Initialized(&flag));
    CLAIM(!flag);
    sets(session);

    all = comm_of(session, "mpi://WORLD", "org.example.all");
    self = comm_of(session, "mpi://SELF", "org.example.self");
    CLAIM(size_of(all) == 4 && sum(all, rank_in(all)) == 6 && size_of(self) == 1);

    /* The session's buffer is that of its communicators. */
    size = rank_in(all);
    FAILS(MPI_Bsend(&size, 1, MPI_INT, (size + 1) % 4, 0, all), MPI_ERR_BUFFER);
    OK(MPI_Session_attach_buffer(session, room, sizeof room));
    OK(MPI_Bsend(&size, 1, MPI_INT, (size + 1) % 4, 0, all));
    OK(MPI_Recv(&got, 1, MPI_INT, (size + 3) % 4, 0, all, MPI_STATUS_IGNORE));
    CLAIM(got == (size + 3) % 4);
    OK(MPI_Session_detach_buffer(session, &at, &flag));
    CLAIM(at == room && flag == sizeof room);

    OK(MPI_Comm_free(&self));
    OK(MPI_Comm_disconnect(&all));
    OK(MPI_Session_finalize(&session));
    CLAIM(session == MPI_SESSION_NULL);

    /* There can always be another. */
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &second));
    all = comm_of(second, "mpi://WORLD", "org.example.all");
    CLAIM(sum(all, 1) == 4);
    OK(MPI_Comm_free(&all));
    OK(MPI_Session_finalize(&second));
}

static void across(int *argc, char ***argv)
{
    MPI_Session session;
    MPI_Comm all;
    int flag, rank;

    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    OK(MPI_Init(argc, argv));
    rank = rank_in(MPI_COMM_WORLD);
    CLAIM(sum(MPI_COMM_WORLD, rank) == 6);
    OK(MPI_Finalize());
    OK(MPI_Finalized(&flag));
    CLAIM(flag);
    all = comm_of(session, "mpi://WORLD", "org.example.later");
    CLAIM(sum(all, rank) == 6);
    OK(MPI_Comm_free(&all));
    OK(MPI_Session_finalize(&session));
    FAILS(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session), MPI_ERR_OTHER);
}

int main(int argc, char **argv)
{
    if (getenv("WITHOUT_WORLD"))
        alone();
    else
        across(&argc, &argv);
    return done();
}
