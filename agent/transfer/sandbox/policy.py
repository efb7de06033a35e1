"""What a confined process may ask of the kernel: what it needs to read, to compute and to answer.

Everything works on descriptors that are open already and on the process's own memory. Calls that only
an attack makes end the process; whatever is in neither list is refused with EPERM, so that a library
which merely looks something up goes on without it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import termios
from dataclasses import dataclass

_CLONE_THREAD = 0x00010000
_CLONE_NAMESPACES = 0x7E020080
"""CLONE_NEWTIME, NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_AT_EMPTY_PATH = 0x1000


@dataclass(frozen=True, slots=True)
class Masked:
    """Holds when the low 32 bits of an argument, under a mask, are a value."""

    argument: int
    mask: int
    value: int


@dataclass(frozen=True, slots=True)
class OneOf:
    """Holds when the low 32 bits of an argument are one of some values; for arguments that are ints."""

    argument: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Null:
    """Holds when all 64 bits of an argument are zero; for pointers."""

    argument: int


Check = Masked | OneOf | Null


@dataclass(frozen=True, slots=True)
class Rule:
    """A system call that is allowed when all its checks hold, and refused with EPERM otherwise."""

    call: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """``rules`` in the order in which they are looked up; ``kill`` ends the process; ``missing`` is
    answered with ENOSYS, as by a kernel that does not have the call yet."""

    rules: tuple[Rule, ...]
    kill: tuple[str, ...]
    missing: tuple[str, ...]
    refusal: int = errno.EPERM


_FREE = """
    preadv2 preadv pread64 read write futex
    readv writev pwrite64 pwritev lseek fstat ftruncate fsync fdatasync fadvise64 close
    munmap mremap madvise brk
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending sigaltstack restart_syscall
    setitimer getitimer exit exit_group poll ppoll select pselect6 shutdown
    sched_yield sched_getaffinity getcpu membarrier rseq set_robust_list get_robust_list
    gettid getpid getppid getuid geteuid getgid getegid getrusage times getrlimit uname sysinfo getcwd
    getsockname getpeername
"""

_HOT = 6
"""So many of the free are asked for all the time; they and the checked ones are looked up first."""

_DEADLY = """
    execve execveat ptrace kcmp process_vm_readv process_vm_writev process_madvise process_mrelease
    pidfd_open pidfd_getfd pidfd_send_signal
    socket socketpair connect bind listen accept accept4
    open_by_handle_at name_to_handle_at mknod mknodat
    mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick move_mount open_tree mount_setattr
    swapon swapoff quotactl acct unshare setns
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register io_setup
    kexec_load kexec_file_load init_module finit_module delete_module reboot syslog
    keyctl add_key request_key iopl ioperm modify_ldt personality
    setuid setgid setreuid setregid setresuid setresgid setgroups
    pkey_mprotect remap_file_pages vmsplice
"""


def policy_for(pid: int) -> Policy:
    """The policy of the process ``pid``, which may signal itself and nobody else."""
    no_code = Masked(2, mmap.PROT_EXEC, 0)
    checked = (
        Rule("recvfrom"),
        # An address would make a connection of a datagram socket.
        Rule("sendto", (Null(4),)),
        Rule("mmap", (no_code,)),
        Rule("mprotect", (no_code,)),
        # A path cannot be seen from here; with this flag it may be empty, which is how fstat is spelt.
        Rule("newfstatat", (Masked(3, _AT_EMPTY_PATH, _AT_EMPTY_PATH),)),
        Rule("fcntl", (OneOf(1, (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL)),)),
        # Is it a terminal, how wide is it; never TIOCSTI, which types into it.
        Rule("ioctl", (OneOf(1, (termios.TCGETS, termios.TIOCGWINSZ)),)),
        Rule("clone", (Masked(0, _CLONE_THREAD | _CLONE_NAMESPACES, _CLONE_THREAD),)),
        Rule("tgkill", (OneOf(0, (pid,)),)),
        Rule("prlimit64", (OneOf(0, (0, pid)), Null(2))),
    )
    free = tuple(Rule(name) for name in _FREE.split())
    # The flags of clone3 lie in memory, out of reach: without it, the C library uses clone.
    return Policy(free[:_HOT] + checked + free[_HOT:], tuple(_DEADLY.split()), ("clone3",))


def policy_of_this_process() -> Policy:
    """``policy_for`` the caller."""
    return policy_for(os.getpid())
