/* What the ABI says of itself and of Fortran, what the process may run on, and handlers and
   attributes of windows and files that are not there. */
#include "check.h"

static int called;

static void handler(MPI_File *file, int *code, ...) {
    CHECK(*file == MPI_FILE_NULL && *code == MPI_ERR_NO_SUCH_FILE);
    called++;
}

static void is(MPI_Info info, const char *key, const char *expected) {
    char value[64];
    int room = sizeof value, flag;
    OK(MPI_Info_get_string(info, key, &room, value, &flag));
    CHECK(flag && strcmp(value, expected) == 0);
}

static void abi(void) {
    int major, minor;
    MPI_Info info;
    OK(MPI_Abi_get_version(&major, &minor));
    CHECK(major == MPI_ABI_VERSION && minor == MPI_ABI_SUBVERSION);
    OK(MPI_Abi_get_info(&info));
    is(info, "mpi_aint_size", "8");
    is(info, "mpi_count_size", "8");
    is(info, "mpi_offset_size", "8");
    OK(MPI_Info_free(&info));
}

static void fortran(void) {
    MPI_Info info, back;
    int yes = 1, no = 0, other = -1, found_yes = 7, found_no = 7, is_set = 7;
    OK(MPI_Abi_get_fortran_info(&back));
    CHECK(back == MPI_INFO_NULL);
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_integer_size", "8"));
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_info(info));
    OK(MPI_Info_set(info, "mpi_integer_size", "4"));
    OK(MPI_Abi_set_fortran_info(info));
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_info(info));
    OK(MPI_Info_free(&info));
    OK(MPI_Abi_get_fortran_info(&back));
    is(back, "mpi_integer_size", "4");
    OK(MPI_Info_free(&back));

    OK(MPI_Abi_get_fortran_booleans(4, &found_yes, &found_no, &is_set));
    CHECK(!is_set && found_yes == 7 && found_no == 7);
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_booleans(4, &other, &no));
    FAILS(MPI_ERR_ARG, MPI_Abi_set_fortran_booleans(3, &yes, &no));
    OK(MPI_Abi_set_fortran_booleans(4, &yes, &no));
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_booleans(4, &yes, &no));
    OK(MPI_Abi_get_fortran_booleans(4, &found_yes, &found_no, &is_set));
    CHECK(is_set && found_yes == 1 && found_no == 0);
}

static void hardware(void) {
    MPI_Info info;
    int keys;
    char key[MPI_MAX_INFO_KEY];
    OK(MPI_Get_hw_resource_info(&info));
    OK(MPI_Info_get_nkeys(info, &keys));
    CHECK(keys >= 1);
    for (int i = 0; i < keys; i++) {
        char value[8];
        int room = sizeof value, flag;
        OK(MPI_Info_get_nthkey(info, i, key));
        OK(MPI_Info_get_string(info, key, &room, value, &flag));
        CHECK(strstr(key, "://") && (!strcmp(value, "true") || !strcmp(value, "false")));
    }
    OK(MPI_Info_free(&info));
}

static void files(void) {
    MPI_Errhandler mine, found;
    OK(MPI_File_get_errhandler(MPI_FILE_NULL, &found));
    CHECK(found == MPI_ERRORS_RETURN);
    OK(MPI_File_create_errhandler(handler, &mine));
    OK(MPI_File_set_errhandler(MPI_FILE_NULL, mine));
    OK(MPI_File_get_errhandler(MPI_FILE_NULL, &found));
    CHECK(found == mine);
    OK(MPI_Errhandler_free(&found));
    OK(MPI_File_call_errhandler(MPI_FILE_NULL, MPI_ERR_NO_SUCH_FILE));
    CHECK(called == 1);
    OK(MPI_File_set_errhandler(MPI_FILE_NULL, MPI_ERRORS_RETURN));
    OK(MPI_Errhandler_free(&mine));
    OK(MPI_Comm_create_errhandler((MPI_Comm_errhandler_function *)(void *)handler, &mine));
    FAILS(MPI_ERR_ERRHANDLER, MPI_File_set_errhandler(MPI_FILE_NULL, mine));
    OK(MPI_Errhandler_free(&mine));
}

static void windows(void) {
    MPI_Errhandler found;
    int flag;
    void *value;
    FAILS(MPI_ERR_WIN, MPI_Win_set_errhandler(MPI_WIN_NULL, MPI_ERRORS_RETURN));
    FAILS(MPI_ERR_WIN, MPI_Win_get_errhandler(MPI_WIN_NULL, &found));
    FAILS(MPI_ERR_WIN, MPI_Win_call_errhandler(MPI_WIN_NULL, MPI_ERR_OTHER));
    FAILS(MPI_ERR_WIN, MPI_Win_get_attr(MPI_WIN_NULL, MPI_WIN_BASE, &value, &flag));
    FAILS(MPI_ERR_WIN, MPI_Win_set_attr(MPI_WIN_NULL, MPI_WIN_BASE, NULL));
    FAILS(MPI_ERR_WIN, MPI_Win_delete_attr(MPI_WIN_NULL, MPI_WIN_BASE));
}

int main(int argc, char **argv) {
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    abi();
    fortran();
    hardware();
    files();
    windows();
    printf("all claims hold\n");
    OK(MPI_Finalize());
    return 0;
}
