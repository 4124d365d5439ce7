//! `cohost mpi install`: compilers, pkg-config and programs find what it installs, wherever it is
//! moved. The library here is a stand-in with one procedure: what matters is who finds it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const STAND_IN: &str = "int MPI_Get_version(int *v, int *s) { *v = 5; *s = ANSWER; return 0; }\n";

const PROGRAM: &str = "#include <mpi.h>\n#include <stdio.h>\n\
    int main(void) {\n\
    \x20   int version, subversion;\n\
    \x20   MPI_Get_version(&version, &subversion);\n\
    \x20   printf(\"%d.%d %s\\n\", version, subversion, WORD);\n\
    \x20   return 0;\n\
    }\n";

/// A folder with a library, an installation in a folder whose name has a blank, and a program.
struct Installed {
    folder: TempDir,
}

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let it = Self { folder };
        it.library("built", 0);
        fs::write(it.path("program.c"), PROGRAM).unwrap();
        succeeds(it.install("in stalled"));
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Compiles a stand-in for the library into a folder.
    fn library(&self, folder: &str, answer: u32) {
        fs::create_dir_all(self.path(folder)).unwrap();
        fs::write(self.path("library.c"), STAND_IN).unwrap();
        succeeds(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-Wl,-soname,libmpi_abi.so.1"])
                .arg(format!("-DANSWER={answer}"))
                .arg(self.path("library.c"))
                .arg("-o")
                .arg(self.path(folder).join("libmpi_abi.so"))
                .output()
                .unwrap(),
        );
    }

    fn install(&self, prefix: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cohost"))
            .args(["mpi", "install", "--prefix"])
            .arg(self.path(prefix))
            .arg("--library-from")
            .arg(self.path("built"))
            .output()
            .unwrap()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.path("in stalled/bin").join(name));
        command.current_dir(self.folder.path());
        for variable in ["COHOST", "MPICH", "OMPI"]
            .iter()
            .flat_map(|it| [format!("{it}_CC"), format!("{it}_CXX")])
        {
            command.env_remove(variable);
        }
        command
    }

    fn says(&self, name: &str, arguments: &[&str]) -> String {
        succeeds(self.command(name).args(arguments).output().unwrap())
    }
}

