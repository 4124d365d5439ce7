//! `mpi.h` is what the standard's tables give, C and C++ take it without a word, and its values
//! are those of the ABI.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fmt::Write as _;

use support::generate::{Constant, coverage, header, implemented};
use support::{compile, root, standard};

const STRICT: &[&str] = &["-c", "-Wall", "-Wextra", "-pedantic", "-Werror"];

const PROGRAM: &str = "#include <mpi.h>\n\
    int main(int argc, char **argv) {\n\
    \x20   MPI_Comm world = MPI_Comm_f2c(MPI_Comm_c2f(MPI_COMM_WORLD));\n\
    \x20   double values[4] = {0, 0, 0, 0};\n\
    \x20   MPI_Status status;\n\
    \x20   MPI_Init(&argc, &argv);\n\
    \x20   MPI_Recv(values, 4, MPI_DOUBLE, MPI_ANY_SOURCE, MPI_ANY_TAG, world, &status);\n\
    \x20   MPI_Allreduce(MPI_IN_PLACE, values, 4, MPI_DOUBLE, MPI_SUM, world);\n\
    \x20   MPI_Comm_set_errhandler(world, MPI_ERRORS_RETURN);\n\
    \x20   return MPI_Finalize() == MPI_SUCCESS && status.MPI_SOURCE == 0 ? 0 : 1;\n\
    }\n";

const AGAIN: &str = "make it anew: cargo run -p mpi-abi --example generate";

#[test]
fn the_header_is_what_the_standard_gives() {
    let kept = std::fs::read_to_string(root().join("include/mpi.h")).unwrap();
    assert!(kept == header::text(&standard()), "include/mpi.h is not up to date; {AGAIN}");
}

#[test]
fn the_page_of_coverage_is_that_of_the_source() {
    let kept = std::fs::read_to_string(root().join("../../docs/MPI-COVERAGE.md")).unwrap();
    let made = coverage::page(&standard(), &implemented(root()));
    assert!(kept == made, "docs/MPI-COVERAGE.md is not up to date; {AGAIN}");
}

#[test]
fn c_and_cxx_take_the_header_without_a_warning() {
    let c = ["-std=c90", "-std=c99", "-std=c11", "-std=gnu17"].map(|it| ("cc", "c", it));
    let cxx = ["-std=c++98", "-std=c++11", "-std=c++20"].map(|it| ("c++", "cc", it));
    for (compiler, extension, language) in c.into_iter().chain(cxx) {
        let options = [&[language], STRICT].concat();
        if let Err(words) = compile(compiler, PROGRAM, extension, &options) {
            panic!("{compiler} {language}: {words}");
        }
        let wrong = PROGRAM.replace("MPI_SUM", "MPI_INT");
        assert!(compile(compiler, &wrong, extension, &options).is_err(), "{language}: no types");
    }
}

/// Type of a constant in C as `_Generic` knows it.
fn c_type(constant: &Constant) -> &str {
    match constant.c_type.as_str() {
        _ if constant.name == "MPI_DISPLACEMENT_CURRENT" => "MPI_Offset",
        // Enumerators are of type int.
        "MPI_T_source_order" | "MPI_T_cb_safety" => "int",
        ty => ty,
    }
}

/// A program that compiles when all constants are of these values and types.
fn asserts(constants: &[Constant]) -> String {
    let mut text = String::from("#include <mpi.h>\n");
    for it in constants {
        let (name, value, ty) = (&it.name, it.value, c_type(it));
        let _ = writeln!(
            text,
            "_Static_assert((intptr_t){name} == {value}, \"value of {name}\");\n\
             _Static_assert(_Generic({name}, {ty}: 1, default: 0), \"type of {name}\");"
        );
    }
    text
}

#[test]
fn all_constants_have_the_values_and_types_of_the_abi() {
    let mut constants = standard().constants;
    assert!(constants.len() > 350, "the constants were not found");
    // Comparing addresses at compile time is no strict C, yet all compilers do it.
    let options = ["-c", "-std=gnu11"];
    compile("cc", &asserts(&constants), "c", &options).unwrap();
    constants[100].value += 1;
    let words = compile("cc", &asserts(&constants), "c", &options).unwrap_err();
    assert_eq!(words.matches("error:").count(), 1, "{words}");
}

#[test]
fn sizes_are_those_of_the_abi() {
    let text = "#include <mpi.h>\n\
        _Static_assert(sizeof(MPI_Status) == 32 && sizeof(MPI_Comm) == sizeof(void *), \"\");\n\
        _Static_assert(sizeof(MPI_Aint) == 8 && sizeof(MPI_Count) == 8, \"\");\n\
        _Static_assert(sizeof(MPI_Offset) == 8 && sizeof(MPI_F08_status) == 32, \"\");\n";
    compile("cc", text, "c", &["-c", "-std=c11"]).unwrap();
}
