#!/bin/sh
# Compiles and links programs with MPI: passes its arguments on to the compiler of the system, with
# the options for the header and the library. It finds them beside itself, so that the folder may move.
here=$(dirname -- "$(readlink -f -- "$0")")
prefix=$(dirname -- "$here")
compiler=@COMPILER@

# One word for the shell, in quotes where it needs them.
quoted() {
    case $1 in
        *[!A-Za-z0-9_./,:=+@%-]* | '') printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")" ;;
        *) printf %s "$1" ;;
    esac
}

include=$(quoted "-I$prefix/include")
folder=$(quoted "-L$prefix/lib")
rpath=$(quoted "-Wl,-rpath,$prefix/lib")
# New tags: LD_LIBRARY_PATH decides before the path in the program.
link="$folder $rpath -Wl,--enable-new-dtags -lmpi_abi"

show=
linking=
value=
arguments=
for argument in "$@"; do
    if [ -n "$value" ]; then
        value=
        arguments="$arguments $(quoted "$argument")"
        continue
    fi
    case $argument in
        -show | -compile-info | -compile_info | -link-info | -link_info | --showme | -showme | \
            --showme:* | -showme:*) show=${argument#-}; show=${show#-}; continue ;;
        -cc=* | -CC=* | -cxx=*) compiler=${argument#*=}; continue ;;
        -c | -S | -E | -M | -MM | -fsyntax-only) linking=no ;;
        -o | -x | -I | -L | -D | -U | -MF | -MT | -MQ | -include | -isystem) value=yes ;;
        -?*) ;;
        *) linking=${linking:-yes} ;;
    esac
    arguments="$arguments $(quoted "$argument")"
done

case $show in
    '') ;;
    show) [ "$linking" = no ] && link=
        printf '%s\n' "$compiler$arguments $include${link:+ $link}"; exit ;;
    showme) printf '%s\n' "$compiler$arguments $include $link"; exit ;;
    compile-info | compile_info) printf '%s\n' "$compiler$arguments $include"; exit ;;
    link-info | link_info) printf '%s\n' "$compiler$arguments $link"; exit ;;
    showme:compile) printf '%s\n' "$include"; exit ;;
    showme:link) printf '%s\n' "$link"; exit ;;
    showme:command) printf '%s\n' "$compiler"; exit ;;
    showme:incdirs) printf '%s\n' "$prefix/include"; exit ;;
    showme:libdirs) printf '%s\n' "$prefix/lib"; exit ;;
    showme:libs) printf '%s\n' "mpi_abi"; exit ;;
    showme:version) printf '%s\n' "cohost @VERSION@"; exit ;;
    *) printf '%s\n' "$0: there is no option --$show" >&2; exit 2 ;;
esac

[ "$linking" = yes ] || link=
eval "exec $compiler$arguments $include $link"