/// Standard output of a command that must succeed.
fn succeeds(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn runs(program: &Path, library_path: Option<&Path>) -> String {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    if let Some(path) = library_path {
        command.env("LD_LIBRARY_PATH", path);
    }
    succeeds(command.output().unwrap())
}

#[test]
fn programs_compile_link_and_run_without_further_settings() {
    let it = Installed::new();
    let word = "-DWORD=\"it's one\"";
    it.says("mpicc", &["-Wall", "-Werror", word, "program.c", "-o", "one"]);
    assert_eq!(runs(&it.path("one"), None), "5.0 it's one\n");
    it.says("mpicc", &["-c", word, "program.c", "-o", "two.o"]);
    it.says("mpicc", &["two.o", "-o", "two"]);
    assert_eq!(runs(&it.path("two"), None), "5.0 it's one\n");
    it.says("mpicxx", &["-x", "c++", word, "program.c", "-o", "three"]);
    assert_eq!(runs(&it.path("three"), None), "5.0 it's one\n");
}

#[test]
fn another_library_of_the_standard_abi_can_be_put_in_its_place() {
    let it = Installed::new();
    it.says("mpicc", &["-DWORD=\"w\"", "program.c", "-o", "program"]);
    it.library("other", 9);
    fs::rename(it.path("other/libmpi_abi.so"), it.path("other/libmpi_abi.so.1")).unwrap();
    assert_eq!(runs(&it.path("program"), Some(&it.path("other"))), "5.9 w\n");
}

#[test]
fn the_compilers_show_one_line_that_a_shell_can_split() {
    let it = Installed::new();
    for (option, wanted) in [
        ("-show", ["cc", "-I", "-L", "-lmpi_abi"].as_slice()),
        ("--showme", &["cc", "-I", "-L", "-lmpi_abi"]),
        ("-compile_info", &["cc", "-I"]),
        ("-link_info", &["cc", "-L", "-lmpi_abi"]),
        ("--showme:compile", &["-I"]),
        ("--showme:link", &["-L", "-lmpi_abi"]),
    ] {
        let line = it.says("mpicc", &[option]);
        assert_eq!(line.matches('\n').count(), 1, "{option}: {line}");
        let split = format!("printf '%s\\n' {line}");
        let words = succeeds(Command::new("sh").args(["-c", &split]).output().unwrap());
        let words: Vec<_> = words.lines().collect();
        for word in wanted {
            assert!(words.iter().any(|it| it.starts_with(word)), "{option} lacks {word}: {line}");
        }
        let include = it.path("in stalled/include");
        let has_include = words.contains(&format!("-I{}", include.display()).as_str());
        assert_eq!(has_include, wanted.contains(&"-I"), "{option}: {line}");
    }
    assert!(it.says("mpicc", &["-show", "-c", "x.c"]).starts_with("cc -c x.c "));
    assert!(!it.says("mpicc", &["-show", "-c", "x.c"]).contains("-lmpi_abi"));
    assert!(it.says("mpicxx", &["-show"]).starts_with("c++ "));
    assert_eq!(it.command("mpicc").arg("--showme:nonsense").status().unwrap().code(), Some(2));
}

#[test]
fn the_compiler_is_chosen_by_environment_or_option() {
    let it = Installed::new();
    let line = it.command("mpicc").env("MPICH_CC", "other").arg("-show").output().unwrap();
    assert!(succeeds(line).starts_with("other "));
    assert!(it.says("mpicc", &["-cc=third", "-show"]).starts_with("third "));
    // Questions that link nothing reach the compiler as they are.
    assert!(!it.says("mpicc", &["--version"]).is_empty());
    it.says("mpicc", &["-v"]);
}

#[test]
fn the_folder_can_be_moved_and_entered_through_links() {
    let it = Installed::new();
    fs::rename(it.path("in stalled"), it.path("moved")).unwrap();
    std::os::unix::fs::symlink(it.path("moved/bin/mpicc"), it.path("my-mpicc")).unwrap();
    let line = succeeds(Command::new(it.path("my-mpicc")).arg("-show").output().unwrap());
    assert!(line.contains(&format!("-I{}", it.path("moved/include").display())), "{line}");
}

#[test]
fn what_is_installed_is_replaced_and_its_names_lead_to_it() {
    let it = Installed::new();
    succeeds(it.install("in stalled"));
    let lib = it.path("in stalled/lib");
    for name in ["libmpi_abi.so", "libmpi_abi.so.0", "libmpi.so"] {
        assert_eq!(
            fs::canonicalize(lib.join(name)).unwrap(),
            lib.canonicalize().unwrap().join("libmpi_abi.so.1")
        );
    }
    let left: Vec<_> = fs::read_dir(lib).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    assert!(lib_config(&it).contains("-lmpi_abi"));
    // An installation can install itself.
    let again = it
        .command("cohost")
        .args(["mpi", "install", "--prefix"])
        .arg(it.path("copy"))
        .output()
        .unwrap();
    succeeds(again);
    assert!(it.path("copy/lib/libmpi_abi.so.1").exists());
}

fn lib_config(it: &Installed) -> String {
    fs::read_to_string(it.path("in stalled/lib/pkgconfig/mpi.pc")).unwrap()
}

#[test]
fn mpiexec_starts_ranks() {
    let it = Installed::new();
    for launcher in ["mpiexec", "mpirun"] {
        let said = it.says(launcher, &["-np", "2", "sh", "-c", "echo $PMI_RANK of $PMI_SIZE"]);
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["0 of 2", "1 of 2"]);
    }
}

#[test]
fn without_the_library_nothing_is_installed_and_the_remedy_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("prefix");
    let output = Command::new(env!("CARGO_BIN_EXE_cohost"))
        .args(["mpi", "install", "--prefix"])
        .arg(&prefix)
        .arg("--library-from")
        .arg(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("cargo build") && words.contains("-p mpi-abi"), "{words}");
    assert!(!prefix.exists());
}

#[test]
fn coverage_lists_all_calls_for_readers_and_for_scripts() {
    let says = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
        succeeds(command.args(["mpi", "coverage"]).args(arguments).output().unwrap())
    };
    let document: serde_json::Value = serde_json::from_str(&says(&["--json"])).unwrap();
    let calls = document["calls"].as_array().unwrap();
    assert_eq!(calls.len(), 664);
    let missing: Vec<_> = calls.iter().filter(|it| it["supported"] == false).collect();
    let text = says(&[]);
    let head = format!("{} of 664 calls", 664 - missing.len());
    assert!(text.starts_with(&head), "{text}");
    for call in missing {
        let line = format!("\n  {}\n", call["name"].as_str().unwrap());
        assert!(text.contains(&line), "{line}");
    }
}
