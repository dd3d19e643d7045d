#!/bin/sh
# The C compiler for cgo (CC=scripts/cc.sh): gcc or REAL_CC, without the 140 warnings that
# go-nvml's header gives about NVIDIA's own deprecated functions. cgo has no flags
# for one package that is not ours; this one is known by its include path. All
# other packages keep their warnings.
case " $* " in
*" -I "*/go-nvml@*/pkg/nvml\ *) set -- "$@" -Wno-deprecated-declarations ;;
esac
exec "${REAL_CC:-gcc}" "$@"
