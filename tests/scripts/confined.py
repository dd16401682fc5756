#!/usr/bin/python3
"""Runs a program with fewer rights: confined.py [--no-io-uring] [--uid N] [--memlock BYTES] PROGRAM ARGUMENT...

--no-io-uring puts it under a filter of system calls (seccomp) that refuses those of io_uring with EPERM, as containers and services
have. --uid makes it that user with no further groups, --memlock limits the memory that it may lock. The program is opened before
rights go, so that it need not lie where that user may look. Its process is this one: signals reach it.
"""

import argparse
import contextlib
import ctypes
import os
import resource
import struct

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
# Filters of Linux: <linux/bpf_common.h>, <linux/seccomp.h>. The numbers of these calls are the same on all its machines of today.
LOAD_NUMBER, IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE_EPERM = 0x7FFF0000, 0x00050000 | 1
IO_URING = (425, 426, 427)


def refuse(calls):
    program = [(LOAD_NUMBER, 0, 0, 0)]
    for place, call in enumerate(calls):
        # Behind the last of them stands what allows, and behind that what refuses.
        program.append((IF_EQUAL, len(calls) - place, 0, call))
    program += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE_EPERM)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    libc = ctypes.CDLL(None, use_errno=True)
    head = struct.pack("@HP", len(program), ctypes.addressof(code))
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0), (PR_SET_SECCOMP, MODE_FILTER, head)):
        if libc.prctl(call[0], ctypes.c_ulong(call[1]), call[2], 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


def forget_clock():
    """A preloaded libfaketime has made what it shares by the number of this process, for the user that this still is: the program makes it
    anew for the one that it will be. Returns the program's environment."""
    for name in ("sem.faketime_sem", "faketime_shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"/dev/shm/{name}_{os.getpid()}")
    return {name: value for name, value in os.environ.items() if name != "FAKETIME_SHARED"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-io-uring", action="store_true")
    parser.add_argument("--uid", type=int)
    parser.add_argument("--memlock", type=int)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    wanted = parser.parse_args()
    # Not inherited by the program: it is run by its descriptor.
    program = os.open(wanted.program, os.O_RDONLY | os.O_CLOEXEC)
    environment = forget_clock()
    if wanted.memlock is not None:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (wanted.memlock, wanted.memlock))
    if wanted.uid is not None:
        os.setgroups([])
        os.setresgid(wanted.uid, wanted.uid, wanted.uid)
        os.setresuid(wanted.uid, wanted.uid, wanted.uid)
    if wanted.no_io_uring:
        refuse(IO_URING)
    os.execve(program, [wanted.program, *wanted.arguments], environment)


if __name__ == "__main__":
    main()
