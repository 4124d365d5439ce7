//! Handles and statuses for Fortran. They are not in the ABI and the header has them as inline
//! functions; the symbols are here for programs that only ask the linker whether they exist.

#![allow(
    missing_docs,
    non_snake_case,
    clippy::missing_safety_doc,
    reason = "what callers must see to is in the standard"
)]

use std::ffi::c_int;

use crate::args::{Handle, Status};
use crate::calls;
use crate::constants::MPI_SUCCESS;

macro_rules! handles {
    ($($c2f:ident $pc2f:ident $toint:ident, $f2c:ident $pf2c:ident $fromint:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $c2f(handle: Handle) -> c_int {
            // SAFETY: it looks at nothing but the number.
            unsafe { calls::$toint(handle) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $pc2f(handle: Handle) -> c_int {
            // SAFETY: as above.
            unsafe { calls::$toint(handle) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $f2c(handle: c_int) -> Handle {
            // SAFETY: as above.
            unsafe { calls::$fromint(handle) }
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $pf2c(handle: c_int) -> Handle {
            // SAFETY: as above.
            unsafe { calls::$fromint(handle) }
        }
    )*};
}

handles! {
    MPI_Comm_c2f PMPI_Comm_c2f comm_toint, MPI_Comm_f2c PMPI_Comm_f2c comm_fromint;
    MPI_Errhandler_c2f PMPI_Errhandler_c2f errhandler_toint,
        MPI_Errhandler_f2c PMPI_Errhandler_f2c errhandler_fromint;
    MPI_File_c2f PMPI_File_c2f file_toint, MPI_File_f2c PMPI_File_f2c file_fromint;
    MPI_Group_c2f PMPI_Group_c2f group_toint, MPI_Group_f2c PMPI_Group_f2c group_fromint;
    MPI_Info_c2f PMPI_Info_c2f info_toint, MPI_Info_f2c PMPI_Info_f2c info_fromint;
    MPI_Message_c2f PMPI_Message_c2f message_toint,
        MPI_Message_f2c PMPI_Message_f2c message_fromint;
    MPI_Op_c2f PMPI_Op_c2f op_toint, MPI_Op_f2c PMPI_Op_f2c op_fromint;
    MPI_Request_c2f PMPI_Request_c2f request_toint,
        MPI_Request_f2c PMPI_Request_f2c request_fromint;
    MPI_Session_c2f PMPI_Session_c2f session_toint,
        MPI_Session_f2c PMPI_Session_f2c session_fromint;
    MPI_Type_c2f PMPI_Type_c2f type_toint, MPI_Type_f2c PMPI_Type_f2c type_fromint;
    MPI_Win_c2f PMPI_Win_c2f win_toint, MPI_Win_f2c PMPI_Win_f2c win_fromint;
}

macro_rules! statuses {
    ($($name:ident $pname:ident;)*) => {$(
        /// All forms of a status are the same eight integers.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(from: *const Status, to: *mut Status) -> c_int {
            // SAFETY: the application gives a status to read and room for one.
            unsafe { std::ptr::copy(from, to, 1) };
            MPI_SUCCESS
        }

        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $pname(from: *const Status, to: *mut Status) -> c_int {
            // SAFETY: the promise is the caller's.
            unsafe { $name(from, to) }
        }
    )*};
}

statuses! {
    MPI_Status_c2f PMPI_Status_c2f;
    MPI_Status_f2c PMPI_Status_f2c;
    MPI_Status_c2f08 PMPI_Status_c2f08;
    MPI_Status_f082c PMPI_Status_f082c;
    MPI_Status_f2f08 PMPI_Status_f2f08;
    MPI_Status_f082f PMPI_Status_f082f;
}
